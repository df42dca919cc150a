package storagetest_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/storage/storagetest"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	ctx := limited(t, 20*time.Second)
	conn, err := pgx.Connect(ctx, url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func limited(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestPostgres_gives_every_test_an_empty_database(t *testing.T) {
	t.Parallel()
	a, b := storagetest.Postgres(t), storagetest.Postgres(t)
	require.NotEqual(t, a, b)

	_, err := connect(t, a).Exec(t.Context(), "CREATE TABLE seen (id int)")
	require.NoError(t, err)
	var tables int
	require.NoError(t, connect(t, b).QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&tables))
	require.Zero(t, tables)
}

func TestPostgres_drops_the_database_after_the_test(t *testing.T) {
	t.Parallel()
	var url string
	t.Run("inner", func(t *testing.T) { url = storagetest.Postgres(t) })
	if url == "" {
		t.Skip("no server")
	}
	_, err := pgx.Connect(limited(t, 5*time.Second), url)
	require.ErrorContains(t, err, "does not exist")
}

func TestServer_stops_and_starts_with_its_data(t *testing.T) {
	t.Parallel()
	s := storagetest.StartPostgres(t)
	_, err := connect(t, s.URL()).Exec(t.Context(), "CREATE TABLE kept AS SELECT 1 AS id")
	require.NoError(t, err)

	s.Stop()
	_, err = pgx.Connect(limited(t, 5*time.Second), s.URL())
	require.Error(t, err)

	s.Start()
	var id int
	require.NoError(t, connect(t, s.URL()).QueryRow(t.Context(), "SELECT id FROM kept").Scan(&id))
	require.Equal(t, 1, id)
}

func TestServer_killed_keeps_what_a_durable_one_committed(t *testing.T) {
	t.Parallel()
	s := storagetest.StartPostgres(t, storagetest.Durable...)
	conn := connect(t, s.URL())
	var fsync string
	require.NoError(t, conn.QueryRow(t.Context(), "SHOW fsync").Scan(&fsync))
	require.Equal(t, "on", fsync)
	_, err := conn.Exec(t.Context(), "CREATE TABLE kept AS SELECT 1 AS id")
	require.NoError(t, err)

	s.Kill()
	require.Error(t, conn.Ping(limited(t, 5*time.Second)))

	s.Start()
	var id int
	require.NoError(t, connect(t, s.URL()).QueryRow(t.Context(), "SELECT id FROM kept").Scan(&id))
	require.Equal(t, 1, id)
}

func TestServer_paused_does_not_answer_until_it_resumes(t *testing.T) {
	t.Parallel()
	s := storagetest.StartPostgres(t)
	a := connect(t, s.URL())

	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := a.Exec(ctx, "SELECT 1")
	require.ErrorIs(t, err, context.DeadlineExceeded)

	s.Resume()
	require.NoError(t, connect(t, s.URL()).Ping(limited(t, 20*time.Second)))
}

func TestServer_leaves_nothing_behind(t *testing.T) {
	t.Parallel()
	var folder string
	var pid string
	t.Run("inner", func(t *testing.T) {
		s := storagetest.StartPostgres(t)
		folder = filepath.Dir(serverFolder(t, s))
		text, err := os.ReadFile(filepath.Join(folder, "data", "postmaster.pid"))
		require.NoError(t, err)
		pid, _, _ = strings.Cut(string(text), "\n")
		s.Pause() // the worst moment to end
	})
	if folder == "" {
		t.Skip("no server")
	}
	require.NoDirExists(t, folder)
	require.NoDirExists(t, filepath.Join("/proc", pid))
}

func serverFolder(t *testing.T, s *storagetest.Server) string {
	t.Helper()
	var data string
	require.NoError(t, connect(t, s.URL()).QueryRow(t.Context(), "SHOW data_directory").Scan(&data))
	return data
}

// A test process that is killed can not tidy up. This one starts itself again with
// a server, kills that process, and waits until the server and its folder are gone.
func TestServer_ends_with_a_killed_test_process(t *testing.T) {
	t.Parallel()
	const child = "GRANTOR_TEST_CHILD"
	if os.Getenv(child) != "" {
		s := storagetest.StartPostgres(t)
		_, _ = os.Stdout.WriteString("folder " + filepath.Dir(serverFolder(t, s)) + "\n")
		<-t.Context().Done() // killed before that
		return
	}
	storagetest.Postgres(t) // skips where there is no server
	cmd := exec.CommandContext(limited(t, time.Minute), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	buf := make([]byte, 4096)
	n, err := out.Read(buf)
	require.NoError(t, err)
	folder := strings.TrimSpace(strings.TrimPrefix(string(buf[:n]), "folder "))
	require.DirExists(t, folder)

	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Eventually(t, func() bool {
		_, err := os.Stat(folder)
		return os.IsNotExist(err)
	}, 20*time.Second, 20*time.Millisecond, "%s is still there", folder)
}
