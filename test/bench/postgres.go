package main

import (
	"context"
	"os"
	"path/filepath"
	"syscall"

	"github.com/jackc/pgx/v5"

	pgserver "github.com/grantorhq/grantor/test/postgres"
)

// cluster is a temporary PostgreSQL that keeps what it promised: its settings are the
// defaults, but for the size of its cache. storagetest's is for tests, and has its
// durability off.
type cluster struct {
	*pgserver.Server
	version string
}

func durable() []string {
	return []string{
		"fsync=on", "synchronous_commit=on", "full_page_writes=on",
		"shared_buffers=512MB", "max_connections=200", "max_wal_size=4GB", "checkpoint_timeout=15min",
	}
}

// startCluster takes more settings, PostgreSQL's own, which come after ours.
func startCluster(ctx context.Context, parent, name string, settings ...string) (*cluster, error) {
	// Its user must be able to walk to its folder.
	if err := os.Chmod(parent, 0o711); err != nil { //nolint:gosec // it holds folders of 0700
		return nil, err
	}
	c := &cluster{Server: &pgserver.Server{
		Folder: filepath.Join(parent, name), Log: filepath.Join(parent, name+".log"),
		Settings: append(durable(), settings...), Child: true,
	}}
	if err := c.Make(ctx); err != nil {
		return nil, err
	}
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	if err := c.askVersion(ctx); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

// onHugePages reports whether shared memory lies on huge pages: PostgreSQL takes them when
// there are enough (huge_pages=try), and says nothing.
func (c *cluster) onHugePages(ctx context.Context) (bool, error) {
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close(ctx) }()
	var needed int64
	if err := conn.QueryRow(ctx, "SELECT pg_size_bytes(current_setting('shared_memory_size'))").Scan(&needed); err != nil {
		return false, err
	}
	used, _ := hugePages()
	return used >= needed, nil
}

func (c *cluster) askVersion(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	return conn.QueryRow(ctx, "SHOW server_version").Scan(&c.version)
}

func (c *cluster) create(ctx context.Context, database string) error {
	return c.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{database}.Sanitize())
}

// stop is a fast shutdown. Its data are thrown away, so how it ends is nobody's concern.
func (c *cluster) stop() { _ = c.Shut(syscall.SIGINT, patience, syscall.SIGQUIT) }
