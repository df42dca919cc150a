package storage

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"

	"gorm.io/gorm"
)

// maxPrepared bounds the statements that are kept compiled: the check of a narrower
// scope makes one text per number of scopes. What comes later is compiled each time.
const maxPrepared = 256

// prepared is a pool that compiles a statement once per connection. pgx does that by
// itself; this is for SQLite.
//
// gorm's own PrepareStmt holds the lock of its cache while it waits for a connection.
// SQLite has one that writes: a transaction that had it, and two callers of one new
// statement that wanted it, waited for each other until their deadlines. Here nothing
// is locked while anything waits. Of the transactions only those of groups come by.
type prepared struct {
	*sql.DB
	statements sync.Map // text to *sql.Stmt
	count      atomic.Int64
}

var (
	_ gorm.ConnPool   = (*prepared)(nil)
	_ gorm.TxBeginner = (*prepared)(nil)
)

// statement is nil when the text should run as it is.
func (p *prepared) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	if s, ok := p.statements.Load(query); ok {
		return s.(*sql.Stmt), nil
	}
	if p.count.Load() >= maxPrepared {
		return nil, nil
	}
	s, err := p.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if winner, raced := p.statements.LoadOrStore(query, s); raced {
		return winner.(*sql.Stmt), s.Close() //nolint:sqlclosecheck // the loser ends here, the winner with the pool
	}
	p.count.Add(1)
	return s, nil
}

// ExecContext implements gorm.ConnPool.
func (p *prepared) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := p.statement(ctx, query) //nolint:sqlclosecheck // it lives as long as the pool
	if err != nil {
		return nil, err
	}
	if s == nil {
		return p.DB.ExecContext(ctx, query, args...)
	}
	return s.ExecContext(ctx, args...)
}

// QueryContext implements gorm.ConnPool.
func (p *prepared) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := p.statement(ctx, query) //nolint:sqlclosecheck // it lives as long as the pool
	if err != nil {
		return nil, err
	}
	if s == nil {
		return p.DB.QueryContext(ctx, query, args...)
	}
	return s.QueryContext(ctx, args...)
}

// compile makes a statement ready for within.
func (p *prepared) compile(ctx context.Context, query string) error {
	_, err := p.statement(ctx, query) //nolint:sqlclosecheck // it lives as long as the pool
	return err
}

// within is QueryContext inside a transaction, for statements that were compiled before.
func (p *prepared) within(tx *sql.Tx) func(context.Context, string, ...any) (*sql.Rows, error) {
	return func(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
		if s, ok := p.statements.Load(query); ok {
			return tx.StmtContext(ctx, s.(*sql.Stmt)).QueryContext(ctx, args...) //nolint:sqlclosecheck // it ends with the transaction
		}
		return tx.QueryContext(ctx, query, args...)
	}
}
