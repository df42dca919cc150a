package oauth_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/server/servertest"
)

const (
	logout = "/oauth2/logout"
	bye    = "https://app.test/bye"
)

// rp is a client that people come back to after signing out.
func rp(w *servertest.World, change ...func(*clients.Client)) {
	c := clients.Client{
		ID: "rp", Name: "The App", Grants: []string{clients.GrantAuthorizationCode, clients.GrantRefreshToken}, RedirectURIs: []string{servertest.Callback},
		Scope: []string{"openid", "read", "offline_access"}, FirstParty: true, PostLogoutRedirectURIs: []string{bye, "https://app.test/bye2?x=1"},
	}
	for _, f := range change {
		f(&c)
	}
	w.AddClient(c)
}

// tokensAt is a code flow of the client rp, or another, at a browser of alice's.
func tokensAt(w *servertest.World, b *servertest.Browser, client string, pairs ...string) *servertest.Answer {
	return w.Redeem(client, b.Authorize(client, pairs...).Through("alice").Code()).Require(http.StatusOK)
}

// here reports whether somebody is signed in at the browser.
func here(b *servertest.Browser) bool { return b.Get("/account").Status == http.StatusOK }

func signOut(b *servertest.Browser, pairs ...string) *servertest.Page {
	return b.Get(logout + "?" + servertest.Encode(pairs...))
}

// sealedWith is an ID token's claims under another header and signature.
func sealedWith(t *testing.T, token, header, signature string) string {
	t.Helper()
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + strings.Split(token, ".")[1] + "." + signature
}

// Whatever is wrong with the request: a page of ours, nobody is sent away or signed out.
func TestLogout_refuses_O02(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	rp(w)
	b := w.Browser()
	tokens := tokensAt(w, b, "rp")
	id := tokens.Text("id_token")
	others := tokensAt(w, b, "own").Text("id_token")
	claims := string(part(t, id, 1))
	changed := func(change func(map[string]any)) string {
		var all map[string]any
		require.NoError(t, json.Unmarshal([]byte(claims), &all))
		change(all)
		text, err := json.Marshal(all)
		require.NoError(t, err)
		return w.Sign(keys.TypeJWT, string(text))
	}
	require.NotEmpty(t, signOut(w.Browser(), "id_token_hint", changed(func(map[string]any) {}), "post_logout_redirect_uri", bye).Location(), "the forgery below differs only in what its name says")
	b = w.Browser()
	tokens = tokensAt(w, b, "rp")
	// What proves nothing signs nobody out: the person is asked, as without it, and whose
	// return address it could be is not known either.
	for name, hint := range map[string]string{
		"alg none":          sealedWith(t, id, `{"alg":"none","typ":"JWT"}`, ""),
		"no signature":      id[:strings.LastIndexByte(id, '.')+1],
		"another signature": id[:strings.LastIndexByte(id, '.')+1] + strings.Split(others, ".")[2],
		"HS256":             sealedWith(t, id, `{"alg":"HS256","typ":"JWT"}`, strings.Split(id, ".")[2]),
		"nonsense":          "evil",
		"dots":              strings.Repeat(".", 1000),
		"an access token":   tokens.Access(),
		"a refresh token":   tokens.Refresh(),
		"a logout token":    w.Sign(keys.TypeLogoutToken, claims),
		"signed userinfo":   changed(func(c map[string]any) { delete(c, "auth_time") }),
		"another issuer":    changed(func(c map[string]any) { c["iss"] = "https://evil.test" }),
		"no subject":        changed(func(c map[string]any) { delete(c, "sub") }),
		"several audiences": changed(func(c map[string]any) { c["aud"] = []string{"rp", "own"} }),
	} {
		p := signOut(b, "id_token_hint", hint, "post_logout_redirect_uri", bye)
		requireAsked(t, p, "/logout")
		require.NotContains(t, p.Follow().Header.Get("Content-Security-Policy"), "app.test", name)
		requireAsked(t, signOut(b, "id_token_hint", hint), "/logout")
		requireAsked(t, b.Post(logout, "id_token_hint", hint), "/logout")
		nobody := signOut(w.Browser(), "id_token_hint", hint, "post_logout_redirect_uri", bye)
		require.Empty(t, nobody.Location(), name)
		nobody = signOut(w.Browser(), "id_token_hint", hint, "post_logout_redirect_uri", bye, "client_id", "rp")
		require.Empty(t, nobody.Location(), name)
	}
	for name, pairs := range map[string][]string{
		"an unknown audience":       {"id_token_hint", changed(func(c map[string]any) { c["aud"] = "evil" })},
		"another client's id":       {"id_token_hint", id, "client_id", "own"},
		"another client's token":    {"id_token_hint", others, "client_id", "rp"},
		"an unknown client":         {"client_id", "evil"},
		"state of 3 KB":             {"id_token_hint", id, "post_logout_redirect_uri", bye, "state", strings.Repeat("x", 3000)},
		"a hint twice":              {"id_token_hint", id, "id_token_hint", id},
		"two addresses":             {"id_token_hint", id, "post_logout_redirect_uri", bye, "post_logout_redirect_uri", "https://evil.test"},
		"two addresses, evil first": {"id_token_hint", id, "post_logout_redirect_uri", "https://evil.test", "post_logout_redirect_uri", bye},
		"an address for nobody":     {"post_logout_redirect_uri", bye},
		"NUL":                       {"id_token_hint", id, "state", "a\x00b"},
		"broken UTF-8":              {"id_token_hint", id, "state", "a\xffb"},
	} {
		for _, p := range []*servertest.Page{signOut(b, pairs...), b.Post(logout, pairs...)} {
			require.Equal(t, http.StatusBadRequest, p.Status, "%s: %s", name, p.Location())
			requirePage(t, p)
		}
	}
	for _, uri := range []string{
		"https://evil.test/bye", "https://app.test/bye/", "https://app.test/BYE", "https://app.test/bye?x=1", "https://app.test/bye2", "https://app.test/bye2?x=2", "https://app.test/bye#x",
		"https://app.test:443/bye", "http://app.test/bye", "https://app.test.evil.test/bye", "https://app.test/bye/..", "https://app.test/%62ye", "javascript:alert(1)", "//app.test/bye", "/account",
		servertest.Callback, " " + bye, bye + "\n", "data:text/html,x",
	} {
		for _, more := range [][]string{{"id_token_hint", id}, {"client_id", "rp"}, {"id_token_hint", id, "client_id", "rp"}} {
			p := signOut(b, append(more, "post_logout_redirect_uri", uri, "state", "s")...)
			require.Equal(t, http.StatusBadRequest, p.Status, "%s: %s", uri, p.Location())
			require.Empty(t, p.Location(), uri)
		}
	}
	require.True(t, here(b))
	w.Refresh("rp", tokens.Refresh()).Require(http.StatusOK)
}

func TestLogout_returns_to_the_client(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		rp(w)
		for name, c := range map[string]struct {
			pairs []string
			want  string
		}{
			"nothing else":    {nil, ""},
			"an address":      {[]string{"post_logout_redirect_uri", bye}, bye},
			"and a state":     {[]string{"post_logout_redirect_uri", bye, "state", `a&b=c "x" ü`}, bye + "?state=" + url.QueryEscape(`a&b=c "x" ü`)},
			"with a query":    {[]string{"post_logout_redirect_uri", "https://app.test/bye2?x=1", "state", "s"}, "https://app.test/bye2?x=1&state=s"},
			"the client's id": {[]string{"post_logout_redirect_uri", bye, "client_id", "rp"}, bye},
			"hints":           {[]string{"post_logout_redirect_uri", bye, "logout_hint", "alice", "ui_locales", "de", "extra", "1"}, bye},
			"a state alone":   {[]string{"state", "s"}, ""},
		} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				b := w.Browser()
				tokens := tokensAt(w, b, "rp")
				thief := w.Browser()
				thief.Cookies["__Host-grantor-session"] = b.Cookies["__Host-grantor-session"]
				pairs := append([]string{"id_token_hint", tokens.Text("id_token")}, c.pairs...)
				send := signOut
				if method == http.MethodPost {
					send = func(b *servertest.Browser, pairs ...string) *servertest.Page { return b.Post(logout, pairs...) }
				}
				p := send(b, pairs...)
				require.Equal(t, c.want, p.Location(), name)
				if c.want == "" {
					p.Require(http.StatusOK)
				}
				require.NotContains(t, b.Cookies, "__Host-grantor-session")
				require.False(t, here(thief))
				w.Refresh("rp", tokens.Refresh()).Refused(400, "invalid_grant")
				require.False(t, w.Active(tokens.Access()))
				// Again: nobody is there, and the client is answered all the same.
				require.Equal(t, c.want, send(b, pairs...).Location(), name)
			}
		}
	})
}

// The form of another site comes without our cookies, so it comes again as a link.
func TestLogout_posted_by_the_client(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	rp(w)
	b := w.Browser()
	id := tokensAt(w, b, "rp").Text("id_token")
	cookies := b.Cookies
	b.Cookies = map[string]*http.Cookie{}
	b.Header = http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://app.test"}}
	p := b.Post(logout, "id_token_hint", id, "post_logout_redirect_uri", bye)
	require.True(t, strings.HasPrefix(p.Location(), logout+"?"))
	b.Cookies = cookies
	require.Equal(t, bye, p.Follow().Location())
	require.NotContains(t, b.Cookies, "__Host-grantor-session")
}

// Without proof that it is about who is signed in here, the person is asked, and nothing is done before.
func TestLogout_asks_O01(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		rp(w)
		alice, bob := w.Browser(), w.Browser()
		id := tokensAt(w, alice, "rp").Text("id_token")
		bob.SignIn("bob")
		for _, pairs := range [][]string{
			{},
			{"client_id", "rp"},
			{"client_id", "rp", "post_logout_redirect_uri", bye, "state", "s"},
			{"logout_hint", "bob"},
			{"id_token_hint", id},
			{"id_token_hint", id, "post_logout_redirect_uri", bye},
		} {
			p := signOut(bob, pairs...)
			require.True(t, strings.HasPrefix(p.Location(), "/logout?request="), p.Location())
			require.True(t, here(bob))
			require.True(t, here(alice), "an ID token of hers in his browser asks him, and ends nothing of hers")
		}
		page := signOut(bob, "client_id", "rp", "post_logout_redirect_uri", bye, "state", "s").Follow().Require(http.StatusOK)
		require.Contains(t, string(page.Body), "The App")
		require.Equal(t, "/account", page.Submit("decision", "stay").Location())
		require.True(t, here(bob))
		require.Contains(t, page.Header.Get("Content-Security-Policy"), "form-action 'self' https://app.test;")
		require.Equal(t, bye+"?state=s", page.Submit("decision", "signout").Location())
		require.False(t, here(bob))
		require.True(t, here(alice))

		// A sealed request is held against the registration again, and gets too old.
		page = signOut(alice, "client_id", "rp", "post_logout_redirect_uri", bye).Follow()
		w.UpdateClient("rp", func(c *clients.Client) { c.PostLogoutRedirectURIs = nil })
		require.Empty(t, page.Submit("decision", "signout").Require(http.StatusBadRequest).Location())
		require.True(t, here(alice))
		page = signOut(alice, "client_id", "rp").Follow()
		w.Clock.Advance(time.Hour + time.Second)
		page.Submit("decision", "signout").Require(http.StatusBadRequest)
		require.True(t, here(alice))
		for _, sealed := range []string{"evil", "gl1_evil", strings.Repeat("A", 5000)} {
			alice.Get("/logout?request=" + sealed).Require(http.StatusBadRequest)
		}

		// Nobody is signed in, nothing is proven: a link that only leads away is not followed.
		nobody := signOut(w.Browser(), "client_id", "own").Require(http.StatusOK)
		require.Empty(t, nobody.Location())
	})
}

// The sid of the hint names the sign-in that ends, wherever the person is.
func TestLogout_of_another_browser(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		rp(w)
		first, second, third := w.Browser(), w.Browser(), w.Browser()
		one, two, three := tokensAt(w, first, "rp"), tokensAt(w, second, "rp"), tokensAt(w, third, "rp")
		require.Equal(t, bye, signOut(w.Browser(), "id_token_hint", one.Text("id_token"), "post_logout_redirect_uri", bye).Location())
		require.False(t, here(first))
		w.Refresh("rp", one.Refresh()).Refused(400, "invalid_grant")
		require.True(t, here(second))

		signOut(third, "id_token_hint", two.Text("id_token")).Require(http.StatusOK)
		require.False(t, here(second), "the one of the token")
		require.False(t, here(third), "and the one that asks: it is the same person's")
		w.Refresh("rp", two.Refresh()).Refused(400, "invalid_grant")
		w.Refresh("rp", three.Refresh()).Refused(400, "invalid_grant")
	})
}

// An application keeps the ID token for long: it says who was signed in, not who is.
func TestLogout_with_an_old_hint(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	rp(w)
	b := w.Browser()
	id := tokensAt(w, b, "rp").Text("id_token")
	w.Clock.Advance(24 * time.Hour)
	require.True(t, here(b))
	require.Equal(t, bye, signOut(b, "id_token_hint", id, "post_logout_redirect_uri", bye).Location())
	require.False(t, here(b))
}

// What the person allowed to go on without them goes on.
func TestLogout_leaves_what_is_offline(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		rp(w)
		b := w.Browser()
		online := tokensAt(w, b, "rp", "scope", "openid read")
		offline := tokensAt(w, b, "rp", "scope", "openid offline_access", "prompt", "consent")
		signOut(b, "id_token_hint", online.Text("id_token")).Require(http.StatusOK)
		require.False(t, here(b))
		w.Refresh("rp", online.Refresh()).Refused(400, "invalid_grant")
		offline = w.Refresh("rp", offline.Refresh()).Require(http.StatusOK)
		require.True(t, w.Active(offline.Access()))
	})
}

// A code that was not redeemed yet ends with the sign-in that it came from.
func TestLogout_ends_a_code_on_its_way(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(_ *testing.T, w *servertest.World) {
		rp(w)
		b := w.Browser()
		b.SignIn("alice")
		code := b.Authorize("rp").Code()
		b.Get("/account").Submit("decision", "signout").Require(http.StatusOK)
		w.Redeem("rp", code).Refused(400, "invalid_grant")
	})
}

func TestLogout_while_the_database_is_down(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		rp(w)
		b := w.Browser()
		tokens := tokensAt(w, b, "rp")
		pairs := []string{"id_token_hint", tokens.Text("id_token"), "post_logout_redirect_uri", bye}
		for _, broken := range []string{"", "DELETE FROM browsers", "COMMIT"} {
			mend := w.Break(func(sql string) error {
				if strings.HasPrefix(sql, broken) {
					return errBroken
				}
				return nil
			})
			p := signOut(b, pairs...).Require(http.StatusServiceUnavailable)
			require.Empty(t, p.Location())
			require.NotEmpty(t, p.Header.Get("Retry-After"))
			require.Contains(t, b.Cookies, "__Host-grantor-session", "not signed out, so the cookie stays")
			mend()
		}
		require.True(t, here(b))
		require.Equal(t, bye, signOut(b, pairs...).Location())
	})
}
