package storage

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/users"
)

// batch is how many rows one statement of the housekeeping deletes: small enough that no
// refresh waits for it. Then it rests twice as long as that took, so that most of the
// database is always left to the requests.
const (
	batch    = 100
	mostRest = 3 * time.Second // a clock may have been set meanwhile
)

// expired rows, oldest first. The queries never depend on cleaning: what is past
// its time is dead whether or not its row is still there. Failed sign-ins are counted
// from failed_at, which is never after tried_at, and tried_at has the index.
const (
	deleteSignIn = `DELETE FROM browsers WHERE id IN (SELECT id FROM browsers WHERE expires_at <= $1 ORDER BY expires_at LIMIT 100)`
	deleteNotice = `DELETE FROM logout_notices WHERE id IN (SELECT id FROM logout_notices WHERE created_at <= $1 ORDER BY created_at LIMIT 100)`
	deleteTries  = `DELETE FROM throttles WHERE account IN (SELECT account FROM throttles WHERE tried_at <= $1 ORDER BY tried_at LIMIT 100)`
	deleteDenied = `DELETE FROM denied_tokens WHERE jti IN (SELECT jti FROM denied_tokens WHERE expires_at <= $1 ORDER BY expires_at LIMIT 100)`
)

// Sessions have no index of when they end: redemption moves that moment, and would be no
// HOT update with one (docs/decisions/0026). Those that are over are found by walking along
// the primary key, a batch after the other. A round goes on where the last one stopped.
const (
	endOfStretch = `SELECT id FROM grants WHERE id > $1 ORDER BY id LIMIT 1 OFFSET 99`
	deleteGrants = `DELETE FROM grants WHERE id > $2 AND id <= $3 AND expires_at <= $1`
	passedAMin   = 50_000 // sessions that live, at most
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
// small batches, and forgets what comes too late to be told, if this holder has the lease or
// can take it. The lease lasts for lease, which is three rounds. Whatever there is for more
// than half of that is left to the next round; so are most sessions where there are many.
func (s *Store) Clean(ctx context.Context, holder string, lease time.Duration) (Cleaned, error) {
	var done Cleaned
	now := s.now()
	taken, err := s.exec(ctx, "take lease", takeLease, holder, micros(now), micros(now.Add(lease)))
	if err != nil || taken == 0 {
		return Cleaned{Elsewhere: err == nil}, err
	}
	// The other half is for the audit log, and for a batch that takes long.
	round := sweep{store: s, until: now.Add(lease / 2)}
	if done.SignIns, err = round.delete(ctx, "delete expired sign-ins", deleteSignIn, now); err != nil {
		return done, err
	}
	if done.LogoutNotices, err = round.delete(ctx, "forget logout notices", deleteNotice, now.Add(-NoticeLifetime)); err != nil {
		return done, err
	}
	// A token may be accepted a little past its end; its entry stays a little longer.
	if done.DeniedTokens, err = round.delete(ctx, "delete expired deny-list entries", deleteDenied, now.Add(-time.Minute)); err != nil {
		return done, err
	}
	if _, err = round.delete(ctx, "forget failed sign-ins", deleteTries, now.Add(-users.ForgetAfter)); err != nil {
		return done, err
	}
	if done.SigningKeys, err = s.deleteGoneKeys(ctx, now); err != nil {
		return done, err
	}
	done.Sessions, err = round.walk(ctx, now.Add(-remembered), int64(passedAMin*(lease/3)/time.Minute))
	return done, err
}

// sweep is one round of housekeeping.
type sweep struct {
	store *Store
	until time.Time
}

func (w sweep) delete(ctx context.Context, doing, query string, expired time.Time) (total int64, err error) {
	for ctx.Err() == nil {
		began := w.store.now()
		deleted, err := w.store.exec(ctx, doing, query, micros(expired))
		total += deleted
		if err != nil || deleted < batch || w.store.now().After(w.until) {
			return total, err
		}
		w.rest(ctx, began)
	}
	return total, ctx.Err()
}

// walk deletes the sessions that ended until it has passed so many that did not, has been
// everywhere, or has no time left.
func (w sweep) walk(ctx context.Context, ended time.Time, most int64) (total int64, err error) {
	s := w.store
	from, ends, err := s.walked()
	if err != nil {
		return 0, err
	}
	for passed := int64(0); ctx.Err() == nil; {
		began := s.now()
		to, last, err := s.endOfStretch(ctx, from)
		if err != nil {
			return total, err
		}
		deleted, err := s.exec(ctx, "delete expired sessions", deleteGrants, micros(ended), idValue(from), idValue(to))
		if err != nil {
			return total, err
		}
		total += deleted
		passed += batch - deleted
		if from = to; last {
			from = grants.ID{}
			ends--
		}
		s.reached.Store(&from)
		if ends == 0 || passed >= most || s.now().After(w.until) {
			return total, nil
		}
		w.rest(ctx, began)
	}
	return total, ctx.Err()
}

// walked is where the last round stopped, and how often one that goes on there comes to the
// end of the table when it has been everywhere. The first round begins anywhere, so that
// servers that never run for long leave out no part of a large table.
func (s *Store) walked() (from grants.ID, ends int, err error) {
	if at := s.reached.Load(); at != nil {
		from = *at
	} else if from, err = grants.NewID(s.rand); err != nil {
		return from, 0, err
	}
	if from == (grants.ID{}) {
		return from, 1, nil
	}
	return from, 2, nil
}

// endOfStretch is the last of the batch of sessions after from; last: there is no other batch.
func (s *Store) endOfStretch(ctx context.Context, from grants.ID) (to grants.ID, last bool, err error) {
	var raw []byte
	found, err := s.one(ctx, s.read, "walk along sessions", endOfStretch, []any{idValue(from)}, &raw)
	if err == nil && !found {
		return grants.ID(bytes.Repeat([]byte{0xff}, len(to))), true, nil // nobody draws that one
	}
	if err == nil {
		to, err = scanID(raw)
	}
	return to, false, err
}

// rest is after what began then.
func (w sweep) rest(ctx context.Context, began time.Time) {
	rest := time.NewTimer(min(2*w.store.now().Sub(began), mostRest))
	select {
	case <-ctx.Done():
		rest.Stop()
	case <-rest.C:
	}
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

// Ready tells whether this replica can serve: the database answers, with a schema that this program can run on.
func (s *Store) Ready(ctx context.Context) error { return s.CheckSchema(ctx) }
