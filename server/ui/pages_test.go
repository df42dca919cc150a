package ui_test

import (
	"bytes"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/grantorhq/grantor/server/ui"
)

var update = flag.Bool("update", false, "write the golden pages again")

// zeros is the least random source there is.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func newPages(t *testing.T, o ui.Options) *ui.Pages {
	t.Helper()
	if o.Rand == nil {
		o.Rand = zeros{}
	}
	pages, err := ui.New(o)
	require.NoError(t, err)
	return pages
}

func write(t *testing.T, pages *ui.Pages, v ui.View, page ui.Page) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	require.NoError(t, pages.Write(w, httptest.NewRequest(http.MethodGet, "/", nil), v, page))
	return w
}

var assetHash = regexp.MustCompile(`\?v=[0-9a-f]{16}`)

func TestPages_are_the_golden_ones(t *testing.T) {
	t.Parallel()
	pages := newPages(t, ui.Options{})
	written := map[string]bool{}
	for _, lang := range []string{"en", "de"} {
		for _, s := range canned() {
			name := filepath.Join("testdata", s.name+"."+lang+".golden.html")
			written[name] = true
			got := assetHash.ReplaceAll(write(t, pages, ui.View{Locales: lang}, s.page).Body.Bytes(), []byte("?v=HASH"))
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(name, got, 0o644))
				continue
			}
			want, err := os.ReadFile(name)
			require.NoError(t, err, "go test ./server/ui -update writes it")
			require.Equal(t, string(want), string(got), name)
		}
	}
	files, err := filepath.Glob("testdata/*.golden.html")
	require.NoError(t, err)
	for _, name := range files {
		require.True(t, written[name], "%s belongs to no page", name)
	}
}

// document is a parsed page with what the checks ask for.
type document struct {
	t     *testing.T
	name  string
	nodes []*html.Node // elements, in order
	ids   map[string]int
}

func parse(t *testing.T, name string, body []byte) *document {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(body))
	require.NoError(t, err)
	d := &document{t: t, name: name, ids: map[string]int{}}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			d.nodes = append(d.nodes, n)
			if id := attr(n, "id"); id != "" {
				d.ids[id]++
			}
		}
	}
	return d
}

func (d *document) all(tags ...string) []*html.Node {
	var found []*html.Node
	for _, n := range d.nodes {
		if slices.Contains(tags, n.Data) {
			found = append(found, n)
		}
	}
	return found
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, key string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == key })
}

func text(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return strings.TrimSpace(b.String())
}

func within(n *html.Node, tags ...string) bool {
	for ; n != nil; n = n.Parent {
		if slices.Contains(tags, n.Data) {
			return true
		}
	}
	return false
}

func TestPages_are_built_so_that_everybody_can_use_them(t *testing.T) {
	t.Parallel()
	pages := newPages(t, ui.Options{Logo: []byte(logo), LogoType: "image/svg+xml"})
	for _, lang := range []string{"en", "de"} {
		for _, s := range append(canned(), hostile()...) {
			t.Run(s.name+"."+lang, func(t *testing.T) {
				t.Parallel()
				d := parse(t, s.name, write(t, pages, ui.View{Locales: lang}, s.page).Body.Bytes())
				d.checkFrame(lang)
				d.checkReferences()
				d.checkForms()
				d.checkNothingRuns()
			})
		}
	}
}

func (d *document) checkFrame(lang string) {
	t := d.t
	require.Equal(t, lang, attr(d.all("html")[0], "lang"))
	require.NotEmpty(t, text(d.all("title")[0]))
	require.Len(t, d.all("main"), 1)
	require.Len(t, d.all("h1"), 1)
	require.True(t, within(d.all("h1")[0], "main"))
	level := byte('0')
	for _, heading := range d.all("h1", "h2", "h3", "h4") {
		require.LessOrEqual(t, heading.Data[1], level+1, "no level of heading is left out")
		level = heading.Data[1]
		require.NotEmpty(t, text(heading))
	}
	for _, image := range d.all("img") {
		require.True(t, has(image, "alt"))
		require.Equal(t, "logo", attr(image, "class"), "the only image is the logo")
	}
	for _, moment := range d.all("time") {
		require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`, attr(moment, "datetime"))
	}
}

func (d *document) checkReferences() {
	t := d.t
	for id, times := range d.ids {
		require.Equal(t, 1, times, "id %q", id)
	}
	for _, n := range d.nodes {
		for _, key := range []string{"for", "aria-describedby", "aria-labelledby"} {
			for _, id := range strings.Fields(attr(n, key)) {
				require.Contains(t, d.ids, id, "%s of <%s>", key, n.Data)
			}
		}
		if attr(n, "aria-invalid") == "true" {
			require.Contains(t, strings.Fields(attr(n, "aria-describedby")), "fault", "the error is tied to its field")
		}
	}
	if d.ids["fault"] > 0 {
		for _, n := range d.nodes {
			if attr(n, "id") == "fault" {
				require.Equal(t, "alert", attr(n, "role"))
				require.NotEmpty(t, text(n))
			}
		}
		require.Regexp(t, "^(Error|Fehler): ", text(d.all("title")[0]))
	}
}

func (d *document) checkForms() {
	t := d.t
	labels := map[string]string{}
	for _, label := range d.all("label") {
		labels[attr(label, "for")] = text(label)
	}
	for _, input := range d.all("input") {
		if attr(input, "type") == "hidden" || has(input, "hidden") {
			continue
		}
		require.NotEmpty(t, labels[attr(input, "id")], "label of %s", attr(input, "name"))
		require.True(t, has(input, "autocomplete"))
		require.NotEmpty(t, attr(input, "name"))
	}
	for _, button := range d.all("button") {
		require.Equal(t, "submit", attr(button, "type"))
		require.NotEmpty(t, text(button))
	}
	focused := 0
	for _, n := range d.nodes {
		if has(n, "autofocus") {
			focused++
		}
	}
	require.LessOrEqual(t, focused, 1)
	for _, form := range d.all("form") {
		require.Equal(t, "post", attr(form, "method"))
		fields := map[string]bool{}
		for n := range form.Descendants() {
			if n.Data == "input" || n.Data == "button" {
				fields[attr(n, "name")] = true
			}
		}
		if !strings.Contains(d.name, "form_post") {
			require.Contains(t, []string{"/login", "/consent", "/logout", "/account"}, attr(form, "action"))
			require.True(t, fields["csrf_token"], "every form of ours carries the CSRF token")
		}
	}
}

// What the Content-Security-Policy forbids must not be there: a page that needs it would
// be broken, and one that carries it by accident was injected into.
func (d *document) checkNothingRuns() {
	t := d.t
	for _, n := range d.nodes {
		for _, a := range n.Attr {
			require.False(t, strings.HasPrefix(a.Key, "on"), "<%s %s>", n.Data, a.Key)
			require.NotEqual(t, "style", a.Key, "<%s>", n.Data)
			require.NotContains(t, a.Val, "ZgotmplZ", "<%s %s>", n.Data, a.Key)
			if a.Key == "href" || a.Key == "src" || a.Key == "action" {
				require.NotRegexp(t, `(?i)^\s*(javascript|data|vbscript):`, a.Val)
			}
		}
	}
	require.Empty(t, d.all("style", "iframe", "object", "embed", "base", "svg"))
	scripts := d.all("script")
	if strings.Contains(d.name, "form_post") {
		require.Len(t, scripts, 1)
		require.NotEmpty(t, attr(scripts[0], "nonce"))
		return
	}
	require.Empty(t, scripts)
}

// L-06, G-08: markup in a name is text, and its writing direction ends with it. An
// override inside an isolate that is not closed would reach past the end of <bdi>.
func TestStrangers_text_stays_text(t *testing.T) {
	t.Parallel()
	pages := newPages(t, ui.Options{})
	for _, s := range hostile() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			d := parse(t, s.name, write(t, pages, ui.View{}, s.page).Body.Bytes())
			require.Empty(t, d.all("img"))
			for _, n := range d.nodes {
				for c := range n.ChildNodes() {
					if c.Type != html.TextNode || n.Data == "script" {
						continue
					}
					require.NotRegexp(t, "[\u202a-\u202e\u2066-\u2069\x1b\u0085]", c.Data, "in <%s>", n.Data)
					if strings.Contains(c.Data, "onerror") && !strings.HasSuffix(s.name, "problem") {
						require.True(t, within(n, "bdi") || n.Data == "h3" || n.Data == "dd", "isolated: <%s>", n.Data)
					}
				}
			}
			require.NotContains(t, text(d.all("title")[0]), "onerror")
		})
	}
}

// What goes back to the application goes back as it came.
func TestFormPost_changes_no_value(t *testing.T) {
	t.Parallel()
	pages := newPages(t, ui.Options{})
	const state = "a\"><script>alert(1)</script>'&amp;\u202e\u2066 +%20{{.}}\u00e4\x7f"
	page := ui.FormPost{Action: "com.example.notes:/cb?a=1&b=%22", Fields: []ui.Field{{Name: "state", Value: state}}}
	for name, page := range map[string]ui.Page{"value": page, "pointer": &page} {
		w := write(t, pages, ui.View{}, page)
		require.Contains(t, w.Header().Get("Content-Security-Policy"), "; form-action com.example.notes:;", name)
		d := parse(t, "form_post", w.Body.Bytes())
		require.Equal(t, "com.example.notes:/cb?a=1&b=%22", attr(d.all("form")[0], "action"), name)
		require.Equal(t, state, attr(d.all("input")[0], "value"), name)
	}
}

func TestFormPost_goes_to_no_address_that_runs(t *testing.T) {
	t.Parallel()
	pages := newPages(t, ui.Options{})
	for _, action := range []string{"", "javascript:alert(1)", "JAVASCRIPT:alert(1)", "data:text/html,x", "blob:https://a.test/1", "//evil.test/cb", `/\evil.test`, "cb", "https://%zz"} {
		w := httptest.NewRecorder()
		require.Error(t, pages.Write(w, httptest.NewRequest(http.MethodGet, "/", nil), ui.View{}, ui.FormPost{Action: action}), action)
		require.Empty(t, w.Body.String())
		require.Empty(t, w.Header(), "a page that fails leaves no trace")
	}
}

// A proxy may keep the server under a path; then every address of ours begins with it.
func TestBase_goes_before_every_path(t *testing.T) {
	t.Parallel()
	pages := newPages(t, ui.Options{Base: "/id", Logo: []byte(logo), LogoType: "image/svg+xml"})
	for _, s := range canned() {
		d := parse(t, s.name, write(t, pages, ui.View{}, s.page).Body.Bytes())
		for _, n := range d.nodes {
			for _, key := range []string{"href", "src", "action"} {
				if value := attr(n, key); strings.HasPrefix(value, "/") {
					require.True(t, strings.HasPrefix(value, "/id/"), "%s: %s", s.name, value)
				}
			}
		}
	}
}
