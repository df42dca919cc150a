package browser_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// person is somebody at a browser of their own: cookies and storage are shared with
// nobody, and gone at the end of the test.
type person struct {
	t        *testing.T
	parent   context.Context
	jar      cdp.BrowserContextID
	language string
	agent    string
}

// newPerson reads pages in a language, as Accept-Language says it.
func newPerson(t *testing.T, language string) *person {
	t.Helper()
	parent := needChromium(t)
	_, _, _, agent, _, err := browser.GetVersion().Do(ofBrowser(parent))
	require.NoError(t, err)
	jar, err := target.CreateBrowserContext().Do(ofBrowser(parent))
	require.NoError(t, err)
	t.Cleanup(func() { _ = target.DisposeBrowserContext(jar).Do(ofBrowser(parent)) })
	return &person{t: t, parent: parent, jar: jar, language: language, agent: strings.Replace(agent, "Headless", "", 1)}
}

func ofBrowser(ctx context.Context) context.Context {
	return cdp.WithExecutor(ctx, chromedp.FromContext(ctx).Browser)
}

// cookies are all that the person's browser holds, whatever a script may see of them.
func (p *person) cookies() []*network.Cookie {
	p.t.Helper()
	cookies, err := storage.GetCookies().WithBrowserContextID(p.jar).Do(ofBrowser(p.parent))
	require.NoError(p.t, err)
	return cookies
}

// tab is one window of a person's. Its methods wait for what they need, and fail the
// test when it does not come.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string // what the browser refused, and errors of scripts
	failed     bool     // a document did not load
}

// tab opens an empty one, in a window of its own: a tab in the background would be slow.
func (p *person) tab() *tab {
	t := p.t
	t.Helper()
	id, err := target.CreateTarget("about:blank").WithBrowserContextID(p.jar).WithNewWindow(true).Do(ofBrowser(p.parent))
	require.NoError(t, err)
	ctx, cancel := chromedp.NewContext(p.parent, chromedp.WithTargetID(id))
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, b.hear)
	// The first use binds the tab to its context, so that one must not end early.
	require.NoError(t, chromedp.Run(ctx))
	b.do(
		audits.Enable(),
		emulation.SetUserAgentOverride(p.agent).WithAcceptLanguage(p.language),
		emulation.SetFocusEmulationEnabled(true),
	)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the tab is at %s and shows:\n%s", b.where(), b.evaluate("document.body?.innerText"))
		}
		require.Empty(t, b.complained(), "the browser complained")
	})
	return b
}

// hear notes what a page should never make a browser say.
func (b *tab) hear(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.complain(e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		for _, arg := range e.Args {
			b.complainAbout(string(arg.Value) + arg.Description)
		}
	case *log.EventEntryAdded:
		b.complainAbout(e.Entry.Text)
	case *network.EventLoadingFailed:
		if e.Type == network.ResourceTypeDocument {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.failed = true
		}
	case *audits.EventIssueAdded:
		if e.Issue.Code == audits.InspectorIssueCodeContentSecurityPolicyIssue && e.Issue.Details != nil && e.Issue.Details.ContentSecurityPolicyIssueDetails != nil {
			d := e.Issue.Details.ContentSecurityPolicyIssueDetails
			b.complain(fmt.Sprintf("policy: %s refused %q", d.ViolatedDirective, d.BlockedURL))
		}
	}
}

func (b *tab) complainAbout(text string) {
	for _, sign := range []string{"Refused to", "Content Security Policy", "Content-Security-Policy"} {
		if strings.Contains(text, sign) {
			b.complain(text)
			return
		}
	}
}

func (b *tab) complain(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, text)
}

// complained answers the complaints and forgets them.
func (b *tab) complained() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	complaints := b.complaints
	b.complaints = nil
	return complaints
}

// unloaded waits for a document that does not load.
func (b *tab) unloaded() {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.failed
	}, patience, tick, "everything loaded")
}

func (b *tab) do(actions ...chromedp.Action) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	require.NoError(b.t, chromedp.Run(ctx, actions...))
}

// withoutScripts switches JavaScript off in what is opened next.
func (b *tab) withoutScripts() {
	b.t.Helper()
	b.do(emulation.SetScriptExecutionDisabled(true))
}

// open types an address.
func (b *tab) open(url string) {
	b.t.Helper()
	b.leaving(func() {
		b.do(chromedp.ActionFunc(func(ctx context.Context) error {
			_, _, fault, _, err := page.Navigate(url).Do(ctx)
			if err == nil && fault != "" {
				return fmt.Errorf("open %s: %s", url, fault)
			}
			return err
		}))
	})
}

func (b *tab) reload() {
	b.t.Helper()
	b.leaving(func() { b.do(page.Reload()) })
}

// evaluate answers what an expression is, or nil: a page that is being left answers
// nothing, and the next look will.
func (b *tab) evaluate(expression string) any {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	var value any
	_ = chromedp.Run(ctx, chromedp.ActionFunc(func(ctx context.Context) error {
		result, thrown, err := runtime.Evaluate(expression).WithReturnByValue(true).WithAwaitPromise(true).Do(ctx)
		if err != nil || thrown != nil || len(result.Value) == 0 {
			return err
		}
		return json.Unmarshal(result.Value, &value)
	}))
	return value
}

func (b *tab) is(expression string) bool {
	yes, _ := b.evaluate(expression).(bool)
	return yes
}

// until looks at the page until the expression is true.
func (b *tab) until(expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if b.is(expression) {
			return
		}
		select {
		case <-b.ctx.Done():
			require.NoError(b.t, b.ctx.Err(), "the tab is gone")
		case <-time.After(tick):
		}
	}
	require.FailNow(b.t, "it never came", "%s\nat %s the page says:\n%s\nand the browser: %q", expression, b.where(), b.evaluate("document.body?.innerText"), b.complained())
}

// leaving waits until what fn did has brought another document, whole.
func (b *tab) leaving(fn func()) {
	b.t.Helper()
	b.until(`document.documentElement.dataset.left = "", true`)
	fn()
	b.until(`document.documentElement?.dataset.left === undefined && document.readyState === "complete"`)
}

func quote(text string) string {
	quoted, _ := json.Marshal(text)
	return string(quoted)
}

// find waits for an element that can be seen, and answers an expression for it.
func (b *tab) find(selector string) string {
	b.t.Helper()
	element := "document.querySelector(" + quote(selector) + ")"
	b.until(element + "?.checkVisibility() === true && document.readyState === 'complete'")
	return element
}

// text waits for an element and answers what it says.
func (b *tab) text(selector string) string {
	b.t.Helper()
	text, _ := b.evaluate(b.find(selector) + ".innerText").(string)
	return text
}

// says waits until an element says something.
func (b *tab) says(selector, part string) {
	b.t.Helper()
	b.until("document.querySelector(" + quote(selector) + ")?.innerText.includes(" + quote(part) + ") === true")
}

func (b *tab) has(selector string) bool {
	return b.is("document.querySelector(" + quote(selector) + ") !== null")
}

func (b *tab) where() string {
	url, _ := b.evaluate("location.href").(string)
	return url
}

// fill types into a field, instead of what is there.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.until(b.find(selector) + ".select(), true")
	b.until("document.activeElement === document.querySelector(" + quote(selector) + ")")
	b.do(input.InsertText(text))
}

// keys presses keys, wherever the focus is.
func (b *tab) keys(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// click presses the mouse in the middle of an element, as a person does.
func (b *tab) click(selector string) {
	b.t.Helper()
	element := b.find(selector)
	at, ok := b.evaluate(element + `.scrollIntoView({ block: "center", behavior: "instant" }), (({ x, y, width, height }) => [x + width / 2, y + height / 2])(` + element + `.getBoundingClientRect())`).([]any)
	require.True(b.t, ok && len(at) == 2, "where is %s?", selector)
	b.do(chromedp.MouseClickXY(at[0].(float64), at[1].(float64)))
}

// submit is a click, or Enter, that leaves the page.
func (b *tab) submit(selector string) {
	b.t.Helper()
	b.leaving(func() { b.click(selector) })
}

func (b *tab) enter() {
	b.t.Helper()
	b.leaving(func() { b.keys(kb.Enter) })
}

// look is a way in which a picture of a page is taken.
type look struct {
	name, scheme string
	width        int64
}

var (
	light  = look{"light", "light", 1000}
	dark   = look{"dark", "dark", 1000}
	narrow = look{"320", "light", 320}
)

// shot saves pictures of the page, and refuses one that has to be scrolled sideways.
func (b *tab) shot(name string, looks ...look) {
	b.t.Helper()
	dir := os.Getenv("GRANTOR_TEST_ARTEFACTS")
	if dir == "" {
		dir = b.t.TempDir()
	}
	require.NoError(b.t, os.MkdirAll(dir, 0o755))
	const size = `innerWidth + "x" + innerHeight`
	was, _ := b.evaluate(size).(string)
	for _, look := range looks {
		b.do(
			emulation.SetDeviceMetricsOverride(look.width, 700, 1, false),
			emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: look.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
			}),
		)
		b.until(fmt.Sprintf(`innerWidth === %d && matchMedia("(prefers-color-scheme: %s)").matches`, look.width, look.scheme))
		require.LessOrEqual(b.t, b.evaluate("document.documentElement.scrollWidth"), float64(look.width), "%s %s: it has to be scrolled sideways", name, look.name)
		// Cut off is no better than out of sight.
		require.Empty(b.t, b.evaluate(fmt.Sprintf(`[...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > %d + 1).map((e) => e.outerHTML.slice(0, 200))`, look.width)), "%s %s: beyond the edge", name, look.name)
		height, _ := b.evaluate("Math.max(innerHeight, document.documentElement.scrollHeight)").(float64)
		b.do(chromedp.ActionFunc(func(ctx context.Context) error {
			png, err := page.CaptureScreenshot().WithCaptureBeyondViewport(true).WithOptimizeForSpeed(true).
				WithClip(&page.Viewport{Width: float64(look.width), Height: height, Scale: 1}).Do(ctx)
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, name+"."+look.name+".png"), png, 0o644)
		}))
	}
	b.do(emulation.ClearDeviceMetricsOverride(), emulation.SetEmulatedMedia())
	// Until then whoever asks where a button is, and clicks there, may miss it.
	b.until(size + " === " + quote(was))
}
