package login_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/server/servertest"
)

// asks reports whether an authorization request leads to the consent page.
func asks(p *servertest.Page) bool { return strings.HasPrefix(p.Location(), "/consent") }

// consentPage is the one that alice sees for a request of the client, in a new browser.
func consentPage(w *servertest.World, client string, pairs ...string) (*servertest.Browser, *servertest.Page) {
	b := w.Browser()
	b.SignIn("alice")
	return b, b.Authorize(client, pairs...).Follow().Require(http.StatusOK)
}

func TestConsent_is_remembered_and_asked_again_for_more(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		b := w.Browser()
		b.SignIn("alice")
		p := b.Authorize("c1", "scope", "openid read")
		require.True(t, asks(p))
		p = p.Follow()
		withText(t, p, "c1")
		withText(t, p, "app.test")
		require.Equal(t, []string{"decision=allow", "decision=deny", "decision=switch"}, buttons(p))
		require.NotEmpty(t, p.Submit("decision", "allow").Code())

		require.NotEmpty(t, b.Authorize("c1", "scope", "openid read").Code())
		require.NotEmpty(t, b.Authorize("c1", "scope", "read").Code(), "less is within it")
		p = b.Authorize("c1", "scope", "read write")
		require.True(t, asks(p), "more was never allowed")
		require.NotEmpty(t, p.Through("alice").Code())
		require.NotEmpty(t, b.Authorize("c1", "scope", "openid read write").Code(), "both are remembered")
		p = b.Authorize("c1", "scope", "read", "audience", servertest.API)
		require.True(t, asks(p), "another service is more, too")
		require.NotEmpty(t, p.Through("alice").Code())

		require.True(t, asks(b.Authorize("c2", "scope", "openid")), "for each client")
		bob := w.Browser()
		bob.SignIn("bob")
		require.True(t, asks(bob.Authorize("c1", "scope", "openid read")), "and for each person")
		other := w.Browser()
		other.SignIn("alice")
		require.NotEmpty(t, other.Authorize("c1", "scope", "openid read").Code(), "not for each browser")
	})
}

func TestConsent_who_is_asked(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	b.SignIn("alice")
	require.NotEmpty(t, b.Authorize("own").Code(), "our own application")
	p := b.Authorize("own", "prompt", "consent")
	require.True(t, asks(p), "it asked for it")
	require.NotEmpty(t, p.Through("alice").Code())

	for range 2 { // another program may use its name: RFC 8252 section 8.6
		p = b.Authorize("n1", "redirect_uri", "http://127.0.0.1:51004/cb")
		require.True(t, asks(p))
		require.NotEmpty(t, p.Through("alice").Code())
	}
	require.NotEmpty(t, b.Authorize("c1").Through("alice").Code())
	p = b.Authorize("c1", "prompt", "consent")
	require.True(t, asks(p))
	require.NotEmpty(t, p.Through("alice").Code())
	require.Equal(t, "consent_required", b.Authorize("c2", "prompt", "none").Answered().Get("error"))
	require.NotEmpty(t, b.Authorize("c1", "prompt", "none").Code())
}

func TestConsent_denied_L10(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		b, p := consentPage(w, "c1")
		w.Tally.Reset()
		answer := p.Submit("decision", "deny").Require(http.StatusSeeOther).Answered()
		require.Zero(t, begun(w))
		require.Equal(t, "access_denied", answer.Get("error"))
		require.Equal(t, "a state", answer.Get("state"))
		require.Equal(t, servertest.Issuer, answer.Get("iss"))
		require.Empty(t, answer.Get("code"))
		require.True(t, asks(b.Authorize("c1")), "a no is not a yes for the next time")
		consents, err := w.Store.Consents(t.Context(), servertest.UserID("alice"))
		require.NoError(t, err)
		require.Empty(t, consents)
	})
}

func TestConsent_by_a_link_L09(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	b.SignIn("alice")
	to := b.Authorize("c1").Location()
	w.Tally.Reset()
	for _, decision := range []string{"allow", "deny", "switch"} {
		p := b.Get(to + "&decision=" + decision + "&csrf_token=" + formToken(t, b)).Require(http.StatusOK)
		require.Contains(t, buttons(p), "decision=allow", "it only asks")
	}
	require.Zero(t, begun(w))
	require.True(t, asks(b.Authorize("c1")))
}

// What is decided is what was sealed into the page, by the person who was shown it.
func TestConsent_of_another_person_or_for_more_L09(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		_, alices := consentPage(w, "c1")
		request := alices.Form("decision").Fields.Get("request")
		bob := w.Browser()
		bob.SignIn("bob")
		w.Tally.Reset()
		for _, decision := range []string{"allow", "deny"} {
			p := bob.Post("/consent", "request", request, "csrf_token", formToken(t, bob), "decision", decision)
			require.True(t, asks(p), "bob is asked himself: %s %s", decision, p.Location())
		}
		// The same browser, somebody else meanwhile.
		shared, page := consentPage(w, "c2")
		login := w.Browser()
		login.Cookies[deviceCookie] = shared.Cookies[deviceCookie]
		login.SignIn("bob")
		shared.Cookies[sessionCookie] = login.Cookies[sessionCookie]
		require.True(t, asks(page.Submit("decision", "allow")))
		// The same person at another browser was not shown it there.
		other := w.Browser()
		other.SignIn("alice")
		require.True(t, asks(other.Post("/consent", "request", request, "csrf_token", formToken(t, other), "decision", "allow")))
		require.Zero(t, begun(w))
		for _, name := range []string{"alice", "bob"} {
			consents, err := w.Store.Consents(t.Context(), servertest.UserID(name))
			require.NoError(t, err)
			require.Empty(t, consents)
		}

		_, page = consentPage(w, "c1", "scope", "openid")
		code := page.Submit("decision", "allow", "scope", "openid read write", "client_id", "c2", "redirect_uri", "https://evil.test", "user", "bob", "audience", servertest.API).Code()
		tokens := w.Redeem("c1", code).Require(200)
		require.Equal(t, "openid", servertest.Claims(t, tokens.Access())["scope"])
	})
}

func TestConsent_with_a_request_that_is_not_ours(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b, p := consentPage(w, "c1")
	request := p.Form("decision").Fields.Get("request")
	signOut := b.Authorize("c1", "prompt", "login").Location()
	for name, sealed := range map[string]string{
		"none": "", "cut": request[:len(request)-1], "longer": request + "A", "changed": request[:20] + "AAAA" + request[24:],
		"a cookie":   b.Cookies[deviceCookie].Value,
		"a sign-in":  b.Cookies[sessionCookie].Value,
		"plain JSON": `{"ID":"x"}`,
	} {
		p := b.Post("/consent", "request", sealed, "csrf_token", formToken(t, b), "decision", "allow").Require(http.StatusBadRequest)
		require.Empty(t, p.Location(), name)
		require.Equal(t, "text/html; charset=utf-8", p.Header.Get("Content-Type"))
	}
	// That of the sign-in page never shows consent, and its sign-in is still asked for.
	at := b.Post("/consent", "request", strings.TrimPrefix(signOut, "/login?request="), "csrf_token", formToken(t, b), "decision", "allow")
	require.True(t, strings.HasPrefix(at.Location(), "/login"), at.Location())

	p.Submit("decision", "evil").Require(http.StatusBadRequest)
	again := p.Submit("csrf_token", formToken(t, b)).Require(http.StatusBadRequest)
	require.Contains(t, buttons(again), "decision=allow", "no button pressed: asked again")
	w.Clock.Advance(time.Hour + time.Second)
	p.Submit("decision", "allow").Require(http.StatusBadRequest)
	w.Clock.Advance(-time.Hour)

	w.UpdateClient("c1", func(c *clients.Client) { c.RedirectURIs = []string{"https://app.test/elsewhere"} })
	require.Empty(t, p.Submit("decision", "allow").Require(http.StatusBadRequest).Location(), "the client was changed meanwhile")
	require.NoError(t, w.Store.DisableClient(t.Context(), "c1"))
	require.Empty(t, p.Submit("decision", "allow").Require(http.StatusBadRequest).Location())
}

func TestConsent_before_anybody_signed_in_L11(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	request := sealed(t, b.Authorize("c1"))
	w.Tally.Reset()
	p := b.Post("/consent", "request", request, "csrf_token", formToken(t, b), "decision", "allow")
	require.True(t, strings.HasPrefix(p.Location(), "/login"), "%d %s", p.Status, p.Location())
	require.True(t, strings.HasPrefix(b.Get("/consent?request="+request).Location(), "/login"))
	for _, path := range []string{"/login", "/consent", "/logout", "/account"} {
		b.Post(path).Require(http.StatusForbidden) // nothing at all
		b.Post(path, "x", "y").Require(http.StatusForbidden)
	}
	require.Equal(t, "/login", b.Post("/account", "csrf_token", formToken(t, b), "action", "end_others").Location())
	require.Zero(t, begun(w))

	// Signed out while the page was open.
	b, page := consentPage(w, "c1")
	thief := copyOf(w, b)
	b.Get("/logout").Submit("decision", "signout").Require(http.StatusOK)
	require.True(t, strings.HasPrefix(page.Submit("decision", "allow").Location(), "/login"))
	page.Submit("decision", "allow").Through("alice").Code()
	require.False(t, signedIn(t, thief))
}

// L-12: the button pressed twice, the back button. One code, and a page that explains.
func TestConsent_twice_L12(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		_, page := consentPage(w, "c1")
		code := page.Submit("decision", "allow").Code()
		for range 2 {
			done := page.Submit("decision", "allow").Require(http.StatusConflict)
			require.Empty(t, done.Location())
			withText(t, done, "code="+code) // the link to go on with the same
		}
		tokens := w.Redeem("c1", code).Require(200)
		done := page.Submit("decision", "allow").Require(http.StatusConflict)
		require.NotContains(t, string(done.Body), "code=", "it was used")
		page.Submit("decision", "deny").Require(http.StatusConflict)
		require.True(t, w.Active(tokens.Access()), "nothing was ended by it")

		// The sign-in page of a request that was answered.
		login := w.Browser().Authorize("own").Follow()
		hers := login.Submit("username", "alice", "password", servertest.Password("alice")).Code()
		login.Submit("username", "alice", "password", servertest.Password("alice")).Require(http.StatusConflict)
		// Somebody else's answer is another one.
		require.NotEqual(t, hers, login.Submit("username", "bob", "password", servertest.Password("bob")).Code())

		w.Clock.Advance(48 * time.Hour)
		gone, err := w.Store.Clean(t.Context(), "test", time.Minute)
		require.NoError(t, err)
		require.Equal(t, int64(2), gone.Sessions, "the two codes of own; that of c1 became a session")
	})
}

func TestConsent_Concurrent_twice_L12(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		b, page := consentPage(w, "c1")
		f := page.Form("decision")
		r := func() *servertest.Request {
			q := servertest.Form("/consent", "request", f.Fields.Get("request"), "csrf_token", f.Fields.Get("csrf_token"), "decision", "allow")
			for _, c := range b.Cookies {
				q.Header.Add("Cookie", c.Name+"="+c.Value)
			}
			return q
		}
		var mu sync.Mutex
		statuses := map[int]int{}
		var all sync.WaitGroup
		for range 8 {
			q := r()
			all.Go(func() {
				a := w.Send(q)
				mu.Lock()
				defer mu.Unlock()
				statuses[a.Status]++
			})
		}
		all.Wait()
		require.Equal(t, map[int]int{http.StatusSeeOther: 1, http.StatusConflict: 7}, statuses)
	})
}

// Not you? Somebody else signs in, and is asked in turn.
func TestConsent_switch(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		b, page := consentPage(w, "c1")
		alices := copyOf(w, b)
		login := page.Submit("decision", "switch")
		require.True(t, strings.HasPrefix(login.Location(), "/login"))
		p := login.Follow().Require(http.StatusOK)
		require.NotContains(t, buttons(p), "decision=continue", "she just said that she is not")
		p = p.Submit("username", "bob", "password", servertest.Password("bob"))
		require.True(t, asks(p))
		tokens := w.Redeem("c1", p.Through("bob").Code()).Require(200)
		require.Equal(t, servertest.UserID("bob"), servertest.Claims(t, tokens.Text("id_token"))["sub"])
		require.False(t, signedIn(t, alices), "one person per browser")

		// Herself again is fine.
		b, page = consentPage(w, "c1")
		p = page.Submit("decision", "switch").Follow().Submit("username", "alice", "password", servertest.Password("alice"))
		require.NotEmpty(t, p.Through("alice").Code())
		require.True(t, signedIn(t, b))
	})
}

func TestConsent_select_account(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		b := w.Browser()
		b.SignIn("alice")
		b.Authorize("c1").Through("alice").Code()
		p := b.Authorize("c1", "prompt", "select_account")
		require.True(t, strings.HasPrefix(p.Location(), "/login"))
		p = p.Follow().Require(http.StatusOK)
		withText(t, p, "alice")
		require.NotEmpty(t, p.Submit("decision", "continue").Code())

		p = b.Authorize("c1", "prompt", "select_account").Follow()
		stale := p
		p = p.Submit("username", "bob", "password", servertest.Password("bob"))
		tokens := w.Redeem("c1", p.Through("bob").Code()).Require(200)
		require.Equal(t, servertest.UserID("bob"), servertest.Claims(t, tokens.Text("id_token"))["sub"])
		stale.Submit("decision", "continue").Require(http.StatusConflict)

		// Who is not signed in has nobody to go on as.
		other := w.Browser()
		p = other.Authorize("c1", "prompt", "select_account").Follow()
		require.NotContains(t, buttons(p), "decision=continue")
		p = other.Post("/login", "request", p.Form("username").Fields.Get("request"), "csrf_token", formToken(t, other), "decision", "continue")
		require.True(t, strings.HasPrefix(p.Location(), "/login"), p.Location())
		require.NotEmpty(t, p.Through("alice").Code(), "signing in is choosing")
	})
}

// The sign-in page of a request sends a person on who signed in in another tab.
func TestConsent_two_tabs(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	first, second := b.Authorize("own"), b.Authorize("c1")
	one, two := first.Follow(), second.Follow()
	require.NotEmpty(t, one.Submit("username", "alice", "password", servertest.Password("alice")).Code())
	require.True(t, asks(b.Get(second.Location())), "reloaded: nothing to ask but consent")
	require.NotEmpty(t, two.Submit("username", "alice", "password", servertest.Password("alice")).Through("alice").Code())
}

// The question may have become needless by a yes in another tab. A no is a no all the same.
func TestConsent_no_after_a_yes_in_another_tab(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		b, page := consentPage(w, "c1")
		again := b.Authorize("c1", "state", "another").Follow()
		require.NotEmpty(t, page.Submit("decision", "allow").Code())
		w.Tally.Reset()
		require.Equal(t, "access_denied", again.Submit("decision", "deny").Answered().Get("error"))
		require.Zero(t, begun(w))
		login := again.Submit("decision", "switch")
		require.True(t, strings.HasPrefix(login.Location(), "/login"), "not me: %s", login.Location())
		require.Zero(t, begun(w))
		require.NotEmpty(t, again.Submit("decision", "allow").Code())
		again.Submit("decision", "deny").Require(http.StatusConflict)
	})
}
