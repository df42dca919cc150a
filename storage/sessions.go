package storage

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/grantorhq/grantor/grants"
)

// SessionFilter says which sessions to list. Empty fields do not restrict.
type SessionFilter struct {
	UserID   string
	ClientID string
	Ended    bool // also those that ended, and those of a disabled client
	Limit    int  // 0 = 1000
}

// Session is a grant as an administrator sees it.
type Session struct {
	grants.Grant
	UserName    string // "" when the user is gone
	RevokedFrom string // address of the request that revoked it; "" when none did
	Dead        string // "" while it lives; else why: a grants.Reason, "expired", "user disabled", "client disabled", or a state that is not live
}

const selectSessions = `SELECT ` + returning + `, COALESCE(revoked_from, ''),
 COALESCE((SELECT u.name FROM users u WHERE u.id = grants.user_id), ''),
 EXISTS (SELECT 1 FROM users u WHERE u.id = grants.user_id AND u.disabled_at IS NULL),
 EXISTS (SELECT 1 FROM clients c WHERE c.id = grants.client_id AND c.disabled_at IS NULL)
 FROM grants`

// Sessions lists them, newest first.
func (s *Store) Sessions(ctx context.Context, f SessionFilter) ([]Session, error) {
	now := s.now()
	// A code that nobody redeemed is no session.
	where := []string{"generation > 0"}
	var args []any
	restrict := func(column string, value any) {
		args = append(args, value)
		where = append(where, fmt.Sprintf("%s $%d", column, len(args)))
	}
	if f.UserID != "" {
		restrict("user_id =", f.UserID)
	}
	if f.ClientID != "" {
		restrict("client_id =", f.ClientID)
	}
	if !f.Ended {
		restrict(`state = 'live' AND revoked_at IS NULL
 AND EXISTS (SELECT 1 FROM users u WHERE u.id = grants.user_id AND u.disabled_at IS NULL)
 AND EXISTS (SELECT 1 FROM clients c WHERE c.id = grants.client_id AND c.disabled_at IS NULL) AND expires_at >`, micros(now))
	}
	query := selectSessions + " WHERE " + strings.Join(where, " AND ")
	if f.Limit == 0 {
		f.Limit = 1000
	}
	query += fmt.Sprintf(" ORDER BY created_at DESC, id LIMIT %d", f.Limit)
	return s.sessions(ctx, now, query, args...)
}

// Session reads one, live or ended. It answers grants.ErrNotFound.
func (s *Store) Session(ctx context.Context, id grants.ID) (Session, error) {
	list, err := s.sessions(ctx, s.now(), selectSessions+` WHERE id = $1`, idValue(id))
	if err != nil {
		return Session{}, err
	}
	if len(list) == 0 {
		return Session{}, fmt.Errorf("%w: %s", grants.ErrNotFound, id)
	}
	return list[0], nil
}

// CodeTerms reads what the code of a grant was made for. It answers grants.ErrNotFound.
func (s *Store) CodeTerms(ctx context.Context, id grants.ID) (redirectURI, challenge string, err error) {
	const sql = `SELECT redirect_uri, code_challenge FROM grants WHERE id = $1`
	found, err := s.one(ctx, s.read, "read terms of code", sql, []any{idValue(id)}, &redirectURI, &challenge)
	if err == nil && !found {
		err = fmt.Errorf("%w: %s", grants.ErrNotFound, id)
	}
	return redirectURI, challenge, err
}

func (s *Store) sessions(ctx context.Context, now time.Time, query string, args ...any) ([]Session, error) {
	return many(ctx, s, s.read, "read sessions", query, args, func(rows *sql.Rows) (session Session, err error) {
		var row grantRow
		var user, client bool
		if err := rows.Scan(append(row.dest(), &session.RevokedFrom, &session.UserName, &user, &client)...); err != nil {
			return session, err
		}
		session.Grant, err = row.grant()
		session.Dead = dead(session.Grant, user, client, now)
		return session, err
	})
}

func dead(g grants.Grant, user, client bool, now time.Time) string {
	switch {
	case !g.RevokedAt.IsZero():
		return string(g.Reason)
	case !g.ExpiresAt.After(now):
		return "expired"
	case g.State != grants.Live:
		return string(g.State)
	case !user:
		return "user disabled"
	case !client:
		return "client disabled"
	}
	return ""
}

// RevokeSession ends one, and files the notice for a client that wants to be told. Ending
// it twice is fine, the first reason stays. It answers grants.ErrNotFound.
func (s *Store) RevokeSession(ctx context.Context, id grants.ID, why grants.Reason) error {
	var owner string
	found, err := s.one(ctx, s.read, "find session", `SELECT user_id FROM grants WHERE id = $1`, []any{idValue(id)}, &owner)
	if err == nil && found {
		found, err = s.endSession(ctx, owner, id, why)
	}
	if err == nil && !found {
		return fmt.Errorf("%w: %s", grants.ErrNotFound, id)
	}
	return err
}

// RevokeUserSessions ends all of a user's and signs them out everywhere. It counts the
// sessions.
func (s *Store) RevokeUserSessions(ctx context.Context, userID string, why grants.Reason) (ended int64, err error) {
	err = s.transaction(ctx, "revoke sessions", func(tx *gorm.DB) error {
		ended, _, err = s.end(tx, all(userID, why, s.now()))
		return err
	})
	return ended, err
}
