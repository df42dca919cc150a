package storage

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/grantorhq/grantor/keys"
)

// What `grantor doctor` wants to know. Everything here only reads, in a
// statement or two, and costs the same however much the database holds.

// Facts is what a database says of itself.
type Facts struct {
	Dialect  string
	Version  string   // as people say it
	Major    int      // PostgreSQL's; 0 for SQLite
	Off      []string // durability settings of PostgreSQL that are off
	ReadOnly bool     // a standby, or a session that may only read
	Journal  string   // SQLite's journal_mode

	Connections int       // that PostgreSQL has for ordinary roles
	Clock       time.Time // PostgreSQL's
}

// Facts asks the database.
func (s *Store) Facts(ctx context.Context) (Facts, error) {
	f := Facts{Dialect: s.dialect}
	if s.dialect == SQLite {
		if _, err := s.one(ctx, s.read, "read facts", `SELECT sqlite_version()`, nil, &f.Version); err != nil {
			return Facts{}, err
		}
		_, err := s.one(ctx, s.read, "read facts", `PRAGMA journal_mode`, nil, &f.Journal)
		return f, err
	}
	const ask = `SELECT current_setting('server_version'), CAST(current_setting('server_version_num') AS integer) / 10000,
 pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
 CAST(current_setting('max_connections') AS integer) - CAST(current_setting('superuser_reserved_connections') AS integer)`
	if _, err := s.one(ctx, s.read, "read facts", ask, nil, &f.Version, &f.Major, &f.ReadOnly, &f.Connections); err != nil {
		return Facts{}, err
	}
	var err error
	f.Off, f.Clock, err = s.durability(ctx)
	return f, err
}

// KeyFact is what is known of a signing key without opening it, and whether it opens.
type KeyFact struct {
	ID, Algorithm string
	Ordinal       int64
	CreatedAt     time.Time
	ActivateAt    time.Time // zero: not planned yet
	Opens         bool      // with the secrets that were given
	Current       bool      // with the first of them
}

// KeyFacts lists the signing keys by algorithm and ordinal. Unlike SigningKeys it never
// makes any, and answers those that can not be opened too. secrets may be nil.
func (s *Store) KeyFacts(ctx context.Context, secrets *keys.Secrets) ([]KeyFact, error) {
	rows, err := s.keyRows(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]KeyFact, len(rows))
	for i, row := range rows {
		list[i] = KeyFact{
			ID: row.ID, Algorithm: row.Algorithm, Ordinal: row.Ordinal,
			CreatedAt: fromMicros(row.CreatedAt), ActivateAt: fromOptional(row.ActivateAt),
		}
		if secrets == nil {
			continue
		}
		_, current, err := openKey(secrets, row)
		list[i].Opens, list[i].Current = err == nil, err == nil && current
	}
	return list, nil
}

// Backlog is what the housekeeping should have deleted.
type Backlog struct {
	Grants int64     // that ended before the moment that was asked for, of those that were looked at
	Oldest time.Time // when the first of them ended
	Lease  time.Time // until when a replica had said that it does the work; zero: none ever did
}

// BacklogSample is how many grants Backlog looks at.
const BacklogSample = 10_000

// Backlog counts grants that ended before a moment, among those with the lowest ids: ids are
// drawn, so they are like all others.
func (s *Store) Backlog(ctx context.Context, before time.Time) (b Backlog, err error) {
	const ask = `SELECT count(*), COALESCE(min(expires_at), 0), COALESCE((SELECT expires_at FROM leases WHERE name = 'housekeeping'), 0)
 FROM (SELECT expires_at FROM grants ORDER BY id LIMIT $2) sample WHERE expires_at <= $1`
	var oldest, lease int64
	if _, err = s.one(ctx, s.read, "count ended sessions", ask, []any{micros(before), BacklogSample}, &b.Grants, &oldest, &lease); err != nil {
		return Backlog{}, err
	}
	if b.Grants > 0 {
		b.Oldest = fromMicros(oldest)
	}
	if lease > 0 {
		b.Lease = fromMicros(lease)
	}
	return b, nil
}

// HashFacts counts accounts by how their password is hashed, of the first 100,000.
type HashFacts struct {
	Current int64 // as new ones are
	Other   int64 // argon2id with other parameters
	Foreign int64 // of another kind
	None    int64
}

// HashFacts counts. prefix is what hashes begin with that are made now.
func (s *Store) HashFacts(ctx context.Context, prefix string) (h HashFacts, err error) {
	const ask = `SELECT kind, count(*) FROM (SELECT CASE
 WHEN password_hash = '' THEN 'none'
 WHEN substr(password_hash, 1, $2) = $1 THEN 'current'
 WHEN substr(password_hash, 1, 10) = '$argon2id$' THEN 'other'
 ELSE 'foreign' END AS kind FROM (SELECT password_hash FROM users LIMIT 100000) first_users) kinds GROUP BY kind`
	type group struct {
		kind  string
		count int64
	}
	list, err := many(ctx, s, s.read, "count password hashes", ask, []any{prefix, len(prefix)}, func(rows *sql.Rows) (g group, err error) {
		err = rows.Scan(&g.kind, &g.count)
		return g, err
	})
	for _, g := range list {
		switch g.kind {
		case "current":
			h.Current = g.count
		case "other":
			h.Other = g.count
		case "foreign":
			h.Foreign = g.count
		default:
			h.None = g.count
		}
	}
	return h, err
}

// Guest is a client or a user that `grantor doctor` made for one run.
type Guest struct {
	ID        string
	Name      string // of a user; "" for a client
	CreatedAt time.Time
}

// Guests lists the clients whose id begins so, and the users whose name does.
func (s *Store) Guests(ctx context.Context, prefix string) ([]Guest, error) {
	const ask = `SELECT id, '' AS name, created_at FROM clients WHERE substr(id, 1, $2) = $1
 UNION ALL SELECT id, name, created_at FROM users WHERE substr(name_key, 1, $2) = $1 ORDER BY 3, 1`
	return many(ctx, s, s.read, "list guests", ask, []any{prefix, len(prefix)}, func(rows *sql.Rows) (g Guest, err error) {
		var created int64
		err = rows.Scan(&g.ID, &g.Name, &created)
		g.CreatedAt = fromMicros(created)
		return g, err
	})
}

// EraseClient deletes what DeleteClient leaves of a client on purpose: its ended
// sessions, and the entries of the deny-list for its access tokens. It is for clients
// whose id is random and is never used again.
func (s *Store) EraseClient(ctx context.Context, id string, jtis ...string) error {
	if _, err := s.exec(ctx, "erase sessions", `DELETE FROM grants WHERE client_id = $1 AND NOT EXISTS (SELECT 1 FROM clients c WHERE c.id = $1)`, id); err != nil {
		return err
	}
	if len(jtis) == 0 {
		return nil
	}
	args := make([]any, len(jtis))
	places := make([]string, len(jtis))
	for i, jti := range jtis {
		args[i], places[i] = jti, fmt.Sprintf("$%d", i+1)
	}
	_, err := s.exec(ctx, "erase denied tokens", `DELETE FROM denied_tokens WHERE jti IN (`+strings.Join(places, ", ")+`)`, args...)
	return err
}
