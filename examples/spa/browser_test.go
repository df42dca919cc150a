package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	cdpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// tab is one tab of a browser at the page.
type tab struct {
	t      *testing.T
	ctx    context.Context
	parent context.Context
	jar    cdp.BrowserContextID
	mu     sync.Mutex
	// What the browser complained about: a script's error, something that the policy refused.
	complaints []string
}

// browser is one process for all tests, started by the first that needs it.
var browser = sync.OnceValues(func() (context.Context, error) {
	path, err := chromiumPath()
	if err != nil {
		return nil, err
	}
	ctx, _ := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.WSURLReadTimeout(time.Minute), chromedp.NoSandbox, chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true))...)
	// What chromedp itself has to say is about events that it does not know yet.
	ctx, _ = chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {}))
	endBrowser = func() { _ = chromedp.Cancel(ctx) }
	return ctx, chromedp.Run(ctx)
})

func chromiumPath() (string, error) {
	names := []string{"chromium", "chromium-browser", "google-chrome"}
	if path := os.Getenv("CHROME_BIN"); path != "" {
		names = []string{path}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no browser here (%s): install chromium (Debian: apt-get install chromium) or set CHROME_BIN", strings.Join(names, ", "))
}

var endBrowser = func() {}

// TestMain closes the browser, which then takes its profile folder along.
func TestMain(m *testing.M) {
	code := m.Run()
	endBrowser()
	os.Exit(code)
}

// open is a tab with a cookie jar of its own, where a browser is installed.
func open(t *testing.T, w *world) *tab {
	t.Helper()
	parent, err := browser()
	if err != nil {
		if strings.Contains(os.Getenv("GRANTOR_TEST_REQUIRE"), "browser") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	jar, err := target.CreateBrowserContext().Do(ofBrowser(parent))
	require.NoError(t, err)
	b := newTab(parent, t, w, jar)
	t.Cleanup(func() { _ = target.DisposeBrowserContext(jar).Do(ofBrowser(parent)) })
	return b
}

func ofBrowser(ctx context.Context) context.Context {
	return cdp.WithExecutor(ctx, chromedp.FromContext(ctx).Browser)
}

func newTab(parent context.Context, t *testing.T, w *world, jar cdp.BrowserContextID) *tab {
	t.Helper()
	// A window each: a tab in the background would be slow.
	id, err := target.CreateTarget("about:blank").WithBrowserContextID(jar).WithNewWindow(true).Do(ofBrowser(parent))
	require.NoError(t, err)
	ctx, cancel := chromedp.NewContext(parent, chromedp.WithTargetID(id))
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, parent: parent, jar: jar}
	chromedp.ListenTarget(ctx, func(event any) {
		if e, ok := event.(*runtime.EventExceptionThrown); ok {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.complaints = append(b.complaints, e.ExceptionDetails.Error())
		}
	})
	// Before the page's own script, on every load.
	b.do(chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := cdpage.AddScriptToEvaluateOnNewDocument(`addEventListener('securitypolicyviolation', (e) => { throw new Error('policy: ' + e.violatedDirective + ' ' + e.blockedURI); });`).Do(ctx)
		return err
	}), chromedp.Navigate(w.spa+"/"))
	b.settled()
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		require.Empty(t, b.complaints)
	})
	return b
}

func (b *tab) second(w *world) *tab { return newTab(b.parent, b.t, w, b.jar) }

func (b *tab) do(actions ...chromedp.Action) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Run(b.ctx, actions...))
}

func (b *tab) click(id string) {
	b.t.Helper()
	b.do(chromedp.Click("#"+id, chromedp.ByID, chromedp.NodeVisible))
}

func (b *tab) eval(expression string) string {
	var value string
	// A page that is being left answers nothing: the next look will.
	_ = chromedp.Run(b.ctx, chromedp.Evaluate("String("+expression+")", &value))
	return value
}

func (b *tab) text(id string) string {
	return b.eval(`document.getElementById("` + id + `")?.textContent`)
}

func (b *tab) state() string { return b.eval(`document.documentElement.dataset.state`) }

// until waits for a text to be as wanted.
func (b *tab) until(id, want string) {
	b.t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	got := ""
	for time.Now().Before(deadline) {
		if got = b.text(id); strings.Contains(got, want) {
			return
		}
		pause(b.ctx)
	}
	require.Contains(b.t, got, want, "#%s; status %q, problem %q", id, b.text("status"), b.text("problem"))
}

// settled waits until the page knows who is signed in.
func (b *tab) settled() string {
	b.t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for time.Now().Before(deadline) {
		if state := b.state(); state == "signed-in" || state == "signed-out" || state == "unsure" {
			return state
		}
		pause(b.ctx)
	}
	require.Fail(b.t, "never settled", "status %q, problem %q", b.text("status"), b.text("problem"))
	return ""
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
}

// wipe lets a test wait for the same status again.
const wipe = `document.getElementById("status").textContent = ""`

func (b *tab) signIn() {
	b.t.Helper()
	b.click("sign-in")
	b.until("status", "Signed in.")
}

func (b *tab) callAPI(want string) {
	b.t.Helper()
	b.click("call-api")
	b.until("api-result", want)
}

func TestPage_signs_in_with_PKCE_and_calls_the_API_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := open(t, w)
	require.Equal(t, "Signed out.", b.text("status"))
	require.Empty(t, b.text("problem"))
	require.Equal(t, "nobody", b.text("who"))
	b.signIn()
	b.until("who", "Alice Müller (alice)")
	require.Regexp(t, `^expires at .*, in (9 min 5\d|10 min 0) s$`, b.text("expires"))
	require.Equal(t, w.spa+"/", b.eval("location.href"), "the code is no longer in the address")
	b.callAPI(`{"orders":3}`)

	asked := w.requests("/auth")[0].Form
	require.Equal(t, "code", asked.Get("response_type"))
	require.Equal(t, "S256", asked.Get("code_challenge_method"))
	require.Equal(t, w.spa+"/", asked.Get("redirect_uri"))
	require.Equal(t, "openid profile", asked.Get("scope"))
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		require.Len(t, asked.Get(name), 43, name)
	}
	require.Empty(t, w.requests("/auth")[0].Header.Get("Referer"))
	for _, r := range w.requests("/orders") {
		require.Empty(t, r.Cookies(), "the API gets the token and no cookie")
		require.Empty(t, r.URL.RawQuery)
	}
}

func TestPage_survives_a_reload_and_leaves_nothing_behind_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := open(t, w)
	b.signIn()
	b.callAPI("200")
	w.noSecretIn(t, b)

	b.do(chromedp.Reload())
	require.Equal(t, "signed-in", b.settled())
	b.until("who", "Alice Müller (alice)")
	b.callAPI("200")
	w.noSecretIn(t, b)
	require.Equal(t, 1, w.grants("authorization_code"))

	// The cookie itself is there, and no script sees it.
	var cookies []*network.Cookie
	b.do(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		cookies, err = storage.GetCookies().WithBrowserContextID(b.jar).Do(ofBrowser(ctx))
		return err
	}))
	require.Len(t, cookies, 1)
	require.True(t, cookies[0].HTTPOnly)
}

// noSecretIn looks where a script could: storages, cookies, address, page, global names.
func (w *world) noSecretIn(t *testing.T, b *tab) {
	t.Helper()
	require.Equal(t, "0", b.eval(`sessionStorage.length + localStorage.length`))
	require.Empty(t, b.eval(`document.cookie`))
	seen := b.eval(`document.documentElement.outerHTML + location.href + JSON.stringify(history.state) + Object.keys(window).map((k) => { try { return JSON.stringify(window[k]); } catch { return ''; } })`)
	w.mu.Lock()
	defer w.mu.Unlock()
	require.NotEmpty(t, w.minted)
	for _, secret := range w.minted {
		require.NotContains(t, seen, secret)
	}
}

func TestPage_renews_when_the_token_is_over_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := open(t, w)
	w.change(func() { w.life = 1 })
	b.signIn()
	b.until("expires", "expired at")
	renewals := w.grants("refresh_token")
	w.change(func() { w.life = 600 })
	b.callAPI("200")
	require.Equal(t, renewals+1, w.grants("refresh_token"))
	require.Len(t, w.requests("/orders"), 1, "the old token was not even tried")
	b.callAPI("200")
	require.Equal(t, renewals+1, w.grants("refresh_token"))
	b.eval(wipe)
	b.click("renew")
	b.until("status", "Renewed the access token.")
	require.Equal(t, renewals+2, w.grants("refresh_token"))
}

func TestPage_renews_after_a_401_and_tries_once_more_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := open(t, w)
	b.signIn()
	renewals := w.grants("refresh_token")
	w.change(func() { clear(w.live) })
	b.callAPI("200")
	require.Equal(t, renewals+1, w.grants("refresh_token"))
	require.Len(t, w.requests("/orders"), 2)

	// An API that never accepts gets two calls, not a loop.
	w.change(func() { w.apiStatus = http.StatusUnauthorized })
	b.callAPI("401")
	require.Len(t, w.requests("/orders"), 4)
	require.Equal(t, renewals+2, w.grants("refresh_token"))
	require.Equal(t, "signed-in", b.state())

	w.change(func() { w.apiStatus = http.StatusServiceUnavailable })
	b.callAPI("503")
	require.Contains(t, b.text("api-result"), "Try again in 7 s.")
	require.Len(t, w.requests("/orders"), 5)
	require.Equal(t, "signed-in", b.state())
}

func TestPage_when_the_session_is_over_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := open(t, w)
	b.signIn()
	b.callAPI("200")
	w.change(func() { clear(w.sessions) })
	b.click("renew")
	b.until("status", "Your session is over. Please sign in again.")
	require.Equal(t, "signed-out", b.state())
	require.Equal(t, "nobody", b.text("who"))
	require.Equal(t, "none", b.text("expires"))
	require.Equal(t, "Not called yet.", b.text("api-result"))
	require.Equal(t, "status", b.eval("document.activeElement.id"), "the button that had the focus is gone")
	b.signIn()
}

func TestPage_an_outage_signs_nobody_out_Browser(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusBadGateway} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			b := open(t, w)
			b.signIn()
			w.change(func() { w.status = status })
			b.click("renew")
			b.until("status", "You are still signed in. Trying again in 2 s.")
			b.until("problem", "The server can not answer now.")
			require.Equal(t, "signed-in", b.state())
			b.callAPI("200") // the token is still good
			w.change(func() { w.status = 0 })
			b.until("status", "Renewed the access token.") // by itself
			require.Empty(t, b.text("problem"))

			// Signing out did not happen, so it is not said.
			w.change(func() { w.status = status })
			b.click("sign-out")
			b.until("problem", "Signing out failed")
			require.Equal(t, "signed-in", b.state())
			require.Empty(t, w.requests("/logout"))

			// A reload in the outage: nobody knows.
			b.do(chromedp.Reload())
			require.Equal(t, "unsure", b.settled())
			require.Contains(t, b.text("status"), "Nobody can say yet whether you are signed in.")
			w.change(func() { w.status = 0 })
			b.until("status", "Signed in: your session went on.")
		})
	}
}

func TestPage_signs_out_everywhere_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := open(t, w)
	b.signIn()
	other := b.second(w)
	require.Equal(t, "signed-in", other.state(), "a second tab needs no sign-in")
	other.callAPI("200")

	b.click("sign-out")
	b.until("status", "Signed out.")
	asked := w.requests("/logout")[0].Form
	require.Equal(t, "spa", asked.Get("client_id"))
	require.Equal(t, w.spa+"/", asked.Get("post_logout_redirect_uri"))
	w.change(func() { require.Contains(t, w.minted, asked.Get("id_token_hint")) })
	require.Len(t, w.requests("/revoke"), 1)
	w.change(func() { require.Empty(t, w.sessions) })

	other.until("status", "Signed out, in another tab.")
	require.Equal(t, "signed-out", other.state())
	require.Equal(t, "Not called yet.", other.text("api-result"))

	// Signed in again, as somebody else: the other tab hears of it.
	w.change(func() { w.who = "bob" })
	b.signIn()
	other.until("who", "Bob Müller (bob)")
}

// The fake has no retry window, so that only waiting for each other saves them.
func TestPage_two_tabs_renew_at_once_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := open(t, w)
	b.signIn()
	tabs := []*tab{b, b.second(w)}
	// A request stays a while, so that the other would meet it.
	w.change(func() { w.linger = 100 * time.Millisecond })
	for range 5 {
		before := w.grants("refresh_token")
		for _, b := range tabs {
			b.eval(wipe)
		}
		for _, b := range tabs {
			b.eval(`document.getElementById("renew").click()`)
		}
		for _, b := range tabs {
			b.until("status", "Renewed the access token.")
		}
		require.Equal(t, before+2, w.grants("refresh_token"))
	}
	for _, b := range tabs {
		b.callAPI("200")
		require.Equal(t, "signed-in", b.state())
	}
}

func TestPage_refuses_answers_that_are_not_for_it_Browser(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer  func(url.Values)
		claims  func(map[string]any)
		problem string
	}{
		"another state":                {answer: func(v url.Values) { v.Set("state", "stranger") }, problem: "no sign-in of this tab"},
		"no state":                     {answer: func(v url.Values) { v.Del("state") }, problem: "no sign-in of this tab"},
		"another issuer":               {answer: func(v url.Values) { v.Set("iss", "https://evil.example.com") }, problem: "not from the issuer"},
		"no issuer":                    {answer: func(v url.Values) { v.Del("iss") }, problem: "not from the issuer"},
		"denied":                       {answer: func(v url.Values) { v.Del("code"); v.Set("error", "access_denied") }, problem: "was not allowed"},
		"denied by a stranger":         {answer: func(v url.Values) { v.Del("code"); v.Del("iss"); v.Set("error", "access_denied") }, problem: "not from the issuer"},
		"another nonce":                {claims: func(c map[string]any) { c["nonce"] = "another" }, problem: "wrong nonce"},
		"no nonce":                     {claims: func(c map[string]any) { delete(c, "nonce") }, problem: "wrong nonce"},
		"another client's":             {claims: func(c map[string]any) { c["aud"] = "shop" }, problem: "wrong audience"},
		"presented by another":         {claims: func(c map[string]any) { c["aud"] = []string{"spa", "shop"}; c["azp"] = "shop" }, problem: "wrong audience"},
		"another issuer's token":       {claims: func(c map[string]any) { c["iss"] = "https://evil.example.com" }, problem: "wrong issuer"},
		"an old ID token":              {claims: func(c map[string]any) { c["exp"] = 1 }, problem: "wrong time"},
		"for us, presented by another": {claims: func(c map[string]any) { c["azp"] = "shop" }, problem: "wrong audience"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			b := open(t, w)
			w.change(func() { w.answer, w.claims = c.answer, c.claims })
			b.click("sign-in")
			b.until("problem", c.problem)
			require.Equal(t, "signed-out", b.settled())
			w.change(func() { require.Empty(t, w.sessions, "no cookie of it is left to renew with") })
			if c.answer != nil {
				require.Zero(t, w.grants("authorization_code"), "the code was not even tried")
			}
			require.NotEqual(t, "Signed in.", b.text("status"))
			require.Equal(t, "0", b.eval("sessionStorage.length"))
			require.Equal(t, w.spa+"/", b.eval("location.href"))
		})
	}
}

// Who came back without an answer (the Back button) gave up, and a stranger's link counts for nothing.
func TestPage_a_sign_in_that_was_not_finished_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := open(t, w)
	b.do(chromedp.Evaluate(`sessionStorage.setItem('sign-in', '{"state":"1","nonce":"2","verifier":"3"}')`, nil))
	b.do(chromedp.Reload())
	b.settled()
	require.Equal(t, "0", b.eval("sessionStorage.length"))
	b.do(chromedp.Navigate(w.spa + "/?code=stranger&state=1&iss=" + url.QueryEscape(w.issuer)))
	b.until("problem", "no sign-in of this tab")
	require.Zero(t, w.grants("authorization_code"))
}

func TestPage_believes_userinfo_only_about_the_person_of_the_ID_token_Browser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := open(t, w)
	asked := make(chan struct{}, 1)
	w.change(func() {
		w.info = func(info map[string]any) {
			info["sub"], info["name"] = "id-of-mallory", "Mallory"
			asked <- struct{}{}
		}
	})
	b.signIn()
	<-asked
	b.callAPI("200") // so the answer has arrived
	require.Equal(t, "id-of-alice", b.text("who"))
}
