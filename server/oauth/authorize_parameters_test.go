package oauth_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/server/servertest"
)

// refusal is one line of attacks.md at the authorization endpoint: a parameter ("-" takes
// it out) and the error that the client hears, or "" for none.
type refusal struct {
	id     string
	client string
	pairs  []string
	code   string
}

func (r refusal) try(t *testing.T, b *servertest.Browser) {
	t.Helper()
	page := b.Authorize(r.client, r.pairs...)
	if r.code == "" {
		page.Through("alice").Code()
		return
	}
	requireRedirect(t, page, r.code)
}

// A client that is told what is wrong: sections 7 and 8 of attacks.md.
func TestAuthorize_refuses_to_the_client_section7_section8(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	w.AddClient(clients.Client{ID: "app", Public: true, Grants: []string{"authorization_code"}, RedirectURIs: []string{servertest.Callback}, Scope: []string{"read"}})
	b := w.Browser()
	challenge := servertest.Challenge(servertest.Verifier)
	for _, r := range []refusal{
		{"K-01 confidential", "c1", []string{"code_challenge", "-", "code_challenge_method", "-"}, "invalid_request"},
		{"K-01 first party", "own", []string{"code_challenge", "-", "code_challenge_method", "-"}, "invalid_request"},
		{"K-01 public", "app", []string{"code_challenge", "-", "code_challenge_method", "-", "scope", "read"}, "invalid_request"},
		{"K-01 method without a challenge", "c1", []string{"code_challenge", "-"}, "invalid_request"},
		{"K-01 optional, method without a challenge", "old", []string{"code_challenge", "-"}, "invalid_request"},
		{"K-01 optional, neither", "old", []string{"code_challenge", "-", "code_challenge_method", "-"}, ""},
		{"K-01 optional, both", "old", nil, ""},
		{"K-02 plain", "c1", []string{"code_challenge_method", "plain"}, "invalid_request"},
		{"K-02 method missing", "c1", []string{"code_challenge_method", "-"}, "invalid_request"},
		{"K-02 optional, plain", "old", []string{"code_challenge_method", "plain"}, "invalid_request"},
		{"K-02 optional, method missing", "old", []string{"code_challenge_method", "-"}, "invalid_request"},
		{"K-02 method s256", "c1", []string{"code_challenge_method", "s256"}, "invalid_request"},
		{"K-02 challenge too short", "c1", []string{"code_challenge", challenge[1:]}, "invalid_request"},
		{"K-02 challenge too long", "c1", []string{"code_challenge", challenge + "A"}, "invalid_request"},
		{"K-02 challenge padded", "c1", []string{"code_challenge", challenge + "="}, "invalid_request"},
		{"K-02 challenge in standard base64", "c1", []string{"code_challenge", "+/" + challenge[2:]}, "invalid_request"},
		{"K-02 challenge with a line", "c1", []string{"code_challenge", challenge + "\n"}, "invalid_request"},
		{"K-02 challenge is a verifier", "c1", []string{"code_challenge", servertest.Verifier}, "invalid_request"},

		{"E-01 no response_type", "c1", []string{"response_type", "-"}, "invalid_request"},
		{"E-01 empty response_type", "c1", []string{"response_type", ""}, "invalid_request"},
		{"E-02 token", "c1", []string{"response_type", "token"}, "unsupported_response_type"},
		{"E-02 code token", "c1", []string{"response_type", "code token"}, "unsupported_response_type"},
		{"E-02 id_token", "c1", []string{"response_type", "id_token"}, "unsupported_response_type"},
		{"E-02 code id_token token", "c1", []string{"response_type", "code id_token token"}, "unsupported_response_type"},
		{"E-02 none", "c1", []string{"response_type", "none"}, "unsupported_response_type"},
		{"E-02 code twice", "c1", []string{"response_type", "code code"}, "unsupported_response_type"},
		{"E-02 CODE", "c1", []string{"response_type", "CODE"}, "unsupported_response_type"},
		{"E-03 A-14 unknown scope", "c1", []string{"scope", "openid evil"}, "invalid_scope"},
		{"E-03 scope of others", "app", []string{"scope", "openid"}, "invalid_scope"},
		{"E-03 scope in capitals", "c1", []string{"scope", "OPENID"}, "invalid_scope"},
		{"E-03 tab between scopes", "c1", []string{"scope", "openid\tread"}, "invalid_scope"},
		{"E-03 10,000 scopes", "c1", []string{"scope", strings.Repeat("read ", 10_000)}, "invalid_scope"},
		{"unregistered audience", "c1", []string{"resource", "https://evil.test"}, "invalid_target"},
		{"registered audience", "c1", []string{"resource", servertest.API}, ""},
		{"E-13 request", "c1", []string{"request", "eyJhbGciOiJub25lIn0.eyJzY29wZSI6ImV2aWwifQ."}, "request_not_supported"},
		{"E-13 request_uri", "c1", []string{"request_uri", w.URL + "/healthz"}, "request_uri_not_supported"},
		{"E-13 request_uri of PAR", "c1", []string{"request_uri", "urn:ietf:params:oauth:request_uri:x"}, "request_uri_not_supported"},
		{"E-13 registration", "c1", []string{"registration", "{}"}, "registration_not_supported"},
		{"E-14 response_mode", "c1", []string{"response_mode", "foo"}, "invalid_request"},
		{"E-14 response_mode of JARM", "c1", []string{"response_mode", "form_post.jwt"}, "invalid_request"},
		{"E-14 response_mode, two", "c1", []string{"response_mode", "query fragment"}, "invalid_request"},
		{"nonce too long", "c1", []string{"nonce", strings.Repeat("n", 2049)}, "invalid_request"},
		{"E-06 unknown parameter", "c1", []string{"evil", "1"}, ""},
		{"E-06 empty parameters", "c1", []string{"prompt", "", "max_age", "", "claims", "", "request", "", "id_token_hint", "", "response_mode", "", "nonce", ""}, ""},
		{"no scope: all that is registered", "c1", []string{"scope", "-"}, ""},
	} {
		t.Run(r.id, func(t *testing.T) { r.try(t, b) })
	}
	for _, line := range w.Log.Requests(t) {
		require.NotEqual(t, "/healthz", line["route"], "nothing is fetched")
	}
}

// A person who is told what is wrong: the request can not be read in one way, so its
// redirect URI is not proven either.
func TestAuthorize_refuses_to_the_person_E06_H05(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	for _, name := range []string{"state", "scope", "nonce", "response_type", "code_challenge", "prompt", "claims", "evil"} {
		requirePage(t, b.Get(with("c1", name, "a", "b")))
		requirePage(t, b.Get(with("c1", name, "a", "a")))
	}
	for _, name := range []string{"client_id", "redirect_uri", "scope", "state", "nonce", "login_hint", "ui_locales", "claims", "max_age", "evil"} {
		for _, bad := range []string{"evil\x00", "\xff\xfe", "a\xc3", "\xed\xa0\x80"} {
			requirePage(t, b.Get(with("c1", name, bad)))
		}
	}
	good := servertest.AuthorizeQuery("c1").Encode()
	requirePage(t, b.Get("/oauth2/auth?"+good+"&%00=1"))
	requirePage(t, b.Get("/oauth2/auth?"+good+"&x=%zz"))
	requirePage(t, b.Get("/oauth2/auth?"+good+"&a;b=1"))
	requirePage(t, b.Get("/oauth2/auth"))
	requirePage(t, b.Post("/oauth2/auth?"+good)) // the body is read, or the query, never both
	requirePage(t, b.Post("/oauth2/auth?x=1", pairsOf(servertest.AuthorizeQuery("c1"))...))
	require.Zero(t, grantRows(t, w))
}

// K-03: who keeps no secret can not do without PKCE.
func TestAuthorize_only_confidential_clients_do_without_PKCE_K03(t *testing.T) {
	t.Parallel()
	c := clients.Client{ID: "x", Public: true, Grants: []string{"authorization_code"}, RedirectURIs: []string{servertest.Callback}, PKCE: clients.PKCEOptional}
	c.SetDefaults()
	require.ErrorIs(t, c.Check(), clients.ErrInvalid)
}

// states are what a client may send as state, and must get back byte for byte.
var states = []string{
	"x", "0", " ", "a+b c%20d&e=f#g", `"><script>alert(1)</script>`, "ü\u2028\u202e\U0001f600", "code=evil&iss=evil", strings.Repeat("s", 2048), "{\"a\":1}\r\n\t",
}

// E-04, E-07, E-08, E-09: each mode, each kind of answer, each state.
func TestAuthorize_answers_in_every_mode_E04_E07_E08_E09(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	b.Authorize("own").Through("alice").Code()
	for _, mode := range []string{"query", "fragment", "form_post"} {
		for _, state := range append(states, "-") {
			for _, scope := range []string{"openid", "evil"} {
				page := b.Authorize("own", "response_mode", mode, "state", state, "scope", scope)
				answer := page.Answered()
				require.Equal(t, mode, modeOf(page))
				require.Equal(t, []string{servertest.Issuer}, answer["iss"])
				require.Equal(t, scope == "openid", answer.Get("code") != "")
				require.Equal(t, scope == "evil", answer.Get("error") == "invalid_scope")
				if state == "-" {
					require.False(t, answer.Has("state"), "nothing is invented")
					continue
				}
				if mode == "form_post" {
					requireFormPost(t, page)
					// HTML reads each line end as LF, and browsers send it as CRLF.
					state = strings.ReplaceAll(state, "\r\n", "\n")
				}
				require.Equal(t, []string{state}, answer["state"], page.Location())
			}
		}
		// Longer is refused, never cut.
		page := b.Authorize("own", "response_mode", mode, "state", strings.Repeat("s", 2049))
		require.Equal(t, "invalid_request", page.Answered().Get("error"))
		require.False(t, page.Answered().Has("state"))
	}
	// A registered query stays as it is.
	to := w.Browser().Authorize("two", "redirect_uri", "https://app.test/cb2?x=1").Through("alice").Location()
	require.True(t, strings.HasPrefix(to, "https://app.test/cb2?x=1&"), to)
}

// requireFormPost is E-09: one form, to the client alone, whose script the policy names.
func requireFormPost(t *testing.T, page *servertest.Page) {
	t.Helper()
	page.Require(200)
	require.Len(t, page.Forms, 1)
	require.Equal(t, servertest.Callback, page.Forms[0].Action)
	require.Equal(t, "post", page.Forms[0].Method)
	policy := page.Header.Get("Content-Security-Policy")
	require.Regexp(t, `script-src 'nonce-[A-Za-z0-9+/_=-]{20,}'`, policy)
	require.Contains(t, policy, "form-action https://app.test")
	require.NotContains(t, string(page.Body), "alert(1)</script>")
}

// E-05: a POST with the same fields works as the GET.
func TestAuthorize_POST_E05(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	pairs := pairsOf(servertest.AuthorizeQuery("c1"))
	code := b.Post("/oauth2/auth", pairs...).Through("alice").Code()
	w.Redeem("c1", code).Require(200)
	b.Post("/oauth2/auth", pairs...).Code()

	// What another site posts comes without our cookies: it comes again as a link, once.
	b.Header.Set("Sec-Fetch-Site", "cross-site")
	page := b.Post("/oauth2/auth", pairs...).Require(303)
	require.True(t, strings.HasPrefix(page.Location(), "/oauth2/auth?"), page.Location())
	page.Follow().Code()
	requirePage(t, b.Post("/oauth2/auth", append(pairs, "state", "again")...))
}

// E-10, H-06: nobody but the configuration says who we are.
func TestAuthorize_is_not_told_who_it_is_E10_H06(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for _, header := range []string{"Host", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "Forwarded", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-For"} {
		b := w.Browser()
		b.Header.Set(header, "ev~l.test") // no drawn text has a ~
		page := b.Authorize("c1").Follow().Require(200)
		require.NotContains(t, string(page.Body), "ev~l", header)
		for name, values := range page.Header {
			require.NotContains(t, strings.Join(values, " "), "ev~l", name)
		}
		for _, f := range page.Forms {
			require.True(t, strings.HasPrefix(f.Action, "/") && !strings.HasPrefix(f.Action, "//"), f.Action)
		}
		answer := page.Submit("username", "alice", "password", servertest.Password("alice")).Through("alice")
		require.Equal(t, servertest.Issuer, answer.Answered().Get("iss"), header)
		require.NotContains(t, answer.Location(), "ev~l")
	}
}

// E-11: a code is made by GET and POST alone.
func TestAuthorize_methods_E11(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	b.Authorize("own").Through("alice").Code()
	before := grantRows(t, w)
	for _, method := range []string{http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace, "EVIL"} {
		r := servertest.Get("/oauth2/auth?" + servertest.AuthorizeQuery("own").Encode())
		r.Method = method
		for _, c := range b.Cookies {
			r.Header.Add("Cookie", c.Name+"="+c.Value)
		}
		a := w.Send(r).Require(405)
		require.Equal(t, "GET, POST", a.Header.Get("Allow"))
	}
	r := servertest.Form("/oauth2/auth", pairsOf(servertest.AuthorizeQuery("own"))...)
	w.Send(r.Set("X-HTTP-Method-Override", "GET")).Require(303)
	require.Equal(t, before, grantRows(t, w))
}

// E-12: two tabs, finished crosswise. Each code goes where its own request said.
func TestAuthorize_two_tabs_E12(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for _, crosswise := range []bool{true, false} {
		b := w.Browser()
		one := b.Authorize("c1", "state", "one", "nonce", "n1").Follow()
		two := b.Authorize("two", "state", "two", "nonce", "n2", "redirect_uri", "https://app.test/cb2?x=1").Follow()
		finish := func(p *servertest.Page) *servertest.Page {
			return p.Submit("username", "alice", "password", servertest.Password("alice")).Through("alice")
		}
		var first, second *servertest.Page
		if crosswise {
			second = finish(two)
			first = finish(one)
		} else {
			first = finish(one)
			second = finish(two)
		}
		require.Equal(t, "one", first.Answered().Get("state"))
		require.Equal(t, "two", second.Answered().Get("state"))
		require.True(t, strings.HasPrefix(first.Location(), servertest.Callback+"?"))
		require.True(t, strings.HasPrefix(second.Location(), "https://app.test/cb2?x=1&"))
		w.Redeem("two", first.Code()).Refused(400, "invalid_grant")
		w.Redeem("c1", second.Code()).Refused(400, "invalid_grant")
		a := w.Redeem("c1", first.Code()).Require(200)
		require.Equal(t, "n1", servertest.Claims(t, a.Text("id_token"))["nonce"])
		a = w.Redeem("two", second.Code(), "redirect_uri", "https://app.test/cb2?x=1").Require(200)
		require.Equal(t, "n2", servertest.Claims(t, a.Text("id_token"))["nonce"])
	}
}

// What is sealed into a page is this server's and lives an hour; nothing else opens it.
func TestAuthorize_a_request_that_waits_is_sealed(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	page := b.Authorize("c1")
	_, sealed, _ := strings.Cut(page.Location(), "request=")
	b.SignIn("alice")
	consent := b.Authorize("c1").Location()
	for _, path := range []string{"/login?request=", "/consent?request="} {
		for _, forged := range []string{"x", sealed[:len(sealed)-1], sealed + "A", strings.ToUpper(sealed), url.QueryEscape(`{"ID":"x"}`), strings.Repeat("A", 40_000)} {
			requirePage(t, b.Get(path+forged))
		}
	}
	requirePage(t, b.Get("/consent"))
	// A sealed logout, device or opaque token is another seal.
	requirePage(t, b.Get("/consent?request="+b.Cookies["__Host-grantor-device"].Value))
	requirePage(t, b.Get("/consent?request="+w.Login("sealed", "alice").Access()))
	w.Clock.Advance(time.Hour)
	b.Get(consent).Require(200)
	w.Clock.Advance(time.Second)
	requirePage(t, b.Get(consent))
	requirePage(t, b.Get(page.Location()))
}

// What means nothing is not carried from page to page, whose addresses have bounds.
func TestAuthorize_what_means_nothing_does_not_wait_E06(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	hint := w.Obtain("c1", "alice").Text("id_token")
	b := w.Browser()
	page := b.Authorize("c1", "evil", strings.Repeat("x", 50_000), "id_token_hint", hint, "acr_values", strings.Repeat("1 ", 1000))
	require.Less(t, len(page.Location()), 2000)
	page.Through("alice").Code()

	// What does mean something arrives, however long it takes.
	b = w.Browser()
	q := servertest.AuthorizeQuery("two", "redirect_uri", "https://app.test/cb2?x=1", "response_mode", "fragment", "scope", "openid read", "nonce", strings.Repeat("n", 2048),
		"prompt", "consent", "max_age", "100", "login_hint", "alice", "ui_locales", "de", "claims", `{"id_token":{"email":null}}`)
	page = b.Get("/oauth2/auth?" + q.Encode()).Follow()
	require.Equal(t, "de", page.Header.Get("Content-Language"))
	require.Equal(t, "alice", page.Form("username").Fields.Get("username"))
	page = page.Submit("username", "alice", "password", servertest.Password("alice")).Through("alice")
	require.Equal(t, "fragment", modeOf(page))
	a := w.Redeem("two", page.Code(), "redirect_uri", "https://app.test/cb2?x=1").Require(200)
	require.Equal(t, "openid read", a.Text("scope"))
	claims := servertest.Claims(t, a.Text("id_token"))
	require.Equal(t, strings.Repeat("n", 2048), claims["nonce"])
	require.Equal(t, "alice@app.test", claims["email"])
}

// What changes in the registration while a person is asked counts when they answer.
func TestAuthorize_is_checked_again_when_a_person_answers(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for name, change := range map[string]func(c *clients.Client){
		"redirect URI": func(c *clients.Client) { c.RedirectURIs = []string{"https://app.test/moved"} },
		"grant type":   func(c *clients.Client) { c.Grants = []string{"client_credentials"}; c.RedirectURIs = nil },
		"switched off": nil,
	} {
		id := "changing-" + strings.ReplaceAll(strings.ToLower(name), " ", "-")
		w.AddClient(clients.Client{ID: id, Grants: []string{"authorization_code"}, RedirectURIs: []string{servertest.Callback}, Scope: []string{"openid"}})
		b := w.Browser()
		b.SignIn("alice")
		page := b.Authorize(id).Follow()
		if change == nil {
			require.NoError(t, w.Store.DisableClient(t.Context(), id))
		} else {
			w.UpdateClient(id, change)
		}
		requirePage(t, page.Submit("decision", "allow"))
	}
	w.AddClient(clients.Client{ID: "scope", Grants: []string{"authorization_code"}, RedirectURIs: []string{servertest.Callback}, Scope: []string{"openid", "read"}})
	b := w.Browser()
	b.SignIn("alice")
	page := b.Authorize("scope", "scope", "openid read").Follow()
	w.UpdateClient("scope", func(c *clients.Client) { c.Scope = []string{"openid"} })
	// A Page or the client's own error: never a code.
	answer := page.Submit("decision", "allow")
	require.NotContains(t, answer.Location(), "code=")
	require.Zero(t, grantRows(t, w))
}
