package oauth

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/refusals"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// Userinfo is GET and POST /userinfo: OpenID Connect Core section 5.3, for an access
// token with the scope openid and this server as an audience. One statement.
func (h *Handler) Userinfo(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	token, err := bearer(r)
	if err != nil {
		return err
	}
	now := h.Now()
	c, err := h.readAccessToken(token, now)
	if errors.Is(err, errExpired) {
		trail := TrailOf(ctx)
		trail.Client, trail.Session = c.ClientID, c.Grant
		expired := invalidToken(refusals.Expired)
		expired.Facts.Ended = c.expires()
		return expired
	}
	if errors.Is(err, errAccessToken) {
		return invalidToken(refusals.NotAccess)
	}
	if err != nil {
		return err
	}
	trail := TrailOf(ctx)
	trail.Client, trail.Session = c.ClientID, c.Grant
	if !c.isFor(h.Issuer) {
		return invalidToken("for another audience")
	}
	if c.Grant == "" || !slices.Contains(c.scopes(), "openid") {
		return insufficientScope("openid")
	}
	id, err := c.grantID()
	if err != nil {
		return err
	}
	record, err := h.Store.Access(ctx, id, c.ClientID, c.ID, now)
	if err != nil {
		return err
	}
	if !alive(c, record) {
		return invalidToken(deadBy(record))
	}
	profile, err := record.Profile()
	if err != nil {
		return err
	}
	details, err := record.Details()
	if err != nil {
		return err
	}
	client, err := h.Store.RegisteredClient(ctx, c.ClientID)
	if errors.Is(err, clients.ErrNotFound) {
		return invalidToken("the client is gone")
	}
	if err != nil {
		// Plain would be a downgrade for who registered to have it signed.
		return err
	}
	answer := map[string]any{}
	user := users.User{Name: record.UserName, Email: record.UserEmail, UpdatedAt: record.UserUpdated, Profile: profile}
	tell(answer, user, wanted(c.scopes(), stillMeant(details.UserinfoClaims, client.Client.Scope)))
	answer["sub"] = c.Subject
	trail.Outcome = "told"
	if client.Client.UserinfoAlg == "" {
		return writeJSON(w, answer)
	}
	signed, err := h.userinfoJWT(answer, client.Client, now)
	if err != nil {
		return err
	}
	return writeNoStore(w, "application/jwt", []byte(signed))
}

// deadBy says which part of the state behind a token does not let it live.
func deadBy(record storage.AccessRecord) refusals.Cause {
	switch {
	case record.Denied:
		return refusals.Denied
	case !record.ClientAlive:
		return refusals.ClientGone
	}
	return refusals.SessionOver
}

// bearer takes the token from the header (RFC 6750 section 2.1) or, in a POST, from
// the form (section 2.2), but never from the query (RFC 9700 section 4.3.2), and
// only by one way at once.
func bearer(r *http.Request) (string, error) {
	if r.URL.Query().Has("access_token") {
		return "", invalidRequest("an access token in the query is not read")
	}
	headers := r.Header.Values("Authorization")
	if len(headers) > 1 {
		return "", invalidRequest("two Authorization headers")
	}
	var token string
	if len(headers) == 1 {
		scheme, value, _ := strings.Cut(headers[0], " ")
		if strings.EqualFold(scheme, "Bearer") {
			token = strings.TrimSpace(value)
		}
	}
	if r.Method == http.MethodPost && r.Header.Get("Content-Type") != "" {
		form, err := ReadForm(r)
		if err != nil {
			return "", err
		}
		if inForm := form.Get("access_token"); inForm != "" {
			if token != "" {
				return "", invalidRequest("two access tokens")
			}
			token = inForm
		}
	}
	if token == "" {
		return "", missingToken()
	}
	return token, nil
}
