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
	mu sync.Mutex
	of map[string]*guessing // by bucket, while somebody is there
}

type guessing struct {
	here     int
	failures int64 // the most that any of them knows of: read, or seen here since
}

// enter tells what an attempt has read. Every enter wants a leave.
func (g *guesses) enter(b bucket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.of[b.key]
	if now == nil {
		if g.of == nil {
			g.of = make(map[string]*guessing)
		}
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
		if now.here--; now.here == 0 {
			delete(g.of, b.key)
		}
	}
}

// failed comes before the failure is stored: what the others read is never ahead of it.
func (g *guesses) failed(b bucket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := g.of[b.key]; now != nil {
		now.failures++
	}
}

// right forgets, as the stored count does.
func (g *guesses) right(b bucket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := g.of[b.key]; now != nil {
		now.failures = 0
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
