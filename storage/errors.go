package storage

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Errors that every method may answer.
var (
	// ErrUnavailable: the database did not do what it was asked, for whatever
	// reason. Nothing can be concluded; the caller says 503.
	ErrUnavailable    = errors.New("database is unavailable")
	ErrSchemaOld      = errors.New("database schema is older than this program")
	ErrSchemaNew      = errors.New("database schema is newer than this program")
	ErrUnsafeDatabase = errors.New("database may lose what it acknowledged")
	ErrClock          = errors.New("the clocks of this machine and of the database differ")
)

// errDuplicate never leaves the package: each noun has its own word for it.
var errDuplicate = errors.New("duplicate key")

// translate names what a driver said, once. The driver's text stays inside the
// chain for the log; it never reaches a client.
func translate(doing string, err error) error {
	if err == nil {
		return nil
	}
	if duplicate(err) {
		return fmt.Errorf("%s: %w: %w", doing, errDuplicate, err)
	}
	return fmt.Errorf("%s: %w: %w", doing, ErrUnavailable, err)
}

// failed is translate, counted.
func (s *Store) failed(doing string, err error) error {
	err = translate(doing, err)
	if errors.Is(err, ErrUnavailable) {
		s.failures.Add(1)
	}
	return err
}

func duplicate(err error) bool {
	if pg := new(pgconn.PgError); errors.As(err, &pg) {
		return pg.Code == "23505"
	}
	if lite := new(sqlite.Error); errors.As(err, &lite) {
		return lite.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || lite.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE
	}
	return false
}

// again reports failures that say: nothing was done, try the whole unit once more.
// Class 40 is rolled back by definition; the others happened before anything was sent.
func again(err error) bool {
	if pg := new(pgconn.PgError); errors.As(err, &pg) {
		return len(pg.Code) == 5 && pg.Code[:2] == "40" && pg.Code != "40003" // 40003: completion unknown
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return false
	}
	return errors.Is(err, driver.ErrBadConn) || pgconn.SafeToRetry(err)
}

// rolledBack reports failures of a whole transaction that say: nothing was done. A server
// that says goodbye (FATAL) may have committed before.
func rolledBack(err error) bool {
	if pg := new(pgconn.PgError); errors.As(err, &pg) && pg.SeverityUnlocalized == "ERROR" && pg.Code != "40003" {
		return true
	}
	return again(err)
}
