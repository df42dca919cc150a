package storage

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// timelines keep this replica off a primary that a failover has left behind. Such a one
// can be back, can write, and stands in the URL beside its successor: what it says of
// grants is the past, so a client that was served since would lose its session. PostgreSQL
// counts a promotion as a new timeline, and numbers only grow.
//
// A replica knows what it saw. One that starts while two primaries run may meet the wrong
// one first: fencing is the operator's (docs/operations.md).
type timelines struct {
	mu     sync.Mutex
	newest timeline
}

// timeline is one line of descent of one cluster. The zero one is unknown: of a standby, or
// of an engine that only talks like PostgreSQL.
type timeline struct {
	cluster string
	number  int64
}

// errLeftBehind never leaves the package: the next host is tried, or nobody is there.
var errLeftBehind = errors.New("this primary was left behind by a failover")

// guard looks at every connection when it is made, and again before it is used: one that
// was frozen meanwhile may still be open.
func (t *timelines) guard(config *pgxpool.Config) {
	usual := config.ConnConfig.ValidateConnect
	config.ConnConfig.ValidateConnect = func(ctx context.Context, c *pgconn.PgConn) error {
		if usual != nil {
			if err := usual(ctx, c); err != nil {
				return err
			}
		}
		seen, err := timelineOf(ctx, c)
		if err != nil {
			return err
		}
		c.CustomData()[ownTimeline] = seen
		return t.meet(seen)
	}
	config.PrepareConn = func(_ context.Context, c *pgx.Conn) (bool, error) {
		seen, _ := c.PgConn().CustomData()[ownTimeline].(timeline)
		return t.meet(seen) == nil, nil
	}
}

const ownTimeline = "timeline"

// meet answers errLeftBehind for an older timeline of the cluster that was seen last.
func (t *timelines) meet(seen timeline) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case seen == timeline{}:
		return nil
	case seen.cluster == t.newest.cluster && seen.number < t.newest.number:
		return fmt.Errorf("%w: it is on timeline %d, and %d was seen", errLeftBehind, seen.number, t.newest.number)
	}
	t.newest = seen
	return nil
}

// timelineOf asks a new connection. Whoever does not know the question, or may not answer
// it, has no timeline.
func timelineOf(ctx context.Context, c *pgconn.PgConn) (timeline, error) {
	const ask = `SELECT system_identifier::text, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) FROM pg_control_system()`
	results, err := c.Exec(ctx, ask).ReadAll()
	if refusal := new(pgconn.PgError); errors.As(err, &refusal) && refusal.SeverityUnlocalized == "ERROR" {
		return timeline{}, nil
	}
	if err != nil {
		return timeline{}, fmt.Errorf("read timeline: %w", err)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return timeline{}, nil
	}
	row := results[0].Rows[0]
	number, err := strconv.ParseInt(string(row[1]), 16, 64)
	if err != nil {
		return timeline{}, nil //nolint:nilerr // of an engine that names its files otherwise
	}
	return timeline{cluster: string(row[0]), number: number}, nil
}
