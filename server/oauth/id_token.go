package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/storage"
)

// acrPassword is the one authentication context there is: one factor, a password.
const acrPassword = "1"

// errIDToken: not an ID token of this server.
var errIDToken = errors.New("not an ID token of this server")

// idToken says who signed in, when and how, for the client alone: OpenID Connect Core
// section 2. A refreshed one (section 12.2) keeps sub, aud, auth_time and sid, and has
// no nonce: that belongs to the request that was answered with a code.
func (h *Handler) idToken(u *storage.Unit, accessToken string) (string, error) {
	g, client := u.Grant, u.Client.Client
	claims := map[string]any{}
	if u.Verdict == grants.Redeemed {
		tell(claims, u.User, g.Details.IDTokenClaims)
		if g.Details.Nonce != "" {
			claims["nonce"] = g.Details.Nonce
		}
	}
	claims["iss"], claims["sub"], claims["aud"], claims["azp"] = h.Issuer, g.UserID, client.ID, client.ID
	claims["iat"], claims["exp"] = u.At.Unix(), u.At.Add(h.accessLife(client)).Unix()
	claims["auth_time"], claims["acr"], claims["amr"] = g.Details.AuthTime.Unix(), g.Details.ACR, g.Details.AMR
	claims["sid"], claims["at_hash"] = g.BrowserID.String(), leftHalf(accessToken)
	return h.signJWT(keys.TypeJWT, orAlg(client.IDTokenAlg), claims, u.At)
}

// wantsIDToken: only an authorization in which somebody signed in has one, and only
// while openid is in its scope.
func wantsIDToken(u *storage.Unit, scope []string) bool {
	return u.Grant.BrowserID != (grants.ID{}) && slices.Contains(scope, "openid")
}

// orAlg is the registered algorithm, or the one that every relying party must know.
func orAlg(registered string) string {
	if registered == "" {
		return keys.RS256
	}
	return registered
}

// leftHalf is at_hash for the algorithms that use SHA-256: OpenID Connect Core section 3.1.3.6.
func leftHalf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

func (h *Handler) signJWT(typ, algorithm string, claims map[string]any, now time.Time) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode claims: %w", err)
	}
	signer, err := h.Keys().Active(algorithm, now)
	if err != nil {
		return "", err
	}
	return signer.Sign(h.Rand, typ, payload)
}

// hint is what an ID token that comes back says. It may have expired: it is asked who
// was signed in, not who is.
type hint struct {
	Issuer    string `json:"iss"`
	Subject   string `json:"sub"`
	Audience  string `json:"aud"`
	Browser   string `json:"sid"`
	AuthTime  int64  `json:"auth_time"`
	Issued    int64  `json:"iat"`
	Expires   int64  `json:"exp"`
	NotBefore int64  `json:"nbf"`
}

// readIDToken proves an id_token_hint by its signature. Signed userinfo has the same
// type, and lacks auth_time.
func (h *Handler) readIDToken(token string) (hint, error) {
	payload, err := h.Keys().Verify(token, keys.TypeJWT, h.Now())
	if err != nil {
		return hint{}, errIDToken
	}
	var claims hint
	if err := decodeOnce(payload, &claims); err != nil {
		return hint{}, errIDToken
	}
	latest := h.Now().Add(maxSkew).Unix()
	switch {
	case claims.Issuer != h.Issuer, claims.Subject == "", claims.AuthTime == 0:
		return hint{}, errIDToken
	case claims.Expires <= 0, claims.Issued <= 0, claims.Issued > latest, claims.NotBefore > latest:
		return hint{}, errIDToken
	}
	return claims, nil
}

// userinfoJWT is the answer of the userinfo endpoint for a client that registered to
// have it signed: OpenID Connect Core section 5.3.2.
func (h *Handler) userinfoJWT(answer map[string]any, c *clients.Client, now time.Time) (string, error) {
	answer["iss"], answer["aud"] = h.Issuer, c.ID
	return h.signJWT(keys.TypeJWT, c.UserinfoAlg, answer, now)
}
