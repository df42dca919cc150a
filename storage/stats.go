package storage

import (
	"errors"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/users"
)

// Stats is what the store did and how it stands, for who watches it. Reading it asks the
// database nothing. What every request would have to count is there with Options.Count only.
type Stats struct {
	Pools    []PoolStats
	Groups   []GroupStats
	SignIns  map[Door]SignInStats
	Failures uint64    // units of work that ended in ErrUnavailable
	Heard    time.Time // when Watch last had an answer; zero: never

	// With Options.Count.
	CacheHits, CacheMisses uint64                    // clients
	Refreshes, Codes       map[grants.Verdict]uint64 // what became of tokens that were shown
}

// PoolStats is one pool of connections. SQLite has one that writes and one that reads.
type PoolStats struct {
	Name                    string
	Open, InUse, Idle, Most int
	Waits                   uint64        // for a connection
	Waited                  time.Duration // all of them together
}

// GroupStats are the statements that share a commit (group.go).
type GroupStats struct {
	Name string // write, read
	// Sizes counts groups of one statement, of up to 2, 4, 8, 16, 32, and more.
	Sizes      [7]uint64
	Statements uint64 // in all of them
	RolledBack uint64 // groups whose members had to run alone
	Replaced   uint64 // slow lanes that a spare one stood in for
	Line       int    // statements that wait now
	Lanes      int    // that are free now
}

// Door is where a password is shown.
type Door string

// The doors.
const (
	LoginPage     Door = "login"
	PasswordGrant Door = "password_grant"
)

// SignInStats counts what became of passwords.
type SignInStats struct{ Succeeded, Wrong, Throttled, Busy uint64 }

// Stats looks at everything once.
func (s *Store) Stats() Stats {
	stats := Stats{
		Failures: s.failures.Load(), Heard: s.clients.lastHeard(),
		CacheHits: s.clients.hits.Load(), CacheMisses: s.clients.misses.Load(),
		Refreshes: s.refreshes.read(), Codes: s.codes.read(),
		SignIns: map[Door]SignInStats{LoginPage: s.signIns.page.read(), PasswordGrant: s.signIns.grant.read()},
	}
	if s.pgx != nil {
		p := s.pgx.Stat()
		stats.Pools = []PoolStats{{
			Name: Postgres, Open: int(p.TotalConns()), InUse: int(p.AcquiredConns()), Idle: int(p.IdleConns()), Most: int(p.MaxConns()),
			Waits: uint64(p.EmptyAcquireCount()), Waited: p.EmptyAcquireWaitTime(),
		}}
	} else {
		for i, name := range []string{"sqlite_write", "sqlite_read"} {
			p := s.pools[i].Stats()
			stats.Pools = append(stats.Pools, PoolStats{
				Name: name, Open: p.OpenConnections, InUse: p.InUse, Idle: p.Idle, Most: p.MaxOpenConnections,
				Waits: uint64(p.WaitCount), Waited: p.WaitDuration,
			})
		}
	}
	for _, g := range []struct {
		name   string
		groups *groups
	}{{"write", &s.writes}, {"read", &s.reads}} {
		if g.groups.run != nil {
			stats.Groups = append(stats.Groups, g.groups.stats(g.name))
		}
	}
	return stats
}

func (g *groups) stats(name string) GroupStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	stats := g.seen
	stats.Name, stats.Line, stats.Lanes = name, len(g.line), g.free
	return stats
}

// saw counts one group that has run. g.mu is held.
func (g *groups) saw(size int, err error) {
	g.seen.Sizes[min(bits.Len(uint(size-1)), len(g.seen.Sizes)-1)]++
	g.seen.Statements += uint64(size)
	if size > 1 && err != nil && (errors.Is(err, errUndone) || rolledBack(err)) {
		g.seen.RolledBack++
	}
}

// verdicts counts each of them; nil counts none.
type verdicts map[grants.Verdict]*atomic.Uint64

func countVerdicts(known ...grants.Verdict) verdicts {
	v := make(verdicts, len(known))
	for _, word := range known {
		v[word] = new(atomic.Uint64)
	}
	return v
}

func (v verdicts) count(word grants.Verdict) {
	if n := v[word]; n != nil {
		n.Add(1)
	}
}

func (v verdicts) read() map[grants.Verdict]uint64 {
	read := make(map[grants.Verdict]uint64, len(v))
	for word, n := range v {
		read[word] = n.Load()
	}
	return read
}

// outcomes counts sign-ins of one door.
type outcomes struct{ succeeded, wrong, throttled, busy atomic.Uint64 }

func (o *outcomes) read() SignInStats {
	return SignInStats{Succeeded: o.succeeded.Load(), Wrong: o.wrong.Load(), Throttled: o.throttled.Load(), Busy: o.busy.Load()}
}

func (o *outcomes) count(err error) {
	throttled := new(users.ThrottledError)
	switch {
	case err == nil:
		o.succeeded.Add(1)
	case errors.Is(err, users.ErrWrongPassword):
		o.wrong.Add(1)
	case errors.As(err, &throttled):
		o.throttled.Add(1)
	case errors.Is(err, users.ErrBusy):
		o.busy.Add(1)
	}
}
