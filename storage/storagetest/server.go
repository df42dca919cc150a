package storagetest

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/grantorhq/grantor/test/postgres"
)

// Server is a throw-away PostgreSQL on 127.0.0.1 that trusts everybody there.
//
// Stop, Start, Kill, Pause and Resume are for one goroutine at a time. Each ends
// the test when the machine refuses it.
type Server struct {
	postgres *postgres.Server
	watcher  *watcher
	t        testing.TB // of StartPostgres; the shared server has none and is never told to stop
}

func newServer(settings []string) (_ *Server, err error) {
	folder, err := os.MkdirTemp("", "grantor-postgres-")
	if err != nil {
		return nil, err
	}
	w, err := watch(folder)
	if err != nil {
		_ = os.RemoveAll(folder)
		return nil, err
	}
	s := &Server{watcher: w, postgres: &postgres.Server{
		Folder: folder, Log: filepath.Join(folder, "log"), Changed: w.follow,
		Settings: append([]string{
			"max_connections=200", "shared_buffers=32MB", "fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum_naptime=1h",
		}, settings...),
	}}
	if err := s.begin(context.Background()); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

// begin makes the cluster. It sorts text by a natural language on purpose: SQLite sorts
// by bytes, and a query that relies on either order must be noticed.
func (s *Server) begin(ctx context.Context) error {
	if err := s.postgres.Make(ctx, "--locale-provider=icu", "--icu-locale=en-US"); err != nil {
		// A server built without ICU knows only the C library's order.
		_ = os.RemoveAll(s.postgres.Data())
		if err := s.postgres.Make(ctx); err != nil {
			return err
		}
	}
	return s.postgres.Start(ctx)
}

// URL is an empty database on the server, the same one at every call.
func (s *Server) URL() string { return s.postgres.URL(ownDatabase) }

// Stop is a fast shutdown: sessions are thrown out, what was committed is kept.
func (s *Server) Stop() {
	s.t.Helper()
	s.must(s.postgres.Shut(syscall.SIGINT, time.Minute, syscall.SIGQUIT))
}

// Start runs a stopped or killed server again, on the same data and the same port.
func (s *Server) Start() {
	s.t.Helper()
	if s.postgres.PID() != 0 {
		s.t.Fatal("postgres runs already")
	}
	s.must(s.postgres.Start(context.Background()))
}

// Kill ends the server as a loss of power would end it, except that the operating
// system still has what was written: nothing is flushed, nobody is told.
func (s *Server) Kill() {
	s.t.Helper()
	s.must(s.postgres.Crash())
}

// Pause freezes the server: connections stay open and nothing answers. Resume, or
// the end of the test, lets it go on.
func (s *Server) Pause() {
	s.t.Helper()
	s.must(s.postgres.Freeze())
}

// Resume ends a Pause.
func (s *Server) Resume() {
	s.t.Helper()
	s.must(s.postgres.Thaw())
}

func (s *Server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// remove ends the server and its folder. The watcher does it, so that there is one
// way only.
func (s *Server) remove() {
	_ = s.postgres.Thaw() // a frozen server would only end when the watcher loses its patience
	s.watcher.release()
	s.postgres.Await()
	s.watcher.wait()
}
