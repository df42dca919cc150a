package server_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/server/servertest"
)

func preflight(path, origin, method string) *servertest.Request {
	return &servertest.Request{Method: http.MethodOptions, Path: path, Header: http.Header{
		"Origin": {origin}, "Access-Control-Request-Method": {method}, "Access-Control-Request-Headers": {"authorization,x-evil"},
	}}
}

var evil = []string{"https://evil.test", "null", "", "http://app.test", "https://app.test.evil.test", "https://app.test:443", "*"}

func TestCORS_preflight_W07(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for path, method := range map[string]string{"/oauth2/token": "POST", "/oauth2/revoke": "POST", "/userinfo": "GET"} {
		a := w.Send(preflight(path, servertest.Origin, method)).Require(http.StatusNoContent)
		require.Equal(t, servertest.Origin, a.Header.Get("Access-Control-Allow-Origin"))
		require.Equal(t, "true", a.Header.Get("Access-Control-Allow-Credentials"))
		require.Contains(t, a.Header.Get("Access-Control-Allow-Methods"), method)
		require.Equal(t, "Authorization, Content-Type", a.Header.Get("Access-Control-Allow-Headers"), "a list of ours, not an echo")
		require.Contains(t, a.Header.Values("Vary"), "Origin")
		for _, origin := range evil {
			a := w.Send(preflight(path, origin, method)).Require(http.StatusNoContent)
			require.Empty(t, a.Header.Get("Access-Control-Allow-Origin"), origin)
			require.Empty(t, a.Header.Get("Access-Control-Allow-Credentials"), origin)
			require.Empty(t, a.Header.Get("Access-Control-Allow-Methods"), origin)
		}
	}
	for _, path := range []string{"/.well-known/jwks.json", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		a := w.Send(preflight(path, "https://anybody.test", "GET")).Require(http.StatusNoContent)
		require.Equal(t, "*", a.Header.Get("Access-Control-Allow-Origin"))
		require.Empty(t, a.Header.Get("Access-Control-Allow-Credentials"))
	}
	w.Send(preflight("/oauth2/introspect", servertest.Origin, "POST")).Refused(405, "invalid_request")
}

// The request itself is readable for an origin of its own client only.
func TestCORS_of_answers_W07(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	login := w.Login("c1", "alice")
	stranger := w.Login("c2", "alice") // registered without origins
	readable := func(a *servertest.Answer) bool {
		require.Contains(t, a.Header.Values("Vary"), "Origin")
		allowed := a.Header.Get("Access-Control-Allow-Origin")
		require.Contains(t, []string{"", servertest.Origin}, allowed)
		require.Equal(t, allowed != "", a.Header.Get("Access-Control-Allow-Credentials") == "true")
		return allowed != ""
	}
	for _, origin := range append([]string{servertest.Origin}, evil...) {
		if origin == "" {
			continue
		}
		ours := origin == servertest.Origin
		from := func(r *servertest.Request) *servertest.Answer { return w.Send(r.Set("Origin", origin)) }
		for name, c := range map[string]struct {
			request *servertest.Request
			status  int
			allowed bool
		}{
			"token, refused":     {w.As(servertest.Form("/oauth2/token", "grant_type", "urn:x"), "c1"), 400, ours},
			"token, wrong":       {servertest.Form("/oauth2/token").Basic("c1", "wrong-wrong-wrong"), 401, ours},
			"token of c2":        {w.As(servertest.Form("/oauth2/token", "grant_type", "urn:x"), "c2"), 400, false},
			"token of nobody":    {servertest.Form("/oauth2/token").Basic("nobody", "wrong-wrong-wrong"), 401, false},
			"token, no client":   {servertest.Form("/oauth2/token"), 401, false},
			"revoke":             {w.As(servertest.Form("/oauth2/revoke", "token", "x"), "c1"), 200, ours},
			"revoke by c2":       {w.As(servertest.Form("/oauth2/revoke", "token", "x"), "c2"), 200, false},
			"userinfo":           {servertest.Get("/userinfo").Bearer(login.Access()), 200, ours},
			"userinfo of c2":     {servertest.Get("/userinfo").Bearer(stranger.Access()), 200, false},
			"userinfo, no token": {servertest.Get("/userinfo"), 401, false},
		} {
			a := from(c.request)
			require.Equal(t, c.status, a.Status, name)
			require.Equal(t, c.allowed, readable(a), "%s from %s", name, origin)
		}
		a := from(w.As(servertest.Form("/oauth2/introspect", "token", "x"), "c1")).Require(200)
		require.Empty(t, a.Header.Get("Access-Control-Allow-Origin"), "introspection is no browser's business")
		require.Equal(t, "*", from(servertest.Get("/.well-known/jwks.json")).Header.Get("Access-Control-Allow-Origin"))
	}
}

func TestCORS_follows_the_registration(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		const next = "https://next.test"
		other := w.Replica()
		allowed := func(w *servertest.World) bool {
			return w.Send(preflight("/oauth2/token", next, "POST")).Require(204).Header.Get("Access-Control-Allow-Origin") == next
		}
		require.False(t, allowed(w))
		require.False(t, allowed(other))
		w.UpdateClient("c1", func(c *clients.Client) { c.AllowedOrigins = []string{next} })
		require.True(t, allowed(w))
		w.Clock.Advance(2 * time.Second)
		require.True(t, allowed(other), "within two seconds")
		require.NoError(t, w.Store.DisableClient(t.Context(), "c1"))
		require.False(t, allowed(w))

		w.Clock.Advance(2 * time.Second)
		mend := w.Break(func(string) error { return errBroken })
		w.Send(preflight("/oauth2/token", next, "POST")).Refused(503, "temporarily_unavailable")
		mend()
		require.Zero(t, w.Statements(func() { w.Send(preflight("/.well-known/jwks.json", next, "GET")) }))
	})
}
