package login_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/servertest"
)

// A link must not sign anybody out: it asks.
func TestSignOut_asks_O01(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		b := w.Browser()
		b.SignIn("alice")
		tokens := obtain(w, b, "c1", "alice")
		p := b.Get("/logout?decision=signout&csrf_token=" + formToken(t, b)).Require(http.StatusOK)
		require.Equal(t, []string{"decision=signout", "decision=stay"}, buttons(p))
		withText(t, p, "alice")
		require.True(t, signedIn(t, b))
		for _, decision := range []string{"stay", "", "evil"} {
			require.Equal(t, "/account", p.Submit("decision", decision).Require(http.StatusSeeOther).Location())
			require.True(t, signedIn(t, b))
		}
		p = b.Get("/oauth2/logout")
		require.True(t, strings.HasPrefix(p.Location(), "/logout?request="), p.Location())
		require.True(t, signedIn(t, b))
		thief := copyOf(w, b)
		p.Follow().Submit("decision", "signout").Require(http.StatusOK)
		require.NotContains(t, b.Cookies, sessionCookie)
		require.False(t, signedIn(t, thief))
		dead(w, "c1", tokens)

		// Nobody is left to ask.
		require.Empty(t, b.Get("/logout").Require(http.StatusOK).Forms)
		require.Empty(t, b.Get("/oauth2/logout").Require(http.StatusOK).Location())
		b.Post("/logout", "csrf_token", formToken(t, b), "decision", "signout").Require(http.StatusOK)
	})
}

// O-03: what was signed out is signed out, on every replica, whoever kept the cookie.
func TestSignOut_ends_it_on_every_replica_O03(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		other := w.Replica()
		b := w.Browser()
		b.SignIn("alice")
		b.Authorize("c1").Through("alice").Code()
		there := other.Browser()
		there.Cookies = copyOf(w, b).Cookies
		require.NotEmpty(t, there.Authorize("c1", "prompt", "none").Code())
		b.Get("/account").Submit("decision", "signout").Require(http.StatusOK)
		require.Equal(t, "login_required", there.Authorize("c1", "prompt", "none").Answered().Get("error"))
	})
}

// A page from before the sign-out has no power, and harms nobody.
func TestSignOut_a_page_from_before(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	b.SignIn("alice")
	page := b.Get("/account")
	page.Submit("decision", "signout").Require(http.StatusOK)
	require.Equal(t, "/login", page.Submit("action", "end_others").Location(), "the form of a page from before")
	page.Submit("decision", "signout").Require(http.StatusOK)
}
