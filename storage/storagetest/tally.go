package storagetest

import (
	"database/sql/driver"
	"slices"
	"sync"
)

// Tally counts the round trips of the stores that were opened with its Wrap, and
// lets chosen ones fail. The zero value is ready. It is safe for concurrent use.
//
// A round trip is a query, an exec, a ping, a begin, a commit or a rollback. Not
// counted is what a driver does by itself: preparing a statement on its first use
// (Prepared), and pgx's look at a connection that was idle for a second.
type Tally struct {
	mu         sync.Mutex
	statements []string
	prepared   int
	before     func(sql string) error
	after      func(sql string) error
}

// Wrap is for storage.Options, together with WrapGroup.
func (t *Tally) Wrap(c driver.Connector) driver.Connector { return connector{Connector: c, tally: t} }

// WrapGroup counts each statement of a group, and each may let the whole group fail.
func (t *Tally) WrapGroup(statements []string, run func() error) error {
	for _, sql := range slices.Backward(statements) {
		rest := run
		run = func() error { return t.do(sql, rest) }
	}
	return run()
}

// Reset forgets what was counted. Failures stay.
func (t *Tally) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.statements, t.prepared = nil, 0
}

// Statements is the text of every round trip since the last Reset, in order, with
// "BEGIN", "COMMIT", "ROLLBACK" and "PING" for those. A failed one counts too.
func (t *Tally) Statements() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.statements...)
}

// Count is how many Statements there are.
func (t *Tally) Count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.statements)
}

// Prepared is how many statements were prepared through database/sql.
func (t *Tally) Prepared() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.prepared
}

// Fail asks f before each round trip: an error is the answer, and the database
// hears nothing. Nil ends it. Answering driver.ErrBadConn makes database/sql try
// again on another connection, as after a restart of the server.
func (t *Tally) Fail(f func(sql string) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.before = f
}

// FailAfter asks f when the database has answered: the statement ran, and an error
// replaces its answer, as when a connection is cut after COMMIT was sent. Nil ends it.
func (t *Tally) FailAfter(f func(sql string) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.after = f
}

func (t *Tally) prepare() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.prepared++
}

// do makes one round trip. The hooks run without the lock: they may use the Tally.
func (t *Tally) do(sql string, run func() error) error {
	t.mu.Lock()
	t.statements = append(t.statements, sql)
	before, after := t.before, t.after
	t.mu.Unlock()

	if before != nil {
		if err := before(sql); err != nil {
			return err
		}
	}
	if err := run(); err != nil {
		return err
	}
	if after != nil {
		return after(sql)
	}
	return nil
}

func (t *Tally) rows(sql string, run func() (driver.Rows, error)) (driver.Rows, error) {
	var rows driver.Rows
	err := t.do(sql, func() (err error) {
		rows, err = run()
		return err
	})
	if err != nil && rows != nil {
		_ = rows.Close() // this also lets the statement run to its end
		rows = nil
	}
	return rows, err
}
