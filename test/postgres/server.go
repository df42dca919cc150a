// Package postgres starts temporary PostgreSQL servers on 127.0.0.1, and ends them in
// every way that a server ends. Tests (storage/storagetest), measurements (test/bench)
// and faults (test/faults) use it; the program does not.
//
//	server.go   one server: made, started, asked, ended, started again
//	find.go     the folder of PostgreSQL's programs, a free port
//	process_*   what systems do differently: who runs it, signals, whole process trees
//
// It knows nothing of tests, and decides nothing about durability: settings are the
// caller's. A server whose parent dies ends with it when it is a Child; otherwise
// somebody else must see to it (storagetest's watcher does).
package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// patience bounds every wait here. It is generous: a machine that runs tests is slow.
const patience = 60 * time.Second

// Server is one that trusts everybody on this machine. It is started and ended by one
// goroutine at a time; the rest is for any.
type Server struct {
	Folder   string        // holds data/; PostgreSQL's user must be able to walk to it
	Log      string        // a file
	Settings []string      // PostgreSQL's own, "name=value"; a later one wins
	Child    bool          // it ends with the thread that started it
	Port     int           // 0 until the first start, and then the same for good
	Changed  func(pid int) // is told when another process, or none (0), is the server; nil: nobody is

	binaries string
	mu       sync.Mutex
	pid      int // 0 while it is down
}

// Make makes the folder, and the data with initdb, which gets the flags besides.
func (s *Server) Make(ctx context.Context, flags ...string) error {
	if err := s.MakeFolder(); err != nil {
		return err
	}
	args := append([]string{"-D", s.Data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N", "--locale=C"}, flags...)
	if out, err := s.Command(ctx, "initdb", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// MakeFolder makes it for data that come from elsewhere, as those of a standby do.
func (s *Server) MakeFolder() (err error) {
	if s.binaries, err = Binaries(); err != nil {
		return err
	}
	if err := os.Mkdir(s.Folder, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return giveToUser(s.Folder)
}

// Data is the folder that PostgreSQL calls PGDATA.
func (s *Server) Data() string { return filepath.Join(s.Folder, "data") }

// Address is where it listens.
func (s *Server) Address() string { return "127.0.0.1:" + strconv.Itoa(s.Port) }

// URL is that of a database of it.
func (s *Server) URL(database string) string {
	return "postgres://postgres@" + s.Address() + "/" + database + "?sslmode=disable"
}

// PID is the postmaster, 0 while there is none.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

func (s *Server) set(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pid = pid
	if s.Changed != nil {
		s.Changed(pid)
	}
}

// Command is one of PostgreSQL's programs, run by its user in its folder, because that
// user may not enter ours.
func (s *Server) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.binaries, name), args...) //nolint:gosec // PostgreSQL's own programs
	cmd.Dir, cmd.Env = s.Folder, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = asUser(s.Child)
	return cmd
}

// Start runs it, again after an end, and comes back when it answers.
func (s *Server) Start(ctx context.Context) (err error) {
	fixed := s.Port != 0
	for range 5 {
		// A port that is free now may be somebody's a moment later. One that was ours
		// is, after a kill, when the kernel has cleared away.
		if !fixed {
			if s.Port, err = FreePort(ctx); err != nil {
				return err
			}
		}
		if err = s.launch(ctx); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	text, _ := os.ReadFile(s.Log)
	return fmt.Errorf("start postgres: %w\n%s", err, text[max(0, len(text)-4000):])
}

func (s *Server) launch(ctx context.Context) error {
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	args := []string{"-D", s.Data(), "-p", strconv.Itoa(s.Port)}
	for _, setting := range append([]string{"listen_addresses=127.0.0.1", "unix_socket_directories=", "timezone=UTC", "log_timezone=UTC"}, s.Settings...) {
		args = append(args, "-c", setting)
	}
	cmd := s.Command(context.WithoutCancel(ctx), "postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	// It is reaped by its number when it ends. A goroutine in cmd.Wait would look like a
	// leak to tests that count goroutines.
	_ = cmd.Process.Release()
	s.set(pid)
	if err := s.answers(ctx, pid); err != nil {
		_ = signalTree(pid, sigKill) // it may have ended by itself
		await(pid, patience)
		s.set(0)
		return err
	}
	return nil
}

// answers waits until it takes a connection.
func (s *Server) answers(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		if gone(pid) {
			return fmt.Errorf("it ended at once: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer in %s: %w", patience, err)
		case <-tick.C:
		}
	}
}

// Exec runs a statement of an administrator, on a connection of its own.
func (s *Server) Exec(ctx context.Context, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement)
	return err
}

// CreateDatabase makes one like another that nobody is connected to. FILE_COPY copies
// files instead of writing the copy to the log, 16 ms instead of 156, and ends with a
// checkpoint: what a crash must recover afterwards is somebody else's.
func (s *Server) CreateDatabase(ctx context.Context, name, template string) error {
	return s.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+template+" STRATEGY FILE_COPY")
}

// DropDatabase throws out whoever is in it.
func (s *Server) DropDatabase(ctx context.Context, name string) error {
	return s.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
}

var errDown = errors.New("postgres is down")

// Shut sends a signal, and another one after the limit. SIGTERM is a smart shutdown,
// which waits for its clients, SIGINT a fast one, which throws them out, and SIGQUIT an
// immediate one, which recovers like after a crash.
func (s *Server) Shut(signal syscall.Signal, limit time.Duration, then syscall.Signal) error {
	pid := s.PID()
	if pid == 0 {
		return errDown
	}
	send(pid, signal)
	if !await(pid, limit) {
		send(pid, then)
		if !await(pid, patience) {
			return errors.New("postgres does not stop")
		}
	}
	s.set(0)
	return nil
}

// Crash is what a loss of power is, except that the kernel keeps what was written:
// nothing is flushed, nobody is told.
func (s *Server) Crash() error {
	pid := s.PID()
	if pid == 0 {
		return errDown
	}
	if err := signalTree(pid, sigKill); err != nil {
		return err
	}
	if !await(pid, patience) {
		return errors.New("postgres does not die")
	}
	s.set(0)
	return nil
}

// Freeze keeps all connections open, and answers nothing until Thaw.
func (s *Server) Freeze() error { return s.tree(sigStop) }

// Thaw ends a Freeze.
func (s *Server) Thaw() error { return s.tree(sigCont) }

func (s *Server) tree(signal syscall.Signal) error {
	pid := s.PID()
	if pid == 0 {
		return errDown
	}
	return signalTree(pid, signal)
}

// Ended says whether it has ended by itself, as one does that finds no room for its log.
func (s *Server) Ended() bool {
	pid := s.PID()
	if pid != 0 && gone(pid) {
		s.set(0)
		return true
	}
	return pid == 0
}

// Await comes back when somebody else has ended it.
func (s *Server) Await() {
	if pid := s.PID(); pid != 0 && await(pid, patience) {
		s.set(0)
	}
}

// Close ends it, whatever state it is in.
func (s *Server) Close() error {
	if s.PID() == 0 {
		return nil
	}
	_ = s.Thaw() // a frozen one could not obey
	return s.Shut(syscall.SIGINT, 20*time.Second, sigKill)
}
