package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/server/servertest"
)

// methods of every path that there is.
var methods = map[string][]string{
	"/oauth2/token":                           {"OPTIONS", "POST"},
	"/oauth2/introspect":                      {"POST"},
	"/oauth2/revoke":                          {"OPTIONS", "POST"},
	"/userinfo":                               {"GET", "HEAD", "OPTIONS", "POST"},
	"/.well-known/openid-configuration":       {"GET", "HEAD", "OPTIONS"},
	"/.well-known/oauth-authorization-server": {"GET", "HEAD", "OPTIONS"},
	"/.well-known/jwks.json":                  {"GET", "HEAD", "OPTIONS"},
	"/healthz":                                {"GET", "HEAD"},
	"/readyz":                                 {"GET", "HEAD"},
	"/ui/style.css":                           {"GET", "HEAD"},
	"/ui/logo":                                {"GET", "HEAD"},
	"/oauth2/auth":                            {"GET", "POST"},
	"/oauth2/error":                           {"GET"},
	"/oauth2/logout":                          {"GET", "POST"},
	"/login":                                  {"GET", "POST"},
	"/consent":                                {"GET", "POST"},
	"/logout":                                 {"GET", "POST"},
	"/account":                                {"GET", "POST"},
	"/":                                       {"GET"},
}

// RFC 6797: only over https, and only what people see.
func TestPages_are_strict_about_transport(t *testing.T) {
	t.Parallel()
	for issuer, want := range map[string]string{servertest.Issuer: "max-age=63072000", "http://localhost:8080": "", "https://localhost:8443": ""} {
		w := servertest.New(t, servertest.Setup{Config: func(c *config.Config) { c.Issuer = issuer }})
		for _, path := range []string{"/", "/login", "/oauth2/auth", "/nowhere"} {
			got := w.Send(&servertest.Request{Method: "GET", Path: path, Header: http.Header{"Accept": {"text/html"}}})
			require.Equal(t, want, got.Header.Get("Strict-Transport-Security"), "%s%s", issuer, path)
		}
		keys := w.Send(&servertest.Request{Method: "GET", Path: "/.well-known/jwks.json"})
		require.Empty(t, keys.Header.Get("Strict-Transport-Security"))
	}
}

// T-01, E-11, H-07. A page answers no HEAD: it may end in a code.
func TestRoutes_answer_405_to_other_methods_H07(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for path, allowed := range methods {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "EVIL", "get"} {
			r := &servertest.Request{Method: method, Path: path, Header: http.Header{"X-Evil": {"ev1l-header"}}}
			if slices.Contains(allowed, method) {
				require.NotEqual(t, 405, w.Send(r).Status, "%s %s", method, path)
				continue
			}
			a := w.Send(r)
			require.Equal(t, 405, a.Status, "%s %s", method, path)
			require.Equal(t, strings.Join(allowed, ", "), a.Header.Get("Allow"))
			require.NotContains(t, string(a.Body), "ev1l")
			require.NotContains(t, fmt.Sprint(a.Header), "ev1l")
		}
	}
	for _, line := range w.Log.Requests(t) {
		require.NotEqual(t, "EVIL", line["method"], "a stranger's text")
	}
}

// H-08, N-02: there is one spelling of a path, and nothing behind another one.
func TestRoutes_nothing_else_is_there_H08(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for _, path := range []string{
		"/metrics", "/debug/pprof", "/debug/pprof/", "/debug/vars", "/oauth2", "/oauth2/", "/oauth2/token/", "//oauth2/token", "/oauth2//token",
		"/oauth2/../oauth2/token", "/./oauth2/token", "/oauth2/token;x", "/OAuth2/token", "/oauth2/token%00", "/oauth2/token%2f", "/admin/v1/", "/admin/v1/clients",
		"/console/", "/login/", "/Login", "/account/", "/ui/", "/ui/style.css/", "/ui/../login", "/.well-known/", "/.well-known/jwks.json/ev1l", "/ev1l%0d%0aX-Evil:%20ev1l", "/%2e%2e/%2e%2e/etc/passwd", "/healthz/x", "/readyz/..",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r := servertest.Form(path, "grant_type", "client_credentials")
			r.Method = method
			a := w.Send(w.As(r, "cc"))
			a.Refused(404, "invalid_request")
			require.Empty(t, a.Header.Get("X-Evil"))
		}
	}
	for _, line := range w.Log.Requests(t) {
		require.Equal(t, "unknown", line["route"], "a path that nobody registered is a stranger's text")
	}
}

// Who typed the name of the server comes to their account. What is not there is said as
// its reader understands it.
func TestRoutes_for_people(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	require.Equal(t, "/account", w.Send(servertest.Get("/")).Require(http.StatusSeeOther).Header.Get("Location"))
	for accept, kind := range map[string]string{
		"text/html,application/xhtml+xml,*/*;q=0.8": "text/html; charset=utf-8", "*/*": "application/json", "": "application/json", "application/json": "application/json",
	} {
		a := w.Send(servertest.Get("/ev1l").Set("Accept", accept)).Require(http.StatusNotFound)
		require.Equal(t, kind, a.Header.Get("Content-Type"), accept)
		require.NotContains(t, string(a.Body), "ev1l")
	}
	for _, method := range []string{http.MethodHead, http.MethodPut, http.MethodOptions} {
		a := w.Send(&servertest.Request{Method: method, Path: "/login", Header: http.Header{}}).Require(http.StatusMethodNotAllowed)
		require.Equal(t, "text/html; charset=utf-8", a.Header.Get("Content-Type"))
		require.Empty(t, a.Header.Get("Set-Cookie"))
	}
}

func TestRoutes_a_method_override_is_not_read_H06(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for _, header := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
		w.Send(servertest.Get("/oauth2/token").Set(header, "POST")).Refused(405, "invalid_request")
	}
	w.Send(servertest.Get("/healthz").Set("X-Original-URL", "/admin/v1/").Set("X-Rewrite-URL", "/metrics")).Require(200)
}

// H-04: one reading of one request, or none.
func TestRoutes_ambiguous_lengths_H04(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	form := servertest.Encode("grant_type", "client_credentials")
	for name, head := range map[string]string{
		"length and chunked":  "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
		"two lengths":         "Content-Length: 5\r\nContent-Length: 29\r\n",
		"chunked twice":       "Transfer-Encoding: chunked, chunked\r\n",
		"unknown coding":      "Transfer-Encoding: ev1l\r\n",
		"negative length":     "Content-Length: -1\r\n",
		"length with a plus":  "Content-Length: +29\r\n",
		"blank before colon":  "Content-Length : 29\r\n",
		"two hosts":           "Host: ev1l.test\r\nContent-Length: 29\r\n",
		"a broken field name": "X\x01Evil: 1\r\nContent-Length: 29\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.URL, "http://"))
			require.NoError(t, err)
			defer func() { _ = conn.Close() }()
			require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
			_, err = fmt.Fprintf(conn, "POST /oauth2/token HTTP/1.1\r\nHost: as.test\r\nAuthorization: %s\r\nContent-Type: application/x-www-form-urlencoded\r\n%s\r\n%s", w.Basic("cc"), head, form)
			require.NoError(t, err)
			all, _ := io.ReadAll(halfClosed(t, conn))
			require.LessOrEqual(t, strings.Count(string(all), "HTTP/1.1 "), 1, "%s", all)
			if len(all) > 0 {
				answer, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(all))), nil)
				require.NoError(t, err)
				_ = answer.Body.Close()
				require.True(t, answer.StatusCode == 400 || answer.StatusCode == 501, "%s", all)
			}
		})
	}
}

func halfClosed(t *testing.T, conn net.Conn) net.Conn {
	t.Helper()
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	return conn
}
