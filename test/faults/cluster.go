//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/grantorhq/grantor/test/postgres"
)

// cluster is a temporary PostgreSQL that keeps what it promised, with the standby that
// follows it, if one does.
type cluster struct {
	*postgres.Server
	standby *cluster
}

func durable() []string {
	return []string{
		"fsync=on", "synchronous_commit=on", "full_page_writes=on",
		"shared_buffers=64MB", "max_connections=120", "checkpoint_timeout=30s",
	}
}

// newCluster makes one in a folder that its user can walk to, and starts it. flags are
// initdb's.
func newCluster(ctx context.Context, folder string, flags []string, settings ...string) (*cluster, error) {
	c := &cluster{Server: &postgres.Server{Folder: folder, Log: folder + ".log", Settings: append(durable(), settings...), Child: true}}
	if err := c.Make(ctx, append(flags, "--data-checksums")...); err != nil { // pg_rewind wants them
		return nil, err
	}
	return c, c.Start(ctx)
}

func (c *cluster) close() {
	if c.standby != nil {
		c.standby.close()
	}
	_ = c.Close() // its data are thrown away
}

// keepWAL leaves pg_rewind what it reads. It stands in a file, because the recovery that
// pg_rewind begins with knows no arguments.
const keepWAL = "wal_keep_size = '1GB'"

// follow starts a new standby, and makes every commit wait until it is on the standby's
// disk, too.
func (c *cluster) follow(ctx context.Context) error {
	port, err := postgres.FreePort(ctx)
	if err != nil {
		return err
	}
	if err := c.Exec(ctx, "ALTER SYSTEM SET "+keepWAL); err != nil {
		return err
	}
	if err := c.Exec(ctx, "SELECT pg_reload_conf()"); err != nil {
		return err
	}
	s := c.sibling(fmt.Sprintf("%s-%d", c.Folder, time.Now().UnixNano()), port)
	if err := s.MakeFolder(); err != nil {
		return err
	}
	out, err := s.Command(ctx, "pg_basebackup", "-D", s.Data(), "-R", "-X", "stream", "-c", "fast", "-d", c.URL("postgres")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pg_basebackup: %w\n%s", err, out)
	}
	return c.adopt(ctx, s)
}

func (c *cluster) sibling(folder string, port int) *cluster {
	return &cluster{Server: &postgres.Server{Folder: folder, Log: c.Log, Settings: c.Settings, Child: true, Port: port}}
}

// rejoin makes an old primary the standby of this one. What it wrote that nobody
// followed is taken back first.
func (c *cluster) rejoin(ctx context.Context, old *cluster) error {
	// Before its first checkpoint the new primary's files still say the old timeline, and
	// pg_rewind finds nothing to take back.
	if err := c.Exec(ctx, "CHECKPOINT"); err != nil {
		return err
	}
	out, err := old.Command(ctx, "pg_rewind", "-D", old.Data(), "--source-server="+c.URL("postgres")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pg_rewind: %w\n%s", err, out)
	}
	// Settings of the other came along: whom it followed, and who follows it.
	for name, text := range map[string]string{"standby.signal": "", "postgresql.auto.conf": "primary_conninfo = '" + c.URL("postgres") + "'\n" + keepWAL + "\n"} {
		if err := os.WriteFile(filepath.Join(old.Data(), name), []byte(text), 0o644); err != nil { //nolint:gosec // PostgreSQL's user reads it
			return err
		}
	}
	return c.adopt(ctx, old)
}

func (c *cluster) adopt(ctx context.Context, standby *cluster) error {
	if err := standby.Start(ctx); err != nil {
		return err
	}
	c.standby = standby
	return c.wait(ctx, "*")
}

// wait makes commits wait for standbys of that name, "": for none.
func (c *cluster) wait(ctx context.Context, names string) error {
	if err := c.Exec(ctx, "ALTER SYSTEM SET synchronous_standby_names = '"+names+"'"); err != nil {
		return err
	}
	if err := c.Exec(ctx, "SELECT pg_reload_conf()"); err != nil || names == "" {
		return err
	}
	const synchronous = "SELECT 1 / count(*) FROM pg_stat_replication WHERE sync_state = 'sync'" // fails while there is none
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if err = c.Exec(ctx, synchronous); err == nil || !pause(ctx, 50*time.Millisecond) {
			return err
		}
	}
	return fmt.Errorf("the standby does not follow: %w", err)
}
