package oauth_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/servertest"
)

// spa is a request of the browser client spa, from its origin.
func spa(w *servertest.World, path string, pairs ...string) *servertest.Request {
	return w.As(servertest.Form(path, pairs...), "spa").Set("Origin", servertest.Origin)
}

func redeemSPA(w *servertest.World, code string) *servertest.Request {
	return spa(w, token, "grant_type", "authorization_code", "code", code, "redirect_uri", servertest.Callback, "code_verifier", servertest.Verifier)
}

// renewSPA is what the script sends: it knows no token.
func renewSPA(w *servertest.World, cookie *http.Cookie) *servertest.Request {
	return spa(w, token, "grant_type", "refresh_token").Set("Cookie", cookie.Name+"="+cookie.Value)
}

func codeSPA(w *servertest.World) string {
	return w.Browser().Authorize("spa").Through("alice").Code()
}

// The whole circle of a browser application, after a code: B-01, B-02, B-05.
func TestCookie_of_a_code_B01_B02_B05(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		a := w.Send(redeemSPA(w, codeSPA(w))).Require(http.StatusOK)
		readable(t, a)
		require.NotContains(t, a.JSON, "refresh_token")
		require.NotRegexp(t, `\bgr1_`, string(a.Body)) // where a token can begin
		require.NotEmpty(t, a.Text("id_token"))
		first := cookieOf(t, a)
		require.Equal(t, "__Host-grantor-rt-spa", first.Name)
		require.True(t, first.HttpOnly)
		require.True(t, first.Secure)
		require.Equal(t, http.SameSiteStrictMode, first.SameSite)
		require.Equal(t, "/", first.Path)
		require.Empty(t, first.Domain)

		renewed := w.Send(renewSPA(w, first)).Require(http.StatusOK)
		readable(t, renewed)
		require.NotContains(t, renewed.JSON, "refresh_token")
		second := cookieOf(t, renewed)
		require.NotEqual(t, first.Value, second.Value)
		require.Equal(t, servertest.Claims(t, a.Text("id_token"))["sub"], servertest.Claims(t, renewed.Text("id_token"))["sub"])
		require.Equal(t, second.Value, cookieOf(t, w.Send(renewSPA(w, first)).Require(http.StatusOK)).Value, "another tab gets the same")

		gone := w.Send(spa(w, revoke).Set("Cookie", second.Name+"="+second.Value)).Require(http.StatusOK)
		readable(t, gone)
		require.Negative(t, cookieOf(t, gone).MaxAge)
		require.False(t, w.Active(renewed.Access()))
		w.Send(renewSPA(w, second)).Refused(400, "invalid_grant")
	})
}

// B-03, B-04: a code is redeemed by its page or by nobody.
func TestCookie_of_a_code_from_elsewhere_B03_B04(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	code := codeSPA(w)
	for name, change := range map[string]func(*servertest.Request){
		"an unregistered origin":     func(r *servertest.Request) { r.Set("Origin", "https://evil.test") },
		"null":                       func(r *servertest.Request) { r.Set("Origin", "null") },
		"two origins":                func(r *servertest.Request) { r.Header.Add("Origin", servertest.Origin) },
		"Fetch Metadata: cross-site": func(r *servertest.Request) { r.Set("Sec-Fetch-Site", "cross-site") },
		"Fetch Metadata: navigation": func(r *servertest.Request) { r.Set("Sec-Fetch-Mode", "navigate") },
	} {
		r := redeemSPA(w, code)
		change(r)
		a := w.Send(r)
		require.Contains(t, []int{400, 403}, a.Status, name)
		require.Empty(t, a.Header.Values("Set-Cookie"), name)
		require.NotContains(t, string(a.Body), "access_token")
		if r.Header.Get("Origin") != servertest.Origin {
			require.Empty(t, a.Header.Get("Access-Control-Allow-Origin"), name)
		}
	}
	cookie := cookieOf(t, w.Send(redeemSPA(w, code)).Require(http.StatusOK))
	for name, change := range map[string]func(*servertest.Request){
		"B-03 no Origin":      func(r *servertest.Request) { r.Header.Del("Origin") },
		"B-04 another origin": func(r *servertest.Request) { r.Set("Origin", "https://evil.test") },
	} {
		for _, path := range []string{token, revoke} {
			r := renewSPA(w, cookie)
			r.Path = path
			change(r)
			a := w.Send(r)
			require.Contains(t, []int{400, 403}, a.Status, "%s %s", path, name)
			require.Empty(t, a.Header.Get("Access-Control-Allow-Origin"), name)
			require.Empty(t, a.Header.Values("Set-Cookie"), name)
		}
	}
	require.Equal(t, int64(1), session(t, w, cookie.Value).Generation, "no rotation")
	w.Send(renewSPA(w, cookie)).Require(http.StatusOK)
}

// Signing out at the server ends what the cookie could renew, and takes it back.
func TestCookie_after_signing_out(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	cookie := cookieOf(t, w.Send(redeemSPA(w, b.Authorize("spa").Through("alice").Code())).Require(http.StatusOK))
	b.Get("/account").Submit("decision", "signout").Require(http.StatusOK)
	a := w.Send(renewSPA(w, cookie)).Refused(400, "invalid_grant")
	require.Negative(t, cookieOf(t, a).MaxAge)
}
