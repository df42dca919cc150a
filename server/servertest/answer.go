package servertest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/refusals"
)

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	JSON   map[string]any // of an object
	// Refusal is what the answer's reference says, which every error must carry. The
	// reference itself is taken out of Body, so that answers can be compared.
	Refusal refusals.Refusal
	t       testing.TB
}

// Require ends the test when the status is another one.
func (a *Answer) Require(status int) *Answer {
	a.t.Helper()
	require.Equal(a.t, status, a.Status, "%s", a.Body)
	return a
}

// Refused ends the test unless the answer is that status with that error code.
func (a *Answer) Refused(status int, code string) *Answer {
	a.t.Helper()
	a.Require(status)
	require.Equal(a.t, code, a.JSON["error"], "%s", a.Body)
	return a
}

// Text is a member of the JSON object, "" when it is absent.
func (a *Answer) Text(member string) string {
	text, _ := a.JSON[member].(string)
	return text
}

// Access is the access token.
func (a *Answer) Access() string { return a.Text("access_token") }

// Refresh is the refresh token.
func (a *Answer) Refresh() string { return a.Text("refresh_token") }

// Claims are those of a JWT, unverified: what was answered is not in doubt here.
func Claims(t testing.TB, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3, "not a JWT")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	var claims map[string]any
	require.NoError(t, json.Unmarshal(payload, &claims))
	return claims
}

// registered are the error codes that an answer may carry: the IANA registry of
// OAuth extensions errors and RFC 6749, 6750, 8707. temporarily_unavailable and
// server_error are RFC 6749's for what is no fault of the client.
var registered = map[string]bool{
	"invalid_request": true, "invalid_client": true, "invalid_grant": true, "unauthorized_client": true, "unsupported_grant_type": true,
	"invalid_scope": true, "invalid_target": true, "invalid_token": true, "insufficient_scope": true, "temporarily_unavailable": true, "server_error": true,
	"access_denied": true,
}

// public documents may be kept.
func public(path string) bool {
	return strings.HasPrefix(path, "/.well-known/") || strings.HasPrefix(path, "/ui/")
}

// look holds an answer against what is true of every answer.
func (w *World) look(r *Request, a *Answer) {
	t := w.t
	t.Helper()
	where := fmt.Sprintf("%s %s: %d %s", r.Method, r.Path, a.Status, a.Body)
	w.seen.answer(a)
	require.Len(t, a.Header.Values("X-Request-Id"), 1, where)
	require.Equal(t, "nosniff", a.Header.Get("X-Content-Type-Options"), where)
	html := strings.HasPrefix(a.Header.Get("Content-Type"), "text/html")
	w.lookAtLocation(a, where)
	w.lookAtReference(a, where)
	if a.Status == http.StatusServiceUnavailable && (w.broken || r.Path == "/readyz") {
		require.NotEmpty(t, a.Header.Get("Retry-After"), where)
	} else {
		require.Less(t, a.Status, 500, where)
	}
	if a.Status == http.StatusUnauthorized {
		require.NotEmpty(t, a.Header.Get("WWW-Authenticate"), where)
	}
	if !public(r.Path) || a.Status >= 400 {
		if a.Status != http.StatusNoContent {
			require.Equal(t, "no-store", a.Header.Get("Cache-Control"), where)
		}
	}
	if html {
		w.lookAtPage(a, where)
		return
	}
	if a.Status >= 400 && len(a.Body) > 0 && r.Path != "/readyz" {
		w.lookAtError(r, a, where)
	}
}

var loopbackPort = regexp.MustCompile(`^(http://(?:127\.0\.0\.1|\[::1\])):[0-9]+`)

// lookAtLocation: a redirect is never 307 or 308, which would repeat a password, and leads
// to a page of the server or to what some client of the World is registered with.
func (w *World) lookAtLocation(a *Answer, where string) {
	w.t.Helper()
	to := a.Header.Get("Location")
	if to == "" {
		return
	}
	require.Equal(w.t, http.StatusSeeOther, a.Status, where)
	if strings.HasPrefix(to, "/") {
		require.False(w.t, strings.HasPrefix(to, "//"), where)
		return
	}
	// A program on the device listens on any port: RFC 8252 section 7.3.
	to = loopbackPort.ReplaceAllString(to, "$1")
	for _, registered := range *w.registered {
		registered = loopbackPort.ReplaceAllString(registered, "$1")
		if to == registered || strings.HasPrefix(to, registered+"?") || strings.HasPrefix(to, registered+"&") || strings.HasPrefix(to, registered+"#") {
			return
		}
	}
	require.Fail(w.t, "redirect to what nobody registered", where+" -> "+to)
}

var (
	// Not in the middle of a token, which may spell anything.
	reference = regexp.MustCompile(`(?:^|[^A-Za-z0-9_-]|%[0-9A-F]{2})(ge1_[A-Za-z0-9_-]+)`)
	refused   = regexp.MustCompile(`[?&#]error=|name="error"|page-problem`)
)

// lookAtReference: an error in any form carries a reference of one length, which says
// what the log says, by a cause that has a number; whatever is none carries none.
func (w *World) lookAtReference(a *Answer, where string) {
	t := w.t
	t.Helper()
	location := a.Header.Get("Location")
	found := ""
	if match := reference.FindStringSubmatch(location + "\n" + string(a.Body)); match != nil {
		found = match[1]
	}
	if !refused.MatchString(location+"\n"+string(a.Body)) && a.Text("error") == "" {
		require.Empty(t, found, where)
		return
	}
	require.Len(t, found, refusals.Length, where)
	references, err := refusals.New(w.Keyring)
	require.NoError(t, err)
	a.Refusal, err = references.Open(found)
	require.NoError(t, err, where)
	require.NotEmpty(t, a.Refusal.Cause, "a cause without a number: "+where)
	require.NotEmpty(t, a.Refusal.Code, "a code without a number: "+where)
	require.NotEmpty(t, a.Refusal.Route, "a route without a number: "+where)
	require.Equal(t, a.Header.Get("X-Request-Id"), a.Refusal.Request, where)
	if code := a.Text("error"); code != "" {
		require.Equal(t, code, a.Refusal.Code, where)
	}
	a.Body = bytes.ReplaceAll(a.Body, []byte(found), []byte("ge1_"))
}

// lookAtPage is L-02: true of every page, whatever its status.
func (w *World) lookAtPage(a *Answer, where string) {
	t := w.t
	t.Helper()
	policy := a.Header.Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'", where)
	require.Contains(t, policy, "frame-ancestors 'none'", where)
	require.Contains(t, policy, "base-uri 'none'", where)
	require.NotContains(t, policy, "unsafe", where)
	require.Contains(t, []string{"same-origin", "no-referrer"}, a.Header.Get("Referrer-Policy"), where)
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"), where)
	require.Equal(t, "DENY", a.Header.Get("X-Frame-Options"), where)
	body := string(a.Body)
	require.NotContains(t, body, "<svg onload", where)
	require.NotContains(t, body, "<script>", where)
}

func (w *World) lookAtError(r *Request, a *Answer, where string) {
	t := w.t
	t.Helper()
	require.Equal(t, "application/json", a.Header.Get("Content-Type"), where)
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Reference   string `json:"reference"`
	}
	require.NoError(t, json.Unmarshal(a.Body, &body), where)
	require.NotEmpty(t, body.Reference, where)
	require.True(t, registered[body.Error], where)
	require.NotEmpty(t, body.Description, where)
	for _, c := range []byte(body.Description) {
		require.True(t, c >= 0x20 && c <= 0x7e && c != '"' && c != '\\', where)
	}
	require.NotContains(t, string(a.Body), "evil", where) // what the tests send to see it come back
	for _, secret := range secretsOf(r) {
		require.NotContains(t, string(a.Body), secret, where)
	}
}
