package storagetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a throw-away PostgreSQL on 127.0.0.1 that trusts everybody there.
//
// Stop, Start, Kill, Pause and Resume are for one goroutine at a time. Each ends
// the test when the machine refuses it.
type Server struct {
	folder   string // holds data/ and log; its owner is whoever runs the server
	binaries string
	port     int
	settings []string
	watcher  *watcher
	t        testing.TB // of StartPostgres; the shared server has none and is never told to stop

	mu  sync.Mutex
	pid int // the postmaster; 0 while it is down
}

// startLimit is generous: a machine that runs other test packages is slow.
const startLimit = 60 * time.Second

func newServer(settings []string) (_ *Server, err error) {
	binaries, err := postgresBinaries()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "grantor-postgres-")
	if err != nil {
		return nil, err
	}
	w, err := watch(folder)
	if err != nil {
		_ = os.RemoveAll(folder)
		return nil, err
	}
	s := &Server{folder: folder, binaries: binaries, settings: settings, watcher: w}
	defer func() {
		if err != nil {
			s.remove()
		}
	}()
	if err = giveToServerUser(folder); err != nil {
		return nil, err
	}
	if err = s.initialize(); err != nil {
		return nil, err
	}
	// The port was free when it was asked for. Another process may be quicker, so
	// a server that does not come up gets another one.
	for range 5 {
		if s.port, err = freePort(); err != nil {
			return nil, err
		}
		if err = s.start(); err == nil {
			return s, nil
		}
	}
	return nil, err
}

// initialize makes the cluster. It sorts text by a natural language on purpose:
// SQLite sorts by bytes, and a query that relies on either order must be noticed.
func (s *Server) initialize() error {
	basic := []string{"-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N", "--locale=C"}
	out, err := s.command("initdb", append(basic, "--locale-provider=icu", "--icu-locale=en-US")...).CombinedOutput()
	if err == nil {
		return nil
	}
	// A server built without ICU knows only the C library's order.
	_ = os.RemoveAll(s.data())
	if again, err := s.command("initdb", basic...).CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s\n%s", err, out, again)
	}
	return nil
}

// start runs the server and comes back when it answers.
func (s *Server) start() error {
	log, err := os.OpenFile(filepath.Join(s.folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()

	args := []string{"-D", s.data(), "-p", fmt.Sprint(s.port)}
	for _, setting := range append([]string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200",
		"shared_buffers=32MB", "fsync=off", "synchronous_commit=off", "full_page_writes=off",
		"autovacuum_naptime=1h", "timezone=UTC", "log_timezone=UTC",
	}, s.settings...) {
		args = append(args, "-c", setting)
	}
	cmd := s.command("postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	pid := cmd.Process.Pid
	// The server is reaped by its number when it ends (await). A goroutine in
	// cmd.Wait would look like a leak to the tests that count goroutines.
	_ = cmd.Process.Release()
	s.setPID(pid)
	if err := s.ready(pid); err != nil {
		killTree(pid)
		await(pid, startLimit)
		s.setPID(0)
		tail, _ := os.ReadFile(log.Name())
		return fmt.Errorf("start postgres: %w\n%s", err, tail)
	}
	return nil
}

// ready waits until the server takes a connection.
func (s *Server) ready(pid int) error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.url("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		if gone(pid) {
			return errors.New("it ended at once")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer in %s: %w", startLimit, err)
		case <-tick.C:
		}
	}
}

// command runs one of the server's programs as the user that owns the folder, and
// in that folder, because the server's user may not enter ours.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), filepath.Join(s.binaries, name), args...)
	cmd.Dir = s.folder
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = asServerUser()
	return cmd
}

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

func (s *Server) url(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
}

// URL is an empty database on the server, the same one at every call.
func (s *Server) URL() string { return s.url(ownDatabase) }

// Stop is a fast shutdown: sessions are thrown out, what was committed is kept.
func (s *Server) Stop() {
	s.t.Helper()
	pid := s.running()
	interrupt(pid)
	if !await(pid, startLimit) {
		s.t.Fatal("postgres did not stop")
	}
	s.setPID(0)
}

// Start runs a stopped or killed server again, on the same data and the same port.
func (s *Server) Start() {
	s.t.Helper()
	if s.currentPID() != 0 {
		s.t.Fatal("postgres runs already")
	}
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// Kill ends the server as a loss of power would end it, except that the operating
// system still has what was written: nothing is flushed, nobody is told.
func (s *Server) Kill() {
	s.t.Helper()
	pid := s.running()
	killTree(pid)
	if !await(pid, startLimit) {
		s.t.Fatal("postgres did not die")
	}
	s.setPID(0)
}

// Pause freezes the server: connections stay open and nothing answers. Resume, or
// the end of the test, lets it go on.
func (s *Server) Pause() {
	s.t.Helper()
	if err := pauseTree(s.running()); err != nil {
		s.t.Fatal(err)
	}
}

// Resume ends a Pause.
func (s *Server) Resume() {
	s.t.Helper()
	if err := resumeTree(s.running()); err != nil {
		s.t.Fatal(err)
	}
}

// remove ends the server and its folder. The watcher does it, so that there is one
// way only.
func (s *Server) remove() {
	pid := s.currentPID()
	if pid != 0 {
		_ = resumeTree(pid) // a frozen server would only end when the watcher loses its patience
	}
	s.watcher.release()
	if pid != 0 {
		await(pid, startLimit)
		s.setPID(0)
	}
	s.watcher.wait()
}

func (s *Server) running() int {
	s.t.Helper()
	pid := s.currentPID()
	if pid == 0 {
		s.t.Fatal("postgres is down")
	}
	return pid
}

func (s *Server) currentPID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

func (s *Server) setPID(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pid = pid
	s.watcher.follow(pid)
}

func freePort() (int, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}
