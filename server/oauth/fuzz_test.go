package oauth_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/servertest"
)

// H-10: the parsers that strangers reach without a client secret. They are asked through
// the whole server, signed in and allowed, so that nothing but them keeps a code back.

// signedInto is a World and the cookies of alice, who allowed every client what it asks.
func signedInto(f *testing.F) (*servertest.World, http.Header) {
	f.Helper()
	w := servertest.New(f, servertest.Setup{})
	b := w.Browser()
	for _, client := range []string{"own", "two", "c1"} {
		b.Authorize(client, "redirect_uri", servertest.Callback).Through("alice").Code()
	}
	header := http.Header{}
	for _, c := range b.Cookies {
		header.Add("Cookie", c.Name+"="+c.Value)
	}
	return w, header
}

func serve(t *testing.T, w *servertest.World, header http.Header, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	for name, values := range header {
		r.Header[name] = values
	}
	a := httptest.NewRecorder()
	w.Handler().ServeHTTP(a, r)
	require.Less(t, a.Code, 500, "%s", a.Body)
	return a
}

// requireOwnDestination: nobody is sent to what was not compared with the registration.
func requireOwnDestination(t *testing.T, a *httptest.ResponseRecorder) {
	t.Helper()
	to := a.Header().Get("Location")
	if to == "" {
		require.NotEqual(t, 303, a.Code)
		return
	}
	require.Equal(t, 303, a.Code)
	require.False(t, strings.ContainsAny(to, "\r\n\x00"), "%q", to)
	for _, own := range []string{"/login?request=", "/consent?request=", "/oauth2/auth?", servertest.Callback + "?", servertest.Callback + "#", "https://app.test/cb2?x=1&", "https://app.test/cb2?x=1#"} {
		if strings.HasPrefix(to, own) {
			return
		}
	}
	if u, err := url.Parse(to); err == nil && u.Scheme == "http" && u.Hostname() == "127.0.0.1" && u.User == nil && u.Path == "/cb" && (strings.HasPrefix(to, servertest.Native) || u.Port() != "") {
		return // n1's, on any port
	}
	require.Fail(t, "redirect to what nobody registered", "%q", to)
}

func FuzzAuthorize(f *testing.F) {
	for _, client := range []string{"own", "two", "n1", "old", "nobody"} {
		f.Add(servertest.AuthorizeQuery(client).Encode())
	}
	for _, uris := range strangers {
		f.Add(servertest.AuthorizeQuery("two", "redirect_uri", uris[0]).Encode())
	}
	for _, pairs := range [][]string{
		{"response_mode", "form_post"},
		{"response_mode", "fragment", "response_type", "token"},
		{"state", `"><script>`},
		{"redirect_uri", "-"},
		{"prompt", "none"},
		{"prompt", "login consent"},
		{"max_age", "0"},
		{"claims", `{"id_token":{"email":null}}`},
		{"id_token_hint", "a.b.c"},
		{"scope", "-"},
		{"resource", servertest.API},
		{"ui_locales", "de"},
	} {
		f.Add(servertest.AuthorizeQuery("own", pairs...).Encode())
	}
	f.Add(servertest.AuthorizeQuery("n1", "redirect_uri", "http://127.0.0.1:51004/cb").Encode())
	f.Add("")
	f.Add("%00=%ff&a;b&client_id=own&client_id=two")
	w, header := signedInto(f)
	f.Fuzz(func(t *testing.T, query string) {
		get := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/oauth2/auth", nil)
		get.URL.RawQuery = query
		requireOwnDestination(t, serve(t, w, header, get))
		requireOwnDestination(t, serve(t, w, http.Header{}, get))
		post := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/oauth2/auth", strings.NewReader(query))
		post.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		requireOwnDestination(t, serve(t, w, header, post))
	})
}

// FuzzAuthorize_redirect_uri has more luck with the one parameter that matters most.
func FuzzAuthorize_redirect_uri(f *testing.F) {
	for _, uris := range strangers {
		for _, uri := range uris {
			f.Add("two", uri)
		}
	}
	for _, uri := range []string{"http://127.0.0.1:51004/cb", "http://127.0.0.1:0/cb", "http://127.0.0.1:9@evil.test/cb", "http://[::1]:1/cb", "http://127.0.0.1:/cb", "http://127.0.0.1:1/cb?x"} {
		f.Add("n1", uri)
	}
	w, header := signedInto(f)
	f.Fuzz(func(t *testing.T, client, uri string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/oauth2/auth?"+servertest.AuthorizeQuery(client, "redirect_uri", uri, "prompt", "none").Encode(), nil)
		requireOwnDestination(t, serve(t, w, header, r))
	})
}

// FuzzAuthorize_claims: whatever is asked for, an answer holds what the server says, and
// about alice what her account says.
func FuzzAuthorize_claims(f *testing.F) {
	for _, claims := range []string{
		`{"userinfo":{"email":null,"name":{"essential":true}},"id_token":{"auth_time":{"essential":true},"acr":{"values":["1"]}}}`,
		`{"id_token":{"sub":{"value":"id-of-alice"}}}`, `{"id_token":{"sub":{"value":"id-of-bob"}}}`, `{"id_token":{"sub":{"value":1}}}`, `{}`, `null`, `[]`, `{"userinfo":null}`, `{"userinfo":{"email":{"value":{"a":[1]}}}}`,
		`{"id_token":{"iss":{"value":"https://evil.test"},"aud":null,"exp":null}}`, `{"userinfo":{"email":1}}`, `{"USERINFO":{"EMAIL":null}}`, "{\"userinfo\":{\"\\u0000\":null}}", `{}x`, strings.Repeat("[", 5000),
		`{"id_token":{"acr":{"essential":true,"value":"9"}}}`, `{"id_token":{"acr":{"essential":true,"value":{}}}}`, `{"id_token":{"acr":{"essential":true,"values":[[],{}]}}}`,
	} {
		f.Add(claims)
	}
	w, header := signedInto(f)
	basic := w.Basic("own")
	known := map[string]bool{}
	for _, name := range []string{
		"iss", "sub", "aud", "azp", "iat", "exp", "auth_time", "acr", "amr", "nonce", "at_hash", "sid", "email", "email_verified", "preferred_username", "updated_at",
	} {
		known[name] = true
	}
	f.Fuzz(func(t *testing.T, claims string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/oauth2/auth?"+servertest.AuthorizeQuery("own", "claims", claims).Encode(), nil)
		a := serve(t, w, header, r)
		requireOwnDestination(t, a)
		to, err := url.Parse(a.Header().Get("Location"))
		require.NoError(t, err)
		code := to.Query().Get("code")
		if code == "" {
			return
		}
		form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {servertest.Callback}, "code_verifier": {servertest.Verifier}}
		r = httptest.NewRequestWithContext(t.Context(), http.MethodPost, token, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Authorization", basic)
		a = serve(t, w, nil, r)
		require.Equal(t, 200, a.Code, "%s", a.Body)
		var tokens struct {
			Access string `json:"access_token"`
			ID     string `json:"id_token"`
		}
		require.NoError(t, json.Unmarshal(a.Body.Bytes(), &tokens))
		said := servertest.Claims(t, tokens.ID)
		require.Equal(t, []any{w.Issuer, servertest.UserID("alice"), "own", "a nonce"}, []any{said["iss"], said["sub"], said["aud"], said["nonce"]})

		r = httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/userinfo", nil)
		r.Header.Set("Authorization", "Bearer "+tokens.Access)
		a = serve(t, w, nil, r)
		require.Equal(t, 200, a.Code, "%s", a.Body)
		var info map[string]any
		require.NoError(t, json.Unmarshal(a.Body.Bytes(), &info))
		require.Equal(t, servertest.UserID("alice"), info["sub"])
		for _, name := range append(names(said), names(info)...) {
			require.True(t, known[name], name)
		}
	})
}
