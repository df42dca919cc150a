package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"regexp"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage"
)

// verifierForm is RFC 7636 section 4.1.
var verifierForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// proveCode checks what a code and its verifier can prove by themselves: RFC 6749
// section 4.1.3, RFC 7636 section 4.5. The rest is in the one statement that redeems.
// A wrong verifier changes nothing, so the right one still works afterwards.
func (h *Handler) proveCode(ctx context.Context, u *storage.Unit, form url.Values) error {
	code := form.Get("code")
	if code == "" {
		return invalidRequest("code is missing")
	}
	id, generation, err := h.Codec.Parse(grants.Code, code)
	if err != nil || generation != 0 {
		return invalidGrant("not a code of this server")
	}
	u.ID, u.RedirectURI = id, form.Get("redirect_uri")
	if !u.Client.Client.Allows(clients.GrantRefreshToken) {
		// Its one access token lives from now, not from when the person said yes.
		u.Life += grants.CodeLifetime
	}
	u.Scope = nil // the person decided about it; the parameter means nothing here
	verifier := form.Get("code_verifier")
	if verifier == "" {
		return h.withinGrant(ctx, u)
	}
	if !verifierForm.MatchString(verifier) {
		return invalidGrant("code_verifier is malformed")
	}
	sum := sha256.Sum256([]byte(verifier))
	u.Challenge = base64.RawURLEncoding.EncodeToString(sum[:])
	return h.withinGrant(ctx, u)
}

// withinGrant refuses a resource that was not granted (RFC 8707 section 2.2) while the
// code is still good: one statement more, for the few who narrow. What was granted never changes.
func (h *Handler) withinGrant(ctx context.Context, u *storage.Unit) error {
	if len(u.Audience) == 0 {
		return nil
	}
	granted, err := h.Store.Session(ctx, u.ID)
	if errors.Is(err, grants.ErrNotFound) || err == nil && granted.ClientID != u.Client.GetID() {
		return invalidGrant("not a code of the client")
	}
	if err != nil {
		return err
	}
	if !grants.Covers(granted.Audience, u.Audience) {
		return invalidTarget("an audience that was not granted")
	}
	return nil
}
