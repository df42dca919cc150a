package migrations_test

import (
	"bufio"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"github.com/grantorhq/grantor/migrations"
	"github.com/grantorhq/grantor/storage/storagetest"
)

// place is an empty database that can be opened again and again.
type place struct{ dialect, url string }

func each(t *testing.T, fn func(t *testing.T, p place)) {
	t.Helper()
	t.Run(migrations.SQLite, func(t *testing.T) {
		t.Parallel()
		fn(t, place{migrations.SQLite, filepath.Join(t.TempDir(), "grantor.db")})
	})
	t.Run(migrations.Postgres, func(t *testing.T) {
		t.Parallel()
		fn(t, place{migrations.Postgres, storagetest.Postgres(t)})
	})
}

func (p place) open(t *testing.T, tally *storagetest.Tally) *sql.DB {
	t.Helper()
	var c driver.Connector = sqliteFile(p.url)
	if p.dialect == migrations.Postgres {
		config, err := pgx.ParseConfig(p.url)
		require.NoError(t, err)
		c = stdlib.GetConnector(*config)
	}
	db := sql.OpenDB(tally.Wrap(c))
	t.Cleanup(func() { _ = db.Close() })
	return db
}

type sqliteFile string

func (sqliteFile) Driver() driver.Driver { return &sqlite.Driver{} }
func (f sqliteFile) Connect(context.Context) (driver.Conn, error) {
	return f.Driver().Open("file:" + string(f) + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)&_txlock=immediate")
}

func (p place) up(ctx context.Context, db *sql.DB) (migrations.Report, error) {
	return migrations.Up(ctx, db, p.dialect, p.url+".lock")
}

func TestUp_goes_from_empty_to_newest_and_then_has_nothing_to_do(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		var tally storagetest.Tally
		db := p.open(t, &tally)
		is, err := migrations.Version(t.Context(), db, p.dialect)
		require.NoError(t, err)
		want := is.Want

		report, err := p.up(t.Context(), db)
		require.NoError(t, err)
		require.Equal(t, migrations.Report{From: 0, To: want}, report)
		is, err = migrations.Version(t.Context(), db, p.dialect)
		require.NoError(t, err)
		require.Equal(t, migrations.Versions{Have: want, Want: want}, is)
		require.False(t, is.Old() || is.Foreign())

		var least int64
		require.NoError(t, db.QueryRowContext(t.Context(), "SELECT least FROM compatibility").Scan(&least))
		require.LessOrEqual(t, least, want, "a migration bars its own program")

		tally.Reset()
		report, err = p.up(t.Context(), db)
		require.NoError(t, err)
		require.Equal(t, migrations.Report{From: want, To: want}, report)
		for _, statement := range tally.Statements() {
			require.True(t, strings.HasPrefix(statement, "SELECT"), "a server that starts on a current schema only reads, but: %s", statement)
		}
	})
}

func TestVersion_makes_nothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		db := p.open(t, new(storagetest.Tally))
		is, err := migrations.Version(t.Context(), db, p.dialect)
		require.NoError(t, err)
		require.Zero(t, is.Have)
		require.Positive(t, is.Want)
		require.True(t, is.Old())
		require.Empty(t, tables(t, db, p.dialect))
	})
	_, err := migrations.Version(t.Context(), nil, "oracle")
	require.ErrorContains(t, err, "oracle")
}

// While replicas are replaced one after the other, both versions run on the newer schema,
// unless the newer one says that this can not be.
func TestUp_refuses_a_schema_of_a_later_program(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		db := p.open(t, new(storagetest.Tally))
		report, err := p.up(t.Context(), db)
		require.NoError(t, err)
		later := report.To + 1
		_, err = db.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES ("+strconv.FormatInt(later, 10)+", "+
			map[string]string{migrations.SQLite: "1", migrations.Postgres: "true"}[p.dialect]+")")
		require.NoError(t, err)

		again, err := p.up(t.Context(), db)
		require.NoError(t, err)
		require.Equal(t, migrations.Report{From: later, To: later}, again)
		is, err := migrations.Version(t.Context(), db, p.dialect)
		require.NoError(t, err)
		require.Positive(t, is.Least)
		require.False(t, is.Old() || is.Foreign())

		_, err = db.ExecContext(t.Context(), "UPDATE compatibility SET least = "+strconv.FormatInt(later, 10))
		require.NoError(t, err)
		_, err = p.up(t.Context(), db)
		require.ErrorIs(t, err, migrations.ErrNewer)
		require.ErrorContains(t, err, strconv.FormatInt(later, 10))
	})
}

// Replicas that start together all call Up. Each has its own pool, like a process.
func TestUp_Concurrent_migrators_one_works_and_the_others_wait(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		const replicas = 5
		reports, errs := make([]migrations.Report, replicas), make([]error, replicas)
		var all sync.WaitGroup
		start := make(chan struct{})
		for i := range replicas {
			db := p.open(t, new(storagetest.Tally))
			all.Go(func() {
				<-start
				reports[i], errs[i] = p.up(ctx, db)
			})
		}
		close(start)
		all.Wait()

		worked := 0
		for i := range replicas {
			require.NoError(t, errs[i])
			if reports[i].From != reports[i].To {
				worked++
			}
		}
		require.Equal(t, 1, worked, "%v", reports)
	})
}

func TestUp_stops_waiting_when_told(t *testing.T) {
	t.Parallel()
	p := place{migrations.SQLite, filepath.Join(t.TempDir(), "grantor.db")}
	var tally storagetest.Tally
	inside, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	tally.Fail(func(string) error {
		once.Do(func() { close(inside); <-goOn })
		return nil
	})
	db := p.open(t, &tally)
	first := make(chan error, 1)
	go func() {
		_, err := p.up(t.Context(), db)
		first <- err
	}()
	<-inside

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := p.up(ctx, p.open(t, new(storagetest.Tally)))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	close(goOn)
	require.NoError(t, <-first)
}

// Whatever statement a migration dies at, the next run ends at the same schema.
func TestUp_after_a_failure_at_any_statement(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		var tally storagetest.Tally
		db := p.open(t, &tally)
		_, err := p.up(t.Context(), db)
		require.NoError(t, err)
		total := tally.Count()
		want := columns(t, db, p.dialect)

		// All on SQLite, where a file costs nothing; a sample on PostgreSQL.
		step := 1
		if p.dialect == migrations.Postgres {
			step = 4
		}
		for at := 1; at <= total; at += step {
			q := p
			if p.dialect == migrations.SQLite {
				q.url = filepath.Join(t.TempDir(), "again.db")
			} else {
				q.url = storagetest.Postgres(t)
			}
			var broken storagetest.Tally
			var seen int
			broken.Fail(func(string) error {
				if seen++; seen >= at {
					return errors.New("the machine is gone")
				}
				return nil
			})
			db := q.open(t, &broken)
			// goose tries again for seconds to make its own table. It need not.
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			_, err := q.up(ctx, db)
			cancel()
			require.Error(t, err)
			require.NoError(t, db.Close())

			db = q.open(t, new(storagetest.Tally))
			_, err = q.up(t.Context(), db)
			require.NoError(t, err, "after a failure at statement %d", at)
			require.Equal(t, want, columns(t, db, q.dialect), "after a failure at statement %d", at)
			require.NoError(t, db.Close())
		}
	})
}

// The same with a process that is really killed, in the middle of the first file.
func TestUp_after_kill(t *testing.T) {
	t.Parallel()
	const child = "GRANTOR_TEST_MIGRATE"
	if text := os.Getenv(child); text != "" {
		dialect, url, _ := strings.Cut(text, " ")
		p := place{dialect, url}
		var tally storagetest.Tally
		tally.Fail(func(sql string) error {
			if strings.Contains(sql, "denied_tokens_expires_at") {
				fmt.Println("in the middle")
				select {}
			}
			return nil
		})
		_, err := p.up(t.Context(), p.open(t, &tally))
		require.NoError(t, err)
		return
	}
	each(t, func(t *testing.T, p place) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestUp_after_kill$")
		cmd.Env = append(os.Environ(), child+"="+p.dialect+" "+p.url)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "in the middle\n", line)
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()

		db := p.open(t, new(storagetest.Tally))
		report, err := p.up(ctx, db)
		require.NoError(t, err)
		require.Zero(t, report.From, "a migration that was killed has not happened")
		require.NotEmpty(t, columns(t, db, p.dialect))
	})
}
