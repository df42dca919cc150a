// Package oauth is what applications call: the token, introspection, revocation
// and userinfo endpoints, the metadata and the keys. One file per endpoint or grant,
// named after the RFC's word.
//
//	authorize.go         the authorization endpoint: who is asked what, and the code
//	authorization.go     a request there: checked, and sealed while a person is asked
//	respond.go           the way back to the client: query, fragment, form_post
//	token.go             parse and check once, for every grant; then fosite; then the answer
//	code.go              what a code and its verifier prove by themselves
//	provider.go          the fosite composition and the map of grants
//	authenticate.go      client authentication, for every endpoint that has it
//	form.go              what a request body may be
//	cookie.go            the refresh token of browser clients: set, read, taken back
//	access_token.go      RFC 9068 and opaque access tokens: made and read
//	id_token.go          OpenID Connect: ID tokens, made and read back as hints
//	claims.go            claims about users: by scope, and by the claims parameter
//	logout.go            RP-initiated logout
//	backchannel.go       logout tokens to the clients of a sign-in that ended
//	outbound.go          where this server may call
//	introspect.go        RFC 7662
//	revoke.go            RFC 7009
//	userinfo.go          OpenID Connect Core section 5.3
//	metadata.go, jwks.go RFC 8414, OpenID Connect Discovery, RFC 7517
//	errors.go            what may go wrong, in the words of the RFCs
//	reference.go         what an answer carries so that grantor explain can say why
//
// Every endpoint is a method that writes a success or returns an error; package
// server renders the error. It promises that a failing store is never mistaken for
// an answer: storage.ErrUnavailable passes through whatever fosite makes of it.
//
// It never holds a session of its own or writes SQL. What happened in a request goes
// into its Trail, and server logs that.
package oauth

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/ory/fosite"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/refusals"
	"github.com/grantorhq/grantor/server/session"
	"github.com/grantorhq/grantor/server/ui"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// Handler is all endpoints of this package. Fill the exported fields, then call Prepare.
type Handler struct {
	Issuer     string
	Base       string // the path of Issuer, before every path of ours
	Store      *storage.Store
	Passwords  *users.Passwords
	Codec      *grants.Codec
	Opaque     *keys.Box // opaque access tokens
	Requests   *keys.Box // authorization requests that wait for a person
	Logouts    *keys.Box // logout requests that do
	References *refusals.References
	Keys       func() *keys.Set // the current ones
	Sessions   *session.Manager
	Pages      *ui.Pages
	Outbound   *http.Client // for logout tokens: bounded, and not into private networks
	Log        *slog.Logger // of work that no request waits for
	Now        func() time.Time
	Rand       io.Reader

	// For clients that are registered without their own.
	AccessTokenLifetime  time.Duration
	RefreshTokenLifetime time.Duration // idle
	SessionLifetime      time.Duration // absolute
	RetryWindow          time.Duration

	tokens   *storage.Tokens
	provider fosite.OAuth2Provider
	verified *lru.Cache[[32]byte, time.Time] // chosen secrets, and when each was right
	salt     [32]byte
	metadata []byte
	due      chan struct{} // logout notices wait
	told     struct{ delivered, failed, givenUp atomic.Uint64 }
	issuers  []string

	metadataLength string
}

// Trail is what the log of a request says about it. Nothing in it is secret.
type Trail struct {
	Address string // of the peer, proxies considered, as the server decided it
	Client  string
	Grant   string // grant type
	Session string // grant id
	Outcome string // "issued", "rotated", "retried", …
	Reason  string // why the client was refused by an answer that is no failure of ours: a redirect

	Request string // its id
	Route   string
}

type trailKey struct{}

// WithTrail puts the trail where the endpoints find it.
func WithTrail(ctx context.Context, t *Trail) context.Context {
	return context.WithValue(ctx, trailKey{}, t)
}

// TrailOf is the request's trail, or one that nobody reads.
func TrailOf(ctx context.Context) *Trail {
	if t, ok := ctx.Value(trailKey{}).(*Trail); ok {
		return t
	}
	return new(Trail)
}

// AddressOf is where the request came from.
func AddressOf(ctx context.Context) string { return TrailOf(ctx).Address }

// lifetimes are those of a client, or the server's.
func (h *Handler) accessLife(c *clients.Client) time.Duration {
	return orElse(c.AccessTokenLifetime, h.AccessTokenLifetime)
}

func (h *Handler) sessionLife(c *clients.Client) time.Duration {
	// A session that can not be renewed is over when its access token is.
	if !c.Allows(clients.GrantRefreshToken) {
		return h.accessLife(c)
	}
	return orElse(c.SessionLifetime, h.SessionLifetime)
}

func (h *Handler) limits(c *clients.Client) grants.Limits {
	return grants.Limits{Idle: orElse(c.RefreshTokenLifetime, h.RefreshTokenLifetime), Retry: h.RetryWindow}
}

func orElse(own, otherwise time.Duration) time.Duration {
	if own > 0 {
		return own
	}
	return otherwise
}
