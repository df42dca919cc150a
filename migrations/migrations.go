// Package migrations is the schema, as SQL, and the one way to bring a database to it.
//
// The files come in pairs, sqlite/0001_….sql and postgres/0001_….sql: same numbers,
// same tables and columns (tests compare). A released file never changes; a change of
// the schema is a new pair, and the previous version of the program must still run on
// it, because replicas are replaced one after the other. Which programs do is a row of the
// database, compatibility.least. A file raises it that takes away what an older version needs,
// adds what every server must obey, or comes with a new layout of what is stored as JSON.
// Each file runs in one transaction together with its entry in the version table, so that a
// migration which is killed has not happened.
//
// Up may be called by many processes at once: one works, the others wait and then find
// nothing to do. Package storage calls it and compares Version with what it needs;
// whether a server may migrate by itself is decided in cmd/grantor.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed sqlite/*.sql postgres/*.sql
var files embed.FS

// Dialects that have migrations.
const (
	SQLite   = "sqlite"
	Postgres = "postgres"
)

// ErrNewer: a later version of the program has migrated this database already, to what this
// one can not run on.
var ErrNewer = errors.New("the schema is newer than this program")

// Report is what Up did: the versions before and after. They are equal when there was
// nothing to do, also because somebody else did it while this process waited.
type Report struct{ From, To int64 }

// waitForLock is how many seconds Up waits for another process that migrates.
const waitForLock = 600

// Up brings the schema to the newest version. A database that is ahead of this program stays
// as it is; Up answers ErrNewer when the program can not run on it. On SQLite, lockPath names
// a file beside the database whose lock keeps other processes out; it stays behind empty.
func Up(ctx context.Context, db *sql.DB, dialect, lockPath string) (report Report, err error) {
	if dialect == SQLite {
		unlock, err := lockFile(ctx, lockPath)
		if err != nil {
			return Report{}, fmt.Errorf("run migrations: %w", err)
		}
		defer unlock()
	}
	is, err := Version(ctx, db, dialect)
	if err != nil {
		return Report{}, err
	}
	if is.Foreign() {
		return Report{}, fmt.Errorf("%w: version %d of the schema, version %d of the program", ErrNewer, is.Have, is.Want)
	}
	if !is.Old() {
		return Report{From: is.Have, To: is.Have}, nil
	}
	p, err := provider(db, dialect)
	if err != nil {
		return Report{}, err
	}
	done, err := p.Up(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("run migrations: %w", err)
	}
	// On PostgreSQL the version above was read before the lock was held: what was
	// really done counts.
	if len(done) == 0 {
		return Report{From: is.Want, To: is.Want}, nil
	}
	return Report{From: done[0].Source.Version - 1, To: is.Want}, nil
}

// Versions are those of the schema.
type Versions struct {
	Have  int64 // the database's; 0: none yet
	Want  int64 // that this program was made for
	Least int64 // that a program must have been made for to run on it; 0 where Have is not past Want
}

// Old reports that the program needs what is not there yet.
func (v Versions) Old() bool { return v.Have < v.Want }

// Foreign reports that a later program has made of the schema what this one can not run on.
func (v Versions) Foreign() bool { return v.Least > v.Want }

// Version answers which versions of the schema the database and this program have. It only
// reads.
func Version(ctx context.Context, db *sql.DB, dialect string) (v Versions, err error) {
	if v.Want, err = newest(dialect); err != nil {
		return v, err
	}
	exists := "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '" + goose.DefaultTablename + "'"
	if dialect == Postgres {
		exists = "SELECT count(to_regclass('" + goose.DefaultTablename + "'))"
	}
	var tables int64
	if err := db.QueryRowContext(ctx, exists).Scan(&tables); err != nil {
		return v, fmt.Errorf("read schema version: %w", err)
	}
	if tables == 0 {
		return v, nil
	}
	const latest = "SELECT coalesce(max(version_id), 0) FROM " + goose.DefaultTablename
	if err := db.QueryRowContext(ctx, latest).Scan(&v.Have); err != nil {
		return v, fmt.Errorf("read schema version: %w", err)
	}
	if v.Have <= v.Want {
		return v, nil
	}
	if err := db.QueryRowContext(ctx, "SELECT max(least) FROM compatibility").Scan(&v.Least); err != nil {
		return v, fmt.Errorf("read who can run on schema version %d: %w", v.Have, err)
	}
	return v, nil
}

func newest(dialect string) (int64, error) {
	names, err := fs.Glob(files, dialect+"/*.sql")
	if err != nil || len(names) == 0 {
		return 0, fmt.Errorf("no migrations for the database %q", dialect)
	}
	return goose.NumericComponent(names[len(names)-1]) // Glob sorts
}

func provider(db *sql.DB, dialect string) (*goose.Provider, error) {
	folder, err := fs.Sub(files, dialect)
	if err != nil {
		return nil, fmt.Errorf("run migrations: %w", err)
	}
	options := []goose.ProviderOption{goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true)}
	name := goose.DialectSQLite3
	if dialect == Postgres {
		// The lock belongs to the session: it goes with a killed process.
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, waitForLock))
		if err != nil {
			return nil, fmt.Errorf("run migrations: %w", err)
		}
		name = goose.DialectPostgres
		options = append(options, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(name, db, folder, options...)
	if err != nil {
		return nil, fmt.Errorf("run migrations: %w", err)
	}
	return p, nil
}
