package storage_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
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

// somePasswords hash in no time, and are worth as much.
func somePasswords(t *testing.T) *users.Passwords {
	t.Helper()
	passwords, err := users.NewPasswords(users.PasswordOptions{Memory: 64, Time: 1, Threads: 1, Concurrent: 2, Queue: 100, Rand: rand.Reader})
	require.NoError(t, err)
	return passwords
}

func newDoor(t *testing.T, e *storagetest.Env) *door {
	t.Helper()
	passwords := somePasswords(t)
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
		require.NoError(t, storagetest.Database(t, e.URL).QueryRowContext(d.ctx, `SELECT count(*) FROM throttles`).Scan(&left))
		require.Zero(t, left)
	})
}

// from signs in by the store's own door, as the login page does.
func (d *door) from(t *testing.T, a storage.Attempt) (in bool, wait time.Duration) {
	t.Helper()
	user, err := d.Store.SignIn(d.ctx, d.tokens.Passwords, a, d.Clock.Now())
	throttled := new(users.ThrottledError)
	switch {
	case err == nil:
		require.Equal(t, "id-alice", user.ID)
		return true, 0
	case errors.As(err, &throttled):
		return false, throttled.Wait
	}
	require.ErrorIs(t, err, users.ErrWrongPassword)
	return false, 0
}

// Whoever guesses can take every turn that the account has. Not the owner's from where
// they signed in before.
func TestThrottle_keeps_no_owner_from_a_known_device(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		d := newDoor(t, e)
		guess := storage.Attempt{Login: "alice", Password: "wrong password", Address: "192.0.2.1"}
		for range 120 {
			d.from(t, guess)
			e.Clock.Advance(users.MaxDelay) // so that each counts, at the account and at the address
		}
		_, wait := d.from(t, guess)
		require.Zero(t, wait)
		_, wait = d.from(t, guess)
		require.Equal(t, users.MaxDelay, wait)

		owner := storage.Attempt{Login: "alice", Password: "right password", Address: "192.0.2.1", Device: "device", Known: []string{"id-bob", "id-alice"}}
		for name, strange := range map[string]func(*storage.Attempt){
			"another device's cookie": func(a *storage.Attempt) { a.Known = []string{"id-bob"} },
			"no cookie":               func(a *storage.Attempt) { a.Device, a.Known = "", nil },
			"no name of the device":   func(a *storage.Attempt) { a.Device = "" },
			"a name that can not be":  func(a *storage.Attempt) { a.Device = "\x00" },
		} {
			a := owner
			strange(&a)
			_, wait := d.from(t, a)
			require.NotZero(t, wait, name)
		}
		in, _ := d.from(t, owner)
		require.True(t, in)
		_, wait = d.from(t, guess)
		require.NotZero(t, wait, "which tells the account nothing")

		// The device has failures of its own, and they are the account's in nothing.
		failures, _, err := e.Store.Throttle(d.ctx, "id-alice")
		require.NoError(t, err)
		mistaken := owner
		mistaken.Password = "mistyped"
		for range users.FreeFailures {
			_, wait := d.from(t, mistaken)
			require.Zero(t, wait)
		}
		_, wait = d.from(t, owner)
		require.Equal(t, users.FirstDelay, wait)
		after, _, err := e.Store.Throttle(d.ctx, "id-alice")
		require.NoError(t, err)
		require.Equal(t, failures, after)
		other := owner
		other.Device = "another known device"
		in, _ = d.from(t, other)
		require.True(t, in)
		e.Clock.Advance(users.FirstDelay)
		in, _ = d.from(t, owner)
		require.True(t, in)
		require.EqualValues(t, 0, number(t, storagetest.Database(t, e.URL), `SELECT count(*) FROM throttles WHERE account LIKE 'id-alice/%'`), "signing in forgets the device's failures")
	})
}

func TestThrottle_addresses(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		d := newDoor(t, e)
		spray := func(i int, address string) (wait time.Duration) {
			_, wait = d.from(t, storage.Attempt{Login: fmt.Sprint("nobody", i), Password: "wrong password", Address: address})
			return wait
		}
		for i := range users.FreeAddressFailures {
			require.Zero(t, spray(i, "2001:db8::"+fmt.Sprint(i)))
		}
		owner := storage.Attempt{Login: "alice", Password: "right password", Address: "2001:db8::ffff"}
		_, wait := d.from(t, owner)
		require.Equal(t, users.FirstDelay, wait, "one household is one address")
		for _, address := range []string{"2001:db8:0:1::1", "192.0.2.1", "", "no address"} {
			owner.Address = address
			in, _ := d.from(t, owner)
			require.True(t, in, address)
		}
		e.Clock.Advance(users.FirstDelay)
		owner.Address = "2001:db8::1"
		in, _ := d.from(t, owner)
		require.True(t, in)
		_, wait = d.from(t, owner)
		require.Equal(t, users.FirstDelay, wait, "signing in does not forget an address: who has an account could at will")

		some, err := e.Store.UnlockAddress(d.ctx, "2001:db8::77")
		require.NoError(t, err)
		require.True(t, some)
		in, _ = d.from(t, owner)
		require.True(t, in)
		for _, address := range []string{"2001:db8::77", "", "nowhere"} {
			some, err = e.Store.UnlockAddress(d.ctx, address)
			require.NoError(t, err)
			require.False(t, some)
		}
	})
}

// Where people keep signing in, an address would never be forgotten if their turns counted as failures.
func TestThrottle_forgets_an_address_where_people_sign_in(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		d := newDoor(t, e)
		const address = "192.0.2.1"
		guess := func(i int) storage.Attempt {
			return storage.Attempt{Login: fmt.Sprint("nobody", i), Password: "wrong password", Address: address}
		}
		for i := range users.FreeAddressFailures + 10 {
			d.from(t, guess(i))
			e.Clock.Advance(users.MaxDelay)
		}
		failed := e.Clock.Now().Add(-users.MaxDelay) // the last time
		owner := storage.Attempt{Login: "alice", Password: "right password", Address: address}
		for e.Clock.Now().Before(failed.Add(users.ForgetAfter)) {
			in, _ := d.from(t, owner)
			require.True(t, in)
			_, wait := d.from(t, owner)
			require.Equal(t, users.MaxDelay, wait, "a turn each minute")
			_, err := e.Store.Clean(d.ctx, "me", time.Minute)
			require.NoError(t, err)
			e.Clock.Advance(users.MaxDelay)
		}
		for range 3 {
			in, wait := d.from(t, owner)
			require.True(t, in, "an hour without a failure, wait %s", wait)
		}
		for i := range users.FreeAddressFailures {
			_, wait := d.from(t, guess(i))
			require.Zero(t, wait, "it counts from the beginning")
		}
		_, wait := d.from(t, owner)
		require.Equal(t, users.FirstDelay, wait)
	})
}

// The address behind a confidential client is the application's own server.
func TestThrottle_counts_no_address_behind_a_confidential_client(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		d := newDoor(t, e)
		ask := func(public bool, login, password string) error {
			unit := &storage.Unit{At: e.Clock.Now(), Address: "192.0.2.1", Client: clients.NewFosite(&clients.Client{ID: "app", Public: public})}
			_, err := d.tokens.Authenticate(storage.WithUnit(d.ctx, unit), login, password)
			return err
		}
		for i := range users.FreeAddressFailures + 50 {
			require.ErrorIs(t, ask(false, fmt.Sprint("nobody", i), "wrong password"), fosite.ErrNotFound)
		}
		for _, public := range []bool{false, true} {
			require.NoError(t, ask(public, "alice", "right password"), "the others are not slowed down")
		}
		for i := range users.FreeFailures {
			require.ErrorIs(t, ask(false, "alice", "wrong password"), fosite.ErrNotFound, "%d", i)
		}
		throttled := new(users.ThrottledError)
		require.ErrorAs(t, ask(false, "alice", "right password"), &throttled, "an account counts everywhere")

		for i := range users.FreeAddressFailures {
			require.ErrorIs(t, ask(true, fmt.Sprint("nobody else", i), "wrong password"), fosite.ErrNotFound)
		}
		require.ErrorAs(t, ask(true, "anybody", "wrong password"), &throttled, "a public client is where its user is")
		require.ErrorIs(t, ask(false, "anybody", "wrong password"), fosite.ErrNotFound)
	})
}

// The account's turn is not lost to an attempt that the address keeps out.
func TestThrottle_takes_the_turn_of_the_address_first(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		d := newDoor(t, e)
		for i := range users.FreeAddressFailures {
			d.from(t, storage.Attempt{Login: fmt.Sprint("nobody", i), Password: "wrong password", Address: "192.0.2.1"})
		}
		d.fail(t, "alice")
		e.Clock.Advance(users.FirstDelay)
		// Another replica takes the address's turn between the reading and the claim.
		e.Tally.Fail(func(sql string) error {
			if strings.HasPrefix(sql, "UPDATE throttles") {
				e.Tally.Fail(nil)
				_, err := storagetest.Database(t, e.URL).ExecContext(d.ctx, `UPDATE throttles SET tried_at = tried_at + 1 WHERE account = '@192.0.2.1'`)
				return err
			}
			return nil
		})
		_, wait := d.from(t, storage.Attempt{Login: "alice", Password: "wrong password", Address: "192.0.2.1"})
		require.Equal(t, users.FirstDelay, wait)
		in, _ := d.from(t, storage.Attempt{Login: "alice", Password: "right password", Address: "192.0.2.2"})
		require.True(t, in)
	})
}

// A replica whose clock is behind must not shorten the wait that another one began.
func TestThrottle_keeps_the_later_time(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		d := newDoor(t, e)
		d.fail(t, "alice")
		e.Clock.Advance(users.FirstDelay)
		now := e.Clock.Now()
		d.try(t, "alice", "wrong password")
		_, wait, err := e.Store.Throttle(d.ctx, "id-alice")
		require.NoError(t, err)
		require.Equal(t, 2*users.FirstDelay, wait)
		_, err = storagetest.Database(t, e.URL).ExecContext(d.ctx, `UPDATE throttles SET failures = 9 WHERE account = 'id-alice'`) // so that the next is free
		require.NoError(t, err)
		e.Clock.Set(now.Add(-time.Minute))
		d.try(t, "alice", "wrong password")
		e.Clock.Set(now)
		_, wait, err = e.Store.Throttle(d.ctx, "id-alice")
		require.NoError(t, err)
		require.Equal(t, users.FirstDelay, wait)
	})
}

func TestUnlockUser_forgets_known_devices_too(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		d := newDoor(t, e)
		db := storagetest.Database(t, e.URL)
		_, err := db.ExecContext(d.ctx, `INSERT INTO throttles (account, failures, tried_at) VALUES
		 ('id-alice', 1, 1), ('id-alice/one', 1, 1), ('id-alice/two', 1, 1), ('id-alice2', 1, 1), ('id-alice2/one', 1, 1), ('Id-alice/one', 1, 1), ('@192.0.2.1', 1, 1)`)
		require.NoError(t, err)
		some, err := e.Store.UnlockUser(d.ctx, "id-alice")
		require.NoError(t, err)
		require.True(t, some)
		require.EqualValues(t, 4, number(t, db, `SELECT count(*) FROM throttles`))
		some, err = e.Store.UnlockUser(d.ctx, "id-alice")
		require.NoError(t, err)
		require.False(t, some)
	})
}

// Many wrong at once are all counted, at the account and at the address, in one statement each.
func TestThrottle_Concurrent_failures_are_all_counted(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		d := newDoor(t, e)
		stores := []*storage.Store{e.Store, e.Open()}
		const guesses = 32
		errs := make([]error, guesses)
		together(guesses, func(i int) {
			login := []string{"alice", "mallory", "eve", "oscar"}[i%4]
			_, errs[i] = stores[i/4%2].SignIn(d.ctx, d.tokens.Passwords, storage.Attempt{Login: login, Password: "wrong password", Address: "192.0.2.1"}, e.Clock.Now())
		})
		for _, err := range errs {
			require.ErrorIs(t, err, users.ErrWrongPassword)
		}
		db := storagetest.Database(t, e.URL)
		require.EqualValues(t, guesses, number(t, db, `SELECT failures FROM throttles WHERE account = '@192.0.2.1'`))
		require.EqualValues(t, guesses/4, number(t, db, `SELECT failures FROM throttles WHERE account = 'id-alice'`))
		require.EqualValues(t, 5, number(t, db, `SELECT count(*) FROM throttles`))
	})
}

// A burst has read the same count before the first of it failed. Those that wait for
// their turn to be hashed hear of it all the same.
func TestThrottle_Concurrent_burst_gets_no_more_free_guesses(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		d := newDoor(t, e)
		const hashers, guesses = 2, 40
		slow, err := users.NewPasswords(users.PasswordOptions{Memory: 8192, Time: 1, Threads: 1, Concurrent: hashers, Queue: guesses, Rand: rand.Reader})
		require.NoError(t, err)
		var looked atomic.Int64
		errs := make([]error, guesses)
		together(guesses, func(i int) {
			_, errs[i] = e.Store.SignIn(d.ctx, slow, storage.Attempt{Login: "alice", Password: "wrong password"}, e.Clock.Now())
			if errors.Is(errs[i], users.ErrWrongPassword) {
				looked.Add(1)
			}
		})
		for _, err := range errs {
			if throttled := new(users.ThrottledError); !errors.As(err, &throttled) {
				require.ErrorIs(t, err, users.ErrWrongPassword)
			}
		}
		// Each hasher may be at one that it began before, and one may come just as another leaves.
		require.LessOrEqual(t, looked.Load(), int64(users.FreeFailures+2*hashers))
	})
}
