package oauth_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/servertest"
)

// The table of design.md section 6, counted where a client stands. The client is in
// the cache, and the clock does not move.
func TestBudget_statements(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for _, client := range []string{"c1", "sealed", "p1"} {
			login := w.Login(client, "alice", "scope", "openid read")
			at, rt := login.Access(), login.Refresh()
			w.Introspect("rs", "x")
			w.Introspect("rs-other", "x")
			w.Token("cc", "grant_type", "client_credentials")

			spend := func(name string, want int, do func() *servertest.Answer) *servertest.Answer {
				var a *servertest.Answer
				got := w.Statements(func() { a = do().Require(200) })
				require.Equal(t, want, got, "%s of %s: %v", name, client, w.Tally.Statements())
				return a
			}
			spend("client_credentials", 0, func() *servertest.Answer { return w.Token("cc", "grant_type", "client_credentials") })
			spend("password", 2, func() *servertest.Answer { return w.Login(client, "alice") })
			renewed := spend("refresh", 1, func() *servertest.Answer { return w.Refresh(client, rt) })
			spend("refresh, retried", 2, func() *servertest.Answer { return w.Refresh(client, rt) })
			spend("refresh, narrowed", 1, func() *servertest.Answer { return w.Refresh(client, renewed.Refresh(), "scope", "read") })
			spend("introspect", 1, func() *servertest.Answer { return w.Introspect("rs", at) })
			spend("introspect, inactive", 0, func() *servertest.Answer { return w.Introspect("rs", at+"x") })
			spend("introspect by a stranger", 0, func() *servertest.Answer { return w.Introspect("rs-other", at) })
			spend("userinfo", 1, func() *servertest.Answer { return w.Userinfo(at) })
			spend("revoke access token", 1, func() *servertest.Answer { return w.Revoke(client, at) })
			spend("revoke refresh token", 1, func() *servertest.Answer { return w.Revoke(client, rt) })
			spend("revoke, a forgery", 0, func() *servertest.Answer { return w.Revoke(client, rt[:20]) })
			for _, statement := range w.Tally.Statements() {
				require.NotContains(t, []string{"BEGIN", "COMMIT"}, statement)
			}
		}
	})
}

// The authorization code: who is signed in and what they allowed is one statement, the
// code another; redeeming it is one.
func TestBudget_of_codes(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		spend := func(name string, want int, do func()) {
			got := w.Statements(do)
			require.Equal(t, want, got, "%s: %v", name, w.Tally.Statements())
			for _, statement := range w.Tally.Statements() {
				require.NotContains(t, []string{"BEGIN", "COMMIT"}, statement, name)
			}
		}
		for _, client := range []string{"c1", "own"} {
			b := w.Browser()
			b.Authorize(client).Through("alice").Code()
			w.Redeem("c2", "x")
			var page *servertest.Page
			spend("authorize, nobody signed in", 0, func() { requireAsked(t, w.Browser().Authorize(client), "/login").Follow().Require(200) })
			spend("authorize", 2, func() { page = b.Authorize(client) })
			code := page.Code()
			spend("authorize, more is asked for", 1, func() { requireAsked(t, b.Authorize(client, "prompt", "consent"), "/consent") })
			spend("authorize, silently in vain", 1, func() { requireRedirect(t, b.Authorize(client, "prompt", "none", "max_age", "0"), "login_required") })
			spend("authorize, refused", 0, func() { requireRedirect(t, b.Authorize(client, "scope", "evil"), "invalid_scope") })
			spend("authorize, to a stranger", 0, func() { requirePage(t, b.Authorize(client, "redirect_uri", "https://evil.test/")) })

			spend("redeem, another client", 2, func() { w.Redeem("c2", code).Refused(400, "invalid_grant") })
			spend("redeem, wrong verifier", 2, func() { w.Redeem(client, code, "code_verifier", servertest.Verifier+"x").Refused(400, "invalid_grant") })
			spend("redeem, malformed verifier", 0, func() { w.Redeem(client, code, "code_verifier", "x").Refused(400, "invalid_grant") })
			spend("redeem", 1, func() { w.Redeem(client, code).Require(200) })
			spend("redeem again", 2, func() { w.Redeem(client, code).Refused(400, "invalid_grant") })
		}
	})
}

// What was refused costs no more than what was granted: two statements to tell a
// retry from reuse, none where the request itself says it.
func TestBudget_of_refusals(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		login := w.Login("c1", "alice", "scope", "read")
		w.Refresh("c2", "x")
		w.Token("cc", "grant_type", "client_credentials")
		for _, c := range []struct {
			name string
			most int
			do   func() *servertest.Answer
		}{
			{"another client's", 2, func() *servertest.Answer { return w.Refresh("c2", login.Refresh()) }},
			{"too much scope", 2, func() *servertest.Answer { return w.Refresh("c1", login.Refresh(), "scope", "write") }},
			{"unregistered scope", 0, func() *servertest.Answer { return w.Refresh("c1", login.Refresh(), "scope", "evil") }},
			{"unregistered audience", 0, func() *servertest.Answer { return w.Refresh("c1", login.Refresh(), "resource", "evil") }},
			{"wrong grant", 0, func() *servertest.Answer { return w.TryLogin("cc", "alice") }},
			{"wrong secret", 0, func() *servertest.Answer {
				return w.Send(servertest.Form(token, "grant_type", "client_credentials").Basic("cc", "evil-evil-evil"))
			}},
			{"wrong password", 2, func() *servertest.Answer {
				return w.Token("c1", "grant_type", "password", "username", "alice", "password", "evil-evil-evil")
			}},
			{"another client's revocation", 1, func() *servertest.Answer { return w.Revoke("c2", login.Refresh()) }},
		} {
			got := w.Statements(func() { require.Contains(t, []int{400, 401}, c.do().Status, c.name) })
			require.LessOrEqual(t, got, c.most, "%s: %v", c.name, w.Tally.Statements())
		}
	})
}

// Allocations of one request inside the server, with what SQLite's driver takes: what
// was measured, and a few more, also for the race detector, which empties pools. A
// regression fails here without a clock. Whoever goes beyond says why here.
func TestBudget_allocations(t *testing.T) { //nolint:paralleltest // testing.AllocsPerRun counts those of everybody
	w := servertest.New(t, servertest.Setup{})
	per := func(h http.Handler, path, client, body string) float64 {
		method, basic := http.MethodPost, w.Basic(client)
		if body == "" {
			method = http.MethodGet
		}
		return testing.AllocsPerRun(300, func() {
			r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
			r.Header["Content-Type"] = []string{"application/x-www-form-urlencoded"}
			r.Header["Authorization"] = []string{basic}
			a := httptest.NewRecorder()
			h.ServeHTTP(a, r)
			require.Equal(t, 200, a.Code)
		})
	}
	nothing := http.HandlerFunc(func(a http.ResponseWriter, _ *http.Request) { a.WriteHeader(200) })
	login, opaque := w.Login("c1", "alice"), w.Login("sealed", "alice")
	rt := login.Refresh()
	w.Refresh("c1", rt) // from now on it is a retry: one more statement than a refresh
	for _, c := range []struct {
		name, path, client, body string
		most                     float64
	}{
		{"client_credentials", token, "cc", "grant_type=client_credentials", 116},
		{"refresh, retried", token, "c1", "grant_type=refresh_token&refresh_token=" + rt, 355},
		{"introspect", "/oauth2/introspect", "rs", "token=" + login.Access(), 175},
		{"introspect, opaque", "/oauth2/introspect", "rs", "token=" + opaque.Access(), 160},
		{"introspect, no token of ours", "/oauth2/introspect", "rs", "token=x", 27},
		{"metadata", documents[0], "", "", 15},
		{"keys", jwks, "", "", 18},
	} {
		got := per(w.Handler(), c.path, c.client, c.body) - per(nothing, c.path, c.client, c.body)
		require.LessOrEqual(t, got, c.most, c.name)
	}
}
