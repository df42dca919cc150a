package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// cluster is a temporary PostgreSQL that keeps what it promised: its settings are the
// defaults, but for the size of its cache. storagetest's is for tests, and has its
// durability off.
type cluster struct {
	folder, binaries string
	port             int
	cmd              *exec.Cmd
	done             chan struct{}
	version          string
}

func durable() []string {
	return []string{
		"fsync=on", "synchronous_commit=on", "full_page_writes=on",
		"shared_buffers=512MB", "max_connections=200", "max_wal_size=4GB", "checkpoint_timeout=15min",
		"listen_addresses=127.0.0.1", "unix_socket_directories=", "timezone=UTC", "log_timezone=UTC",
	}
}

// startCluster takes more settings, PostgreSQL's own, which come after ours.
func startCluster(ctx context.Context, parent, name string, settings ...string) (*cluster, error) {
	binaries, err := findPostgres()
	if err != nil {
		return nil, err
	}
	c := &cluster{folder: filepath.Join(parent, name), binaries: binaries, done: make(chan struct{})}
	if err := os.Mkdir(c.folder, 0o700); err != nil {
		return nil, err
	}
	if uid, gid, ok := serverUser(); ok {
		if err := os.Chown(c.folder, int(uid), int(gid)); err != nil {
			return nil, err
		}
		// Its user must be able to walk to its folder.
		if err := os.Chmod(parent, 0o711); err != nil { //nolint:gosec // it holds folders of 0700
			return nil, err
		}
	}
	if out, err := c.command(ctx, "initdb", "-D", c.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if c.port, err = freePort(ctx); err != nil {
		return nil, err
	}
	args := []string{"-D", c.data(), "-p", strconv.Itoa(c.port)}
	for _, setting := range append(durable(), settings...) {
		args = append(args, "-c", setting)
	}
	log, err := os.Create(filepath.Join(parent, name+".log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	c.cmd = c.command(context.WithoutCancel(ctx), "postgres", args...)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { defer close(c.done); _ = c.cmd.Wait() }()
	if err := c.ready(ctx); err != nil {
		c.stop()
		return nil, fmt.Errorf("start postgres: %w\n%s", err, tail(log.Name()))
	}
	return c, nil
}

func (c *cluster) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, c.url("postgres"))
		if err == nil {
			defer func() { _ = conn.Close(ctx) }()
			return conn.QueryRow(ctx, "SHOW server_version").Scan(&c.version)
		}
		select {
		case <-c.done:
			return fmt.Errorf("it ended at once: %w", err)
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

func (c *cluster) create(ctx context.Context, database string) error {
	conn, err := pgx.Connect(ctx, c.url("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{database}.Sanitize())
	return err
}

func (c *cluster) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.binaries, name), args...) //nolint:gosec // PostgreSQL's own programs
	cmd.Dir, cmd.Env = c.folder, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = childAttr(syscall.SIGQUIT, true)
	return cmd
}

func (c *cluster) data() string { return filepath.Join(c.folder, "data") }

func (c *cluster) pid() int { return c.cmd.Process.Pid }

func (c *cluster) url(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", c.port, database)
}

// stop is a fast shutdown, an immediate one if that takes too long.
func (c *cluster) stop() {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		_ = c.cmd.Process.Signal(signal)
		select {
		case <-c.done:
			return
		case <-time.After(20 * time.Second):
		}
	}
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
		return "", fmt.Errorf("no PostgreSQL server here: install one, set PG_BIN to the folder of initdb and postgres, or say -databases sqlite")
	}
	return best, nil
}

func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}
