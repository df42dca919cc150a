package oauth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
)

// introspection is RFC 7662 section 2.2.
type introspection struct {
	Active    bool     `json:"active"`
	Scope     string   `json:"scope,omitempty"`
	ClientID  string   `json:"client_id,omitempty"`
	Username  string   `json:"username,omitempty"`
	TokenType string   `json:"token_type,omitempty"`
	Expires   int64    `json:"exp,omitempty"`
	Issued    int64    `json:"iat,omitempty"`
	Subject   string   `json:"sub,omitempty"`
	Audience  audience `json:"aud,omitempty"`
	Issuer    string   `json:"iss,omitempty"`
	ID        string   `json:"jti,omitempty"`
	AuthTime  int64    `json:"auth_time,omitempty"`
}

// inactive says nothing more, whatever the reason: RFC 7662 section 2.2.
var inactive = introspection{}

// Introspect is POST /oauth2/introspect: RFC 7662. A resource server may ask about
// access tokens for its audience (any audience, when it is registered without one),
// a confidential client about its own tokens. Everybody else, and every other token,
// gets {"active":false}. One statement, and none for a token that does not prove itself.
func (h *Handler) Introspect(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	form, err := ReadForm(r)
	if err != nil {
		return err
	}
	caller, err := h.authenticate(ctx, r, form)
	if err != nil {
		return err
	}
	if caller.Client.Public {
		return invalidClient("a public client can not introspect")
	}
	token := form.Get("token")
	if token == "" {
		return invalidRequest("token is missing")
	}
	answer, err := h.introspect(ctx, caller.Client, token)
	if err != nil {
		return err
	}
	trail := TrailOf(ctx)
	trail.Outcome = "inactive"
	if answer.Active {
		trail.Outcome = "active"
	}
	return writeNoStore(w, "application/json", answer.encode())
}

func (h *Handler) introspect(ctx context.Context, caller *clients.Client, token string) (introspection, error) {
	now := h.Now()
	if id, generation, err := h.Codec.Parse(grants.Refresh, token); err == nil {
		return h.introspectRefresh(ctx, caller, id, generation, now)
	}
	c, err := h.readAccessToken(token, now)
	if errors.Is(err, errAccessToken) {
		return inactive, nil
	}
	if err != nil {
		return inactive, err
	}
	if !mayIntrospect(caller, c) {
		return inactive, nil
	}
	id, err := c.grantID()
	if err != nil {
		return inactive, err
	}
	record, err := h.Store.Access(ctx, id, c.ClientID, c.ID, now)
	if err != nil {
		return inactive, err
	}
	TrailOf(ctx).Session = c.Grant
	if !alive(c, record) {
		return inactive, nil
	}
	return introspection{
		Active: true, Scope: c.Scope, ClientID: c.ClientID, Username: record.UserName, TokenType: "Bearer",
		Expires: c.Expires, Issued: c.Issued, Subject: c.Subject, Audience: c.Audience, Issuer: c.Issuer, ID: c.ID, AuthTime: c.AuthTime,
	}, nil
}

func mayIntrospect(caller *clients.Client, c *claims) bool {
	if caller.ID == c.ClientID {
		return true
	}
	return caller.ResourceServer && (len(caller.Audience) == 0 || c.isFor(caller.Audience...))
}

// introspectRefresh answers a client about its own refresh token. Nobody else: an API
// that asks about what it was sent must never read "active" for a refresh token.
func (h *Handler) introspectRefresh(ctx context.Context, caller *clients.Client, id grants.ID, generation int64, now time.Time) (introspection, error) {
	record, err := h.Store.Access(ctx, id, caller.ID, "", now)
	if err != nil {
		return inactive, err
	}
	idle := h.limits(caller).Idle
	g := record.Grant
	if g == nil || g.ClientID != caller.ID || g.Generation != generation || !g.RotatedAt.After(now.Add(-idle)) {
		return inactive, nil
	}
	TrailOf(ctx).Session = id.String()
	ends := g.RotatedAt.Add(idle)
	if g.ExpiresAt.Before(ends) {
		ends = g.ExpiresAt
	}
	// No token_type: section 5.1 of RFC 6749 has none for a refresh token.
	return introspection{
		Active: true, Scope: grants.JoinScope(g.Scope), ClientID: g.ClientID, Username: record.UserName,
		Expires: ends.Unix(), Issued: g.RotatedAt.Unix(), Subject: g.UserID, Audience: g.Audience, Issuer: h.Issuer,
	}, nil
}
