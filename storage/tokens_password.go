package storage

import (
	"context"
	"errors"

	"github.com/ory/fosite"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/users"
)

// Authenticate checks a name and a password: RFC 6749 section 4.3.2. It reads the
// user in one statement; an unknown or disabled one costs what a wrong password
// costs. It answers fosite.ErrNotFound for every refusal.
func (t *Tokens) Authenticate(ctx context.Context, name, password string) (subject string, err error) {
	u, err := UnitFrom(ctx)
	if err != nil {
		return "", err
	}
	user, err := t.Store.UserByLogin(ctx, name)
	if err != nil && !errors.Is(err, users.ErrNotFound) {
		u.Err = err
		return "", err
	}
	hash := user.PasswordHash
	if !user.DisabledAt.IsZero() {
		hash = ""
	}
	ok, outdated, err := t.Passwords.Verify(ctx, hash, password)
	if errors.Is(err, users.ErrUnknownHash) {
		return "", fosite.ErrNotFound
	}
	if err != nil {
		u.Err = err
		return "", err
	}
	if !ok {
		return "", fosite.ErrNotFound
	}
	if outdated {
		t.upgrade(ctx, user, password)
	}
	u.User = user
	return user.ID, nil
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
	begun, err := t.Store.Begin(ctx, u.Grant)
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
