package storage

import (
	"context"
	"time"
	"unicode/utf8"

	"gorm.io/gorm"

	"github.com/grantorhq/grantor/users"
)

// claimAttempt lets one caller through when a wait is over, on all replicas together:
// the one that changes the row as it was read. It says nothing of failures: who takes the
// turn may sign in.
const claimAttempt = `UPDATE throttles SET tried_at = $4 WHERE account = $1 AND failures = $2 AND tried_at = $3`

// admit refuses an attempt, before anything is hashed, while the account or the address
// has to wait. It answers *users.ThrottledError. What did not fail costs no statement.
// The address comes first: who is kept out by it takes no turn away from the owner.
func (s *Store) admit(ctx context.Context, in signIn, now time.Time) error {
	var wait time.Duration
	for _, b := range []bucket{in.address, in.account} {
		if b.delay > 0 {
			wait = max(wait, b.tried.Add(b.delay).Sub(now))
		}
	}
	if wait > 0 {
		return &users.ThrottledError{Wait: wait}
	}
	for _, b := range []bucket{in.address, in.account} {
		if b.delay == 0 {
			continue
		}
		claimed, err := s.exec(ctx, "claim sign-in attempt", claimAttempt, b.key, b.failures, micros(b.tried), micros(now))
		if err != nil {
			return err
		}
		if claimed == 0 {
			return &users.ThrottledError{Wait: b.delay}
		}
	}
	return nil
}

// countFailure counts in the statement, because many may fail at once. What is old
// enough to be forgotten counts no more. A clock that is behind must not shorten a wait.
// The account always comes before the address, so that two never wait for each other.
const (
	countOne     = `INSERT INTO throttles (account, failures, tried_at, failed_at, failed_from) VALUES ($1, 1, $2, $2, $4)`
	countTwo     = countOne + `, ($5, 1, $2, $2, '')`
	countFailure = ` ON CONFLICT (account) DO UPDATE SET
 tried_at = CASE WHEN excluded.tried_at > throttles.tried_at THEN excluded.tried_at ELSE throttles.tried_at END,
 failed_at = CASE WHEN excluded.failed_at > throttles.failed_at THEN excluded.failed_at ELSE throttles.failed_at END,
 failures = CASE WHEN throttles.failed_at > $3 THEN throttles.failures + 1 ELSE 1 END, failed_from = excluded.failed_from`
)

func (s *Store) countFailure(ctx context.Context, in signIn, from string, now time.Time) error {
	query, args := countOne, []any{in.account.key, micros(now), micros(now.Add(-users.ForgetAfter)), from}
	if in.address.key != "" {
		query, args = countTwo, append(args, in.address.key)
	}
	_, err := s.exec(ctx, "count failed sign-in", query+countFailure, args...)
	return err
}

func (s *Store) forgetFailures(ctx context.Context, key string) error {
	_, err := s.exec(ctx, "forget failed sign-ins", `DELETE FROM throttles WHERE account = $1`, key)
	return err
}

// UnlockUser forgets an account's failed sign-ins, those from its known devices too. It
// reports whether there were any.
func (s *Store) UnlockUser(ctx context.Context, userID string) (bool, error) {
	devices := userID + "/"
	return s.unlock(ctx, "account.unlocked", userID, "", `account = ? OR substr(account, 1, ?) = ?`, userID, utf8.RuneCountInString(devices), devices)
}

// UnlockAddress forgets the failed sign-ins of an address and those that count with it.
// It reports whether there were any.
func (s *Store) UnlockAddress(ctx context.Context, address string) (bool, error) {
	key := users.AddressAccount(address)
	if key == "" {
		return false, nil
	}
	return s.unlock(ctx, "address.unlocked", "", address, `account = ?`, key)
}

// unlock is recorded by itself: forgetting after a success is the same statement.
func (s *Store) unlock(ctx context.Context, event, userID, address, which string, args ...any) (some bool, err error) {
	err = s.transaction(ctx, "forget failed sign-ins", func(tx *gorm.DB) error {
		gone := tx.Exec(`DELETE FROM throttles WHERE `+which, args...)
		if some = gone.RowsAffected > 0; gone.Error != nil || !some {
			return gone.Error
		}
		return s.record(tx, event, userID, address, "")
	})
	return some && err == nil, err
}

// Throttle tells how many sign-ins of an account failed in a row, and how long it waits
// yet: from anywhere but its known devices.
func (s *Store) Throttle(ctx context.Context, userID string) (failures int64, wait time.Duration, err error) {
	now := s.now()
	var tried int64
	found, err := s.one(ctx, s.read, "read failed sign-ins", `SELECT failures, tried_at FROM throttles WHERE account = $1 AND failed_at > $2`,
		[]any{userID, micros(now.Add(-users.ForgetAfter))}, &failures, &tried)
	if err != nil || !found {
		return 0, 0, err
	}
	return failures, max(0, fromMicros(tried).Add(users.Delay(failures)).Sub(now)), nil
}
