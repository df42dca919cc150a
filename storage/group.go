package storage

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"time"
)

// maxGroup bounds what shares one commit, and with it the fate of one failure.
const maxGroup = 64

// stuck is when a lane is written off: what runs on it keeps its connection, and others
// may use one more.
const stuck = 50 * time.Millisecond

// groups lets statements that come at the same time share a round trip and a commit.
// There are a few lanes to the database. While one is free, who comes takes it and runs
// alone, at once: nobody ever waits for company. While all are taken, those who come
// line up, and the next free lane takes the whole line as one transaction. A lane that is
// slow (a lock, a disk, a network that swallows) is replaced, up to the bound of the pool.
//
// Nobody is answered before the commit. Of a group that was certainly rolled back each
// member runs once more by itself, so a statement that fails, or that waits for a lock,
// costs its neighbours a moment and not their answer.
type groups struct {
	timeout time.Duration
	// run executes a group. It answers errUndone when it rolled back what it began.
	run func(ctx context.Context, list []*member) error

	mu   sync.Mutex
	free int // lanes
	line []*member
}

// member is one statement that answers at most one row.
type member struct {
	ctx   context.Context //nolint:containedctx // of who waits for it: nobody runs what nobody waits for
	key   []byte          // of the row that it locks: all groups lock in one order, so that no two wait for each other
	query string
	args  []any
	dest  []any
	found bool
	done  chan error
}

// errUndone never leaves the package: the group was rolled back as a whole.
var errUndone = errors.New("nothing was done")

// do runs m with whoever comes at the same time. When ctx ends first, whether it ran is
// not known.
func (g *groups) do(m *member) error {
	g.mu.Lock()
	if g.free > 0 {
		g.free--
		g.mu.Unlock()
		return g.use(m.ctx, []*member{m})
	}
	m.done = make(chan error, 1)
	g.line = append(g.line, m)
	g.mu.Unlock()
	select {
	case err := <-m.done:
		return err
	case <-m.ctx.Done():
		return m.ctx.Err()
	}
}

// use runs a group, and then gives its lane on, unless it was written off meanwhile.
func (g *groups) use(ctx context.Context, list []*member) error {
	writeOff := time.AfterFunc(stuck, g.leave)
	err := g.run(ctx, list)
	if writeOff.Stop() {
		g.leave()
	}
	return err
}

// leave gives the lane to those in line. Their work must not delay the caller's answer.
func (g *groups) leave() {
	if list := g.next(); list != nil {
		go g.serve(list)
	}
}

// next takes the line, or gives the lane back.
func (g *groups) next() []*member {
	g.mu.Lock()
	defer g.mu.Unlock()
	// Who gave up was told that it is not known; what was not begun is better not done.
	g.line = slices.DeleteFunc(g.line, func(m *member) bool { return m.ctx.Err() != nil })
	n := min(len(g.line), maxGroup)
	if n == 0 {
		g.free++
		return nil
	}
	list := slices.Clone(g.line[:n])
	g.line = slices.Delete(g.line, 0, n)
	return list
}

func (g *groups) serve(list []*member) {
	slices.SortFunc(list, func(a, b *member) int { return bytes.Compare(a.key, b.key) })
	ctx, cancel := context.WithTimeout(context.WithoutCancel(list[0].ctx), g.timeout)
	defer cancel()
	err := g.use(ctx, list)
	for _, m := range list {
		m.done <- err
	}
}

// grouped is one for the statements of the hot path, which read or change one row by
// its key. They may share their transaction with others.
func (s *Store) grouped(ctx context.Context, doing string, key []byte, query string, args []any, dest ...any) (found bool, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	m := &member{ctx: ctx, key: key, query: query, args: args, dest: dest}
	err = s.groups.do(m)
	if errors.Is(err, errUndone) || err != nil && rolledBack(err) {
		return alone(ctx, s.write, doing, m)
	}
	return m.found && err == nil, translate(doing, err)
}

// look is grouped for a statement that changes nothing. SQLite's readers need not wait for
// the one writer.
func (s *Store) look(ctx context.Context, doing string, key []byte, query string, args []any, dest ...any) (found bool, err error) {
	if s.read != s.write {
		return s.one(ctx, s.read, doing, query, args, dest...)
	}
	return s.grouped(ctx, doing, key, query, args, dest...)
}

// ask runs the statement on a connection of database/sql.
func (m *member) ask(ctx context.Context, query func(context.Context, string, ...any) (*sql.Rows, error)) (err error) {
	rows, err := query(ctx, m.query, m.args...) //nolint:rowserrcheck // read looks
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	return m.read(rows)
}

// read reads to the end: a RETURNING row arrives before its commit, and only the end says
// that it happened.
func (m *member) read(rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
},
) (err error) {
	m.found = false
	for rows.Next() {
		if err := rows.Scan(m.dest...); err != nil {
			return err
		}
		m.found = true
	}
	return rows.Err()
}
