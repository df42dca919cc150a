package storage

import (
	"context"
	"sync"
	"time"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/users"
)

// batch is how many rows one statement of the housekeeping deletes: small enough
// that no refresh waits for it.
const batch = 500

// expired rows, oldest first. The queries never depend on cleaning: what is past
// its time is dead whether or not its row is still there. Failed sign-ins are counted
// from failed_at, which is never after tried_at, and tried_at has the index.
const (
	deleteGrants = `DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE expires_at <= $1 ORDER BY expires_at LIMIT 500)`
	deleteSignIn = `DELETE FROM browsers WHERE id IN (SELECT id FROM browsers WHERE expires_at <= $1 ORDER BY expires_at LIMIT 500)`
	deleteNotice = `DELETE FROM logout_notices WHERE id IN (SELECT id FROM logout_notices WHERE created_at <= $1 ORDER BY created_at LIMIT 500)`
	deleteTries  = `DELETE FROM throttles WHERE account IN (SELECT account FROM throttles WHERE tried_at <= $1 ORDER BY tried_at LIMIT 500)`
	deleteDenied = `DELETE FROM denied_tokens WHERE jti IN (SELECT jti FROM denied_tokens WHERE expires_at <= $1 ORDER BY expires_at LIMIT 500)`
)

// remembered is how long a grant's row outlasts the grant. Its id comes from the
// authorization request, which may still travel when its code is long over, and the
// primary key is all that keeps one request from being answered with two codes. The
// minute is for clocks that differ.
const remembered = grants.RequestLifetime + time.Minute

// takeLease succeeds for the holder, and for anybody once the lease ran out.
const takeLease = `INSERT INTO leases (name, holder, expires_at) VALUES ('housekeeping', $1, $3)
 ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
 WHERE leases.holder = excluded.holder OR leases.expires_at <= $2`

// Cleaned counts what one round of housekeeping deleted.
type Cleaned struct {
	Sessions, SignIns, DeniedTokens, SigningKeys int64
	LogoutNotices                                int64 // that no client took in time
	Elsewhere                                    bool  // another replica holds the lease
}

// Clean deletes expired sessions, sign-ins, deny-list entries and gone signing keys, in
// small batches, and forgets what comes too late to be told, if this holder has the lease or can take it. The lease lasts for lease.
func (s *Store) Clean(ctx context.Context, holder string, lease time.Duration) (Cleaned, error) {
	var done Cleaned
	now := s.now()
	taken, err := s.exec(ctx, "take lease", takeLease, holder, micros(now), micros(now.Add(lease)))
	if err != nil || taken == 0 {
		return Cleaned{Elsewhere: err == nil}, err
	}
	if done.Sessions, err = s.deleteBatches(ctx, "delete expired sessions", deleteGrants, now.Add(-remembered)); err != nil {
		return done, err
	}
	if done.SignIns, err = s.deleteBatches(ctx, "delete expired sign-ins", deleteSignIn, now); err != nil {
		return done, err
	}
	if done.LogoutNotices, err = s.deleteBatches(ctx, "forget logout notices", deleteNotice, now.Add(-NoticeLifetime)); err != nil {
		return done, err
	}
	// A token may be accepted a little past its end; its entry stays a little longer.
	if done.DeniedTokens, err = s.deleteBatches(ctx, "delete expired deny-list entries", deleteDenied, now.Add(-time.Minute)); err != nil {
		return done, err
	}
	if _, err = s.deleteBatches(ctx, "forget failed sign-ins", deleteTries, now.Add(-users.ForgetAfter)); err != nil {
		return done, err
	}
	done.SigningKeys, err = s.deleteGoneKeys(ctx, now)
	return done, err
}

func (s *Store) deleteBatches(ctx context.Context, doing, query string, now time.Time) (total int64, err error) {
	for ctx.Err() == nil {
		deleted, err := s.exec(ctx, doing, query, micros(now))
		total += deleted
		if err != nil || deleted < batch {
			return total, err
		}
	}
	return total, ctx.Err()
}

// secretUses collects which secrets were used, so that telling it costs no
// statement per request.
type secretUses struct {
	mu   sync.Mutex
	last map[[2]string]time.Time // client id, secret id
}

// SecretUsed notes the use of a client's secret. FlushSecretUses writes it.
func (s *Store) SecretUsed(clientID, secretID string, at time.Time) {
	s.uses.mu.Lock()
	defer s.uses.mu.Unlock()
	if s.uses.last == nil {
		s.uses.last = make(map[[2]string]time.Time)
	}
	s.uses.last[[2]string{clientID, secretID}] = at
}

// FlushSecretUses writes the noted uses. It is a courtesy to administrators: what
// can not be written is noted again at the next use.
func (s *Store) FlushSecretUses(ctx context.Context) error {
	s.uses.mu.Lock()
	uses := s.uses.last
	s.uses.last = nil
	s.uses.mu.Unlock()
	const sql = `UPDATE client_secrets SET last_used_at = $3 WHERE client_id = $1 AND id = $2 AND (last_used_at IS NULL OR last_used_at < $3)`
	for secret, at := range uses {
		if _, err := s.exec(ctx, "note use of client secret", sql, secret[0], secret[1], micros(at)); err != nil {
			return err
		}
	}
	return nil
}

// Ready tells whether this replica can serve: the database answers and has this program's schema.
func (s *Store) Ready(ctx context.Context) error { return s.CheckSchema(ctx) }
