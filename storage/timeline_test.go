package storage_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
	"github.com/grantorhq/grantor/test/postgres"
)

// An old primary that comes back after a failover can still write, and stands first in the
// URL. A replica that was at the new one does not go back to it, neither with a new
// connection nor with one that was open all the time.
func TestOpen_stays_away_from_a_primary_that_was_left_behind(t *testing.T) {
	t.Parallel()
	storagetest.StartPostgres(t) // skips where there is none
	ctx := deadline(t)
	folder, err := os.MkdirTemp("", "grantor-timeline-") //nolint:usetesting // t.TempDir is closed to PostgreSQL's user
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	require.NoError(t, os.Chmod(folder, 0o711))
	server := func(name string) *postgres.Server {
		s := &postgres.Server{
			Folder: filepath.Join(folder, name), Log: filepath.Join(folder, name+".log"),
			Settings: []string{"fsync=off", "full_page_writes=off", "shared_buffers=16MB"},
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	old, heir := server("old"), server("heir")
	require.NoError(t, old.Make(ctx))
	require.NoError(t, old.Start(ctx))
	require.NoError(t, old.Exec(ctx, "CREATE TABLE place AS SELECT 'old' AS name"))
	require.NoError(t, heir.MakeFolder())
	out, err := heir.Command(ctx, "pg_basebackup", "-D", heir.Data(), "-R", "-c", "fast", "-d", old.URL("postgres")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, heir.Start(ctx))

	both := strings.Replace(old.URL("postgres"), old.Address(), old.Address()+","+heir.Address(), 1)
	s, err := storage.Open(ctx, storage.Options{Database: both + "&target_session_attrs=read-write", UnsafeDatabase: []string{"fsync", "full_page_writes"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	where := func() (name string) {
		t.Helper()
		for s.Ask(ctx, "SELECT name FROM place", &name) != nil { // until the pool has a connection that lives
			require.NoError(t, ctx.Err())
		}
		return name
	}
	require.Equal(t, "old", where())
	require.NoError(t, old.Freeze()) // its connections stay open
	require.NoError(t, heir.Exec(ctx, "SELECT pg_promote()"))
	require.NoError(t, heir.Exec(ctx, "UPDATE place SET name = 'heir'"))
	require.Equal(t, "heir", where())
	require.NoError(t, old.Thaw())
	require.NoError(t, old.Exec(ctx, "UPDATE place SET name = 'old'"), "it can write")
	for range 20 {
		require.Equal(t, "heir", where())
		require.NoError(t, heir.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"))
	}
	require.NoError(t, heir.Close())
	require.ErrorIs(t, s.Ask(ctx, "SELECT name FROM place", new(string)), storage.ErrUnavailable, "the past is no answer")
}
