package ui_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/ui"
)

// L-02: any page, any status.
func TestEvery_page_has_the_headers(t *testing.T) {
	t.Parallel()
	pages := newPages(t, ui.Options{})
	for _, s := range append(canned(), hostile()...) {
		for _, status := range []int{0, http.StatusForbidden, http.StatusServiceUnavailable} {
			w := write(t, pages, ui.View{Status: status, Locales: "de"}, s.page)
			if status == 0 {
				status = http.StatusOK
			}
			require.Equal(t, status, w.Code)
			policy := w.Header().Get("Content-Security-Policy")
			require.Contains(t, policy, "default-src 'none'; ", s.name)
			require.Contains(t, policy, "; frame-ancestors 'none'; base-uri 'none'")
			require.NotContains(t, policy, "unsafe")
			for name, want := range map[string]string{
				"Content-Type":                 "text/html; charset=utf-8",
				"Content-Language":             "de",
				"Vary":                         "Accept-Language",
				"Cache-Control":                "no-store",
				"Referrer-Policy":              "same-origin",
				"X-Content-Type-Options":       "nosniff",
				"X-Frame-Options":              "DENY",
				"Cross-Origin-Resource-Policy": "same-origin",
			} {
				require.Equal(t, want, w.Header().Get(name), s.name)
			}
			require.NotEmpty(t, w.Header().Get("Permissions-Policy"))
			require.Empty(t, w.Header().Get("Cross-Origin-Opener-Policy"), "it would break sign-in in a popup")
		}
	}
}

func TestPolicy_of_a_page_names_where_its_form_may_end(t *testing.T) {
	t.Parallel()
	pages := newPages(t, ui.Options{})
	for _, c := range []struct {
		name    string
		sources []string
		want    string
	}{
		{"nowhere else", nil, "'self'"},
		{"an application", []string{"https://app.test", "com.example.app:"}, "'self' https://app.test com.example.app:"},
		{"twice the same", []string{"https://app.test", "https://app.test"}, "'self' https://app.test"},
		{"nothing that is more than a source", []string{"", "https://a.test; script-src *", "https://a.test;x", "https://a.test\nX: y", "'unsafe-inline'", "https://a.test, default-src *", "https://ä.test"}, "'self'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := write(t, pages, ui.View{FormAction: c.sources}, ui.SignIn{})
			require.Equal(t, "default-src 'none'; style-src 'self'; img-src 'self'; form-action "+c.want+"; frame-ancestors 'none'; base-uri 'none'", w.Header().Get("Content-Security-Policy"))
		})
	}
}

// E-09: the policy of a form post allows that form and that script.
func TestPolicy_of_FormPost(t *testing.T) {
	t.Parallel()
	pages := newPages(t, ui.Options{Rand: &counting{}})
	seen := map[string]bool{}
	for range 3 {
		w := write(t, pages, ui.View{FormAction: []string{"https://other.test"}}, ui.FormPost{Action: "https://app.test:8443/cb?x=1"})
		nonce := attr(parse(t, "form_post", w.Body.Bytes()).all("script")[0], "nonce")
		require.GreaterOrEqual(t, len(nonce), 22, "128 bits")
		require.Equal(t, "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'nonce-"+nonce+"'; form-action https://app.test:8443; frame-ancestors 'none'; base-uri 'none'", w.Header().Get("Content-Security-Policy"))
		require.False(t, seen[nonce], "a nonce is for one page")
		seen[nonce] = true
	}
}

// counting is random enough to tell one draw from the next.
type counting struct{ n byte }

func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		c.n++
		p[i] = c.n
	}
	return len(p), nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("no entropy") }

func TestFormPost_without_randomness_is_not_written(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	err := newPages(t, ui.Options{Rand: broken{}}).Write(w, httptest.NewRequest(http.MethodGet, "/", nil), ui.View{}, ui.FormPost{Action: "https://app.test/cb"})
	require.ErrorContains(t, err, "no entropy")
	require.Empty(t, w.Body.String())
}

func TestSource(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"https://App.test/cb?x=1":  "https://app.test",
		"https://app.test:8443/cb": "https://app.test:8443",
		"http://127.0.0.1:51004/":  "http://127.0.0.1:51004",
		"http://[::1]:51004/cb":    "http:", // CSP can not write an IPv6 address
		"com.example.app:/cb":      "com.example.app:",
		"Com.Example.App:/cb":      "com.example.app:",
		"/cb":                      "",
		"https:///cb":              "",
		"%":                        "",
	} {
		require.Equal(t, want, ui.Source(uri), uri)
	}
}
