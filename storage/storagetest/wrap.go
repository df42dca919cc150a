package storagetest

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
)

// The wrapped driver. Every type here forwards the optional interfaces of
// database/sql/driver that pgx and modernc.org/sqlite implement (a test compares),
// so that the store runs the same code as without it. Rows and results are passed
// on untouched.

var (
	_ driver.Connector          = connector{}
	_ io.Closer                 = connector{}
	_ driver.Pinger             = (*conn)(nil)
	_ driver.ExecerContext      = (*conn)(nil)
	_ driver.QueryerContext     = (*conn)(nil)
	_ driver.ConnPrepareContext = (*conn)(nil)
	_ driver.ConnBeginTx        = (*conn)(nil)
	_ driver.SessionResetter    = (*conn)(nil)
	_ driver.Validator          = (*conn)(nil)
	_ driver.NamedValueChecker  = (*conn)(nil)
	_ driver.StmtExecContext    = (*stmt)(nil)
	_ driver.StmtQueryContext   = (*stmt)(nil)
	_ driver.NamedValueChecker  = (*stmt)(nil)
)

type connector struct {
	driver.Connector
	tally *Tally
}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: inner, tally: c.tally}, nil
}

func (c connector) Close() error {
	if closer, ok := c.Connector.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

type conn struct {
	driver.Conn
	tally *Tally
}

func (c *conn) Ping(ctx context.Context) error {
	inner, ok := c.Conn.(driver.Pinger)
	if !ok {
		return nil
	}
	return c.tally.do("PING", func() error { return inner.Ping(ctx) })
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	inner, ok := c.Conn.(driver.ExecerContext)
	if !ok {
		return nil, driver.ErrSkip
	}
	var result driver.Result
	err := c.tally.do(query, func() (err error) {
		result, err = inner.ExecContext(ctx, query, args)
		return err
	})
	return result, err
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	inner, ok := c.Conn.(driver.QueryerContext)
	if !ok {
		return nil, driver.ErrSkip
	}
	return c.tally.rows(query, func() (driver.Rows, error) { return inner.QueryContext(ctx, query, args) })
}

func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	var inner driver.Stmt
	var err error
	if preparer, ok := c.Conn.(driver.ConnPrepareContext); ok {
		inner, err = preparer.PrepareContext(ctx, query)
	} else {
		inner, err = c.Conn.Prepare(query)
	}
	if err != nil {
		return nil, err
	}
	c.tally.prepare()
	return &stmt{Stmt: inner, conn: c, query: query}, nil
}

func (c *conn) Begin() (driver.Tx, error) { return c.BeginTx(context.Background(), driver.TxOptions{}) }

func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	var inner driver.Tx
	err := c.tally.do("BEGIN", func() (err error) {
		if beginner, ok := c.Conn.(driver.ConnBeginTx); ok {
			inner, err = beginner.BeginTx(ctx, opts)
		} else {
			inner, err = c.Conn.Begin() //nolint:staticcheck // the only way where BeginTx is missing
		}
		return err
	})
	if err != nil {
		if inner != nil {
			_ = inner.Rollback() // the answer was lost on purpose: the connection must not stay in the transaction
		}
		return nil, err
	}
	return tx{Tx: inner, tally: c.tally}, nil
}

func (c *conn) ResetSession(ctx context.Context) error {
	if inner, ok := c.Conn.(driver.SessionResetter); ok {
		return inner.ResetSession(ctx)
	}
	return nil
}

func (c *conn) IsValid() bool {
	if inner, ok := c.Conn.(driver.Validator); ok {
		return inner.IsValid()
	}
	return true
}

// CheckNamedValue answers ErrSkip where the driver has no rule of its own: then
// database/sql converts as it would without the wrapper.
func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	if inner, ok := c.Conn.(driver.NamedValueChecker); ok {
		return inner.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

type tx struct {
	driver.Tx
	tally *Tally
}

func (t tx) Commit() error   { return t.end("COMMIT", t.Tx.Commit) }
func (t tx) Rollback() error { return t.end("ROLLBACK", t.Tx.Rollback) }

// end rolls back what a failure kept from the database, as the server does when a
// connection goes. Else SQLite's only writer would hold its lock for ever.
func (t tx) end(sql string, run func() error) error {
	heard := false
	err := t.tally.do(sql, func() error {
		heard = true
		return run()
	})
	if !heard {
		_ = t.Tx.Rollback()
	}
	return err
}

type stmt struct {
	driver.Stmt
	conn  *conn
	query string
}

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	inner, ok := s.Stmt.(driver.StmtExecContext)
	if !ok {
		return nil, errOldDriver
	}
	var result driver.Result
	err := s.conn.tally.do(s.query, func() (err error) {
		result, err = inner.ExecContext(ctx, args)
		return err
	})
	return result, err
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	inner, ok := s.Stmt.(driver.StmtQueryContext)
	if !ok {
		return nil, errOldDriver
	}
	return s.conn.tally.rows(s.query, func() (driver.Rows, error) { return inner.QueryContext(ctx, args) })
}

func (s *stmt) CheckNamedValue(v *driver.NamedValue) error {
	if inner, ok := s.Stmt.(driver.NamedValueChecker); ok {
		return inner.CheckNamedValue(v)
	}
	return s.conn.CheckNamedValue(v)
}

var errOldDriver = errors.New("storagetest: the driver's statements take no context")
