package storage

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ory/fosite"

	"github.com/grantorhq/grantor/grants"
)

// rotate is the compare-and-set of a refresh: exactly one caller moves a grant from
// generation n to n+1, on any number of replicas, in any isolation level. It
// touches no indexed column. The check of scope and audience is a part of it: a refused
// widening that had rotated would turn the client's next honest try into reuse.
const (
	renew  = `UPDATE grants SET generation = generation + 1, rotated_at = $2, rotated_from = $7`
	rotate = `
 WHERE id = $1 AND generation = $3 AND client_id = $4 AND dpop_jkt = $5 AND rotated_at > $6 AND ` + live
	rotated = ` RETURNING ` + returning
	// The first renewal forgets what only the code's answer needed, and leaves a grants.Clue.
	// Nothing of it is there in a session that began with a password.
	forget = `, redirect_uri = '', code_challenge = substr(code_challenge, 1, 12), details = CASE WHEN sid IS NULL THEN details ELSE `
)

// What follows runs only when rotate changed no row: a look at the grant, which writes
// nothing, and its end when the rules of package grants call for that.
const (
	selectShown = `SELECT ` + returning + ` FROM grants WHERE id = $1 AND generation >= $3 AND client_id = $4 AND dpop_jkt = $5 AND ` + live
	endReuse    = `UPDATE grants SET revoked_at = $2, revoked_reason = 'refresh_reuse', revoked_from = $4
 WHERE id = $1 AND generation > $3 AND rotated_at <= $5 AND ` + live + ` RETURNING ` + returning
)

// GetRefreshTokenSession rotates. The unit holds the token, whose MAC was checked
// before; what fosite asks afterwards is answered from the row that came back.
func (t *Tokens) GetRefreshTokenSession(ctx context.Context, _ string, session fosite.Session) (fosite.Requester, error) {
	u, err := UnitFrom(ctx)
	if err != nil {
		return nil, err
	}
	u.Grant, u.Verdict, err = t.Store.Rotate(ctx, u.ID, grants.Showing{
		ClientID: u.Client.GetID(), Generation: u.Generation, Scope: u.Scope, Audience: u.Audience, Registered: u.Registered,
	}, u.Limits.At(u.At), u.Address)
	if err != nil {
		u.Err = err
		return nil, err
	}
	t.Store.refreshes.count(u.Verdict)
	if u.Verdict != grants.Rotated && u.Verdict != grants.Retried {
		return nil, fosite.ErrNotFound
	}
	return t.requester(u, session), nil
}

// requester is the grant in fosite's words. What the registration no longer allows
// is left out here: fosite would refuse the whole request, after the rotation.
func (t *Tokens) requester(u *Unit, session fosite.Session) fosite.Requester {
	scope := u.Grant.Scope
	if len(u.Scope) > 0 {
		scope = u.Scope
	}
	return &fosite.Request{
		ID: u.Grant.ID.String(), RequestedAt: u.Grant.CreatedAt, Client: u.Client, Session: session,
		RequestedScope: u.Grant.Scope, GrantedScope: within(scope, u.Client.Client.Scope),
	}
}

func within(list, allowed []string) []string {
	kept := make([]string, 0, len(list))
	for _, item := range list {
		if slices.Contains(allowed, item) {
			kept = append(kept, item)
		}
	}
	return kept
}

// Rotate shows a refresh token to its grant: what grants.Grant.Refresh does to it, as SQL.
// One statement when the token is current; a second one to tell a retry from reuse, which
// takes a third to end the grant. It answers the grant as it is afterwards, without one when nothing more may be said
// than Dead.
func (s *Store) Rotate(ctx context.Context, id grants.ID, show grants.Showing, b grants.Bounds, from string) (grants.Grant, grants.Verdict, error) {
	if show.Generation < 1 {
		return grants.Grant{}, grants.Dead, nil // the code's generation is not a refresh token's
	}
	// A request body holds many more words than a statement may.
	scope, audience := grants.Distinct(show.Scope), grants.Distinct(show.Audience)
	if !grantable(scope) || !grantable(audience) {
		return s.judge(ctx, id, show, b, from)
	}
	var row grantRow
	var query strings.Builder
	query.Grow(len(renew) + len(rotate) + len(rotated) + 512)
	query.WriteString(renew)
	if show.Generation == 1 {
		query.WriteString(forget + s.withoutNonce() + ` END`)
	}
	query.WriteString(rotate)
	args := append(make([]any, 0, 16), id[:], micros(b.Now), show.Generation, show.ClientID, show.Thumbprint, micros(b.IdleSince), from)
	// Unlike LIKE this is case-sensitive on both databases.
	has := func(operator, column, word string) {
		args = append(args, " "+word+" ")
		for _, part := range []string{operator, "replace(' ' || ", column, " || ' ', $", strconv.Itoa(len(args)), ", '') <> ' ' || ", column, " || ' '"} {
			query.WriteString(part)
		}
	}
	for _, word := range scope {
		has(" AND ", "scope", word)
	}
	for _, word := range audience {
		has(" AND ", "audience", word)
	}
	if len(audience) == 0 && show.Registered != nil {
		query.WriteString(" AND (audience = ''")
		for _, word := range show.Registered {
			has(" OR ", "audience", word)
		}
		query.WriteString(")")
	}
	query.WriteString(rotated)
	found, err := s.grouped(ctx, "rotate refresh token", id[:], query.String(), args, row.dest()...)
	if err != nil {
		return grants.Grant{}, "", err
	}
	if found {
		g, err := row.grant()
		return g, grants.Rotated, err
	}
	return s.judge(ctx, id, show, b, from)
}

// mostWords is more scopes, or audiences, than any client may register.
const mostWords = 150

// grantable is false for what no grant can hold. The databases must not see it:
// they refuse some text (NUL, bytes that are not UTF-8) and very long statements,
// and that would look as if they were unavailable.
func grantable(words []string) bool {
	if len(words) > mostWords {
		return false
	}
	for _, word := range words {
		if word == "" || strings.Contains(word, " ") || !storable(word) {
			return false
		}
	}
	return true
}

const (
	// heldUp is longer than any request takes that nothing went wrong with.
	heldUp = 500 * time.Millisecond
	// hangUp is how long it may take to notice that a client is gone, on a machine whose
	// processors are all busy, by a replica that has just been woken up.
	hangUp = 250 * time.Millisecond
)

// excuse says since when a renewal means that this request was overtaken: since it came, if
// a stopped replica or database kept it; within the retry window, if its client is gone and
// so has asked again. Whoever gives neither sign is held against the row alone: a thief who
// renews may do so at any moment.
func (s *Store) excuse(ctx context.Context, b grants.Bounds) time.Time {
	late := s.now().Sub(b.Now) >= heldUp
	if ctx.Done() != nil {
		timer := time.NewTimer(hangUp)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return b.RetrySince
		case <-timer.C:
			if ctx.Err() != nil { // both, where this replica stood still
				return b.RetrySince
			}
		}
	}
	if late {
		return b.Now
	}
	return time.Time{}
}

// judge looks before anything is written, because a retry and a request that was overtaken
// change nothing, and waits for a sign of the client only before an end.
func (s *Store) judge(ctx context.Context, id grants.ID, show grants.Showing, b grants.Bounds, from string) (grants.Grant, grants.Verdict, error) {
	var row grantRow
	found, err := s.one(ctx, s.read, "judge refresh token", selectShown,
		[]any{idValue(id), micros(b.Now), show.Generation, show.ClientID, show.Thumbprint}, row.dest()...)
	if err != nil {
		return grants.Grant{}, "", err
	}
	if !found {
		return grants.Grant{}, grants.Dead, nil
	}
	g, err := row.grant()
	if err != nil {
		return grants.Grant{}, "", err
	}
	_, verdict := g.Refresh(show, b)
	if verdict == grants.Reused {
		b.OvertakenSince = s.excuse(ctx, b)
		_, verdict = g.Refresh(show, b)
	}
	switch verdict {
	case grants.Reused:
		return s.endReused(ctx, id, show, b, from)
	case grants.Rotated:
		// Current again, neither idle nor exceeding: the rotation lost against something
		// that has since been undone. Nothing is known for certain.
		return g, "", fmt.Errorf("rotate refresh token: %w: the session changed meanwhile", ErrUnavailable)
	}
	return g, verdict, nil
}

// endReused ends the grant. It finds nothing to end, which is Dead, when another request was
// faster; and when the client of an excused request has renewed since it was looked at.
func (s *Store) endReused(ctx context.Context, id grants.ID, show grants.Showing, b grants.Bounds, from string) (grants.Grant, grants.Verdict, error) {
	unless := int64(math.MaxInt64)
	if !b.OvertakenSince.IsZero() {
		unless = micros(b.OvertakenSince)
	}
	var row grantRow
	found, err := s.one(ctx, s.write, "end reused session", endReuse, []any{idValue(id), micros(b.Now), show.Generation, from, unless}, row.dest()...)
	if err != nil {
		return grants.Grant{}, "", err
	}
	if !found {
		return grants.Grant{}, grants.Dead, nil
	}
	g, err := row.grant()
	return g, grants.Reused, err
}
