package oauth

import (
	"crypto/sha256"
	"encoding/base64"
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
func (h *Handler) proveCode(u *storage.Unit, form url.Values) error {
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
		return nil
	}
	if !verifierForm.MatchString(verifier) {
		return invalidGrant("code_verifier is malformed")
	}
	sum := sha256.Sum256([]byte(verifier))
	u.Challenge = base64.RawURLEncoding.EncodeToString(sum[:])
	return nil
}
