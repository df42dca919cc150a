package oauth_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/server/servertest"
)

// strangers are redirect URIs that "two" is not registered with: section 6 of attacks.md
// and its relatives.
var strangers = map[string][]string{
	"A-01": {"https://ev1l.test/cb"},
	"A-02": {"https://app.test.ev1l.test/cb", "https://appxtest/cb", "https://app.test/cbx", "https://ev1l.test/?https://app.test/cb", "https://xapp.test/cb"},
	"A-03": {"https://app.test/cb/", "https://app.test/CB", "HTTPS://app.test/cb", "https://APP.test/cb", "https://app.test./cb", "https://app.test/%63b", "https://app.test//cb", "https://app.test/./cb"},
	"A-04": {"https://app.test/cb?x=1", "https://app.test/cb2", "https://app.test/cb2?x=2", "https://app.test/cb2?x=1&y=2", "https://app.test/cb?", "https://app.test/cb2?x=1&x=1", "https://app.test/cb2?y=2&x=1"},
	"A-05": {"https://app.test/cb#frag", "https://app.test/cb#"},
	"A-06": {"https://app.test:8443/cb", "http://app.test/cb", "https://app.test:443/cb", "//app.test/cb", "app.test/cb", "/cb"},
	"A-07": {"javascript:alert(1)", "data:text/html,x", "JavaScript:alert(1)//https://app.test/cb", "vbscript:x", "blob:https://app.test/cb", "view-source:https://app.test/cb", "file:///cb"},
	"A-10": {"http://127.0.0.1/cb", "http://127.0.0.1:9/cb", "http://localhost/cb"},
	"A-16": {
		"https://app.test/cb/..%2fev1l", "https://app.test/cb;x", "https://app.test/cb/../ev1l", "https://app.test/cb%00", "https://app.test/cb%0d%0aLocation:ev1l",
		"https://app.test@ev1l.test/cb", "https://user@app.test/cb", `https://ev1l.test\@app.test/cb`, `https:\\app.test\cb`, "https:app.test/cb", "https:///app.test/cb", "https://app.test/cb\r\nLocation: https://ev1l.test",
		" https://app.test/cb", "https://app.test/cb ", "https://app.test/cb\t", "https://app.test/cb\n", "https://app.test\u3002ev1l.test/cb", "https://\u0430pp.test/cb",
	},
	"no URI": {"*", "https://*", "https://app.test/*", "urn:ietf:wg:oauth:2.0:oob", "postmessage", "%", "https://app.test/cb https://ev1l.test/cb", "https://app.test/cb," + "https://app.test/cb", strings.Repeat("https://app.test/cb", 1000)},
}

// Nobody is sent to what was not compared with the registration, whatever else is right
// or wrong with the request, and whoever is signed in.
func TestAuthorize_redirects_to_nobody_else_A01_to_A16(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	signedIn := w.Browser()
	signedIn.Authorize("two").Through("alice").Code()
	for id, uris := range strangers {
		t.Run(id, func(t *testing.T) {
			for _, uri := range uris {
				for _, change := range [][]string{
					{},
					{"prompt", "none"},
					{"response_mode", "form_post"},
					{"response_mode", "fragment", "response_type", "token"},
					{"response_type", "ev1l", "scope", "ev1l"},
					{"code_challenge", "-"},
					{"state", "-"},
				} {
					q := servertest.AuthorizeQuery("two", append([]string{"redirect_uri", uri}, change...)...)
					requirePage(t, signedIn.Get("/oauth2/auth?"+q.Encode()))
				}
				q := servertest.AuthorizeQuery("two", "redirect_uri", uri)
				requirePage(t, signedIn.Post("/oauth2/auth", pairsOf(q)...))
				requirePage(t, w.Browser().Get("/oauth2/auth?"+q.Encode()))
			}
		})
	}
	require.NotContains(t, w.Log.Text(), "ev1l")
	require.Equal(t, 1, grantRows(t, w), "no code was made")
	for _, uri := range []string{servertest.Callback, "https://app.test/cb2?x=1"} {
		to := signedIn.Authorize("two", "redirect_uri", uri).Location()
		require.True(t, strings.HasPrefix(to, uri), to)
		require.Equal(t, 1, strings.Count(to, "?"), to)
	}
}

// pairsOf are the parameters as a form is written.
func pairsOf(q url.Values) (pairs []string) {
	for name, values := range q {
		for _, value := range values {
			pairs = append(pairs, name, value)
		}
	}
	return pairs
}

// A-07, at registration.
func TestAuthorize_registration_refuses_scripts_A07(t *testing.T) {
	t.Parallel()
	for _, public := range []bool{true, false} {
		for _, uri := range slices.Concat(strangers["A-07"], strangers["A-05"]) {
			require.Error(t, clients.CheckRedirectURI(uri, public), uri)
		}
	}
}

// RFC 8252 section 7.3: the port of a program on this device is any, and nothing else is.
func TestAuthorize_loopback_ports_A08_to_A10(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	w.AddClient(clients.Client{ID: "tls", Grants: []string{"authorization_code"}, RedirectURIs: []string{"https://127.0.0.1/cb"}, Scope: []string{"read"}})
	w.AddClient(clients.Client{ID: "six", Public: true, Grants: []string{"authorization_code"}, RedirectURIs: []string{"http://[::1]:80/cb?x=1"}, Scope: []string{"openid"}})
	for client, uris := range map[string][]string{
		"n1":  {"http://127.0.0.1:51004/cb", "http://127.0.0.1/cb", "http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb"},
		"six": {"http://[::1]:51004/cb?x=1", "http://[::1]/cb?x=1"},
	} {
		for _, uri := range uris {
			page := w.Browser().Authorize(client, "redirect_uri", uri).Through("alice")
			require.True(t, strings.HasPrefix(page.Location(), uri), page.Location())
			code := page.Code()
			if uri != servertest.Native {
				w.Redeem(client, code, "redirect_uri", "http://127.0.0.1:2/cb").Refused(400, "invalid_grant") // C-05
			}
			w.Redeem(client, code, "redirect_uri", uri).Require(200)
		}
	}
	for client, uris := range map[string][]string{
		"tls": {"http://127.0.0.1:9/cb", "https://127.0.0.1:9/cb", "http://127.0.0.1/cb"},
		"n1": {
			"http://127.0.0.1:9/other", "http://127.0.0.1:9/cb?code=x", "http://127.0.0.1:9/cb?", "http://127.0.0.1:9/cb#x",
			"https://127.0.0.1:9/cb", "http://localhost:9/cb", "http://[::1]:9/cb", "http://127.0.0.2:9/cb", "http://127.1:9/cb", "http://2130706433:9/cb",
			"http://127.0.0.1:9@ev1l.test/cb", "http://127.0.0.1:ev1l.test/cb", "http://127.0.0.1:/cb", "http://127.0.0.1:99999/cb", "http://127.0.0.1:-1/cb", "http://127.0.0.1:9:9/cb",
			"http://ev1l@127.0.0.1:9/cb", "http://127.0.0.1.ev1l.test:9/cb", "http://127.0.0.1:9/cb/", "http://127.0.0.1:9\\@ev1l.test/cb", "http://127.0.0.1:0x50/cb",
		},
	} {
		for _, uri := range uris {
			requirePage(t, w.Browser().Authorize(client, "redirect_uri", uri))
		}
	}
}

func TestAuthorize_redirect_uri_omitted_or_repeated_A11_A12_A13(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	requirePage(t, b.Authorize("two", "redirect_uri", "-"))
	requirePage(t, b.Authorize("two", "redirect_uri", ""))
	requirePage(t, b.Get(with("two", "redirect_uri", servertest.Callback, "https://ev1l.test/cb")))
	requirePage(t, b.Get(with("two", "redirect_uri", "https://ev1l.test/cb", servertest.Callback)))
	requirePage(t, b.Get(with("two", "redirect_uri", servertest.Callback, servertest.Callback)))
	requirePage(t, b.Get(with("two", "client_id", "two", "c1")))
	for _, client := range []string{"nobody", "", "ev1l\r\nid", "cc", "pw", "rs", strings.Repeat("ev1l", 1000)} {
		requirePage(t, b.Authorize(client, "redirect_uri", "https://ev1l.test/cb"))
		requirePage(t, b.Authorize(client))
	}

	// One registered, none sent: there it goes, and the token request needs none either.
	page := b.Authorize("c1", "redirect_uri", "-").Through("alice")
	require.True(t, strings.HasPrefix(page.Location(), servertest.Callback+"?"))
	w.Redeem("c1", page.Code(), "redirect_uri", "-").Require(200)

	// A client that is switched off is a stranger.
	require.NoError(t, w.Store.DisableClient(t.Context(), "two"))
	requirePage(t, b.Authorize("two"))
}

// the way back never repeats the password there. servertest refuses 307 and 308 everywhere.
func TestAuthorize_leaves_the_form_behind_A15(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	page := w.Browser().Authorize("own").Follow().Submit("username", "alice", "password", servertest.Password("alice"))
	require.Equal(t, 303, page.Status)
	page.Code()
}
