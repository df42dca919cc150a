package server

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/server/oauth"
	"github.com/grantorhq/grantor/storage"
)

// Observer is told of every request. Package telemetry counts and traces with it.
type Observer interface {
	// Route is asked once for each route, when the server is made.
	Route(template string) RouteObserver
}

// RouteObserver is told of the requests of one route, many at a time.
type RouteObserver interface {
	// Begin answers the context that the request goes on with, and the id of its trace
	// for the log, or "". What the headers say of a trace is believed if trusted.
	Begin(r *http.Request, trusted bool) (ctx context.Context, trace string)
	// End is called when the answer was written, with that context.
	End(ctx context.Context, seen Seen)
}

// Seen is what came of a request. All of its words are ours, but for Client, which is a
// registered one.
type Seen struct {
	Method  string
	Status  int
	Took    time.Duration
	ID      string
	Grant   string // grant type
	Outcome string // a word of the log, or the error code that was answered
	Client  string
}

func (x *exchange) seen(r *http.Request, took time.Duration, failed *failure) Seen {
	seen := Seen{
		Method: methodOf(r), Status: x.status, Took: took, ID: x.id,
		Grant: x.trail.Grant, Outcome: x.trail.Outcome, Client: x.trail.Client,
	}
	if failed != nil {
		seen.Outcome = failed.Code
	}
	return seen
}

// Stats is how this replica stands. Reading it asks the database nothing.
type Stats struct {
	Draining     bool
	Keys         []keys.Standing
	Logouts      oauth.LogoutStats
	Housekeeping HousekeepingStats
	Audit        AuditStats
}

// HousekeepingStats are the rounds of this replica; those of others are theirs.
type HousekeepingStats struct {
	Deleted storage.Cleaned // all rounds together
	Failed  uint64          // rounds that stopped early
	Last    time.Time       // when the last round without an error ended; zero: there was none
	Took    time.Duration   // that one
}

// AuditStats are this replica's looks for events without a seal.
type AuditStats struct {
	Last   time.Time // when it last left none without; zero: never
	Failed uint64
}

// Stats looks at this moment.
func (s *Server) Stats() Stats {
	housekeeping, audit := s.chores.read()
	return Stats{
		Draining: s.draining.Load(), Keys: s.keys.Load().Standings(s.deps.Now()),
		Logouts: s.oauth.LogoutStats(), Housekeeping: housekeeping, Audit: audit,
	}
}

// chores sums what this replica does beside requests.
type chores struct {
	mu           sync.Mutex
	housekeeping HousekeepingStats
	audit        AuditStats
}

func (c *chores) read() (HousekeepingStats, AuditStats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.housekeeping, c.audit
}

func (c *chores) sealed(err error, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.audit.Failed++
		return
	}
	c.audit.Last = at
}

func (c *chores) cleaned(done storage.Cleaned, err error, began, ended time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := &c.housekeeping.Deleted
	sum.Sessions += done.Sessions
	sum.SignIns += done.SignIns
	sum.DeniedTokens += done.DeniedTokens
	sum.SigningKeys += done.SigningKeys
	sum.LogoutNotices += done.LogoutNotices
	switch {
	case err != nil:
		c.housekeeping.Failed++
	case !done.Elsewhere:
		c.housekeeping.Last, c.housekeeping.Took = ended, ended.Sub(began)
	}
}
