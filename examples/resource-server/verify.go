package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// verifier checks JWT access tokens as RFC 9068 section 4 asks.
type verifier struct {
	metadata *metadata
	audience string
}

func (v verifier) check(ctx context.Context, token string) (caller, error) {
	// The list of algorithms is ours, not the token's: with it, "none" and a public
	// key used as an HMAC secret (RFC 8725 section 2.1) do not exist.
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || len(parsed.Headers) != 1 {
		return caller{}, errToken // also a refresh token, which is no JWT
	}
	header := parsed.Headers[0]
	// The type tells an access token from an ID token, whose signature is as good.
	kind, _ := header.ExtraHeaders[jose.HeaderType].(string)
	if kind = strings.ToLower(kind); kind != "at+jwt" && kind != "application/at+jwt" {
		return caller{}, errToken
	}
	key, err := v.metadata.key(ctx, header.KeyID)
	if err != nil {
		return caller{}, err
	}
	if key.Algorithm != header.Algorithm {
		return caller{}, errToken
	}
	var standard jwt.Claims
	var more struct {
		ClientID string `json:"client_id"`
		Scope    string `json:"scope"`
	}
	if err := parsed.Claims(key.Key, &standard, &more); err != nil {
		return caller{}, errToken
	}
	if standard.Expiry == nil || standard.Subject == "" {
		return caller{}, errToken
	}
	err = standard.ValidateWithLeeway(jwt.Expected{
		Issuer: v.metadata.issuer, AnyAudience: jwt.Audience{v.audience}, Time: v.metadata.now(),
	}, 5*time.Second) // for clocks that differ a little
	if err != nil {
		return caller{}, fmt.Errorf("%w: %w", errToken, err)
	}
	return caller{Subject: standard.Subject, ClientID: more.ClientID, Scope: more.Scope, Expires: standard.Expiry.Time().UTC()}, nil
}
