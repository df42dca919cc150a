package storage

import (
	"context"
	"database/sql"
	"time"

	"github.com/grantorhq/grantor/grants"
)

// LogoutNotice is a client that is still to be told that a sign-in, or its session of
// it, has ended: OpenID Connect Back-Channel Logout 1.0. It is filed in the transaction
// that ends it, so that it is told if and only if that happened.
type LogoutNotice struct {
	ID        grants.ID
	ClientID  string
	UserID    string
	BrowserID grants.ID
	Attempts  int // this one included
	CreatedAt time.Time
}

// NoticeLifetime is how long a client that can not be reached is remembered.
const NoticeLifetime = 24 * time.Hour

// A second notice takes the place of one that was not told yet. It has a new id: a
// replica that is just telling the first one must not delete the second.
const insertNotices = `INSERT INTO logout_notices (id, client_id, user_id, sid, attempts, created_at, due_at) VALUES %s
 ON CONFLICT (client_id, user_id, sid) DO UPDATE SET id = excluded.id, attempts = 0, created_at = excluded.created_at, due_at = excluded.due_at`

// due_at is asked for twice: of two replicas that choose the same rows, the second finds
// the first one's due_at when it comes to write.
const claimNotices = `UPDATE logout_notices SET due_at = $2, attempts = attempts + 1
 WHERE due_at <= $1 AND id IN (SELECT id FROM logout_notices WHERE due_at <= $1 ORDER BY due_at LIMIT $3)
 RETURNING id, client_id, user_id, sid, attempts, created_at`

// ClaimLogoutNotices takes some that are due, for as long as lease lasts. No two callers
// have the same at once; who fails leaves them to the next after the lease.
func (s *Store) ClaimLogoutNotices(ctx context.Context, most int, lease time.Duration) ([]LogoutNotice, error) {
	now := s.now()
	return many(ctx, s, s.write, "claim logout notices", claimNotices, []any{micros(now), micros(now.Add(lease)), most}, func(rows *sql.Rows) (n LogoutNotice, err error) {
		var id, browser []byte
		var created int64
		if err := rows.Scan(&id, &n.ClientID, &n.UserID, &browser, &n.Attempts, &created); err != nil {
			return n, err
		}
		n.CreatedAt = fromMicros(created)
		if n.ID, err = scanID(id); err != nil {
			return n, err
		}
		n.BrowserID, err = scanID(browser)
		return n, err
	})
}

// DeleteLogoutNotice forgets one whose client was told, or never will be. Twice is fine.
func (s *Store) DeleteLogoutNotice(ctx context.Context, id grants.ID) error {
	_, err := s.exec(ctx, "delete logout notice", `DELETE FROM logout_notices WHERE id = $1`, idValue(id))
	return err
}

// The notice itself is leased for longer than the first waits are, so that its time is
// set; those of the other ones only ever go up: a longer wait, or a lease, stays.
const putOffNotices = `UPDATE logout_notices SET due_at = $3 WHERE client_id = $2 AND (id = $1 OR due_at < $3)`

// RetryLogoutNotices says when to try next, after a notice that was not told: not before,
// for all that its client is still to be told. A client that is down thus costs one batch
// and then a wait, however many notices it has, and keeps none from the others.
func (s *Store) RetryLogoutNotices(ctx context.Context, failed LogoutNotice, due time.Time) error {
	_, err := s.exec(ctx, "put off logout notices", putOffNotices, idValue(failed.ID), failed.ClientID, micros(due))
	return err
}
