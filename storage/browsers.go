package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/users"
)

// Browser is a sign-in: who is signed in at one browser, and since when. Its id is the
// sid of OpenID Connect; its cookie is a MAC over id and generation.
type Browser struct {
	ID         grants.ID
	Generation int64
	UserID     string
	AuthTime   time.Time // of the last password, or whatever it was
	CreatedAt  time.Time
	ExpiresAt  time.Time
	AMR        []string // RFC 8176
	UserAgent  string
	Address    string
}

// BrowserUse is a sign-in as its user sees it.
type BrowserUse struct {
	Browser
	LastUsed time.Time // the last sign-in there, or the last renewal of a session that began there
}

// SignedIn is what a request with the cookie of a sign-in may go by.
type SignedIn struct {
	Browser
	User    users.User
	Consent *Consent // what the user allowed that client before; nil = nothing
}

const insertBrowser = `INSERT INTO browsers (id, generation, user_id, auth_time, amr, created_at, expires_at, user_agent, address)
 SELECT $1, $2, u.id, $4, $5, $6, $7, $8, $9 FROM users u WHERE u.id = $3 AND u.disabled_at IS NULL AND (u.updated_at = $10 OR $10 < 0)`

// BeginBrowser signs a user in at a browser, in one statement. checked is the UpdatedAt
// of the user whose password was checked. It answers false when the account was switched
// off or changed meanwhile, like Begin.
func (s *Store) BeginBrowser(ctx context.Context, b Browser, checked time.Time) (bool, error) {
	changed, err := s.exec(ctx, "begin sign-in", insertBrowser+s.share("u"), idValue(b.ID), b.Generation, b.UserID, micros(b.AuthTime), grants.JoinScope(b.AMR),
		micros(b.CreatedAt), micros(b.ExpiresAt), b.UserAgent, b.Address, micros(checked))
	if errors.Is(err, errDuplicate) {
		return false, fmt.Errorf("begin sign-in %s: %w: its id is taken", b.ID, ErrUnavailable)
	}
	return changed == 1, err
}

// The generation makes the cookie of before worthless: whoever planted or copied it is
// not signed in by the password that was typed now.
const renewBrowser = `UPDATE browsers SET generation = generation + 1, auth_time = $4, amr = $5, expires_at = $6, user_agent = $7, address = $8
 WHERE id = $1 AND generation = $2 AND user_id = $3 AND expires_at > $4
 AND EXISTS (SELECT 1 FROM users u WHERE u.id = browsers.user_id AND u.disabled_at IS NULL AND (u.updated_at = $9 OR $9 < 0)) RETURNING generation`

// RenewBrowser signs the same user in again where they are signed in, in one statement:
// the sign-in keeps its id, so that clients still know it by its sid, and gets a new
// generation, which it answers. ok is false when the sign-in is gone, somebody else's or
// of another generation, and when the account changed: begin a new one.
func (s *Store) RenewBrowser(ctx context.Context, b Browser, checked time.Time) (generation int64, ok bool, err error) {
	ok, err = s.one(ctx, s.write, "renew sign-in", renewBrowser, []any{
		idValue(b.ID), b.Generation, b.UserID, micros(b.AuthTime), grants.JoinScope(b.AMR), micros(b.ExpiresAt), b.UserAgent, b.Address, micros(checked),
	}, &generation)
	return generation, ok, err
}

// browserRow takes what browserColumns names, in that order.
type browserRow struct {
	id                      []byte
	generation              int64
	userID                  string
	authTime, created, ends int64
	amr, userAgent, address string
}

const browserColumns = `b.id, b.generation, b.user_id, b.auth_time, b.created_at, b.expires_at, b.amr, b.user_agent, b.address`

func (r *browserRow) dest() []any {
	return []any{&r.id, &r.generation, &r.userID, &r.authTime, &r.created, &r.ends, &r.amr, &r.userAgent, &r.address}
}

func (r *browserRow) browser() (Browser, error) {
	id, err := scanID(r.id)
	return Browser{
		ID: id, Generation: r.generation, UserID: r.userID, AuthTime: fromMicros(r.authTime), CreatedAt: fromMicros(r.created),
		ExpiresAt: fromMicros(r.ends), AMR: grants.SplitScope(r.amr), UserAgent: r.userAgent, Address: r.address,
	}, err
}

const selectSignedIn = `SELECT ` + browserColumns + `,
 u.id, u.name, u.email, u.password_hash, u.profile, u.created_at, u.updated_at, c.scope, c.audience, c.granted_at
 FROM browsers b JOIN users u ON u.id = b.user_id AND u.disabled_at IS NULL
 LEFT JOIN consents c ON c.user_id = b.user_id AND c.client_id = $3
 WHERE b.id = $1 AND b.generation = $2 AND b.expires_at > $4`

// SignedIn reads a sign-in whose cookie proved itself, its user, and what the user
// allowed that client ("": no client), in one statement and never from a cache. found is
// false when it has ended, or the cookie is of an older generation.
func (s *Store) SignedIn(ctx context.Context, id grants.ID, generation int64, clientID string, now time.Time) (in SignedIn, found bool, err error) {
	if !storable(clientID) {
		clientID = ""
	}
	var row browserRow
	var user userRow
	var scope, audience *string
	var granted *int64
	found, err = s.one(ctx, s.read, "read sign-in", selectSignedIn, []any{idValue(id), generation, clientID, micros(now)},
		append(row.dest(), &user.ID, &user.Name, &user.Email, &user.PasswordHash, &user.Profile, &user.CreatedAt, &user.UpdatedAt, &scope, &audience, &granted)...)
	if err != nil || !found {
		return SignedIn{}, false, err
	}
	if in.Browser, err = row.browser(); err != nil {
		return SignedIn{}, false, err
	}
	if in.User, err = user.user(); err != nil {
		return SignedIn{}, false, err
	}
	if granted != nil {
		in.Consent = &Consent{ClientID: clientID, Scope: grants.SplitScope(*scope), Audience: grants.SplitScope(*audience), GrantedAt: fromMicros(*granted)}
	}
	return in, true, nil
}

const selectBrowsers = `SELECT ` + browserColumns + `,
 COALESCE((SELECT MAX(g.rotated_at) FROM grants g WHERE g.user_id = b.user_id AND g.sid = b.id), b.auth_time)
 FROM browsers b WHERE b.user_id = $1 AND b.expires_at > $2 ORDER BY b.auth_time DESC, b.id LIMIT 1000`

// Browsers lists where a user is signed in, the last sign-in first.
func (s *Store) Browsers(ctx context.Context, userID string) ([]BrowserUse, error) {
	return many(ctx, s, s.read, "list sign-ins", selectBrowsers, []any{userID, micros(s.now())}, func(rows *sql.Rows) (use BrowserUse, err error) {
		var row browserRow
		var used int64
		if err := rows.Scan(append(row.dest(), &used)...); err != nil {
			return use, err
		}
		use.Browser, err = row.browser()
		use.LastUsed = fromMicros(max(used, row.authTime))
		return use, err
	})
}

// EndBrowser signs a user out of one browser: the sign-in is gone, the sessions that
// began there end, except those that were allowed to go on offline, and every client
// that had one will be told. found is false when the user has nothing there any more.
func (s *Store) EndBrowser(ctx context.Context, userID string, id grants.ID) (ended int64, found bool, err error) {
	err = s.transaction(ctx, "sign out", func(tx *gorm.DB) error {
		sessions, browsers, err := s.end(tx, ending{
			userID: userID, reason: grants.ReasonSignedOut, at: s.now(),
			browsers: "id = ?", sessions: "sid = ?" + notOffline, args: []any{idValue(id)},
		})
		ended, found = sessions, sessions+browsers > 0
		return err
	})
	return ended, found, err
}

// EndOthers ends all of a user's sign-ins and sessions but one sign-in and what began there.
func (s *Store) EndOthers(ctx context.Context, userID string, keep grants.ID) (ended int64, err error) {
	err = s.transaction(ctx, "sign out elsewhere", func(tx *gorm.DB) error {
		ended, _, err = s.end(tx, others(userID, keep, grants.ReasonUser, s.now()))
		return err
	})
	return ended, err
}

// EndUserSession ends one session for its own user. It answers false, and changes
// nothing, when it is not that user's. Ending it twice is fine.
func (s *Store) EndUserSession(ctx context.Context, userID string, id grants.ID) (own bool, err error) {
	return s.endSession(ctx, userID, id, grants.ReasonUser)
}

func (s *Store) endSession(ctx context.Context, userID string, id grants.ID, why grants.Reason) (own bool, err error) {
	err = s.transaction(ctx, "end session", func(tx *gorm.DB) error {
		ended, _, err := s.end(tx, ending{userID: userID, reason: why, at: s.now(), sessions: "id = ?", args: []any{idValue(id)}})
		if own = ended > 0; err != nil || own {
			return err
		}
		var count int64
		err = tx.Raw(`SELECT count(*) FROM grants WHERE id = ? AND user_id = ?`, idValue(id), userID).Scan(&count).Error
		own = count > 0
		return err
	})
	return own && err == nil, err
}

// The statements of MoveCode. Both rows are locked before anything is changed, in one
// order, as signing out and Begin do it: the browser first, then its sessions.
const (
	lockBrowsers = `SELECT b.id FROM browsers b WHERE b.user_id = ? AND b.expires_at > ? AND b.id IN (?, ?) ORDER BY b.id`
	moveCode     = `UPDATE grants SET sid = ? WHERE id = ? AND user_id = ? AND generation = 0 AND sid = ? AND revoked_at IS NULL`
	deleteUnused = `DELETE FROM browsers WHERE id = ? AND user_id = ? AND NOT EXISTS (SELECT 1 FROM grants g
 WHERE g.user_id = browsers.user_id AND g.sid = browsers.id AND g.state = 'live' AND g.revoked_at IS NULL AND g.expires_at > ?)`
)

// MoveCode hangs a code that nobody redeemed on another sign-in of its user. When a
// sign-in form was sent twice at once, the code belongs to the first sign-in, and the
// browser kept the cookie of the second: signing out there would miss what the code
// becomes. The sign-in that it came from ends when nothing live is left of it: nobody has
// its cookie. MoveCode answers false, and changes nothing, when the code is redeemed,
// ended or elsewhere, or the user is no longer signed in where it should go.
func (s *Store) MoveCode(ctx context.Context, id grants.ID, userID string, from, to grants.ID) (moved bool, err error) {
	if from == to || !storable(userID) {
		return false, nil
	}
	err = s.transaction(ctx, "move code", func(tx *gorm.DB) error {
		moved = false
		now, there := micros(s.now()), false
		err := each(tx, lockBrowsers+s.lock("b"), []any{userID, now, idValue(from), idValue(to)}, func(scan func(...any) error) error {
			var raw []byte
			if err := scan(&raw); err != nil {
				return err
			}
			found, err := scanID(raw)
			there = there || found == to
			return err
		})
		if err != nil || !there {
			return err
		}
		done := tx.Exec(moveCode, idValue(to), idValue(id), userID, idValue(from))
		if done.Error != nil || done.RowsAffected == 0 {
			return done.Error
		}
		moved = true
		return tx.Exec(deleteUnused, idValue(from), userID, now).Error
	})
	return moved && err == nil, err
}
