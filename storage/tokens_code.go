package storage

import (
	"context"
	"errors"
	"net/url"

	"github.com/ory/fosite"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/users"
)

// redeem is the compare-and-set of a code: exactly one caller moves a grant from
// generation 0 to 1, on any number of replicas. Client, redirect URI and verifier are
// part of it, so that a wrong one changes nothing and is no step on the way to a
// right one. The user comes along: an ID token needs no second statement.
const redeem = `UPDATE grants SET generation = 1, rotated_at = $2, rotated_from = $6, expires_at = created_at + $7
 WHERE id = $1 AND generation = 0 AND client_id = $3 AND (redirect_uri = '' OR redirect_uri = $4) AND code_challenge = $5 AND ` + live + `
 RETURNING ` + returning + `,
 (SELECT u.name FROM users u WHERE u.id = grants.user_id), (SELECT u.email FROM users u WHERE u.id = grants.user_id),
 (SELECT u.updated_at FROM users u WHERE u.id = grants.user_id), (SELECT u.profile FROM users u WHERE u.id = grants.user_id)`

// replay runs only when redeem changed no row. It ends the grant when somebody who
// holds code, client and verifier shows the code again after the retry window: RFC
// 6749 section 4.1.2. Without the verifier a leaked used code would be a kill switch. Of a
// session that was renewed it is held against the challenge's grants.Clue.
const replay = `UPDATE grants SET revoked_at = $2, revoked_reason = 'code_replay', revoked_from = $7
 WHERE id = $1 AND generation > 0 AND client_id = $3
 AND (code_challenge = $5 AND (redirect_uri = '' OR redirect_uri = $4) OR generation > 1 AND code_challenge = $8)
 AND rotated_at <= $6 AND ` + live + ` RETURNING ` + returning

// GetAuthorizeCodeSession redeems. The unit holds the code, whose MAC was checked
// before. fosite asks twice for each request: the second answer is from memory.
func (t *Tokens) GetAuthorizeCodeSession(ctx context.Context, _ string, session fosite.Session) (fosite.Requester, error) {
	u, err := UnitFrom(ctx)
	if err != nil {
		return nil, err
	}
	if u.Verdict == "" {
		u.Grant, u.User, u.Verdict, err = t.Store.Redeem(ctx, u.ID, grants.Redemption{
			ClientID: u.Client.GetID(), RedirectURI: u.RedirectURI, Challenge: u.Challenge, Life: u.Life,
		}, u.Limits.At(u.At), u.Address)
		if err != nil {
			u.Err = err
			return nil, err
		}
		t.Store.codes.count(u.Verdict)
	}
	if u.Verdict != grants.Redeemed {
		return nil, fosite.ErrNotFound
	}
	// What a token request may ask for besides is not the code's: RFC 6749 section 4.1.3.
	return &fosite.Request{
		ID: u.Grant.ID.String(), RequestedAt: u.Grant.CreatedAt, Client: u.Client, Session: session,
		RequestedScope: u.Grant.Scope, GrantedScope: within(u.Grant.Scope, u.Client.Client.Scope),
		Form: url.Values{"redirect_uri": {u.RedirectURI}}, // compared by the statement; fosite compares once more
	}, nil
}

// CreateAuthorizeCodeSession is never called: the authorization endpoint calls Store.Begin.
func (*Tokens) CreateAuthorizeCodeSession(context.Context, string, fosite.Requester) error {
	return errors.New("codes are begun by the authorization endpoint")
}

// InvalidateAuthorizeCodeSession does nothing: GetAuthorizeCodeSession has redeemed.
func (*Tokens) InvalidateAuthorizeCodeSession(context.Context, string) error { return nil }

// Redeem shows a code to its grant: grants.Grant.Redeem as SQL. One statement when the
// code is honoured; a second one to tell a late replay. Whatever else is refused is
// Dead, without a grant: who can not redeem learns nothing. from is where it came from.
func (s *Store) Redeem(ctx context.Context, id grants.ID, r grants.Redemption, b grants.Bounds, from string) (grants.Grant, users.User, grants.Verdict, error) {
	// What the databases would not take is in none of their rows.
	if !storable(r.Challenge) {
		return grants.Grant{}, users.User{}, grants.Dead, nil
	}
	if !storable(r.RedirectURI) {
		r.RedirectURI = ""
	}
	var row grantRow
	var user userRow
	found, err := s.grouped(ctx, "redeem code", id[:], redeem,
		[]any{id[:], micros(b.Now), r.ClientID, r.RedirectURI, r.Challenge, from, r.Life.Microseconds()},
		append(row.dest(), &user.Name, &user.Email, &user.UpdatedAt, &user.Profile)...)
	if err != nil {
		return grants.Grant{}, users.User{}, "", err
	}
	if found {
		g, err := row.grant()
		if err != nil {
			return grants.Grant{}, users.User{}, "", err
		}
		claims, err := decodeProfile(g.UserID, user.Profile)
		return g, users.User{ID: g.UserID, Name: user.Name, Email: user.Email, Profile: claims, UpdatedAt: fromMicros(user.UpdatedAt)}, grants.Redeemed, err
	}
	found, err = s.one(ctx, s.write, "judge code", replay,
		[]any{idValue(id), micros(b.Now), r.ClientID, r.RedirectURI, r.Challenge, micros(b.RetrySince), from, grants.Clue(r.Challenge)}, row.dest()...)
	if err != nil {
		return grants.Grant{}, users.User{}, "", err
	}
	if !found {
		return grants.Grant{}, users.User{}, grants.Dead, nil
	}
	g, err := row.grant()
	return g, users.User{}, grants.Replayed, err
}
