package storage

import (
	"sync"

	"github.com/grantorhq/grantor/users"
)

// guesses are the attempts that this replica looks at right now. Many that arrive at
// once have all read the same count; those that wait for their turn to be hashed hear
// here what became of those before them. Without it a burst would get as many free
// guesses as the queue has places.
type guesses struct {
	mu      sync.Mutex
	of      map[string]*guessing // by bucket, while somebody is there, or may have read before the last one left
	next    uint64
	reading map[uint64]struct{} // who has begun to read and has not entered
}

type guessing struct {
	here     int
	failures int64  // the most that any of them knows of: read, or seen here since
	until    uint64 // nobody is here; who began to read up to then may know less
}

// read comes before the count is read, and wants a done or an enter.
func (g *guesses) read() (reader uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.of == nil {
		g.of, g.reading = make(map[string]*guessing), make(map[uint64]struct{})
	}
	g.next++
	g.reading[g.next] = struct{}{}
	return g.next
}

// done is for who does not enter. For who did it does nothing.
func (g *guesses) done(reader uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.reading, reader)
	g.forget()
}

// forget drops what nobody can need any more. g.mu is held.
func (g *guesses) forget() {
	oldest := g.next + 1
	for reader := range g.reading {
		oldest = min(oldest, reader)
	}
	for key, b := range g.of {
		if b.here == 0 && b.until < oldest {
			delete(g.of, key)
		}
	}
}

// enter tells what an attempt has read. Every enter wants a leave.
func (g *guesses) enter(reader uint64, b bucket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.reading, reader)
	now := g.of[b.key]
	if now == nil {
		now = new(guessing)
		g.of[b.key] = now
	}
	now.here++
	now.failures = max(now.failures, b.failures)
}

func (g *guesses) leave(b bucket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := g.of[b.key]; now != nil {
		now.here--
		now.until = g.next
	}
	g.forget()
}

// told comes before the failure is stored: what the others read is never ahead of it. And
// it comes before the next one's turn. A right one forgets, as the stored count does.
func (g *guesses) told(b bucket, right bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch now := g.of[b.key]; {
	case now == nil:
	case right:
		now.failures = 0
	default:
		now.failures++
	}
}

// admit refuses an attempt whose account has to wait by now, though not when it read.
func (g *guesses) admit(b bucket) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.of[b.key]
	if now == nil || now.failures <= b.failures {
		return nil
	}
	if wait := users.Delay(now.failures); wait > 0 {
		return &users.ThrottledError{Wait: wait}
	}
	return nil
}
