package storagetest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/test/postgres"
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
	NeedPostgres(t)
	s, err := newServer(settings)
	require.NoError(t, err)
	s.t = t
	t.Cleanup(s.remove)
	require.NoError(t, s.postgres.CreateDatabase(context.Background(), ownDatabase, "template0"))
	return s
}

// sharedDatabase makes a copy of a template on the shared server.
func sharedDatabase(t testing.TB, template string) string {
	t.Helper()
	s := shared(t)
	name := fmt.Sprintf("test_%d", databases.Add(1))
	require.NoError(t, s.postgres.CreateDatabase(context.Background(), name, template))
	// A failure is not the test's concern, because the server goes with its folder.
	t.Cleanup(func() { _ = s.postgres.DropDatabase(context.Background(), name) })
	return s.postgres.URL(name)
}

var databases atomic.Int64

func shared(t testing.TB) *Server {
	t.Helper()
	NeedPostgres(t)
	s, err := sharedServer()
	require.NoError(t, err)
	return s
}

// NeedPostgres skips the test where no server is installed, unless the run was
// told that one is: then a skipped half of the suite would look like success.
func NeedPostgres(t testing.TB) {
	t.Helper()
	_, err := postgres.Binaries()
	if err == nil {
		return
	}
	if strings.Contains(os.Getenv("GRANTOR_TEST_REQUIRE"), "postgres") {
		t.Fatal(err)
	}
	t.Skip(err)
}

// ownDatabase is the database in the URL of a server of StartPostgres.
const ownDatabase = "grantor"
