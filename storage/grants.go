package storage

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/users"
)

// idValue is a grant id as the databases keep it. gorm and the drivers would take
// a bare array or slice apart.
type idValue grants.ID

// Value implements driver.Valuer.
func (id idValue) Value() (driver.Value, error) { return id[:], nil }

// scanID reads an id; NULL is the zero one.
func scanID(raw []byte) (id grants.ID, err error) {
	switch len(raw) {
	case 0:
		return grants.ID{}, nil
	case len(id):
		return grants.ID(raw), nil
	}
	return grants.ID{}, fmt.Errorf("%w: an id of %d bytes", ErrUnavailable, len(raw))
}

// live is the condition under which anything of a grant works. The client's and the
// user's own state are part of it, so that switching either off counts in the next
// statement on every replica. It wants the instant as $2.
const live = `state = 'live' AND revoked_at IS NULL AND expires_at > $2
 AND EXISTS (SELECT 1 FROM clients c WHERE c.id = grants.client_id AND c.disabled_at IS NULL)
 AND EXISTS (SELECT 1 FROM users u WHERE u.id = grants.user_id AND u.disabled_at IS NULL)`

// grantRow takes what `returning` names, in that order.
type grantRow struct {
	id, browser             []byte
	clientID, userID        string
	scope, audience, state  string
	generation              int64
	created, rotated, ends  int64
	revoked                 *int64
	reason                  *string
	createdFrom, rotateFrom string
	thumbprint, details     string
}

const returning = `id, client_id, user_id, scope, audience, state, generation, created_at, rotated_at, expires_at, revoked_at, revoked_reason,
 created_from, rotated_from, dpop_jkt, sid, details`

func (r *grantRow) dest() []any {
	return []any{
		&r.id, &r.clientID, &r.userID, &r.scope, &r.audience, &r.state, &r.generation, &r.created, &r.rotated, &r.ends, &r.revoked, &r.reason,
		&r.createdFrom, &r.rotateFrom, &r.thumbprint, &r.browser, &r.details,
	}
}

func (r *grantRow) grant() (grants.Grant, error) {
	g := grants.Grant{
		ClientID: r.clientID, UserID: r.userID, Scope: grants.SplitScope(r.scope), Audience: grants.SplitScope(r.audience),
		State: grants.State(r.state), Generation: r.generation, CreatedAt: fromMicros(r.created), RotatedAt: fromMicros(r.rotated),
		ExpiresAt: fromMicros(r.ends), RevokedAt: fromOptional(r.revoked), CreatedFrom: r.createdFrom, RotatedFrom: r.rotateFrom, Thumbprint: r.thumbprint,
	}
	if r.reason != nil {
		g.Reason = grants.Reason(*r.reason)
	}
	var err error
	if g.ID, err = scanID(r.id); err != nil {
		return g, err
	}
	if g.BrowserID, err = scanID(r.browser); err != nil {
		return g, err
	}
	g.Details, err = decodeDetails(g, r.details)
	return g, err
}

func encodeDetails(g grants.Grant) (string, error) {
	d := g.Details
	d.Version = grants.DetailsVersion
	// Who signs in by password does so when the session begins: the row says it already.
	if len(d.AMR) > 0 && micros(d.AuthTime) == micros(g.CreatedAt) {
		d.AuthTime = time.Time{}
	}
	d.AuthTime = d.AuthTime.Truncate(time.Second) // an ID token says no more of it
	text, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("encode details: %w", err)
	}
	return string(text), nil
}

func decodeDetails(g grants.Grant, text string) (d grants.Details, err error) {
	if err := json.Unmarshal([]byte(text), &d); err != nil || d.Version > grants.DetailsVersion {
		return d, fmt.Errorf("%w: details of session %s can not be read (layout %d)", ErrUnavailable, g.ID, d.Version)
	}
	if len(d.AMR) > 0 && d.AuthTime.IsZero() {
		d.AuthTime = g.CreatedAt
	}
	return d, nil
}

// ErrGrantExists: a grant with that id was begun before. Ids are drawn when an
// authorization request arrives, so this is one request that was answered twice.
var ErrGrantExists = errors.New("session has begun already")

// The grant begins only while its client and its user may still have one, while the
// account is as it was when its password was checked, and while its user is still
// signed in at the browser that it begins from.
const (
	insertGrant = `INSERT INTO grants (id, client_id, user_id, scope, audience, state, generation, redirect_uri, code_challenge, dpop_jkt,
 created_at, rotated_at, expires_at, created_from, rotated_from, details, sid)
 SELECT $1, c.id, u.id, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12, $13, $13, $14, `
	fromPassword = `NULL FROM clients c, users u`
	fromBrowser  = `b.id FROM clients c, users u, browsers b`
	mayBegin     = ` WHERE c.id = $2 AND c.disabled_at IS NULL AND u.id = $3 AND u.disabled_at IS NULL AND (u.updated_at = $15 OR $15 < 0)`
	isSignedIn   = ` AND b.id = $16 AND b.user_id = u.id AND b.expires_at > $11`
)

// Begin stores a new grant, in one statement. checked is the UpdatedAt of the user
// whose password was checked, or zero when none was. Begin answers false when the
// client or user was switched off meanwhile, the password replaced, or the browser
// signed out: hashing, and people, take long enough for a session of the old password
// to slip in after SetPassword ended all. It answers ErrGrantExists when the id is taken.
//
// What ends sessions changes the user's or the browser's row first, so that those two
// are locked here: an insert that is under way either sees the change, or is seen by
// the statement that ends. The client's needs none: its state is asked for wherever
// a grant works, and CreateClient ends what it finds.
func (s *Store) Begin(ctx context.Context, g grants.Grant, checked time.Time) (bool, error) {
	details, err := encodeDetails(g)
	if err != nil {
		return false, err
	}
	query, args := insertGrant+fromPassword+mayBegin+s.share("u"), []any{
		idValue(g.ID), g.ClientID, g.UserID, grants.JoinScope(g.Scope), grants.JoinScope(g.Audience),
		string(g.State), g.Generation, g.RedirectURI, g.CodeChallenge, g.Thumbprint, micros(g.CreatedAt), micros(g.ExpiresAt), g.CreatedFrom, details, micros(checked),
	}
	if g.BrowserID != (grants.ID{}) {
		query, args = insertGrant+fromBrowser+mayBegin+isSignedIn+s.share("u, b"), append(args, idValue(g.BrowserID))
	}
	changed, err := s.exec(ctx, "begin session", query, args...)
	if errors.Is(err, errDuplicate) {
		return false, fmt.Errorf("begin session %s: %w", g.ID, ErrGrantExists)
	}
	return changed == 1, err
}

// AccessRecord is what a database knows about a token that proved itself by its signature.
type AccessRecord struct {
	Denied      bool // this one access token was revoked
	ClientAlive bool
	Grant       *grants.Grant // nil: dead, or the token has none; without its Details
	UserName    string
	UserEmail   string
	UserUpdated time.Time

	profile, details string
}

// Details are the grant's. Like Profile they are read from their JSON here, because most
// who ask about a token want neither.
func (a AccessRecord) Details() (grants.Details, error) {
	if a.Grant == nil {
		return grants.Details{}, nil
	}
	return decodeDetails(*a.Grant, a.details)
}

// Profile is what the user's row says.
func (a AccessRecord) Profile() (users.Profile, error) {
	if a.Grant == nil {
		return users.Profile{}, nil
	}
	return decodeProfile(a.Grant.UserID, a.profile)
}

// One row always, so that "no row" is never an answer.
const selectAccess = `SELECT EXISTS (SELECT 1 FROM denied_tokens d WHERE d.jti = $3),
 EXISTS (SELECT 1 FROM clients c WHERE c.id = $4 AND c.disabled_at IS NULL),
 u.name, u.email, u.updated_at, u.profile, g.generation, g.rotated_at, g.created_at, g.expires_at, g.user_id, g.client_id, g.scope, g.audience, g.sid, g.details
 FROM (SELECT 1 AS one) one
 LEFT JOIN (SELECT generation, rotated_at, created_at, expires_at, user_id, client_id, scope, audience, sid, details FROM grants WHERE id = $1 AND ` + live + `) g ON true
 LEFT JOIN users u ON u.id = g.user_id`

// Access reads the state behind a token: its deny-list entry, its client, its
// grant and its user, in one statement and never from a cache.
func (s *Store) Access(ctx context.Context, id grants.ID, clientID, jti string, now time.Time) (AccessRecord, error) {
	var a AccessRecord
	var name, email, claims, user, client, scope, audience, details *string
	var browser []byte
	var updated, generation, rotated, created, ends *int64
	found, err := s.look(ctx, "introspect", id[:], selectAccess, []any{id[:], micros(now), jti, clientID},
		&a.Denied, &a.ClientAlive, &name, &email, &updated, &claims, &generation, &rotated, &created, &ends, &user, &client, &scope, &audience, &browser, &details)
	if err != nil {
		return AccessRecord{}, err
	}
	if !found {
		return AccessRecord{}, fmt.Errorf("%w: introspection answered nothing", ErrUnavailable)
	}
	if generation != nil && name != nil {
		a.UserName, a.UserEmail, a.UserUpdated, a.profile, a.details = *name, *email, fromMicros(*updated), *claims, *details
		a.Grant = &grants.Grant{
			ID: id, ClientID: *client, UserID: *user, Scope: grants.SplitScope(*scope), Audience: grants.SplitScope(*audience), State: grants.Live,
			Generation: *generation, RotatedAt: fromMicros(*rotated), CreatedAt: fromMicros(*created), ExpiresAt: fromMicros(*ends),
		}
		if a.Grant.BrowserID, err = scanID(browser); err != nil {
			return AccessRecord{}, err
		}
	}
	return a, nil
}
