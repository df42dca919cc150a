package doctor_test

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/doctor"
	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/storage"
)

var discard = log.New(io.Discard, "", 0)

// once is a listener with one connection.
type once struct {
	c    net.Conn
	done sync.Once
}

func (o *once) Accept() (c net.Conn, err error) {
	err = io.EOF
	o.done.Do(func() { c, err = o.c, nil })
	return c, err
}
func (o *once) Close() error   { return nil }
func (o *once) Addr() net.Addr { return o.c.LocalAddr() }

// piped has the address of a connection, which a pipe has not.
type piped struct{ net.Conn }

func (piped) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: 1} }

// The control: nothing is wrong, every check that can be made is made, and nothing is
// left behind.
func TestHealthyDeployment(t *testing.T) {
	t.Parallel()
	servertest.Each(t, healthy(), func(t *testing.T, w *servertest.World) {
		forget(t, w)
		d := deploy(w)
		before := contents(t, w)
		found := d.examine(t, true)
		require.Empty(t, wrong(found))
		require.Equal(t, before, contents(t, w), "all that was made is gone")

		other := map[string]bool{
			"sqlite-file": w.Dialect == "postgres", "sqlite-journal": w.Dialect == "postgres", "sqlite-filesystem": w.Dialect == "postgres",
			"database-connections": w.Dialect == "sqlite", "clock-database": w.Dialect == "sqlite",
		}
		for _, f := range found {
			require.Equal(t, other[f.Check], f.Grade == doctor.Skip, "%v", f)
		}
		require.GreaterOrEqual(t, len(found), len(doctor.Checks()))
	})
}

// Without attacks nothing is written, and all else is looked at.
func TestLookingWritesNothing(t *testing.T) {
	t.Parallel()
	servertest.Each(t, shared(), func(t *testing.T, w *servertest.World) {
		forget(t, w)
		d := deploy(w)
		before := contents(t, w)
		w.Tally.Reset()
		found := d.examine(t, false)
		require.Empty(t, unsound(found))
		require.Equal(t, before, contents(t, w))
		for _, f := range found {
			if f.Grade == doctor.Skip && f.Check[:6] == "attack" {
				require.Equal(t, "they were not asked for", f.Finding)
			}
		}
		require.Equal(t, doctor.Skip, of(found, "proxy-forged")[0].Grade, "only a sign-in tells")
	})
}

// The store that the doctor looks with can not write, whatever it is asked.
func TestInspectedSQLiteTakesNoWrites(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, shared())
	s := w.Open(func(o *storage.Options) { o.Inspect = true })
	require.ErrorIs(t, s.CreateClient(t.Context(), good("new")), storage.ErrUnavailable)
	_, err := s.Facts(t.Context())
	require.NoError(t, err)
}

// Ctrl-C in the middle: what was made is removed all the same.
func TestAnInterruptedRunLeavesNothing(t *testing.T) {
	t.Parallel()
	servertest.Each(t, shared(), func(t *testing.T, w *servertest.World) {
		forget(t, w)
		d := deploy(w)
		d.patient.Guests = w.Open()
		before := contents(t, w)
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		d.around = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				made := contentsOf(t, d)
				next.ServeHTTP(rw, r)
				if r.URL.Path == "/consent" && r.Method == http.MethodPost {
					require.NotEmpty(t, made)
					interrupt()
				}
			})
		}
		d.start(t)
		found := doctor.Examine(ctx, d.patient)
		require.ErrorIs(t, ctx.Err(), context.Canceled, "it came so far")
		require.Equal(t, doctor.OK, of(found, "attack-removal")[0].Grade)
		require.Equal(t, doctor.Skip, of(found, "attack-guessing")[0].Grade)
		require.Equal(t, before, contents(t, w))
	})
}

func contentsOf(t *testing.T, d *deployment) []storage.Guest {
	list, err := d.Store.Guests(context.WithoutCancel(t.Context()), "grantor-doctor-")
	if err != nil {
		t.Error(err)
	}
	return list
}

// A run that was killed left its guests. The next one removes them, but not those of a
// run that goes on elsewhere, and nobody whose name only begins alike.
func TestWhatAKilledRunLeftIsRemoved(t *testing.T) {
	t.Parallel()
	servertest.Each(t, shared(), func(t *testing.T, w *servertest.World) {
		forget(t, w)
		d := deploy(w)
		kept := good("grantor-doctor-notes")
		w.AddClient(kept)
		before := contents(t, w)

		killed := d.patient
		killed.Guests = w.Open(func(o *storage.Options) { o.Now = func() time.Time { return time.Now().Add(-time.Hour) } })
		require.NoError(t, doctor.Leave(t.Context(), killed))
		require.Len(t, contentsOf(t, d), 1+5, "a user and four clients, and the notes")

		found := d.examine(t, true)
		require.Empty(t, unsound(found))
		require.Contains(t, of(found, "attack-removal")[0].Finding, "5 clients and users that an earlier run left")
		require.Equal(t, before, contents(t, w))

		running := d.patient
		running.Guests = w.Open()
		require.NoError(t, doctor.Leave(t.Context(), running))
		found = d.examine(t, true)
		require.Equal(t, []string{"attack-removal"}, checks(unsound(found)))
		require.Len(t, contentsOf(t, d), 1+5, "those of the other run are left alone")
	})
}

func checks(found []doctor.Finding) (names []string) {
	for _, f := range found {
		names = append(names, f.Check)
	}
	return names
}

// recorded is what a handler answers, to be changed on its way.
func recorded(next http.Handler, change func(r *http.Request, a *httptest.ResponseRecorder)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		a := httptest.NewRecorder()
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(a, r)
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.Form, r.PostForm = nil, nil
		_ = r.ParseForm()
		change(r, a)
		header := w.Header()
		for name, values := range a.Header() {
			header[name] = values
		}
		header.Del("Content-Length")
		w.WriteHeader(a.Code)
		_, _ = w.Write(a.Body.Bytes())
	})
}
