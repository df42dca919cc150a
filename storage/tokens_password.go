package storage

import (
	"context"
	"errors"
	"time"

	"github.com/ory/fosite"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/users"
)

// Authenticate checks a name and a password: RFC 6749 section 4.3.2. It reads the
// user and the account's failures in one statement; an unknown or disabled user
// costs what a wrong password costs. It answers fosite.ErrNotFound for every
// refusal. *users.ThrottledError, users.ErrBusy and ErrUnavailable go through the unit.
func (t *Tokens) Authenticate(ctx context.Context, name, password string) (subject string, err error) {
	u, err := UnitFrom(ctx)
	if err != nil {
		return "", err
	}
	u.User, err = t.authenticate(ctx, name, password, u.At)
	if err != nil && !errors.Is(err, fosite.ErrNotFound) {
		u.Err = err
	}
	return u.User.ID, err
}

func (t *Tokens) authenticate(ctx context.Context, name, password string, now time.Time) (users.User, error) {
	in, err := t.Store.readSignIn(ctx, name, now)
	if err != nil {
		return users.User{}, err
	}
	if err := t.Store.admit(ctx, in, now); err != nil {
		return users.User{}, err
	}
	hash := in.user.PasswordHash
	if !in.user.DisabledAt.IsZero() {
		hash = ""
	}
	ok, outdated, err := t.Passwords.Verify(ctx, hash, password)
	if errors.Is(err, users.ErrUnknownHash) {
		t.Store.log.WarnContext(ctx, "password hash is of an unknown kind", "user", in.user.ID)
		err = nil
	}
	if err != nil {
		return users.User{}, err
	}
	if !ok {
		// A failure that can not be counted is no answer: guessing would be free while the database is ill.
		if err := t.Store.countFailure(ctx, in, now); err != nil {
			return users.User{}, err
		}
		return users.User{}, fosite.ErrNotFound
	}
	if in.failures > 0 {
		// A courtesy: were it lost, the next mistake would wait a little longer.
		if _, err := t.Store.UnlockUser(ctx, in.account); err != nil {
			t.Store.log.WarnContext(ctx, "failed sign-ins are not forgotten", "user", in.account, "error", err)
		}
	}
	if outdated {
		t.upgrade(ctx, in.user, password)
	}
	return in.user, nil
}

// upgrade replaces a foreign or weaker hash while its password is at hand. It is a
// courtesy: when it fails, the next sign-in tries again.
func (t *Tokens) upgrade(ctx context.Context, user users.User, password string) {
	hash, err := t.Passwords.Hash(ctx, password)
	if err == nil {
		err = t.Store.upgradePassword(ctx, user.ID, user.PasswordHash, hash)
	}
	if err != nil {
		t.Store.log.WarnContext(ctx, "password hash stays outdated", "user", user.ID, "error", err)
	}
}

// Start describes the session that a password grant begins. The row is written
// when fosite reports the access token, so that nothing is left behind by a
// request that fails before.
func (t *Tokens) Start(u *Unit, scope, audience []string) error {
	id, err := grants.NewID(t.Rand)
	if err != nil {
		return err
	}
	u.Grant = grants.Grant{
		ID: id, ClientID: u.Client.GetID(), UserID: u.User.ID, Scope: scope, Audience: audience, State: grants.Live, Generation: 1,
		CreatedAt: u.At, RotatedAt: u.At, ExpiresAt: u.At.Add(u.Life), CreatedFrom: u.Address, RotatedFrom: u.Address,
		Details: grants.Details{AuthTime: u.At, AMR: []string{"pwd"}, UserAgent: u.Agent},
	}
	return nil
}

func (t *Tokens) begin(ctx context.Context) error {
	u, err := UnitFrom(ctx)
	if err != nil {
		return err
	}
	if u.Verdict != "" || u.Grant.ID == (grants.ID{}) {
		return nil
	}
	begun, err := t.Store.Begin(ctx, u.Grant, u.User.UpdatedAt)
	if err != nil {
		u.Err = err
		return err
	}
	if !begun {
		u.Verdict = grants.Dead
		return fosite.ErrInvalidGrant
	}
	u.Verdict = grants.Redeemed
	return nil
}
