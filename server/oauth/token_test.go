package oauth_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/servertest"
)

// correct is T of attacks.md: a correct request of the client cc.
func correct(w *servertest.World) *servertest.Request {
	return w.As(servertest.Form("/oauth2/token", "grant_type", "client_credentials"), "cc")
}

// row is one line of attacks.md: a request and what it must get.
type row struct {
	id      string
	request *servertest.Request
	status  int
	code    string
}

func refuse(t *testing.T, w *servertest.World, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.id, func(t *testing.T) {
			a := w.Send(r.request)
			require.Equal(t, r.status, a.Status, "%s", a.Body)
			require.Equal(t, r.code, a.JSON["error"], "%s", a.Body)
			require.Empty(t, a.Access())
		})
	}
}

func TestToken_refuses(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	form := func(client string, pairs ...string) *servertest.Request {
		return w.As(servertest.Form("/oauth2/token", pairs...), client)
	}
	// with is T, changed.
	with := func(change func(r *servertest.Request)) *servertest.Request {
		r := correct(w)
		change(r)
		return r
	}
	raw := func(body string) *servertest.Request {
		return with(func(r *servertest.Request) { r.Body = body })
	}
	basic := func(value string) *servertest.Request {
		return with(func(r *servertest.Request) { r.Set("Authorization", "Basic "+value) })
	}
	encoded := func(text string) *servertest.Request { return basic(base64.StdEncoding.EncodeToString([]byte(text))) }
	const grant = "grant_type=client_credentials"

	refuse(t, w, []row{
		{"T-01 GET", with(func(r *servertest.Request) { r.Method, r.Path, r.Body = "GET", "/oauth2/token?"+grant, "" }), 405, "invalid_request"},
		{"T-02 parameters in the query", with(func(r *servertest.Request) { r.Path, r.Body = "/oauth2/token?"+grant, "" }), 400, "invalid_request"},
		{"T-02 one parameter in the query", with(func(r *servertest.Request) { r.Path += "?scope=read" }), 400, "invalid_request"},
		{"T-02 credentials in the query", with(func(r *servertest.Request) {
			r.Path += "?client_id=cc&client_secret=" + w.Secret("cc")
			r.Header.Del("Authorization")
		}), 400, "invalid_request"},
		{"T-03 JSON", with(func(r *servertest.Request) {
			r.Body = `{"grant_type":"client_credentials"}`
			r.Set("Content-Type", "application/json")
		}), 400, "invalid_request"},
		{"T-03 multipart", with(func(r *servertest.Request) {
			r.Body = "--x\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\nclient_credentials\r\n--x--\r\n"
			r.Set("Content-Type", "multipart/form-data; boundary=x")
		}), 400, "invalid_request"},
		{"T-03 no content type", with(func(r *servertest.Request) { r.Header.Del("Content-Type") }), 400, "invalid_request"},
		{"T-03 two content types in one", with(func(r *servertest.Request) {
			r.Set("Content-Type", "application/x-www-form-urlencoded, application/json")
		}), 400, "invalid_request"},
		{"T-04 empty body", raw(""), 400, "invalid_request"},
		{"T-04 no grant_type", raw("scope=read"), 400, "invalid_request"},
		{"T-04 empty grant_type", raw("grant_type="), 400, "invalid_request"},
		{"T-05 unknown grant_type", raw("grant_type=foo"), 400, "unsupported_grant_type"},
		{"T-05 not offered yet", form("c1", "grant_type", "urn:ietf:params:oauth:grant-type:device_code", "device_code", "x"), 400, "unsupported_grant_type"},
		{"T-05 two in one", raw("grant_type=client_credentials+password"), 400, "unsupported_grant_type"},
		{"T-05 in capitals", raw("grant_type=Client_Credentials"), 400, "unsupported_grant_type"},
		{"T-06 cc asks password", form("cc", "grant_type", "password", "username", "alice", "password", servertest.Password("alice")), 400, "unauthorized_client"},
		{"T-06 cc asks refresh_token", form("cc", "grant_type", "refresh_token", "refresh_token", "gr1_x"), 400, "unauthorized_client"},
		{"T-06 pw asks client_credentials", form("pw", "grant_type", "client_credentials"), 400, "unauthorized_client"},
		{"T-07 scope twice, equal", raw(grant + "&scope=read&scope=read"), 400, "invalid_request"},
		{"T-07 scope twice, different", raw(grant + "&scope=read&scope=write"), 400, "invalid_request"},
		{"T-07 scope twice, one empty", raw(grant + "&scope=read&scope="), 400, "invalid_request"},
		{"T-07 grant_type twice", raw(grant + "&" + grant), 400, "invalid_request"},
		{"T-07 grant_type twice, different", raw(grant + "&grant_type=password"), 400, "invalid_request"},
		{"T-07 an unknown parameter twice", raw(grant + "&extra=1&extra=2"), 400, "invalid_request"},
		{"T-07 client_id twice", raw(grant + "&client_id=cc&client_id=cc"), 400, "invalid_request"},
		{"T-08 wrong secret", encoded("cc:evil-secret-evil"), 401, "invalid_client"},
		{"T-09 unknown client", encoded("nobody:evil-secret-evil"), 401, "invalid_client"},
		{"T-10 two client ids", form("c1", "grant_type", "client_credentials", "client_id", "c2"), 400, "invalid_request"},
		{"T-11 two methods", form("c1", "grant_type", "password", "client_secret", w.Secret("c1")), 400, "invalid_request"},
		{"T-11 two methods, both of one client", form("cc", "grant_type", "client_credentials", "client_id", "cc", "client_secret", w.Secret("cc")), 400, "invalid_request"},
		{"T-12 registered for basic, sends post", servertest.Form("/oauth2/token", "grant_type", "client_credentials", "client_id", "basic", "client_secret", w.Secret("basic")), 401, "invalid_client"},
		{"T-12 registered for post, sends basic", form("post", "grant_type", "client_credentials"), 401, "invalid_client"},
		{"T-13 no secret", servertest.Form("/oauth2/token", "grant_type", "client_credentials", "client_id", "c1"), 401, "invalid_client"},
		{"T-13 empty secret", servertest.Form("/oauth2/token", "grant_type", "client_credentials", "client_id", "c1", "client_secret", ""), 401, "invalid_client"},
		{"T-13 empty secret by Basic", encoded("cc:"), 401, "invalid_client"},
		{"T-13 nothing at all", servertest.Form("/oauth2/token", "grant_type", "client_credentials"), 401, "invalid_client"},
		{"T-14 not base64", basic("!!!!"), 401, "invalid_client"},
		{"T-14 no colon", encoded("cc"), 401, "invalid_client"},
		{"T-14 empty", basic(""), 401, "invalid_client"},
		{"T-14 no id", encoded(":" + w.Secret("cc")), 401, "invalid_client"},
		{"T-14 broken percent encoding", encoded("cc:%zz"), 401, "invalid_client"},
		{"T-14 60 KB", encoded("cc:" + strings.Repeat("evil", 11_000)), 401, "invalid_client"},
		{"T-14 a client id of 40 KB", encoded(strings.Repeat("evil", 10_000) + ":x"), 401, "invalid_client"},
		{"T-15 scope of 60 KB", raw(grant + "&scope=" + strings.Repeat("evil+", 12_000)), 400, "invalid_scope"},
		{"T-15 scope of 60 KB that is registered", raw(grant + "&scope=" + strings.Repeat("read+", 12_000)), 400, "invalid_scope"},
		{"T-15 scope of 200 KB", raw(grant + "&scope=" + strings.Repeat("evil+", 40_000)), 413, "invalid_request"},
		{"T-22 an assertion", form("c1", "grant_type", "client_credentials", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", "evil.evil.evil"), 401, "invalid_client"},
		{"X-01 public client", form("p1", "grant_type", "client_credentials"), 400, "unauthorized_client"},
		{"X-02 scope of nobody", raw(grant + "&scope=evil"), 400, "invalid_scope"},
		{"X-02 scope of other clients", raw(grant + "&scope=profile"), 400, "invalid_scope"},
		{"X-02 scope in capitals", raw(grant + "&scope=READ"), 400, "invalid_scope"},
		{"X-02 a wildcard", raw(grant + "&scope=*"), 400, "invalid_scope"},
		{"X-02 part of a scope", raw(grant + "&scope=rea"), 400, "invalid_scope"},
		{"X-02 below a scope", raw(grant + "&scope=read.all"), 400, "invalid_scope"},
		{"X-02 parted by a tab", raw(grant + "&scope=read%09write"), 400, "invalid_scope"},
		{"X-02 parted by a line", raw(grant + "&scope=read%0Awrite"), 400, "invalid_scope"},
		{"X-02 parted by a wide blank", raw(grant + "&scope=read%E3%80%80write"), 400, "invalid_scope"},
		{"foreign audience", raw(grant + "&audience=https%3A%2F%2Fevil.test"), 400, "invalid_target"},
		{"foreign resource", raw(grant + "&resource=https%3A%2F%2Fevil.test"), 400, "invalid_target"},
		{"one good and one foreign resource", raw(grant + "&resource=https%3A%2F%2Fapi.test&resource=https%3A%2F%2Fevil.test"), 400, "invalid_target"},
		{"resource below a registered one", raw(grant + "&resource=https%3A%2F%2Fapi.test%2Fadmin"), 400, "invalid_target"},
		{"a thousand resources", raw(grant + strings.Repeat("&resource=https%3A%2F%2Fapi.test", 1000)), 400, "invalid_target"},
		{"a body with semicolons", raw(grant + ";scope=read"), 400, "invalid_request"},
		{"a body with broken encoding", raw(grant + "&scope=%zz"), 400, "invalid_request"},
		{"two Authorization headers", with(func(r *servertest.Request) { r.Header.Add("Authorization", "Bearer evil") }), 400, "invalid_request"},
	})
	require.Empty(t, sessions(t, w), "nothing was stored")
}

// The 401 of RFC 6749 section 5.2, the same for every reason: T-08, T-09.
func TestToken_wrong_secret_and_unknown_client_are_one_answer_T08_T09(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	ask := func(id, secret string) *servertest.Answer {
		a := w.Send(servertest.Form("/oauth2/token", "grant_type", "client_credentials").Basic(id, secret))
		a.Refused(401, "invalid_client")
		a.Header.Del("Date")
		a.Header.Del("X-Request-Id")
		return a
	}
	wrong := ask("cc", "wrong-secret")
	require.True(t, strings.HasPrefix(wrong.Header.Get("WWW-Authenticate"), "Basic realm="))
	for name, other := range map[string]*servertest.Answer{
		"unknown": ask("nobody", "wrong-secret"), "chosen": ask("chosen", "wrong-secret"), "public": ask("p1", "wrong-secret"), "other method": ask("post", w.Secret("post")),
	} {
		require.Equal(t, wrong.Body, other.Body, name)
		require.Equal(t, wrong.Header, other.Header, name)
	}
}

func TestToken_over_64_KB_of_header_is_431_T14(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/oauth2/token", strings.NewReader("grant_type=client_credentials"))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Basic "+strings.Repeat("QUFB", 25_000))
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, answer.StatusCode)
}

func TestToken_accepts(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for name, request := range map[string]*servertest.Request{
		"T":                              correct(w),
		"T-16 unknown parameter":         w.As(servertest.Form("/oauth2/token", "grant_type", "client_credentials", "extra", "1"), "cc"),
		"T-17 scheme in lower case":      correct(w).Set("Authorization", strings.Replace(correct(w).Header.Get("Authorization"), "Basic", "basic", 1)),
		"client_id beside Basic":         w.As(servertest.Form("/oauth2/token", "grant_type", "client_credentials", "client_id", "cc"), "cc"),
		"secret in the form":             servertest.Form("/oauth2/token", "grant_type", "client_credentials", "client_id", "cc", "client_secret", w.Secret("cc")),
		"content type with a charset":    correct(w).Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8"),
		"content type in capitals":       correct(w).Set("Content-Type", "Application/X-WWW-Form-Urlencoded"),
		"empty scope is no scope":        w.As(servertest.Form("/oauth2/token", "grant_type", "client_credentials", "scope", ""), "cc"),
		"Bearer is no client method":     servertest.Form("/oauth2/token", "grant_type", "client_credentials", "client_id", "cc", "client_secret", w.Secret("cc")).Bearer("whatever-it-is"),
		"the issuer is always a target":  w.As(servertest.Form("/oauth2/token", "grant_type", "client_credentials", "resource", w.Issuer), "cc"),
		"registered basic by basic":      w.As(servertest.Form("/oauth2/token", "grant_type", "client_credentials"), "basic"),
		"registered post by post":        servertest.Form("/oauth2/token", "grant_type", "client_credentials", "client_id", "post", "client_secret", w.Secret("post")),
		"Basic with everything encoded":  correct(w).Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("%63%63:"+w.Secret("cc")))),
		"a method override has no force": correct(w).Set("X-HTTP-Method-Override", "GET"),
	} {
		t.Run(name, func(t *testing.T) {
			a := w.Send(request)
			require.Equal(t, 200, a.Status, "%s", a.Body)
			require.NotEmpty(t, a.Access())
		})
	}
}

// RFC 6749 section 5.1.
func TestToken_success_T18(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for _, a := range []*servertest.Answer{w.Token("cc", "grant_type", "client_credentials"), w.Login("c1", "alice"), w.Refresh("c1", w.Login("c1", "alice").Refresh())} {
		a.Require(200)
		require.Equal(t, "application/json", a.Header.Get("Content-Type"))
		require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		require.Equal(t, "no-cache", a.Header.Get("Pragma"))
		require.Equal(t, "Bearer", a.JSON["token_type"])
		require.Contains(t, string(a.Body), `"expires_in":600`)
		require.NotEmpty(t, a.JSON["scope"], "nothing was asked, something was granted")
	}
	require.Equal(t, "read write openid", w.Token("cc", "grant_type", "client_credentials").Text("scope"), "nothing asked means all that is registered")
	require.Equal(t, "write read", w.Token("cc", "grant_type", "client_credentials", "scope", "write read write").Text("scope"))
}

// T-09: the same order of time. A generated secret costs nothing to compare, so all
// that differs is one query, and not even that while the cache knows the client.
func TestToken_unknown_client_costs_no_hashing_T09(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for _, id := range []string{"cc", "nobody"} {
		w.Send(servertest.Form("/oauth2/token", "grant_type", "client_credentials").Basic(id, "wrong-secret")).Refused(401, "invalid_client")
		require.Zero(t, w.Passwords.Waiting())
	}
}

// H-01: the body is not read further than its bound, whatever it announces.
func TestToken_reads_no_more_than_64_KB_H01(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for _, path := range []string{"/oauth2/token", "/oauth2/introspect", "/oauth2/revoke", "/userinfo"} {
		for _, length := range []int64{10 << 20, -1} {
			body := &endless{left: 10 << 20}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, body)
			r.ContentLength = length
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			answer := httptest.NewRecorder()
			w.Handler().ServeHTTP(answer, r)
			require.Equal(t, http.StatusRequestEntityTooLarge, answer.Code, path)
			require.Contains(t, answer.Body.String(), `"invalid_request"`)
			require.Less(t, body.read, 256<<10, path)
		}
	}
}

// endless is a body of the letter a.
type endless struct{ left, read int }

func (e *endless) Read(p []byte) (int, error) {
	n := min(len(p), e.left)
	for i := range n {
		p[i] = 'a'
	}
	e.left -= n
	e.read += n
	return n, nil
}

// Secrets, codes and names of every shape in every parameter: H-05.
func TestToken_NUL_and_broken_text_H05(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		const grant = "grant_type=password&username=alice&password=whatever-it-is"
		bad := []string{"%00", "a%00b", "%FF", "%C3%28", "%ED%A0%80", "%F5%80%80%80"}
		for _, name := range []string{"grant_type", "username", "password", "scope", "client_id", "client_secret", "refresh_token", "resource", "audience", "extra", "token", "token_type_hint"} {
			for _, value := range bad {
				for _, path := range []string{"/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"} {
					r := w.As(servertest.Form(path), "c1")
					r.Body = name + "=" + value
					if path == "/oauth2/token" && !strings.Contains(grant, name+"=") {
						r.Body += "&" + grant
					}
					a := w.Send(r)
					require.Equal(t, 400, a.Status, "%s %s=%s: %s", path, name, value, a.Body)
				}
			}
		}
		for _, value := range bad {
			w.Send(withBody(w.As(servertest.Form("/oauth2/token"), "c1"), grant+"&"+value+"=1")).Refused(400, "invalid_request")
			for _, pair := range []string{value + ":x", "c1:" + value} {
				r := servertest.Form("/oauth2/token", "grant_type", "client_credentials")
				r.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
				w.Send(r).Refused(401, "invalid_client")
			}
		}
		// The same bytes without percent signs, as no form encodes them.
		for _, value := range []string{"\x00", "\xff", "\xc3("} {
			w.Send(withBody(w.As(servertest.Form("/oauth2/token"), "c1"), "grant_type=password&username="+value)).Refused(400, "invalid_request")
			r := servertest.Form("/oauth2/token", "grant_type", "client_credentials")
			r.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(value+":"+value)))
			w.Send(r).Refused(401, "invalid_client")
		}
		require.Empty(t, sessions(t, w), "nothing was stored")
	})
}
