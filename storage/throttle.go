package storage

import (
	"context"
	"time"

	"github.com/grantorhq/grantor/users"
)

// signIn is what one statement tells before a password is checked.
type signIn struct {
	account  string // what failures are counted under
	user     users.User
	failures int64 // in a row, lately
	tried    time.Time
}

// One row always: an unknown name is counted and refused like a known one. Ids are
// no names here: nobody signs in by what tokens show.
const selectSignIn = `SELECT u.id, u.name, u.email, u.password_hash, u.profile, u.created_at, u.updated_at, u.disabled_at, t.failures, t.tried_at
 FROM (SELECT 1 AS one) one
 LEFT JOIN users u ON u.id = (SELECT id FROM users WHERE name_key = $1 OR (email_key = $1 AND email_key <> '')
  ORDER BY CASE WHEN name_key = $1 THEN 0 ELSE 1 END LIMIT 1)
 LEFT JOIN throttles t ON t.account = COALESCE(u.id, $2) AND t.tried_at > $3`

func (s *Store) readSignIn(ctx context.Context, login string, now time.Time) (signIn, error) {
	nobody := users.NobodysAccount(login)
	var id, name, email, hash, profile *string
	var created, updated, disabled, failures, tried *int64
	if _, err := s.one(ctx, s.read, "read user", selectSignIn, []any{users.NormalizeName(login), nobody, micros(now.Add(-users.ForgetAfter))},
		&id, &name, &email, &hash, &profile, &created, &updated, &disabled, &failures, &tried); err != nil {
		return signIn{}, err
	}
	in := signIn{account: nobody}
	if id != nil {
		row := userRow{
			ID: *id, Name: *name, Email: *email, PasswordHash: *hash, Profile: *profile,
			CreatedAt: *created, UpdatedAt: *updated, DisabledAt: disabled,
		}
		user, err := row.user()
		if err != nil {
			return signIn{}, err
		}
		in.account, in.user = *id, user
	}
	if failures != nil {
		in.failures, in.tried = *failures, fromMicros(*tried)
	}
	return in, nil
}

// claimAttempt lets one caller through when a wait is over, on all replicas together:
// the one that changes the row as it was read.
const claimAttempt = `UPDATE throttles SET tried_at = $4 WHERE account = $1 AND failures = $2 AND tried_at = $3`

// admit refuses an attempt, before anything is hashed, while the account has to wait.
// It answers *users.ThrottledError. An account without failures costs no statement.
func (s *Store) admit(ctx context.Context, in signIn, now time.Time) error {
	delay := users.Delay(in.failures)
	if delay == 0 {
		return nil
	}
	if wait := in.tried.Add(delay).Sub(now); wait > 0 {
		return &users.ThrottledError{Wait: wait}
	}
	claimed, err := s.exec(ctx, "claim sign-in attempt", claimAttempt, in.account, in.failures, micros(in.tried), micros(now))
	if err == nil && claimed == 0 {
		return &users.ThrottledError{Wait: delay}
	}
	return err
}

// countFailure counts in the statement, because many may fail at once. What is old
// enough to be forgotten counts no more.
const countFailure = `INSERT INTO throttles (account, failures, tried_at) VALUES ($1, 1, $2)
 ON CONFLICT (account) DO UPDATE SET tried_at = excluded.tried_at,
 failures = CASE WHEN throttles.tried_at > $3 THEN throttles.failures + 1 ELSE 1 END`

func (s *Store) countFailure(ctx context.Context, in signIn, now time.Time) error {
	_, err := s.exec(ctx, "count failed sign-in", countFailure, in.account, micros(now), micros(now.Add(-users.ForgetAfter)))
	return err
}

// UnlockUser forgets an account's failed sign-ins. It reports whether there were any.
func (s *Store) UnlockUser(ctx context.Context, userID string) (bool, error) {
	changed, err := s.exec(ctx, "forget failed sign-ins", `DELETE FROM throttles WHERE account = $1`, userID)
	return changed > 0, err
}

// Throttle tells how many sign-ins of an account failed in a row, and how long it waits yet.
func (s *Store) Throttle(ctx context.Context, userID string) (failures int64, wait time.Duration, err error) {
	now := s.now()
	var tried int64
	found, err := s.one(ctx, s.read, "read failed sign-ins", `SELECT failures, tried_at FROM throttles WHERE account = $1 AND tried_at > $2`,
		[]any{userID, micros(now.Add(-users.ForgetAfter))}, &failures, &tried)
	if err != nil || !found {
		return 0, 0, err
	}
	return failures, max(0, fromMicros(tried).Add(users.Delay(failures)).Sub(now)), nil
}
