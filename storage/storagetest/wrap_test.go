package storagetest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"github.com/grantorhq/grantor/storage/storagetest"
)

// connectors are the two drivers, opened as the store opens them.
func connectors(t *testing.T, fn func(t *testing.T, c driver.Connector)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		fn(t, sqliteFile{filepath.Join(t.TempDir(), "wrap.db") + "?_pragma=busy_timeout(2000)&_txlock=immediate"})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		pool, err := pgxpool.New(t.Context(), storagetest.Postgres(t))
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		fn(t, stdlib.GetPoolConnector(pool))
	})
}

type sqliteFile struct{ dsn string }

func (f sqliteFile) Driver() driver.Driver { return &sqlite.Driver{} }
func (f sqliteFile) Connect(context.Context) (driver.Conn, error) {
	return f.Driver().Open("file:" + f.dsn)
}

func open(t *testing.T, c driver.Connector, tally *storagetest.Tally) *sql.DB {
	t.Helper()
	db := sql.OpenDB(tally.Wrap(c))
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	_, err := db.ExecContext(t.Context(), "CREATE TABLE things (id integer PRIMARY KEY)")
	require.NoError(t, err)
	tally.Reset()
	return db
}

func things(t *testing.T, db *sql.DB) int {
	t.Helper()
	var n int
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM things").Scan(&n))
	return n
}

func TestTally_counts_every_round_trip_and_no_preparation(t *testing.T) {
	t.Parallel()
	connectors(t, func(t *testing.T, c driver.Connector) {
		var tally storagetest.Tally
		db := open(t, c, &tally)
		ctx := t.Context()

		insert, err := db.PrepareContext(ctx, "INSERT INTO things VALUES ($1)")
		require.NoError(t, err)
		defer func() { _ = insert.Close() }()
		_, err = insert.ExecContext(ctx, 1)
		require.NoError(t, err)
		require.Equal(t, 1, things(t, db))
		tx, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		tx, err = db.BeginTx(ctx, nil)
		require.NoError(t, err)
		require.NoError(t, tx.Rollback())

		require.Equal(t, []string{
			"INSERT INTO things VALUES ($1)", "SELECT count(*) FROM things", "BEGIN", "COMMIT", "BEGIN", "ROLLBACK",
		}, tally.Statements())
		require.Equal(t, 6, tally.Count())
		require.Equal(t, 1, tally.Prepared())
		tally.Reset()
		require.Zero(t, tally.Count())
		require.Zero(t, tally.Prepared())
	})
}

var errCut = errors.New("connection cut")

func when(text string) func(string) error {
	return func(sql string) error {
		if sql == text {
			return errCut
		}
		return nil
	}
}

func TestTally_fails_before_or_after_a_statement(t *testing.T) {
	t.Parallel()
	const insert = "INSERT INTO things VALUES ($1) RETURNING id"
	connectors(t, func(t *testing.T, c driver.Connector) {
		var tally storagetest.Tally
		db := open(t, c, &tally)
		ctx := t.Context()
		var id int

		tally.Fail(when(insert))
		require.ErrorIs(t, db.QueryRowContext(ctx, insert, 1).Scan(&id), errCut)
		tally.Fail(nil)
		require.Equal(t, 0, things(t, db), "the database has heard of it")

		tally.FailAfter(when(insert))
		require.ErrorIs(t, db.QueryRowContext(ctx, insert, 1).Scan(&id), errCut)
		tally.FailAfter(nil)
		require.Equal(t, 1, things(t, db), "the statement did not run")

		stmt, err := db.PrepareContext(ctx, insert)
		require.NoError(t, err)
		defer func() { _ = stmt.Close() }()
		tally.FailAfter(when(insert))
		require.ErrorIs(t, stmt.QueryRowContext(ctx, 2).Scan(&id), errCut, "a prepared statement")
		tally.FailAfter(nil)
		require.Equal(t, 2, things(t, db))
	})
}

func TestTally_fails_commits(t *testing.T) {
	t.Parallel()
	connectors(t, func(t *testing.T, c driver.Connector) {
		var tally storagetest.Tally
		db := open(t, c, &tally)
		insert := func(id int) error {
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(t.Context(), "INSERT INTO things VALUES ($1)", id)
			require.NoError(t, err)
			return tx.Commit()
		}

		tally.Fail(when("COMMIT"))
		require.ErrorIs(t, insert(1), errCut)
		tally.Fail(nil)
		require.Equal(t, 0, things(t, db), "lost before the database heard of it: rolled back, no lock is left")

		tally.FailAfter(when("COMMIT"))
		require.ErrorIs(t, insert(1), errCut)
		tally.FailAfter(nil)
		require.Equal(t, 1, things(t, db), "only the answer was lost")

		tally.FailAfter(when("BEGIN"))
		require.ErrorIs(t, insert(2), errCut)
		tally.FailAfter(nil)
		require.NoError(t, insert(2), "no transaction is left open")
	})
}

// What a driver can do must still be possible through the wrapper, or database/sql
// would quietly take another way than in production.
func TestTally_hides_nothing_a_driver_can_do(t *testing.T) {
	t.Parallel()
	connOptions := []reflect.Type{
		reflect.TypeFor[driver.Pinger](), reflect.TypeFor[driver.ExecerContext](), reflect.TypeFor[driver.QueryerContext](),
		reflect.TypeFor[driver.ConnPrepareContext](), reflect.TypeFor[driver.ConnBeginTx](), reflect.TypeFor[driver.SessionResetter](),
		reflect.TypeFor[driver.Validator](), reflect.TypeFor[driver.NamedValueChecker](),
	}
	stmtOptions := []reflect.Type{
		reflect.TypeFor[driver.StmtExecContext](), reflect.TypeFor[driver.StmtQueryContext](),
		reflect.TypeFor[driver.NamedValueChecker](), reflect.TypeFor[driver.ColumnConverter](), //nolint:staticcheck // what a driver may still have
	}
	covers := func(t *testing.T, options []reflect.Type, inner, outer any) {
		t.Helper()
		for _, option := range options {
			if reflect.TypeOf(inner).Implements(option) {
				require.True(t, reflect.TypeOf(outer).Implements(option), "%T hides %s", inner, option)
			}
		}
	}
	connectors(t, func(t *testing.T, c driver.Connector) {
		inner, err := c.Connect(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { _ = inner.Close() })
		outer, err := new(storagetest.Tally).Wrap(c).Connect(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { _ = outer.Close() })
		covers(t, connOptions, inner, outer)

		prepare := func(c driver.Conn) driver.Stmt {
			s, err := c.(driver.ConnPrepareContext).PrepareContext(t.Context(), "SELECT 1")
			require.NoError(t, err)
			t.Cleanup(func() { _ = s.Close() })
			return s
		}
		covers(t, stmtOptions, prepare(inner), prepare(outer))
		covers(t, []reflect.Type{reflect.TypeFor[io.Closer]()}, c, new(storagetest.Tally).Wrap(c))
	})
}

func TestClock_moves_only_when_told(t *testing.T) {
	t.Parallel()
	c := storagetest.NewClock()
	start := c.Now()
	require.Equal(t, start, c.Now())
	require.Equal(t, start.Add(time.Hour), c.Advance(time.Hour))
	c.Set(start)
	require.Equal(t, start, c.Now())
	require.Zero(t, start.Nanosecond()%1000)
}
