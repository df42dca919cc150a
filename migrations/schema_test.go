package migrations_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/migrations"
	"github.com/grantorhq/grantor/storage/storagetest"
)

func TestFiles_come_in_pairs_without_gaps(t *testing.T) {
	t.Parallel()
	names := func(dialect string) []string {
		paths, err := filepath.Glob(filepath.Join(dialect, "*"))
		require.NoError(t, err)
		var names []string
		for _, path := range paths {
			names = append(names, filepath.Base(path))
		}
		return names
	}
	require.Equal(t, names(migrations.SQLite), names(migrations.Postgres))
	form := regexp.MustCompile(`^[0-9]{4}_[a-z0-9_]+\.sql$`)
	for i, name := range names(migrations.SQLite) {
		require.Regexp(t, form, name)
		require.True(t, strings.HasPrefix(name, fmt.Sprintf("%04d_", i+1)), "%s: numbers count from 1 without a gap", name)
	}
}

// A killed migration has not happened, on both databases, only if a file is one
// transaction.
func TestFiles_run_in_a_transaction(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("*/*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NotContains(t, string(text), "NO TRANSACTION", path)
	}
}

// column is what both dialects must agree on.
type column struct {
	Kind     string // text, integer or bytes
	Required bool
	Key      bool // part of the primary key
}

func TestSchemas_are_the_same_on_both_databases(t *testing.T) {
	t.Parallel()
	a := place{migrations.SQLite, filepath.Join(t.TempDir(), "grantor.db")}
	b := place{migrations.Postgres, storagetest.Postgres(t)}
	var schemas [2]map[string]column
	var names [2][]string
	for i, p := range []place{a, b} {
		db := p.open(t, new(storagetest.Tally))
		_, err := p.up(t.Context(), db)
		require.NoError(t, err)
		schemas[i] = columns(t, db, p.dialect)
		names[i] = list(t, db, indexes[p.dialect])
	}
	require.NotEmpty(t, schemas[0])
	require.Equal(t, schemas[0], schemas[1])
	require.NotEmpty(t, names[0])
	require.Equal(t, names[0], names[1], "indexes")
}

var tableNames = map[string]string{
	migrations.SQLite:   `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name`,
	migrations.Postgres: `SELECT tablename::text COLLATE "C" AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY name`,
}

// Only those with a name of ours: the indexes of keys are named by the database.
var indexes = map[string]string{
	migrations.SQLite: `SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name`,
	migrations.Postgres: `SELECT indexname::text COLLATE "C" AS name FROM pg_indexes WHERE schemaname = 'public'
		AND indexname NOT IN (SELECT conname FROM pg_constraint) ORDER BY name`,
}

// table, column, kind, required, key
var columnRows = map[string]string{
	migrations.SQLite: `SELECT t.name, c.name, c.type, c."notnull" OR c.pk > 0, c.pk > 0
		FROM sqlite_master AS t, pragma_table_info(t.name) AS c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'`,
	migrations.Postgres: `SELECT c.table_name, c.column_name, c.data_type, c.is_nullable = 'NO', EXISTS (
		SELECT 1 FROM information_schema.key_column_usage AS k JOIN information_schema.table_constraints AS p USING (constraint_name, table_name)
		WHERE p.constraint_type = 'PRIMARY KEY' AND k.table_name = c.table_name AND k.column_name = c.column_name)
		FROM information_schema.columns AS c WHERE c.table_schema = 'public'`,
}

var kinds = map[string]string{
	"TEXT": "text", "text": "text", "INTEGER": "integer", "bigint": "integer", "BLOB": "bytes", "bytea": "bytes",
}

func columns(t *testing.T, db *sql.DB, dialect string) map[string]column {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), columnRows[dialect])
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	found := map[string]column{}
	for rows.Next() {
		var table, name, kind string
		var c column
		require.NoError(t, rows.Scan(&table, &name, &kind, &c.Required, &c.Key))
		if table == "goose_db_version" {
			continue // goose's own
		}
		c.Kind = kinds[kind]
		require.NotEmpty(t, c.Kind, "%s.%s is a %s: times are integers (Unix microseconds), flags are times or integers", table, name, kind)
		found[table+"."+name] = c
	}
	require.NoError(t, rows.Err())
	return found
}

func tables(t *testing.T, db *sql.DB, dialect string) []string {
	t.Helper()
	return list(t, db, tableNames[dialect])
}

func list(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	var names []string
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		names = append(names, name)
	}
	require.NoError(t, rows.Err())
	return names
}

// Rows of the first release are read by the second, and its statements still run: they
// name their columns, and what is new may be left out.
func TestSignIn_comes_over_old_data(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p place) {
		ctx := t.Context()
		db := p.open(t, new(storagetest.Tally))
		text, err := os.ReadFile(filepath.Join(p.dialect, "0001_circle.sql"))
		require.NoError(t, err)
		dialect := goose.DialectSQLite3
		if p.dialect == migrations.Postgres {
			dialect = goose.DialectPostgres
		}
		first, err := goose.NewProvider(dialect, db, fstest.MapFS{"0001_circle.sql": {Data: text}}, goose.WithDisableGlobalRegistry(true))
		require.NoError(t, err)
		_, err = first.Up(ctx)
		require.NoError(t, err)
		const old = `INSERT INTO grants (id, client_id, user_id, scope, audience, state, generation, redirect_uri, code_challenge, dpop_jkt,
 created_at, rotated_at, expires_at, created_from, rotated_from, details)
 VALUES ($1, 'app', 'alice', 'read', '', 'live', 3, '', '', '', 1, 2, 3, '', '', '{"v":1}')`
		_, err = db.ExecContext(ctx, old, []byte("0123456789abcdef"))
		require.NoError(t, err)
		const oldTry = `INSERT INTO throttles (account, failures, tried_at) VALUES ($1, 12, 1700000000000000)`
		_, err = db.ExecContext(ctx, oldTry, "alice")
		require.NoError(t, err)

		report, err := p.up(ctx, db)
		require.NoError(t, err)
		require.EqualValues(t, 1, report.From)
		_, err = db.ExecContext(ctx, old, []byte("fedcba9876543210"))
		require.NoError(t, err)
		var rows, generation, without int64
		require.NoError(t, db.QueryRowContext(ctx, `SELECT count(*), MIN(generation), SUM(CASE WHEN sid IS NULL THEN 1 ELSE 0 END) FROM grants`).Scan(&rows, &generation, &without))
		require.Equal(t, []int64{2, 3, 2}, []int64{rows, generation, without})
		_, err = db.ExecContext(ctx, oldTry, "bob")
		require.NoError(t, err)
		var failed int64
		require.NoError(t, db.QueryRowContext(ctx, `SELECT failed_at FROM throttles WHERE account = 'alice'`).Scan(&failed))
		require.EqualValues(t, 1700000000000000, failed, "an upgrade makes no guess free")
	})
}
