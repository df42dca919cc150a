package server_test

import (
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/servertest"
)

// moody fails when a token's id is drawn, in the way that is chosen.
type moody struct{ mood atomic.Pointer[func() error] }

func (m *moody) Read(p []byte) (int, error) {
	if f := m.mood.Load(); f != nil && len(p) == 16 {
		if err := (*f)(); err != nil {
			return 0, err
		}
	}
	return rand.Read(p)
}

func (m *moody) set(f func() error) {
	if f == nil {
		m.mood.Store(nil)
		return
	}
	m.mood.Store(&f)
}

// machine is a correct request, without the harness: what it gets is a 500.
func machine(t *testing.T, w *servertest.World) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/oauth2/token", strings.NewReader("grant_type=client_credentials"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", w.Basic("cc"))
	a := httptest.NewRecorder()
	w.Handler().ServeHTTP(a, r)
	return a
}

const generic = `^\{"error":"server_error","error_description":"The server met an unexpected condition.","reference":"ge1_[\w-]{192}"\}$`

// H-09: a generic 500, logged once with its stack, and the process lives.
func TestErrors_a_panic_H09(t *testing.T) {
	t.Parallel()
	random := new(moody)
	w := servertest.New(t, servertest.Setup{Rand: random})
	for _, what := range []any{"evil secret in a panic", errors.New("evil secret in a panic")} {
		random.set(func() error { panic(what) })
		before := len(w.Log.Lines(t))
		a := machine(t, w)
		require.Equal(t, 500, a.Code)
		require.Regexp(t, generic, a.Body.String())
		require.Equal(t, "application/json", a.Header().Get("Content-Type"))
		require.Equal(t, "no-store", a.Header().Get("Cache-Control"))
		lines := w.Log.Lines(t)[before:]
		require.Len(t, lines, 2)
		require.Equal(t, "panic", lines[0]["msg"])
		require.Contains(t, lines[0]["stack"], "Token")
		require.Equal(t, a.Header().Get("X-Request-Id"), lines[0]["request"])
		require.Equal(t, "request", lines[1]["msg"])
		require.InDelta(t, 500, lines[1]["status"], 0)
		require.Equal(t, "ERROR", lines[1]["level"])
		random.set(nil)
		require.Equal(t, 200, machine(t, w).Code)
	}
	random.set(func() error { panic(http.ErrAbortHandler) })
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { machine(t, w) }, "net/http ends the connection with it")
}

// People read it as a page, with what finds it in the log.
func TestErrors_a_panic_in_a_page_H09(t *testing.T) {
	t.Parallel()
	random := new(moody)
	w := servertest.New(t, servertest.Setup{Rand: random})
	get := func() *httptest.ResponseRecorder {
		a := httptest.NewRecorder()
		w.Handler().ServeHTTP(a, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/login", nil))
		return a
	}
	for _, fail := range []func() error{func() error { panic("ev!l secret in a panic") }, func() error { return errors.New("ev!l internals") }} {
		random.set(fail)
		a := get()
		require.Equal(t, 500, a.Code)
		require.Equal(t, "text/html; charset=utf-8", a.Header().Get("Content-Type"))
		require.Equal(t, "no-store", a.Header().Get("Cache-Control"))
		require.Contains(t, a.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'")
		require.Contains(t, a.Body.String(), a.Header().Get("X-Request-Id"))
		require.NotContains(t, a.Body.String(), "ev!l")
		require.Empty(t, a.Header().Values("Set-Cookie"))
		random.set(nil)
		require.Equal(t, 200, get().Code)
	}
}

// N-10's rule: what went wrong inside is for the log.
func TestErrors_an_unexpected_failure_tells_nothing(t *testing.T) {
	t.Parallel()
	random := new(moody)
	w := servertest.New(t, servertest.Setup{Rand: random})
	random.set(func() error { return errors.New("ev!l internals") })
	a := machine(t, w)
	require.Equal(t, 500, a.Code)
	require.Regexp(t, generic, a.Body.String())
	require.Contains(t, w.Log.Text(), "ev!l internals")
}

// A source of randomness that ends is no token with less of it.
func TestErrors_no_randomness_no_token(t *testing.T) {
	t.Parallel()
	random := new(moody)
	w := servertest.New(t, servertest.Setup{Rand: random})
	random.set(func() error { return io.ErrUnexpectedEOF })
	require.Equal(t, 500, machine(t, w).Code)
	random.set(nil)
	require.Equal(t, 200, machine(t, w).Code)
}

// The texts of the database stay inside, whatever fails: N-10, Q-01.
func TestErrors_of_the_database_stay_inside(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		login := w.Login("c1", "alice")
		mend := w.Break(func(sql string) error { return errors.New("ev!l driver text: " + sql) })
		for _, a := range []*servertest.Answer{
			w.Refresh("c1", login.Refresh()), w.Introspect("rs", login.Access()), w.Revoke("c1", login.Refresh()), w.Userinfo(login.Access()), w.TryLogin("c1", "alice"),
		} {
			a.Refused(503, "temporarily_unavailable")
			for _, leak := range []string{"ev!l", "SELECT", "UPDATE", "grants", w.URL, "sqlite", "postgres"} {
				require.NotContains(t, string(a.Body), leak)
			}
		}
		mend()
		require.Contains(t, w.Log.Text(), "ev!l driver text", "the cause is for the log")
	})
}
