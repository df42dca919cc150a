package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var good = settings{Issuer: "https://auth.example.com/tenant", API: "https://api.example.com/orders?all=1", ClientID: "spa"}

func get(t *testing.T, c settings, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	app, err := newApp(c)
	require.NoError(t, err)
	w := httptest.NewRecorder()
	app.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return w
}

func TestApp_serves_the_page(t *testing.T) {
	t.Parallel()
	for path, mediaType := range map[string]string{
		"/":           "text/html; charset=utf-8",
		"/app.js":     "text/javascript; charset=utf-8",
		"/session.js": "text/javascript; charset=utf-8",
		"/oauth.js":   "text/javascript; charset=utf-8",
		"/style.css":  "text/css; charset=utf-8",
		"/icon.svg":   "image/svg+xml",
	} {
		w := get(t, good, http.MethodGet, path)
		require.Equal(t, http.StatusOK, w.Code, path)
		require.Equal(t, mediaType, w.Header().Get("Content-Type"), path)
		require.NotEmpty(t, w.Body.String(), path)
	}
	// The redirect URI is the page with an answer behind it.
	require.Equal(t, http.StatusOK, get(t, good, http.MethodGet, "/?code=1&state=2&iss=3").Code)
	for _, path := range []string{"/index.html", "/page/", "/main.go", "/../main.go", "/callback", "/README.md"} {
		require.NotEqual(t, http.StatusOK, get(t, good, http.MethodGet, path).Code, path)
	}
	require.Equal(t, http.StatusMethodNotAllowed, get(t, good, http.MethodPost, "/").Code)
}

func TestApp_tells_the_page_its_settings(t *testing.T) {
	t.Parallel()
	w := get(t, good, http.MethodGet, "/config.json")
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.JSONEq(t, `{"issuer":"https://auth.example.com/tenant","api":"https://api.example.com/orders?all=1","client_id":"spa"}`, w.Body.String())
}

func TestApp_security_headers(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/", "/app.js", "/config.json", "/unknown"} {
		header := get(t, good, http.MethodGet, path).Header()
		require.Equal(t, []string{
			"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'",
			"connect-src 'self' https://auth.example.com https://api.example.com",
			"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
			"require-trusted-types-for 'script'", "trusted-types 'none'",
		}, strings.Split(header.Get("Content-Security-Policy"), "; "), path)
		require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"), path)
		require.Equal(t, "no-referrer", header.Get("Referrer-Policy"), path)
		require.Equal(t, "same-origin", header.Get("Cross-Origin-Opener-Policy"), path)
		require.Equal(t, "no-store", header.Get("Cache-Control"), path)
	}
}

// What the policy would refuse must not be there: the page would break silently.
func TestPage_keeps_to_its_own_policy(t *testing.T) {
	t.Parallel()
	html := text(t, "index.html")
	require.NotRegexp(t, `(?is)<script[^>]*>\s*\S[^<]*</script>`, html, "inline script")
	require.NotRegexp(t, `(?i)\son[a-z]+\s*=`, html, "event attribute")
	require.NotRegexp(t, `(?i)\sstyle\s*=|<style`, html, "inline style")
	require.NotRegexp(t, `(?i)(src|href)\s*=\s*"[a-z]*:?//`, html, "something from elsewhere")
	for _, name := range scripts {
		code := text(t, name)
		for _, forbidden := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "localStorage.", "document.cookie", "indexedDB"} {
			require.NotContains(t, code, forbidden, name)
		}
		for _, found := range regexp.MustCompile(`(?m)^import .* from '(.*)';$`).FindAllStringSubmatch(code, -1) {
			require.Contains(t, scripts, strings.TrimPrefix(found[1], "./"), name)
		}
	}
}

// The browser tests, and the reader's own, hold on to these.
func TestPage_ids(t *testing.T) {
	t.Parallel()
	html, code := text(t, "index.html"), text(t, "app.js")
	for _, id := range []string{"sign-in", "sign-out", "call-api", "api-result", "who", "status", "problem", "expires", "renew"} {
		require.Equal(t, 1, strings.Count(html, ` id="`+id+`"`), id)
	}
	for _, found := range regexp.MustCompile(`element\('([^']+)'\)`).FindAllStringSubmatch(code, -1) {
		require.Contains(t, html, ` id="`+found[1]+`"`)
	}
}

// Only the transaction goes to a storage, and only that of the tab.
func TestPage_stores_nothing_but_the_transaction(t *testing.T) {
	t.Parallel()
	all := ""
	for _, name := range scripts {
		all += text(t, name)
	}
	require.Equal(t, []string{"sessionStorage.setItem('sign-in'"}, regexp.MustCompile(`\w+\.setItem\([^,]*`).FindAllString(all, -1))
	require.NotRegexp(t, `(session|local)Storage\[|caches\.|cookieStore`, all)
}

var scripts = []string{"app.js", "session.js", "oauth.js"}

func text(t *testing.T, name string) string {
	t.Helper()
	content, err := page.ReadFile("page/" + name)
	require.NoError(t, err)
	return string(content)
}

func TestApp_refuses_settings_that_are_no_URLs(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", "auth.example.com", "//auth.example.com", "ftp://auth.example.com", "javascript:alert(1)", "https://", "https://*",
		"https://auth.example.com; script-src *", "https://a;script-src", "https://a,b", "https://user@auth.example.com", "https://auth.example.com#x", "https://a'b",
	} {
		c := good
		c.Issuer = bad
		_, err := newApp(c)
		require.ErrorContains(t, err, "--issuer", bad)
		c = good
		c.API = bad
		_, err = newApp(c)
		require.ErrorContains(t, err, "--api", bad)
	}
	c := good
	c.Issuer, c.API = "http://127.0.0.1:8080", "http://[::1]:9090/"
	require.Contains(t, get(t, c, http.MethodGet, "/").Header().Get("Content-Security-Policy"), "connect-src 'self' http://127.0.0.1:8080 http://[::1]:9090;")
	c.ClientID = ""
	_, err := newApp(c)
	require.ErrorContains(t, err, "--client-id")
}

func TestRun_prints_its_address_serves_and_stops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"--address", "127.0.0.1:0", "--client-id", "shop"}, in)
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	address := strings.Fields(line)[2]

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"config.json", nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.JSONEq(t, `{"issuer":"http://127.0.0.1:8080","api":"http://127.0.0.1:9090/","client_id":"shop"}`, string(body))

	cancel()
	require.NoError(t, <-ended)
	require.Error(t, run(t.Context(), []string{"--issuer", "nowhere"}, io.Discard))
}
