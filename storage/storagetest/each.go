package storagetest

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/storage"
)

// Each runs fn on an empty, migrated store of every database.
func Each(t *testing.T, fn func(t *testing.T, s *storage.Store)) {
	t.Helper()
	EachWith(t, Setup{}, func(t *testing.T, e *Env) { fn(t, e.Store) })
}

// Setup is what a test wants to be different.
type Setup struct {
	// Options changes the options of every store that is opened, the first one too.
	Options func(*storage.Options)
	// Empty leaves the schema unmade.
	Empty bool
	// OwnServer gives the PostgreSQL subtest a server that it may stop and kill
	// (Env.Server), with Settings after the defaults.
	OwnServer bool
	Settings  []string
}

// Env is what a test of EachWith gets.
type Env struct {
	Store   *storage.Store
	Clock   *Clock
	Tally   *Tally  // of Store and of all that Open makes, unless their options say otherwise
	Dialect string  // "sqlite" or "postgres"
	URL     string  // what storage.Options.Database takes
	Server  *Server // with Setup.OwnServer on PostgreSQL; else nil

	t     testing.TB
	setup Setup
}

// EachWith is Each for a test that needs more than a store.
func EachWith(t *testing.T, setup Setup, fn func(t *testing.T, e *Env)) {
	t.Helper()
	for _, dialect := range []string{"sqlite", "postgres"} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			e := &Env{t: t, setup: setup, Dialect: dialect, Clock: NewClock(), Tally: &Tally{}}
			e.prepare()
			e.Store = e.Open()
			Count(t, dialect)
			fn(t, e)
		})
	}
}

// Open opens the same database once more, as another replica would. It is closed at
// the end of the test.
func (e *Env) Open(change ...func(*storage.Options)) *storage.Store {
	e.t.Helper()
	o := e.options()
	for _, f := range change {
		f(&o)
	}
	s, err := storage.Open(e.t.Context(), o)
	require.NoError(e.t, err)
	e.t.Cleanup(func() { _ = s.Close() })
	return s
}

// timeout is longer than the product's: the tests of several packages share a
// machine, and a slow one is not what they look for.
const timeout = 20 * time.Second

func (e *Env) options() storage.Options {
	o := options(e.URL)
	o.Now, o.Wrap, o.WrapGroup = e.Clock.Now, e.Tally.Wrap, e.Tally.WrapGroup
	if e.setup.Options != nil {
		e.setup.Options(&o)
	}
	return o
}

func options(url string) storage.Options {
	return storage.Options{
		Database: url, Timeout: timeout, Rand: rand.Reader, Now: time.Now,
		UnsafeDatabase: []string{"fsync", "synchronous_commit", "full_page_writes"},
	}
}

// prepare makes the database that URL names.
func (e *Env) prepare() {
	t, setup := e.t, e.setup
	switch {
	case e.Dialect == "sqlite":
		path := filepath.Join(t.TempDir(), "grantor.db")
		e.URL = "sqlite:" + path
		if !setup.Empty {
			template, err := sqliteTemplate()
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, template, 0o600))
		}
	case setup.OwnServer:
		e.Server = StartPostgres(t, setup.Settings...)
		e.URL = e.Server.URL()
		if !setup.Empty {
			require.NoError(t, migrate(e.URL))
		}
	case setup.Empty:
		e.URL = Postgres(t)
	default:
		server := shared(t)
		require.NoError(t, postgresTemplate(server))
		e.URL = sharedDatabase(t, templateName)
	}
}

// Migrating takes longer than most tests. So it happens once in a process for each
// database, and a test gets a copy.

var sqliteTemplate = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "grantor-sqlite-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "template.db")
	if err := migrate("sqlite:" + path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

const templateName = "migrated"

var (
	templateOnce sync.Once
	errTemplate  error
)

func postgresTemplate(s *Server) error {
	templateOnce.Do(func() {
		if errTemplate = s.postgres.CreateDatabase(context.Background(), templateName, "template0"); errTemplate == nil {
			errTemplate = migrate(s.postgres.URL(templateName))
		}
	})
	return errTemplate
}

// migrate closes the store again: the file is whole only then, and PostgreSQL copies
// no database that somebody is connected to.
func migrate(url string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := storage.Open(ctx, options(url))
	if err != nil {
		return err
	}
	defer func() {
		if closed := s.Close(); err == nil {
			err = closed
		}
	}()
	_, err = s.Migrate(ctx)
	return err
}

// Count notes that a test really runs on a database, for the line that `make test`
// prints. Each does it; a test that brings a store of its own may too. A line this
// short is appended whole, whoever else appends.
func Count(t testing.TB, dialect string) {
	t.Helper()
	path := os.Getenv("GRANTOR_TEST_TALLY")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.WriteString(dialect + "\n")
	require.NoError(t, err)
	require.NoError(t, f.Close())
}
