package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/storage"
)

// leastPostgres is the oldest version that the tests run on.
const leastPostgres = 15

// checkFacts compares clocks with the time between the question and its answer.
func checkFacts(c *chart, f storage.Facts, cfg config.Config, asked, answered time.Time) {
	if f.Dialect == storage.SQLite {
		c.good("database-reachable", "SQLite %s", f.Version)
		c.settle("database-durable", "database-writable", "database-version")
		c.skip("database-connections", "SQLite has none")
		c.skip("clock-database", "SQLite has none")
		if f.Journal != "wal" {
			c.fail("sqlite-journal", "start a server on it: it switches the log on", "the journal mode is %q", f.Journal)
		}
		c.settle("sqlite-journal")
		return
	}
	for _, check := range []string{"sqlite-file", "sqlite-journal", "sqlite-filesystem"} {
		c.skip(check, "the database is PostgreSQL")
	}
	version, _, _ := strings.Cut(f.Version, " ")
	c.good("database-reachable", "PostgreSQL %s", version)
	for _, setting := range f.Off {
		const hint = "turn it on in PostgreSQL: after a power loss revoked sessions and spent tokens can work again"
		if slices.Contains(cfg.UnsafeDatabase, setting) {
			c.of(setting).warn("database-durable", hint, "%s is off, and unsafe_database accepts it", setting)
		} else {
			c.of(setting).fail("database-durable", hint, "%s is off", setting)
		}
	}
	if f.ReadOnly {
		c.fail("database-writable", "name the primary, or all hosts with target_session_attrs=read-write", "it may only be read: a standby, or default_transaction_read_only")
	}
	if f.Major < leastPostgres {
		c.fail("database-version", "upgrade PostgreSQL", "PostgreSQL %s is older than %d", version, leastPostgres)
	}
	switch need := cfg.DatabaseConnections; {
	case f.Connections < need:
		c.fail("database-connections", "raise max_connections, or lower database_connections", "one replica may open %d connections, PostgreSQL has %d", need, f.Connections)
	case f.Connections < 2*need:
		c.warn("database-connections", "raise max_connections, or lower database_connections", "two replicas may open %d connections, PostgreSQL has %d", 2*need, f.Connections)
	}
	if apart := apart(f.Clock, asked, answered); apart > storage.MaxClockSkew {
		c.fail("clock-database", "set both clocks by NTP", "the database's clock and this machine's are %s apart", apart.Round(time.Second))
	}
	c.settle("database-durable", "database-writable", "database-version", "database-connections", "clock-database")
}

// apart is how far a moment is outside of a span, in which it should be.
func apart(moment, from, to time.Time) time.Duration {
	switch {
	case moment.Before(from):
		return from.Sub(moment)
	case moment.After(to):
		return moment.Sub(to)
	}
	return 0
}

func checkSchema(c *chart, have, want int64, foreign bool) {
	switch {
	case have < want:
		c.fail("database-schema", "grantor migrate up", "it is at version %d, this program needs %d", have, want)
	case foreign:
		c.fail("database-schema", "run that version of grantor", "it is at version %d, this program knows %d: a newer grantor has used this database", have, want)
	case have > want:
		c.warn("database-schema", "replace this version of grantor by that one", "it is at version %d, this program knows %d: it can run on that while it is replaced", have, want)
	default:
		c.good("database-schema", "it is at version %d, which is this program's", have)
	}
}

// overdue is how long an ended session may stay: an hour on purpose (its id could be
// asked for again), and until the housekeeping comes by, a minute for each 50,000 sessions:
// this is enough for 60 million.
const overdue = 24 * time.Hour

func (p *Patient) checkBacklog(ctx context.Context, c *chart) {
	b, err := p.Store.Backlog(ctx, p.Now().Add(-overdue))
	if err != nil {
		c.warn("housekeeping", "try again", "what is left to delete can not be counted: %v", err)
		return
	}
	if b.Grants > 0 {
		since := "no server ever did it here"
		if !b.Lease.IsZero() {
			since = "the last server that did it held the task until " + b.Lease.UTC().Format(time.RFC3339)
		}
		c.warn("housekeeping", "is a server running on this database, and what does its log say of housekeeping? After a long pause give it a minute for each 50,000 sessions",
			"of %d sessions that were looked at, or of all, %d ended more than a day ago, the first on %s; %s", storage.BacklogSample, b.Grants, b.Oldest.UTC().Format(time.DateOnly), since)
	}
	c.settle("housekeeping")
}

func (p *Patient) checkHashes(ctx context.Context, c *chart) {
	h, err := p.Store.HashFacts(ctx, fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$", p.Config.PasswordMemory, p.Config.PasswordTime, p.Config.PasswordThreads))
	if err != nil {
		c.skip("password-hashes", "they can not be counted: %v", err)
		return
	}
	c.good("password-hashes", "%d as new ones, %d argon2id with other parameters, %d of another kind, %d accounts without; each is made anew when its owner signs in",
		h.Current, h.Other, h.Foreign, h.None)
}
