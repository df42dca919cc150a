package storage

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf8"

	"gorm.io/gorm"
)

// attempts bounds how often a unit of work is tried when the database rolled it back;
// its deadline does as well. Five were too few for eight that show one token at once
// under SERIALIZABLE, and for a database that rolls back three units in ten; ten fail one
// request in a million where it is one unit in four, and make faults met that one.
const attempts = 16

// deadline bounds one unit of work. A client that goes away does not cancel it: a
// half-told story would cost a connection, and the answer may be asked for again.
func (s *Store) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
}

// unit runs work, whole, until it is not rolled back by the database.
func (s *Store) unit(ctx context.Context, doing string, work func(context.Context) error) (err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if s.trace != nil {
		traced, done := s.trace(ctx, doing)
		ctx = traced
		defer func() { done(err) }()
	}
	return s.retry(ctx, doing, work)
}

// retry is unit for work that sets its own deadlines.
func (s *Store) retry(ctx context.Context, doing string, work func(context.Context) error) error {
	for try := 1; ; try++ {
		err := work(ctx)
		if err == nil {
			return nil
		}
		if try == attempts || !again(err) {
			return s.failed(doing, err)
		}
		// Losers of one race must not meet again in the next.
		pause := time.NewTimer(time.Duration(1+rand.IntN(5<<min(try, 4))) * time.Millisecond)
		select {
		case <-ctx.Done():
			pause.Stop()
			return s.failed(doing, ctx.Err())
		case <-pause.C:
		}
	}
}

// one runs a statement that answers at most one row, in one round trip, and
// reports whether there was one.
func (s *Store) one(ctx context.Context, db *gorm.DB, doing, query string, args []any, dest ...any) (found bool, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if s.trace != nil {
		traced, done := s.trace(ctx, doing)
		ctx = traced
		defer func() { done(err) }()
	}
	return s.alone(ctx, db, doing, &member{query: query, args: args, dest: dest})
}

// alone is one within a deadline that is set.
func (s *Store) alone(ctx context.Context, db *gorm.DB, doing string, m *member) (found bool, err error) {
	err = s.retry(ctx, doing, func(ctx context.Context) error {
		return m.ask(ctx, db.ConnPool.QueryContext)
	})
	return m.found && err == nil, err
}

// many runs a statement that answers any number of rows, in one round trip.
func many[T any](ctx context.Context, s *Store, db *gorm.DB, doing, query string, args []any, read func(*sql.Rows) (T, error)) (list []T, err error) {
	err = s.unit(ctx, doing, func(ctx context.Context) (err error) {
		list = nil
		rows, err := db.ConnPool.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		for rows.Next() {
			item, err := read(rows)
			if err != nil {
				return err
			}
			list = append(list, item)
		}
		return rows.Err()
	})
	return list, err
}

// exec runs a statement that answers no row, and counts those it changed.
func (s *Store) exec(ctx context.Context, doing, query string, args ...any) (changed int64, err error) {
	err = s.unit(ctx, doing, func(ctx context.Context) error {
		result, err := s.write.ConnPool.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		changed, err = result.RowsAffected()
		return err
	})
	return changed, err
}

// transaction runs several statements as one unit.
func (s *Store) transaction(ctx context.Context, doing string, work func(tx *gorm.DB) error) error {
	return s.unit(ctx, doing, func(ctx context.Context) error {
		return s.write.WithContext(ctx).Transaction(work)
	})
}

// Times are stored as Unix microseconds: no zone and no format can go wrong.
func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

// optional turns the zero time into NULL, and back.
func optional(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	us := t.UnixMicro()
	return &us
}

func fromOptional(us *int64) time.Time {
	if us == nil {
		return time.Time{}
	}
	return fromMicros(*us)
}

// storable reports whether both databases take the text. What they do not take is
// in none of their rows, so a question for it has an answer: not found.
func storable(text string) bool { return utf8.ValidString(text) && !strings.Contains(text, "\x00") }
