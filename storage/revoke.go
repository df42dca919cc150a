package storage

import (
	"context"
	"time"

	"github.com/grantorhq/grantor/grants"
)

// Any generation will do: a client that lost the newest token must still be able to end the session.
const revokeGrant = `UPDATE grants SET
 revoked_at = CASE WHEN client_id = $3 THEN COALESCE(revoked_at, $2) ELSE revoked_at END,
 revoked_from = CASE WHEN client_id = $3 AND revoked_at IS NULL THEN $4 ELSE revoked_from END,
 revoked_reason = CASE WHEN client_id = $3 THEN COALESCE(revoked_reason, 'client') ELSE revoked_reason END
 WHERE id = $1 RETURNING client_id`

// Revoke ends a grant for its own client, in one statement: RFC 7009 section 2.1.
// own is false, and nothing changed, when the grant is another client's; found is
// false when it is gone. from is where it came from.
func (s *Store) Revoke(ctx context.Context, id grants.ID, clientID string, now time.Time, from string) (found, own bool, err error) {
	var owner string
	found, err = s.grouped(ctx, "revoke session", id[:], revokeGrant, []any{id[:], micros(now), clientID, from}, &owner)
	return found, found && owner == clientID, err
}

// Deny ends one access token of a client before its time. Denying twice is fine.
func (s *Store) Deny(ctx context.Context, jti, clientID string, expires time.Time) error {
	const deny = `INSERT INTO denied_tokens (jti, expires_at, client_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`
	_, err := s.grouped(ctx, "deny access token", []byte(jti), deny, []any{jti, micros(expires), clientID})
	return err
}
