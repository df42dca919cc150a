package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const spa = "http://127.0.0.1:9091"

func TestCORS_a_preflight_of_a_registered_origin(t *testing.T) {
	t.Parallel()
	w := call(t, origins{spa}, http.MethodOptions, spa, map[string]string{
		"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization",
	})
	require.Equal(t, http.StatusNoContent, w.Code)
	require.Equal(t, spa, w.Header().Get("Access-Control-Allow-Origin"))
	require.Equal(t, "GET", w.Header().Get("Access-Control-Allow-Methods"))
	require.Equal(t, "Authorization", w.Header().Get("Access-Control-Allow-Headers"), "a * does not cover it")
	require.Equal(t, "Origin", w.Header().Get("Vary"))
	require.Empty(t, w.Header().Get("WWW-Authenticate"), "a preflight can bear no token")
}

func TestCORS_the_answer_can_be_read(t *testing.T) {
	t.Parallel()
	w := call(t, origins{"https://other.example.com", spa}, http.MethodGet, spa, nil)
	require.Equal(t, http.StatusUnauthorized, w.Code)
	require.Equal(t, spa, w.Header().Get("Access-Control-Allow-Origin"))
	require.Equal(t, "Retry-After, WWW-Authenticate", w.Header().Get("Access-Control-Expose-Headers"), "why it was refused, too")
	require.NotEmpty(t, w.Header().Get("WWW-Authenticate"))
	require.Empty(t, w.Header().Get("Access-Control-Allow-Credentials"))
	require.Equal(t, "Origin", w.Header().Get("Vary"))
}

func TestCORS_says_nothing_to_others(t *testing.T) {
	t.Parallel()
	for name, origin := range map[string]string{
		"another origin":      "https://evil.example.com",
		"another port":        "http://127.0.0.1:9092",
		"another scheme":      "https://127.0.0.1:9091",
		"a longer one":        spa + "0",
		"a file or a sandbox": "null",
		"no browser":          "",
	} {
		for _, method := range []string{http.MethodGet, http.MethodOptions} {
			w := call(t, origins{spa}, method, origin, map[string]string{"Access-Control-Request-Method": "GET"})
			for header := range w.Header() {
				require.NotContains(t, header, "Access-Control", "%s: %s", name, method)
			}
			require.Equal(t, "Origin", w.Header().Get("Vary"), "%s: %s", name, method)
		}
	}
	w := call(t, nil, http.MethodGet, spa, nil)
	require.Empty(t, w.Header().Get("Access-Control-Allow-Origin"), "none without the flag")
	w = call(t, origins{spa}, http.MethodOptions, spa, nil)
	require.Equal(t, http.StatusMethodNotAllowed, w.Code, "OPTIONS that is no preflight")
	w = call(t, origins{spa}, http.MethodGet, spa, map[string]string{"Access-Control-Request-Method": "GET"})
	require.Equal(t, http.StatusUnauthorized, w.Code, "a preflight that is no OPTIONS")
}

func TestOrigins_are_spelled_as_browsers_do(t *testing.T) {
	t.Parallel()
	var o origins
	for _, bad := range []string{"", "*", "null", "127.0.0.1:9091", spa + "/", spa + "/app", spa + "?", "ftp://127.0.0.1", "https://u@example.com", "https://"} {
		require.Error(t, o.Set(bad), bad)
	}
	require.NoError(t, o.Set(spa))
	require.NoError(t, o.Set("https://shop.example.com"))
	require.Equal(t, origins{spa, "https://shop.example.com"}, o)
}

// call is one request without a token.
func call(t *testing.T, allowed origins, method, origin string, headers map[string]string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "/", nil)
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	allowed.allow(newAPI("https://auth.example.com", api, "", "", time.Now)).ServeHTTP(w, r)
	return w
}
