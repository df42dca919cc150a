package browser_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/stretchr/testify/require"
)

// A script of the application, or of somebody who got one into it, looks everywhere
// that it can.
const everywhere = `(async () => {
	const all = (storage) => Object.entries(storage).join();
	return JSON.stringify({
		documentCookie: document.cookie, cookieStore: await globalThis.cookieStore?.getAll(),
		localStorage: all(localStorage), sessionStorage: all(sessionStorage),
		indexedDB: await indexedDB.databases(), caches: await caches.keys(),
		workers: await navigator.serviceWorker?.getRegistrations(),
		name: window.name, history: history.state, address: location.href, referrer: document.referrer, page: document.documentElement.outerHTML,
		globals: Object.keys(window).map((key) => { try { return JSON.stringify(window[key]); } catch { return ""; } }),
		loaded: performance.getEntries().map((entry) => entry.name),
	});
})()`

// On https, and with an application of another site.
func TestCookies_and_storage_on_https_Browser(t *testing.T) {
	t.Parallel()
	w := newSecureWorld(t)
	app, photos := newSPA(w), newAlbum(w)
	password := w.alice()
	p := newPerson(t, "en")
	b := p.tab()

	b.open(app)
	b.submit("#sign-in")
	require.Equal(t, "", b.evaluate("document.cookie"))
	b.signIn("alice", password)
	b.settled("signed-in")
	b.call(`"client_id":"spa"`)
	renew(b)

	cookies := map[string]*network.Cookie{}
	for _, c := range p.cookies() {
		cookies[c.Name] = c
	}
	require.Len(t, cookies, 3)
	for name, site := range map[string]network.CookieSameSite{
		"__Host-grantor-session": network.CookieSameSiteLax, "__Host-grantor-device": network.CookieSameSiteLax, "__Host-grantor-rt-spa": network.CookieSameSiteStrict,
	} {
		c := cookies[name]
		require.NotNil(t, c, name)
		require.True(t, c.HTTPOnly, name)
		require.True(t, c.Secure, name)
		require.Equal(t, "/", c.Path)
		require.Equal(t, "127.0.0.1", c.Domain)
		require.Equal(t, site, c.SameSite, name)
	}
	require.True(t, cookies["__Host-grantor-session"].Session)

	// What a script finds holds none of the tokens, nor of the cookies.
	secrets := w.front.tokens()
	kinds := map[string]int{}
	for _, what := range secrets {
		kinds[what]++
	}
	for _, what := range []string{"access_token", "id_token", "the cookie __Host-grantor-session", "the cookie __Host-grantor-rt-spa"} {
		require.NotZero(t, kinds[what], "%s passed", what)
	}
	require.Zero(t, kinds["refresh_token"], "it is never in an answer's body")
	nowhere := func() {
		t.Helper()
		found, _ := b.evaluate(everywhere).(string)
		for _, part := range []string{`"documentCookie":"","cookieStore":[]`, `"localStorage":"","sessionStorage":"","indexedDB":[],"caches":[],"workers":[]`} {
			require.Contains(t, found, part)
		}
		for secret, what := range secrets {
			require.NotContains(t, found, secret, what)
		}
	}
	nowhere()
	b.open(w.issuer + "/account")
	nowhere()

	// A stranger from another site, by GET and by form_post: cookies that are Lax are
	// there, and the answer gets back.
	require.Equal(t, "photos.test", hostOf(t, photos.url))
	b.open(photos.url)
	b.submit("#sign-in")
	b.find(".page-consent") // signed in already
	b.submit("[value=allow]")
	b.find("#hello")
	b.open(photos.url)
	b.submit("#sign-in-post")
	b.find("#hello")
	require.Equal(t, "POST", photos.last().method)
	// By a form of another site no Lax cookie comes along: the person is signed in all the same.
	b.open(photos.url + "/post?prompt=none")
	b.submit("button")
	b.find("#hello")
	require.Equal(t, 3, photos.count())
	for _, c := range p.cookies() {
		require.True(t, c.HTTPOnly && c.Secure, c.Name)
	}
}

func hostOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	return u.Hostname()
}

func TestCookies_on_http_are_HttpOnly_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	password := w.alice()
	p := newPerson(t, "en")
	b := p.tab()
	b.open(w.issuer + "/account")
	before := p.cookies()
	b.signIn("alice", password)
	b.find(".page-account")
	require.Equal(t, "", b.evaluate("document.cookie"))
	after := p.cookies()
	require.Len(t, before, 1)
	require.Len(t, after, 2)
	for _, c := range after {
		require.True(t, c.HTTPOnly, c.Name)
		require.True(t, strings.HasPrefix(c.Name, "grantor-"), c.Name)
		require.Equal(t, network.CookieSameSiteLax, c.SameSite)
	}
}
