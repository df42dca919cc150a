package oauth_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/server/servertest"
)

// b1 is a request of the browser client b1, from its origin.
func b1(w *servertest.World, path string, pairs ...string) *servertest.Request {
	return w.As(servertest.Form(path, pairs...), "b1").Set("Origin", servertest.Origin)
}

func loginB1(w *servertest.World) *servertest.Answer {
	return w.Send(b1(w, token, "grant_type", "password", "username", "alice", "password", servertest.Password("alice"))).Require(200)
}

func renewB1(w *servertest.World, cookie *http.Cookie) *servertest.Request {
	return b1(w, token, "grant_type", "refresh_token").Set("Cookie", cookie.Name+"="+cookie.Value)
}

// cookieOf is the one cookie of an answer.
func cookieOf(t *testing.T, a *servertest.Answer) *http.Cookie {
	t.Helper()
	lines := a.Header.Values("Set-Cookie")
	require.Len(t, lines, 1)
	cookie, err := http.ParseSetCookie(lines[0])
	require.NoError(t, err)
	return cookie
}

func readable(t *testing.T, a *servertest.Answer) {
	t.Helper()
	require.Equal(t, servertest.Origin, a.Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "true", a.Header.Get("Access-Control-Allow-Credentials"))
	require.Contains(t, a.Header.Values("Vary"), "Origin")
}

func TestCookie_instead_of_the_body_B01(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	a := loginB1(w)
	require.NotContains(t, a.JSON, "refresh_token")
	require.NotRegexp(t, `\bgr1_`, string(a.Body)) // where a token can begin
	readable(t, a)
	cookie := cookieOf(t, a)
	require.Equal(t, "__Host-grantor-rt-b1", cookie.Name)
	require.True(t, cookie.HttpOnly)
	require.True(t, cookie.Secure)
	require.Equal(t, http.SameSiteStrictMode, cookie.SameSite)
	require.Equal(t, "/", cookie.Path)
	require.Empty(t, cookie.Domain)
	require.Equal(t, int((14 * 24 * time.Hour).Seconds()), cookie.MaxAge, "as long as it works")
}

func TestCookie_on_a_loopback_issuer_B01(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{Config: func(c *config.Config) { c.Issuer = "http://127.0.0.1:8080" }})
	cookie := cookieOf(t, loginB1(w))
	require.Equal(t, "grantor-rt-b1", cookie.Name)
	require.False(t, cookie.Secure)
	require.True(t, cookie.HttpOnly)
	w.Send(renewB1(w, cookie)).Require(200)
}

func TestCookie_renews_B02(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		first := cookieOf(t, loginB1(w))
		a := w.Send(renewB1(w, first)).Require(200)
		readable(t, a)
		require.NotContains(t, a.JSON, "refresh_token")
		second := cookieOf(t, a)
		require.NotEqual(t, first.Value, second.Value)
		require.True(t, w.Active(a.Access()))
		require.Equal(t, second.Value, cookieOf(t, w.Send(renewB1(w, first)).Require(200)).Value, "a tab that races gets the same")
		w.Send(renewB1(w, second).Set("Sec-Fetch-Site", "same-site").Set("Sec-Fetch-Mode", "cors")).Require(200)
	})
}

func TestCookie_from_elsewhere_B03_B04(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		cookie := cookieOf(t, loginB1(w))
		for name, change := range map[string]func(*servertest.Request){
			"B-03 no Origin":             func(r *servertest.Request) { r.Header.Del("Origin") },
			"B-04 another origin":        func(r *servertest.Request) { r.Set("Origin", "https://evil.test") },
			"B-04 null":                  func(r *servertest.Request) { r.Set("Origin", "null") },
			"B-04 another scheme":        func(r *servertest.Request) { r.Set("Origin", "http://app.test") },
			"B-04 another port":          func(r *servertest.Request) { r.Set("Origin", "https://app.test:444") },
			"B-04 a longer host":         func(r *servertest.Request) { r.Set("Origin", "https://app.test.evil.test") },
			"B-04 with a path":           func(r *servertest.Request) { r.Set("Origin", "https://app.test/") },
			"B-04 in capitals":           func(r *servertest.Request) { r.Set("Origin", "HTTPS://APP.TEST") },
			"two origins":                func(r *servertest.Request) { r.Header.Add("Origin", servertest.Origin) },
			"empty":                      func(r *servertest.Request) { r.Set("Origin", "") },
			"Fetch Metadata: cross-site": func(r *servertest.Request) { r.Set("Sec-Fetch-Site", "cross-site") },
			"Fetch Metadata: none":       func(r *servertest.Request) { r.Set("Sec-Fetch-Site", "none") },
			"Fetch Metadata: navigation": func(r *servertest.Request) { r.Set("Sec-Fetch-Mode", "navigate") },
			"Fetch Metadata: no-cors":    func(r *servertest.Request) { r.Set("Sec-Fetch-Mode", "no-cors") },
			"B-03 only a Referer":        func(r *servertest.Request) { r.Header.Del("Origin"); r.Set("Referer", servertest.Origin+"/") },
			"B-03 the token in the form": func(r *servertest.Request) { r.Header.Del("Origin"); r.Body += "&refresh_token=" + cookie.Value },
			"B-04 with the form's token": func(r *servertest.Request) {
				r.Set("Origin", "https://evil.test")
				r.Body += "&refresh_token=" + cookie.Value
			},
			"B-03 no Origin, by the form": func(r *servertest.Request) {
				r.Header.Del("Origin")
				r.Header.Del("Cookie")
				r.Body += "&refresh_token=" + cookie.Value
			},
		} {
			for _, path := range []string{token, revoke} {
				if path == revoke && strings.Contains(name, "form") {
					continue
				}
				r := renewB1(w, cookie)
				r.Path = path
				change(r)
				a := w.Send(r)
				require.Contains(t, []int{400, 403}, a.Status, "%s %s", path, name)
				require.Empty(t, a.Header.Values("Set-Cookie"), name)
				if origin := r.Header.Get("Origin"); origin != servertest.Origin {
					require.Empty(t, a.Header.Get("Access-Control-Allow-Origin"), name)
				}
				require.Equal(t, int64(1), session(t, w, cookie.Value).Generation, "%s: no rotation", name)
			}
		}
		w.Send(renewB1(w, cookie)).Require(200)
	})
}

func TestCookie_is_taken_back_B05(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		login := loginB1(w)
		cookie := cookieOf(t, login)
		a := w.Send(b1(w, revoke).Set("Cookie", cookie.Name+"="+cookie.Value)).Require(200)
		readable(t, a)
		cleared := cookieOf(t, a)
		require.Equal(t, cookie.Name, cleared.Name)
		require.Empty(t, cleared.Value)
		require.Negative(t, cleared.MaxAge)
		require.Equal(t, "/", cleared.Path)
		require.True(t, cleared.Secure, "a browser keeps a __Host- cookie that is cleared without Secure")
		require.False(t, w.Active(login.Access()))

		// A session that is over takes its cookie along; one that merely had trouble does not.
		a = w.Send(renewB1(w, cookie)).Refused(400, "invalid_grant")
		require.Negative(t, cookieOf(t, a).MaxAge)
		cookie = cookieOf(t, loginB1(w))
		mend := w.Break(everything)
		require.Empty(t, w.Send(renewB1(w, cookie)).Require(503).Header.Values("Set-Cookie"))
		mend()
		require.Empty(t, w.Send(withBody(renewB1(w, cookie), renewB1(w, cookie).Body+"&scope=evil")).Refused(400, "invalid_scope").Header.Values("Set-Cookie"))
		w.Send(renewB1(w, cookie)).Require(200)
	})
}

// The cookie of one client, or a token that no cookie brought, is nothing to another.
func TestCookie_belongs_to_one_client(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	w.AddClient(clients.Client{
		ID: "b2", Public: true, Grants: []string{"password", "refresh_token"}, RefreshToken: clients.DeliverCookie, AllowedOrigins: []string{servertest.Origin},
	})
	cookie := cookieOf(t, loginB1(w))
	other := w.As(servertest.Form(token, "grant_type", "refresh_token"), "b2").Set("Origin", servertest.Origin)
	w.Send(other.Set("Cookie", cookie.Name+"="+cookie.Value)).Refused(400, "invalid_request")
	w.Send(other.Set("Cookie", "__Host-grantor-rt-b2="+cookie.Value)).Refused(400, "invalid_grant")
	w.Send(renewB1(w, cookie)).Require(200)
	// A client that keeps its tokens itself is not read from a cookie.
	w.Send(w.As(servertest.Form(token, "grant_type", "refresh_token"), "p1").Set("Cookie", "__Host-grantor-rt-p1="+w.Login("p1", "alice").Refresh())).Refused(400, "invalid_request")
}

func TestCookie_survives_a_mistyped_password(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	cookie := cookieOf(t, loginB1(w))
	again := b1(w, token, "grant_type", "password", "username", "alice", "password", "not hers").Set("Cookie", cookie.Name+"="+cookie.Value)
	a := w.Send(again).Refused(400, "invalid_grant")
	require.Empty(t, a.Header.Values("Set-Cookie"))
	w.Send(renewB1(w, cookie)).Require(200)
}
