package storage

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/grantorhq/grantor/grants"
)

// Consent is what a user allowed a client, so that it is not asked again.
type Consent struct {
	ClientID  string
	Scope     []string
	Audience  []string
	GrantedAt time.Time
}

// Only for a client and a user that are there, and stay there meanwhile: what comes later
// with the same id must not inherit it.
const rememberConsent = `INSERT INTO consents (user_id, client_id, scope, audience, granted_at)
 SELECT u.id, c.id, $3, $4, $5 FROM users u, clients c WHERE u.id = $1 AND c.id = $2%s
 ON CONFLICT (user_id, client_id) DO UPDATE SET scope = excluded.scope, audience = excluded.audience, granted_at = excluded.granted_at`

// RememberConsent keeps a consent in place of the one before.
func (s *Store) RememberConsent(ctx context.Context, userID string, c Consent) error {
	_, err := s.exec(ctx, "remember consent", fmt.Sprintf(rememberConsent, s.share("u, c")), userID, c.ClientID, grants.JoinScope(c.Scope), grants.JoinScope(c.Audience), micros(c.GrantedAt))
	return err
}

// Consents lists what a user allowed, the newest first.
func (s *Store) Consents(ctx context.Context, userID string) ([]Consent, error) {
	const query = `SELECT client_id, scope, audience, granted_at FROM consents WHERE user_id = $1 ORDER BY granted_at DESC, client_id`
	return many(ctx, s, s.read, "list consents", query, []any{userID}, func(rows *sql.Rows) (c Consent, err error) {
		var scope, audience string
		var granted int64
		err = rows.Scan(&c.ClientID, &scope, &audience, &granted)
		c.Scope, c.Audience, c.GrantedAt = grants.SplitScope(scope), grants.SplitScope(audience), fromMicros(granted)
		return c, err
	})
}

// WithdrawConsent forgets what a user allowed a client and ends the sessions that they
// have there, remembered or not, offline or not.
func (s *Store) WithdrawConsent(ctx context.Context, userID, clientID string) (ended int64, err error) {
	if !storable(clientID) {
		return 0, nil
	}
	err = s.transaction(ctx, "withdraw consent", func(tx *gorm.DB) error {
		if err := tx.Exec(`DELETE FROM consents WHERE user_id = ? AND client_id = ?`, userID, clientID).Error; err != nil {
			return err
		}
		ended, _, err = s.end(tx, ending{userID: userID, reason: grants.ReasonConsentWithdrawn, at: s.now(), sessions: "client_id = ?", args: []any{clientID}})
		return err
	})
	return ended, err
}
