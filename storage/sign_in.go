package storage

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/grantorhq/grantor/users"
)

// Attempt is one try to sign in with a password, at the login page or by the password grant.
type Attempt struct {
	Door     Door // counted; "" = nowhere
	Login    string
	Password string
	Address  string   // of the caller; what is no address is not counted
	Shared   bool     // the address is that of a server for all its users, and is not counted
	Device   string   // names the browser; "" = none
	Known    []string // ids of users who signed in from this device before: proven by its cookie
}

// SignIn checks a name and a password, the same way for every door. It reads the user
// and what failed before in one statement; an unknown or disabled user costs what a
// wrong password costs. It answers users.ErrWrongPassword for every refusal of the
// password, *users.ThrottledError, users.ErrBusy and ErrUnavailable.
func (s *Store) SignIn(ctx context.Context, passwords *users.Passwords, a Attempt, now time.Time) (users.User, error) {
	user, err := s.signIn(ctx, passwords, a, now)
	switch a.Door {
	case LoginPage:
		s.signIns.page.count(err)
	case PasswordGrant:
		s.signIns.grant.count(err)
	}
	return user, err
}

func (s *Store) signIn(ctx context.Context, passwords *users.Passwords, a Attempt, now time.Time) (users.User, error) {
	// Before anything is read: a storm of sign-ins costs the database nothing. Who is throttled hears this first, then.
	if err := passwords.Busy(); err != nil {
		return users.User{}, err
	}
	reader := s.guesses.read()
	defer s.guesses.done(reader)
	in, err := s.readSignIn(ctx, a, now)
	if err != nil {
		return users.User{}, err
	}
	if err := s.admit(ctx, in, now); err != nil {
		return users.User{}, err
	}
	hash := in.user.PasswordHash
	if !in.user.DisabledAt.IsZero() {
		hash = ""
	}
	s.guesses.enter(reader, in.account)
	defer s.guesses.leave(in.account)
	ok, outdated, err := passwords.VerifyIf(ctx, hash, a.Password,
		func() error { return s.guesses.admit(in.account) }, func(ok bool) { s.guesses.told(in.account, ok) })
	if errors.Is(err, users.ErrUnknownHash) {
		s.log.WarnContext(ctx, "password hash is of an unknown kind", "user", in.user.ID)
		err = nil
	}
	if err != nil {
		return users.User{}, err
	}
	if !ok {
		// A failure that can not be counted is no answer: guessing would be free while the database is ill.
		if err := s.countFailure(ctx, in, a.Address, now); err != nil {
			return users.User{}, err
		}
		return users.User{}, &users.WrongPasswordError{UserID: in.user.ID, Disabled: !in.user.DisabledAt.IsZero()}
	}
	if in.account.failures > 0 {
		// A courtesy: were it lost, the next mistake would wait a little longer.
		if err := s.forgetFailures(ctx, in.account.key); err != nil {
			s.log.WarnContext(ctx, "failed sign-ins are not forgotten", "user", in.user.ID, "error", err)
		}
	}
	if outdated {
		s.upgrade(ctx, passwords, in.user, a.Password)
	}
	return in.user, nil
}

// upgrade replaces a foreign or weaker hash while its password is at hand. It is a
// courtesy: when it fails, the next sign-in tries again.
func (s *Store) upgrade(ctx context.Context, passwords *users.Passwords, user users.User, password string) {
	hash, err := passwords.Hash(ctx, password)
	if err == nil {
		err = s.upgradePassword(ctx, user.ID, user.PasswordHash, hash)
	}
	if err != nil {
		s.log.WarnContext(ctx, "password hash stays outdated", "user", user.ID, "error", err)
	}
}

// signIn is what one statement tells before a password is checked.
type signIn struct {
	user    users.User
	account bucket // the account's own, or the known device's for it
	address bucket // without a key: it does not count
}

// bucket is what failed under one key of throttles, lately.
type bucket struct {
	key      string
	failures int64
	tried    time.Time
	delay    time.Duration // that its failures impose
}

// One row always: an unknown name is counted and refused like a known one. Ids are
// no names here: nobody signs in by what tokens show.
const selectSignIn = `SELECT u.id, u.name, u.email, u.password_hash, u.profile, u.created_at, u.updated_at, u.disabled_at,
 t.failures, t.tried_at, d.failures, d.tried_at, a.failures, a.tried_at
 FROM (SELECT 1 AS one) one
 LEFT JOIN users u ON u.id = (SELECT id FROM users WHERE name_key = $1 OR (email_key = $1 AND email_key <> '')
  ORDER BY CASE WHEN name_key = $1 THEN 0 ELSE 1 END LIMIT 1)
 LEFT JOIN throttles t ON t.account = COALESCE(u.id, $2) AND t.failed_at > $3
 LEFT JOIN throttles d ON d.account = u.id || CAST($4 AS text) AND d.failed_at > $3
 LEFT JOIN throttles a ON a.account = $5 AND a.failed_at > $3`

func (s *Store) readSignIn(ctx context.Context, a Attempt, now time.Time) (signIn, error) {
	device := ""
	if a.Device != "" && storable(a.Device) {
		device = "/" + a.Device
	}
	nobody, address := users.NobodysAccount(a.Login), users.AddressAccount(a.Address)
	if a.Shared {
		address = ""
	}
	var id, name, email, hash, profile *string
	var created, updated, disabled *int64
	var failures, tried [3]*int64 // of the account, the device and the address
	if _, err := s.one(ctx, s.read, "read user", selectSignIn,
		[]any{users.NormalizeName(a.Login), nobody, micros(now.Add(-users.ForgetAfter)), device, address},
		&id, &name, &email, &hash, &profile, &created, &updated, &disabled,
		&failures[0], &tried[0], &failures[1], &tried[1], &failures[2], &tried[2]); err != nil {
		return signIn{}, err
	}
	in := signIn{account: newBucket(nobody, failures[0], tried[0], users.Delay), address: newBucket(address, failures[2], tried[2], users.AddressDelay)}
	if id == nil {
		return in, nil
	}
	var err error
	row := userRow{
		ID: *id, Name: *name, Email: *email, PasswordHash: *hash, Profile: *profile,
		CreatedAt: *created, UpdatedAt: *updated, DisabledAt: disabled,
	}
	if in.user, err = row.user(); err != nil {
		return signIn{}, err
	}
	in.account.key = *id
	if device != "" && slices.Contains(a.Known, *id) {
		// Whoever guesses elsewhere must not keep the owner out of where they signed in before.
		in.account, in.address = newBucket(*id+device, failures[1], tried[1], users.Delay), bucket{}
	}
	return in, nil
}

func newBucket(key string, failures, tried *int64, delay func(int64) time.Duration) bucket {
	b := bucket{key: key}
	if failures != nil {
		b.failures, b.tried, b.delay = *failures, fromMicros(*tried), delay(*failures)
	}
	return b
}
