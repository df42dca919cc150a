//go:build linux

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// cluster is a temporary PostgreSQL that keeps what it promised, and can be ended in
// every way that a database ends. It is for one goroutine at a time.
type cluster struct {
	folder, binaries, log string
	port                  int
	cmd                   *exec.Cmd
	done                  chan struct{}

	standby *cluster // that follows it; nil: none
}

var durable = []string{
	"fsync=on", "synchronous_commit=on", "full_page_writes=on",
	"shared_buffers=64MB", "max_connections=120", "checkpoint_timeout=30s",
	"listen_addresses=127.0.0.1", "unix_socket_directories=", "timezone=UTC", "log_timezone=UTC",
}

// newCluster makes one below parent, which its user can walk through, and starts it.
func newCluster(ctx context.Context, parent string) (_ *cluster, err error) {
	binaries, err := findPostgres()
	if err != nil {
		return nil, err
	}
	c := &cluster{folder: filepath.Join(parent, "postgres"), binaries: binaries, log: filepath.Join(parent, "postgres.log")}
	if err := c.makeFolder(); err != nil {
		return nil, err
	}
	if out, err := c.command(ctx, "initdb", "-D", c.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N", "--locale=C").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if c.port, err = freePort(ctx); err != nil {
		return nil, err
	}
	return c, c.start(ctx)
}

func (c *cluster) makeFolder() error {
	if err := os.Mkdir(c.folder, 0o700); err != nil {
		return err
	}
	uid, gid, ok := serverUser()
	if !ok {
		return nil
	}
	return os.Chown(c.folder, int(uid), int(gid))
}

// start runs it, again after an end, on the same data and the same port, and comes
// back when it answers.
func (c *cluster) start(ctx context.Context) error {
	var err error
	for range 5 { // the kernel may not have cleared away a killed one yet
		if err = c.launch(ctx); err == nil {
			return nil
		}
		if !pause(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("start postgres: %w\n%s", err, tail(c.log))
}

func (c *cluster) launch(ctx context.Context) error {
	args := []string{"-D", c.data(), "-p", strconv.Itoa(c.port)}
	for _, setting := range durable {
		args = append(args, "-c", setting)
	}
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd, done := c.command(context.WithoutCancel(ctx), "postgres", args...), make(chan struct{})
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { defer close(done); _ = cmd.Wait() }()
	c.cmd, c.done = cmd, done
	limit := time.After(patience)
	for {
		err := c.exec(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("it ended at once: %w", err)
		case <-limit:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(15 * time.Millisecond):
		}
	}
}

func (c *cluster) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.binaries, name), args...) //nolint:gosec // PostgreSQL's own programs
	cmd.Dir, cmd.Env = c.folder, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = childAttr(syscall.SIGQUIT, true)
	return cmd
}

func (c *cluster) data() string { return filepath.Join(c.folder, "data") }

func (c *cluster) address() string { return fmt.Sprintf("127.0.0.1:%d", c.port) }

func (c *cluster) url(database string) string {
	return "postgres://postgres@" + c.address() + "/" + database + "?sslmode=disable"
}

// exec runs one statement of an administrator, on a connection of its own.
func (c *cluster) exec(ctx context.Context, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	db, err := sql.Open("pgx", c.url("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, statement)
	return err
}

// copyDatabase makes one like another that nobody is connected to. FILE_COPY ends with
// a checkpoint: what a crash must recover afterwards is the load's alone.
func (c *cluster) copyDatabase(ctx context.Context, from, to string) error {
	return c.exec(ctx, "CREATE DATABASE "+to+" TEMPLATE "+from+" STRATEGY FILE_COPY")
}

// dropDatabase keeps the cluster small, so that its recovery does not get longer with
// every stage.
func (c *cluster) dropDatabase(ctx context.Context, name string) error {
	return c.exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
}

// follow starts a standby on the port, and makes every commit wait until it is on the
// standby's disk, too.
func (c *cluster) follow(ctx context.Context, port int) error {
	s := &cluster{folder: fmt.Sprintf("%s-%d", c.folder, time.Now().UnixNano()), binaries: c.binaries, log: c.log, port: port}
	if err := s.makeFolder(); err != nil {
		return err
	}
	out, err := s.command(ctx, "pg_basebackup", "-D", s.data(), "-R", "-X", "stream", "-c", "fast", "-d", c.url("postgres")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pg_basebackup: %w\n%s", err, out)
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	c.standby = s
	return c.wait(ctx, "*")
}

// wait makes commits wait for standbys of that name, "": for none.
func (c *cluster) wait(ctx context.Context, names string) error {
	if err := c.exec(ctx, "ALTER SYSTEM SET synchronous_standby_names = '"+names+"'"); err != nil {
		return err
	}
	if err := c.exec(ctx, "SELECT pg_reload_conf()"); err != nil || names == "" {
		return err
	}
	const synchronous = "SELECT 1 / count(*) FROM pg_stat_replication WHERE sync_state = 'sync'" // fails while there is none
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if err = c.exec(ctx, synchronous); err == nil || !pause(ctx, 50*time.Millisecond) {
			return err
		}
	}
	return fmt.Errorf("the standby does not follow: %w", err)
}

// alone ends the standby.
func (c *cluster) alone(ctx context.Context) error {
	if c.standby == nil {
		return nil
	}
	if err := c.wait(ctx, ""); err != nil {
		return err
	}
	c.standby.close()
	c.standby = nil
	return nil
}

// How it ends. SIGTERM is a smart shutdown, which waits for its clients, SIGINT a
// fast one, which throws them out, and SIGQUIT an immediate one, which recovers like
// after a crash.

// shut sends the signal, and another one after the limit.
func (c *cluster) shut(signal syscall.Signal, limit time.Duration, then syscall.Signal) error {
	if err := c.cmd.Process.Signal(signal); err != nil {
		return err
	}
	select {
	case <-c.done:
		return nil
	case <-time.After(limit):
	}
	_ = c.cmd.Process.Signal(then) // it may end just now
	select {
	case <-c.done:
		return nil
	case <-time.After(patience):
		return errors.New("postgres does not stop")
	}
}

// crash is what a loss of power is, except that the kernel keeps what was written.
func (c *cluster) crash() error {
	if err := signalTree(c.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		return err
	}
	<-c.done
	return nil
}

// freeze keeps all connections open, and answers nothing until thaw.
func (c *cluster) freeze() error { return signalTree(c.cmd.Process.Pid, syscall.SIGSTOP) }
func (c *cluster) thaw() error   { return signalTree(c.cmd.Process.Pid, syscall.SIGCONT) }

// close ends it for good, whatever state it is in.
func (c *cluster) close() {
	if c.standby != nil {
		c.standby.close()
	}
	select {
	case <-c.done:
		return
	default:
	}
	_ = c.thaw()
	_ = c.shut(syscall.SIGINT, 20*time.Second, syscall.SIGKILL)
}

func findPostgres() (string, error) {
	dirs := []string{os.Getenv("PG_BIN")}
	if dirs[0] == "" {
		dirs, _ = filepath.Glob("/usr/lib/postgresql/*/bin")
		if path, err := exec.LookPath("initdb"); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	best, found := "", -1
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
			continue
		}
		major, _ := strconv.Atoi(strings.TrimLeft(filepath.Base(filepath.Dir(dir)), "-"))
		if major > found {
			best, found = dir, major
		}
	}
	if best == "" {
		return "", errors.New("no PostgreSQL server here: install one (Debian: apt-get install postgresql-15), or set PG_BIN to the folder of initdb and postgres")
	}
	return best, nil
}

func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
