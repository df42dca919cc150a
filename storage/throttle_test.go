package storage_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
	"github.com/grantorhq/grantor/users"
)

// door is what tries passwords: the store behind the password grant.
type door struct {
	*storagetest.Env
	ctx    context.Context
	tokens *storage.Tokens
}

func newDoor(t *testing.T, e *storagetest.Env) *door {
	t.Helper()
	passwords, err := users.NewPasswords(users.PasswordOptions{Memory: 64, Time: 1, Threads: 1, Concurrent: 2, Queue: 100, Rand: rand.Reader})
	require.NoError(t, err)
	hash, err := passwords.Hash(t.Context(), "right password")
	require.NoError(t, err)
	require.NoError(t, e.Store.CreateUser(t.Context(), users.User{ID: "id-alice", Name: "Alice", Email: "alice@app.test", PasswordHash: hash}))
	return &door{Env: e, ctx: deadline(t), tokens: &storage.Tokens{Store: e.Store, Passwords: passwords, Rand: rand.Reader}}
}

// try signs in now. It reports the wait when the attempt was not looked at.
func (d *door) try(t *testing.T, login, password string) (in bool, wait time.Duration) {
	t.Helper()
	unit := &storage.Unit{At: d.Clock.Now()}
	_, err := d.tokens.Authenticate(storage.WithUnit(d.ctx, unit), login, password)
	throttled := new(users.ThrottledError)
	switch {
	case err == nil:
		return true, 0
	case errors.As(unit.Err, &throttled):
		return false, throttled.Wait
	default:
		require.NoError(t, unit.Err)
		require.ErrorIs(t, err, fosite.ErrNotFound)
		return false, 0
	}
}

func (d *door) fail(t *testing.T, logins ...string) {
	t.Helper()
	for i := range users.FreeFailures {
		in, wait := d.try(t, logins[i%len(logins)], "wrong password")
		require.False(t, in)
		require.Zero(t, wait, "failure %d is free", i+1)
	}
}

func TestThrottle_X07_every_spelling_is_one_account(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		d := newDoor(t, e)
		d.fail(t, "ALICE", " alice", "Alice@App.Test")

		in, wait := d.try(t, "alice", "right password")
		require.False(t, in, "the right password waits as well")
		require.Equal(t, users.FirstDelay, wait)

		// What is refused unseen does not count: nobody is kept out for longer by trying more.
		for range 50 {
			d.try(t, "alice", "wrong password")
		}
		e.Clock.Advance(users.FirstDelay)
		in, _ = d.try(t, "alice", "wrong password")
		require.False(t, in)
		_, wait = d.try(t, "alice", "right password")
		require.Equal(t, 2*users.FirstDelay, wait, "the eleventh failure doubles the wait")

		// L-15: another process knows as much.
		failures, _, err := e.Open().Throttle(d.ctx, "id-alice")
		require.NoError(t, err)
		require.EqualValues(t, users.FreeFailures+1, failures)

		e.Clock.Advance(2 * users.FirstDelay)
		in, _ = d.try(t, "alice", "right password")
		require.True(t, in, "nothing locks an account for ever")
		failures, _, err = e.Store.Throttle(d.ctx, "id-alice")
		require.NoError(t, err)
		require.Zero(t, failures, "signing in forgets the failures")
	})
}

func TestThrottle_treats_nobody_like_somebody(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		d := newDoor(t, e)
		d.fail(t, "mallory", "MALLORY ")
		_, wait := d.try(t, "mallory", "wrong password")
		require.Equal(t, users.FirstDelay, wait)
		in, _ := d.try(t, "alice", "right password")
		require.True(t, in, "other accounts are not concerned")
		in, _ = d.try(t, "id-alice", "right password")
		require.False(t, in, "what tokens show is no name to sign in with")
	})
}

func TestThrottle_Concurrent_lets_one_through_after_a_wait(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		d := newDoor(t, e)
		d.fail(t, "alice")
		e.Clock.Advance(users.FirstDelay)
		other := *d
		other.tokens = &storage.Tokens{Store: e.Open(), Passwords: d.tokens.Passwords, Rand: rand.Reader}

		var group sync.WaitGroup
		var mu sync.Mutex
		looked := 0
		for i := range 16 {
			replica := []*door{d, &other}[i%2]
			group.Go(func() {
				unit := &storage.Unit{At: e.Clock.Now()}
				_, err := replica.tokens.Authenticate(storage.WithUnit(d.ctx, unit), "alice", "wrong password")
				if errors.Is(err, fosite.ErrNotFound) {
					mu.Lock()
					looked++
					mu.Unlock()
				}
			})
		}
		group.Wait()
		require.Equal(t, 1, looked)
	})
}

func TestThrottle_costs_nothing_until_somebody_fails(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		d := newDoor(t, e)
		e.Tally.Reset()
		in, _ := d.try(t, "alice", "right password")
		require.True(t, in)
		require.Equal(t, 1, e.Tally.Count(), e.Tally.Statements())
	})
}

func TestThrottle_answers_nothing_that_it_could_not_count(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		d := newDoor(t, e)
		e.Tally.Fail(func(sql string) error {
			if strings.HasPrefix(sql, "INSERT INTO throttles") {
				return errors.New("injected")
			}
			return nil
		})
		unit := &storage.Unit{At: e.Clock.Now()}
		_, err := d.tokens.Authenticate(storage.WithUnit(d.ctx, unit), "alice", "wrong password")
		require.ErrorIs(t, err, storage.ErrUnavailable)
		require.ErrorIs(t, unit.Err, storage.ErrUnavailable)
	})
}

func TestThrottle_is_forgotten_and_cleaned(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		d := newDoor(t, e)
		d.fail(t, "alice")
		e.Clock.Advance(users.ForgetAfter)
		in, wait := d.try(t, "alice", "wrong password")
		require.False(t, in)
		require.Zero(t, wait, "an hour later it begins again")
		failures, _, err := e.Store.Throttle(d.ctx, "id-alice")
		require.NoError(t, err)
		require.EqualValues(t, 1, failures)

		some, err := e.Store.UnlockUser(d.ctx, "id-alice")
		require.NoError(t, err)
		require.True(t, some)

		d.try(t, "mallory", "wrong password")
		e.Clock.Advance(users.ForgetAfter)
		_, err = e.Store.Clean(d.ctx, "me", time.Minute)
		require.NoError(t, err)
		var left int
		require.NoError(t, database(t, e).QueryRowContext(d.ctx, `SELECT count(*) FROM throttles`).Scan(&left))
		require.Zero(t, left)
	})
}
