package oauth_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/server/servertest"
)

// A request travels for an hour, and its address can be sent to somebody else. What one
// person's answer made is never another's: neither the code, nor, after the row of an
// unused code is gone, the same code over again.
func TestAuthorize_two_people_answer_one_request(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for _, client := range []string{"own", "c1"} {
			mallory, alice := w.Browser(), w.Browser()
			alice.SignIn("alice")
			waiting := requireAsked(t, mallory.Authorize(client), "/login").Location()
			code := mallory.Get(waiting).Submit("username", "bob", "password", servertest.Password("bob")).Through("bob").Code()
			for _, pause := range []time.Duration{0, 2 * time.Minute, 50 * time.Minute} {
				w.Clock.Advance(pause)
				clean(t, w)
				hers := alice.Get(waiting)
				if pause == 0 {
					require.NotEqual(t, code, hers.Through("alice").Code())
					continue
				}
				// Hers expired meanwhile, and is not made again.
				hers.Require(http.StatusConflict)
				w.Redeem(client, code).Refused(400, "invalid_grant")
			}
		}
	})
}

// Back and "Allow" again: the expired code of before does not come back to life.
func TestAuthorize_an_expired_code_stays_dead(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	b.SignIn("alice")
	page := requireAsked(t, b.Authorize("c1"), "/consent").Follow()
	code := page.Submit("decision", "allow").Code()
	for range 5 {
		w.Clock.Advance(10 * time.Minute)
		clean(t, w)
		page.Submit("decision", "allow").Require(http.StatusConflict)
		w.Redeem("c1", code).Refused(400, "invalid_grant")
	}
}

func clean(t *testing.T, w *servertest.World) {
	t.Helper()
	_, err := w.Store.Clean(t.Context(), "test", time.Minute)
	require.NoError(t, err)
}

// The sign-in form sent twice at once: the browser keeps the second sign-in, and signing
// out of that one ends what began from the first.
func TestAuthorize_a_sign_in_sent_twice_is_one_L12(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for _, mode := range []string{"query", "form_post"} {
			b := w.Browser()
			page := requireAsked(t, b.Authorize("own", "response_mode", mode), "/login").Follow()
			press := func() *servertest.Page {
				return page.Submit("username", "alice", "password", servertest.Password("alice"))
			}
			code := press().Code()
			delete(b.Cookies, "__Host-grantor-session") // its answer never arrived
			second := press()
			require.Contains(t, string(second.Body), code, "it can be gone on with")

			tokens := w.Redeem("own", code).Require(200)
			require.NotEmpty(t, b.Cookies["__Host-grantor-session"])
			b.Get("/logout").Submit("decision", "signout").Require(200)
			w.Refresh("own", tokens.Refresh()).Refused(400, "invalid_grant")
		}
	})
}

// Going on without a password is offered only where that is an answer.
func TestPrompt_select_account_and_an_old_sign_in(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	b.SignIn("alice")
	w.Clock.Advance(time.Hour)
	page := requireAsked(t, b.Authorize("own", "prompt", "select_account", "max_age", "60"), "/login").Follow()
	require.NotContains(t, string(page.Body), `value="continue"`)
	require.Contains(t, string(requireAsked(t, b.Authorize("own", "prompt", "select_account"), "/login").Follow().Body), `value="continue"`)
}

// A claim asked for by name is worth what the client is registered for today.
func TestUserinfo_claims_by_name_end_with_the_registration(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	tokens := w.Obtain("c1", "alice", "claims", `{"userinfo":{"email":null}}`)
	require.NotEmpty(t, w.Userinfo(tokens.Access()).Require(200).Text("email"))
	w.UpdateClient("c1", func(c *clients.Client) { c.Scope = []string{"openid"} })
	require.Empty(t, w.Userinfo(w.Refresh("c1", tokens.Refresh()).Require(200).Access()).Require(200).Text("email"))
}

// Libraries that repeat the scope at redemption are not refused for it.
func TestCode_scope_means_nothing_at_redemption(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	code := w.Browser().Authorize("own", "scope", "openid read").Through("alice").Code()
	require.Equal(t, "openid read", w.Redeem("own", code, "scope", "openid nonsense").Require(200).Text("scope"))
}
