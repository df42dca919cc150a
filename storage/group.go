package storage

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// maxGroup bounds what shares one commit, and with it the fate of one failure.
const maxGroup = 64

// replaceAfter is when a spare lane stands in for a slow one. On a busy machine it is what
// groups come to take: longer, and there are more lanes; shorter, and groups grow. With a
// slow disk it is what somebody waits at most before they have a lane of their own.
const replaceAfter = 2 * time.Millisecond

// groups lets statements that come at the same time share a round trip and a commit.
// There are two lanes to the database, to a file one. While one is free, who comes takes it
// and runs alone, at once: nobody ever waits for company. While all are taken, those who
// come line up, and the next free lane takes the whole line as one transaction. While one is
// slow (a lock, a disk, a network that swallows), a spare one stands in for it.
//
// Nobody is answered before the commit. Of a group that was certainly rolled back each
// member runs once more by itself, so a statement that fails, or that waits for a lock,
// costs its neighbours a moment and not their answer.
type groups struct {
	timeout time.Duration
	// run executes a group. It answers errUndone when it rolled back what it began.
	run func(ctx context.Context, list []*member) error

	mu      sync.Mutex
	free    int    // lanes that nobody uses
	spare   int    // lanes that may stand in for slow ones: each needs a connection
	running []*run // that no spare lane stands in for, the oldest first
	watched bool   // a timer will look at them
	line    []*member
	seen    GroupStats
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
		r := g.begin()
		g.mu.Unlock()
		return g.use(m.ctx, r, []*member{m})
	}
	m.done = make(chan error, 1)
	g.line = append(g.line, m)
	g.watch()
	g.mu.Unlock()
	select {
	case err := <-m.done:
		return err
	case <-m.ctx.Done():
		return m.ctx.Err()
	}
}

// use runs a group, and then gives its lane on: to those in line, whose work must not delay
// the caller's answer.
func (g *groups) use(ctx context.Context, r *run, list []*member) (err error) {
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.saw(len(list), err)
		if r.replaced {
			g.spare++
		} else {
			g.running = slices.DeleteFunc(g.running, func(other *run) bool { return other == r })
			g.pass()
		}
		g.watch()
	}()
	return g.run(ctx, list)
}

// run is one use of a lane.
type run struct {
	began    time.Time
	replaced bool
}

// begin takes a lane. g.mu is held.
func (g *groups) begin() *run {
	r := &run{began: time.Now()} //nolint:forbidigo // how long it takes, whatever the clock says
	g.running = append(g.running, r)
	return r
}

// watch has spare lanes stand in for slow ones, as soon as they are slow and somebody waits.
// A timer for each run would wake the process up for nothing where nobody does. g.mu is held.
func (g *groups) watch() {
	for g.spare > 0 && len(g.line) > 0 && len(g.running) > 0 {
		oldest := g.running[0]
		if left := replaceAfter - time.Since(oldest.began); left > 0 { //nolint:forbidigo // see begin
			if !g.watched {
				g.watched = true
				time.AfterFunc(left, func() {
					g.mu.Lock()
					defer g.mu.Unlock()
					g.watched = false
					g.watch()
				})
			}
			return
		}
		oldest.replaced = true
		g.running = slices.Delete(g.running, 0, 1)
		g.seen.Replaced++
		g.spare--
		g.pass()
	}
}

// pass gives a lane to those in line, or leaves it free. g.mu is held.
func (g *groups) pass() {
	// Who gave up was told that it is not known; what was not begun is better not done.
	g.line = slices.DeleteFunc(g.line, func(m *member) bool { return m.ctx.Err() != nil })
	n := min(len(g.line), maxGroup)
	if n == 0 {
		g.free++
		return
	}
	list := slices.Clone(g.line[:n])
	g.line = slices.Delete(g.line, 0, n)
	go g.serve(g.begin(), list)
}

func (g *groups) serve(r *run, list []*member) {
	slices.SortFunc(list, func(a, b *member) int { return bytes.Compare(a.key, b.key) })
	ctx, cancel := context.WithTimeout(context.WithoutCancel(list[0].ctx), g.timeout)
	defer cancel()
	var err error
	// Nobody above this goroutine would stop a panic.
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanicked, panicked, debug.Stack())
		}
		for _, m := range list {
			m.done <- err
		}
	}()
	err = g.use(ctx, r, list)
}

var errPanicked = errors.New("the driver panicked")

// grouped is one for the statements of the hot path that change one row, found by its key.
// They may share their transaction with others.
func (s *Store) grouped(ctx context.Context, doing string, key []byte, query string, args []any, dest ...any) (found bool, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if s.trace != nil {
		traced, done := s.trace(ctx, doing)
		ctx = traced
		defer func() { done(err) }()
	}
	m := &member{ctx: ctx, key: key, query: query, args: args, dest: dest}
	err = s.writes.do(m)
	if errors.Is(err, errUndone) || err != nil && rolledBack(err) {
		return s.alone(ctx, s.write, doing, m)
	}
	return err == nil && m.found, s.failed(doing, err)
}

// look is grouped for a statement that changes nothing. Readers keep to themselves: what
// holds up a commit does not hold up them. Reading twice does no harm, so whatever fails in
// company is tried alone.
func (s *Store) look(ctx context.Context, doing string, key []byte, query string, args []any, dest ...any) (found bool, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if s.trace != nil {
		traced, done := s.trace(ctx, doing)
		ctx = traced
		defer func() { done(err) }()
	}
	m := &member{ctx: ctx, key: key, query: query, args: args, dest: dest}
	if s.reads.run == nil { // SQLite's readers need not wait for each other
		return s.alone(ctx, s.read, doing, m)
	}
	err = s.reads.do(m)
	if err != nil && ctx.Err() == nil && (m.done != nil || rolledBack(err)) {
		return s.alone(ctx, s.read, doing, m)
	}
	return err == nil && m.found, s.failed(doing, err)
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
