package browser_test

import (
	"context"
	"net/http"
	"regexp"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

var apiLine = regexp.MustCompile(`^resource server: (\S+) `)

var spaLine = regexp.MustCompile(`^browser application: (\S+)/ `)

// newSPA runs examples/spa and examples/resource-server beside the world's server, and
// answers the application's address.
func newSPA(w *world, flags ...string) (url string) {
	w.t.Helper()
	secure := w.issuer[:6] == "https:"
	app, api := newFront(w.t, secure), newFront(w.t, secure)
	w.client("spa", append([]string{
		"--name", "Browser application", "--public", "--first-party", "--grant", "authorization_code", "--grant", "refresh_token", "--scope", "openid profile",
		"--refresh-token", "cookie", "--allowed-origin", app.url,
		"--redirect-uri", app.url + "/", "--post-logout-redirect-uri", app.url + "/",
	}, flags...)...)
	match := apiLine.FindStringSubmatch(launch(w.t, resourceServer, w.dir, w.env, "--address", "127.0.0.1:0", "--issuer", w.issuer, "--allowed-origin", app.url))
	require.NotNil(w.t, match)
	api.before(match[1])
	match = spaLine.FindStringSubmatch(launch(w.t, spa, w.dir, w.env, "--address", "127.0.0.1:0", "--issuer", w.issuer, "--api", api.url+"/"))
	require.NotNil(w.t, match)
	app.before(match[1])
	return app.url
}

// settled opens the application and waits until it knows who is signed in.
func (b *tab) settled(want string) {
	b.t.Helper()
	b.until("document.documentElement.dataset.state === " + quote(want))
}

// renew presses the button in some tabs at once, and waits until all have their token.
func renew(tabs ...*tab) {
	for _, b := range tabs {
		b.t.Helper()
		b.until(`document.getElementById("status").textContent = "", true`)
	}
	for _, b := range tabs {
		b.until(`document.getElementById("renew").click(), true`)
	}
	for _, b := range tabs {
		b.says("#status", "Renewed the access token.")
	}
}

// call presses the button and waits for what the API answered.
func (b *tab) call(want string) {
	b.t.Helper()
	b.click("#call-api")
	b.says("#api-result", want)
}

func TestSPA_renews_silently_and_survives_a_reload_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := newSPA(w, "--access-token-lifetime", "2s")
	password := w.alice()
	b := newPerson(t, "en").tab()
	b.open(app)
	b.settled("signed-out")
	b.shot("spa_signed_out", light, dark, narrow)
	b.submit("#sign-in")
	b.signIn("alice", password)
	b.says("#who", "Alice Müller (alice)")
	require.Equal(t, app+"/", b.where())
	require.Equal(t, 1, w.front.grants("authorization_code", http.StatusOK))

	b.says("#expires", "expired at")
	renewals := w.front.grants("refresh_token", http.StatusOK)
	b.until(`window.here = true`)
	b.call(`"client_id":"spa"`)
	require.Equal(t, renewals+1, w.front.grants("refresh_token", http.StatusOK))
	require.Equal(t, true, b.evaluate("window.here"), "and the page was not left for it")
	b.shot("spa_signed_in", light, dark, narrow)

	b.reload()
	b.settled("signed-in")
	b.says("#who", "Alice Müller (alice)")
	b.call(`"client_id":"spa"`)
	require.Equal(t, 1, w.front.grants("authorization_code", http.StatusOK), "nobody signed in again")

	// The session is ended by somebody else: a renewal is refused, and the page says so.
	w.run("session", "revoke", "--user", "alice")
	b.says("#expires", "expired at")
	b.click("#renew")
	b.settled("signed-out")
	b.says("#status", "Your session is over")
}

func TestSPA_two_tabs_renew_at_once_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := newSPA(w)
	password := w.alice()
	p := newPerson(t, "en")
	one, two := p.tab(), p.tab()
	one.open(app)
	one.submit("#sign-in")
	one.signIn("alice", password)
	one.settled("signed-in")
	two.open(app)
	two.settled("signed-in")

	// The page takes turns by itself, tab after tab.
	for range 3 {
		renew(one, two)
	}

	// A browser without locks sends both at once, with the same refresh token: the proxy
	// holds the first until the second has come.
	for _, b := range []*tab{one, two} {
		b.do(chromedp.ActionFunc(func(ctx context.Context) error {
			_, err := page.AddScriptToEvaluateOnNewDocument(`Object.defineProperty(navigator, "locks", { value: undefined })`).Do(ctx)
			return err
		}))
		b.reload()
		b.settled("signed-in")
	}
	for range 3 {
		w.front.together(2)
		renew(one, two)
	}
	for _, b := range []*tab{one, two} {
		b.call(`"client_id":"spa"`)
		b.reload()
		b.settled("signed-in")
	}
	renew(one)
	require.Equal(t, 1, w.front.grants("refresh_token", http.StatusBadRequest), "refused was only the one before the sign-in, which had no cookie")
}

func TestSPA_signs_out_everywhere_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app, photos := newSPA(w), newAlbum(w)
	password := w.alice()
	p := newPerson(t, "en")
	b, other := p.tab(), p.tab()
	b.open(app)
	b.submit("#sign-in")
	b.signIn("alice", password)
	b.settled("signed-in")
	other.open(photos.begin()) // the sign-in is the browser's
	other.submit("[value=allow]")
	other.find("#hello")
	other.open(app)
	other.settled("signed-in")

	b.click("#sign-out")
	other.settled("signed-out")
	b.until("location.href === " + quote(app+"/") + " && document.documentElement.dataset.state === 'signed-out'")
	b.says("#status", "Signed out.")
	other.reload()
	other.settled("signed-out")
	over := photos.last().token
	over.Expiry = over.Expiry.AddDate(-1, 0, 0)
	_, err := photos.oauth.TokenSource(photos.context(), over).Token()
	require.ErrorContains(t, err, "invalid_grant", "everywhere")
	for _, c := range p.cookies() {
		require.Equal(t, "grantor-device", c.Name, "all that is left")
	}
	b.submit("#sign-in")
	b.find(".page-sign_in")
}
