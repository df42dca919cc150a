package storagetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// Durable are the settings of a server that keeps what it promised when it is
// killed. The throw-away server has them all off: its data ends with the process.
//
//	storagetest.StartPostgres(t, storagetest.Durable...)
var Durable = []string{"fsync=on", "synchronous_commit=on", "full_page_writes=on"}

// sharedServer is one per test process. It has no end in Go: its watcher ends it.
var sharedServer = sync.OnceValues(func() (*Server, error) { return newServer(nil) })

// Postgres answers the URL of a fresh, empty database on the server that all tests
// of this process share. The database is dropped at the end of the test.
func Postgres(t testing.TB) string {
	t.Helper()
	return sharedDatabase(t, "template0")
}

// StartPostgres starts a server for this test alone, which may stop and kill it.
// Settings are PostgreSQL's own, "name=value", and come after the defaults.
func StartPostgres(t testing.TB, settings ...string) *Server {
	t.Helper()
	needPostgres(t)
	s, err := newServer(settings)
	require.NoError(t, err)
	s.t = t
	t.Cleanup(s.remove)
	require.NoError(t, s.createDatabase(ownDatabase, "template0"))
	return s
}

// sharedDatabase makes a copy of a template on the shared server.
func sharedDatabase(t testing.TB, template string) string {
	t.Helper()
	s := shared(t)
	name := fmt.Sprintf("test_%d", databases.Add(1))
	require.NoError(t, s.createDatabase(name, template))
	t.Cleanup(func() { s.dropDatabase(name) })
	return s.url(name)
}

var databases atomic.Int64

func shared(t testing.TB) *Server {
	t.Helper()
	needPostgres(t)
	s, err := sharedServer()
	require.NoError(t, err)
	return s
}

// needPostgres skips the test where no server is installed, unless the run was
// told that one is: then a skipped half of the suite would look like success.
func needPostgres(t testing.TB) {
	t.Helper()
	_, err := postgresBinaries()
	if err == nil {
		return
	}
	if strings.Contains(os.Getenv("GRANTOR_TEST_REQUIRE"), "postgres") {
		t.Fatal(err)
	}
	t.Skip(err)
}

// postgresBinaries answers the folder of initdb and postgres.
func postgresBinaries() (string, error) {
	if dir := os.Getenv("PG_BIN"); dir != "" {
		if !hasServer(dir) {
			return "", fmt.Errorf("PG_BIN=%s holds no initdb and postgres", dir)
		}
		return dir, nil
	}
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	sort.Slice(dirs, func(i, j int) bool { return major(dirs[i]) > major(dirs[j]) })
	if path, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, dir := range dirs {
		if hasServer(dir) {
			return dir, nil
		}
	}
	return "", errors.New("no PostgreSQL server here: install postgresql (Debian: apt-get install postgresql-15) or set PG_BIN to the folder of initdb and postgres")
}

func hasServer(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// major is 15 for /usr/lib/postgresql/15/bin.
func major(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	return n
}

// ownDatabase is the database in the URL of a server of StartPostgres.
const ownDatabase = "grantor"

// createDatabase copies files instead of writing the copy to the log: 16 ms instead
// of 156, and nothing here has to survive a crash in the middle of it.
func (s *Server) createDatabase(name, template string) error {
	if err := s.admin("CREATE DATABASE " + name + " TEMPLATE " + template + " STRATEGY FILE_COPY"); err != nil {
		return fmt.Errorf("create test database: %w", err)
	}
	return nil
}

// dropDatabase gives the room back. A store that a test left open is thrown out;
// a failure is not the test's concern, because the server goes with its folder.
func (s *Server) dropDatabase(name string) {
	_ = s.admin("DROP DATABASE IF EXISTS " + name + " WITH (FORCE)")
}

func (s *Server) admin(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement)
	return err
}
