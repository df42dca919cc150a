package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/ory/fosite"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/users"
)

// Authenticate checks a name and a password: RFC 6749 section 4.3.2; see Store.SignIn. It
// answers fosite.ErrNotFound for every refusal. *users.ThrottledError, users.ErrBusy and
// ErrUnavailable go through the unit.
//
// The address behind a confidential client is its own server's, which all of its users
// share: some of them guessing must not keep out the others. So it does not count.
func (t *Tokens) Authenticate(ctx context.Context, name, password string) (subject string, err error) {
	u, err := UnitFrom(ctx)
	if err != nil {
		return "", err
	}
	a := Attempt{Door: PasswordGrant, Login: name, Password: password, Address: u.Address, Shared: u.Client != nil && !u.Client.IsPublic()}
	u.User, err = t.Store.SignIn(ctx, t.Passwords, a, u.At)
	if errors.Is(err, users.ErrWrongPassword) {
		return "", fmt.Errorf("%w: %w", fosite.ErrNotFound, err)
	}
	if err != nil {
		u.Err = err
	}
	return u.User.ID, err
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
