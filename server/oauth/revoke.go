package oauth

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/refusals"
)

// Revoke is POST /oauth2/revoke: RFC 7009. A refresh token, of any generation, ends
// its whole grant; an access token ends alone. An unknown or dead token is a
// success, another client's is refused (section 2.1), and what the database did not
// do is never a 200. One statement, and none for a token that does not prove itself.
func (h *Handler) Revoke(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	form, err := ReadForm(r)
	if err != nil {
		return err
	}
	client, err := h.authenticate(ctx, r, form)
	if err != nil {
		return err
	}
	c := client.Client
	if form.Get("token") == "" {
		// A browser can not name the token that it may not see.
		if err := admitBrowser(r, c, true); err != nil {
			return err
		}
		h.fromCookie(r, form, c, "token")
	}
	token := form.Get("token")
	if token == "" {
		return invalidRequest("token is missing")
	}
	if err := h.revoke(ctx, c.ID, token); err != nil {
		return err
	}
	if c.RefreshToken == clients.DeliverCookie && isRefresh(token) {
		h.setCookie(w, c, "", 0)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	return nil
}

func isRefresh(token string) bool { return strings.HasPrefix(token, string(grants.Refresh)) }

func (h *Handler) revoke(ctx context.Context, clientID, token string) error {
	now := h.Now()
	trail := TrailOf(ctx)
	trail.Outcome = "nothing to revoke"
	if id, _, err := h.Codec.Parse(grants.Refresh, token); err == nil {
		found, own, err := h.Store.Revoke(ctx, id, clientID, now, trail.Address)
		if err != nil {
			return err
		}
		if found && !own {
			return belonging(invalidGrant(refusals.ForeignRefresh), id)
		}
		if found {
			trail.Session, trail.Outcome = id.String(), "session revoked"
		}
		return nil
	}
	c, err := h.readAccessToken(token, now)
	if errors.Is(err, errAccessToken) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.ClientID != clientID {
		id, _ := c.grantID() // zero: it has none
		return belonging(invalidGrant(refusals.ForeignAccess), id)
	}
	trail.Session, trail.Outcome = c.Grant, "access token revoked"
	return h.Store.Deny(ctx, c.ID, clientID, c.expires())
}

// belonging says which session a refused token is of. The log does not: it is not the caller's.
func belonging(refused *Error, session grants.ID) *Error {
	refused.Facts.Session = session
	return refused
}
