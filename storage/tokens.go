package storage

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	fositestorage "github.com/ory/fosite/storage"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/users"
)

// Tokens is what fosite calls. Every method that decides something takes its Unit
// from the context; the rest do nothing, because a token is a signature and a
// session is one row that is written already.
type Tokens struct {
	Store     *Store
	Passwords *users.Passwords
	Rand      io.Reader
}

// Satisfies fosite's clients, the token endpoint's grants, and the transactions
// that fosite silently does without when a store has none.
var (
	_ fosite.Storage                                      = (*Tokens)(nil)
	_ oauth2.CoreStorage                                  = (*Tokens)(nil)
	_ oauth2.TokenRevocationStorage                       = (*Tokens)(nil)
	_ oauth2.ResourceOwnerPasswordCredentialsGrantStorage = (*Tokens)(nil)
	_ fositestorage.Transactional                         = (*Tokens)(nil)
)

// Unit is the work of one request at the token endpoint. The endpoint fills the
// first half and puts it into the context; the grant's one statement fills the
// second half; the answer is made from it.
type Unit struct {
	At      time.Time
	Client  *clients.Fosite // authenticated
	Address string
	Agent   string // of who begins a session
	Limits  grants.Limits
	Life    time.Duration // absolute, of a session that begins here

	// A refresh token that proved itself by its MAC.
	ID         grants.ID
	Generation int64
	Scope      []string // asked for; none = all
	Audience   []string // asked for; none = all
	Registered []string // audiences that the client may have; nil = any

	// With a code, whose id is in ID: what the token request proves itself by.
	Challenge   string // S256 of the verifier; "" = none was sent
	RedirectURI string

	Grant   grants.Grant
	User    users.User
	Verdict grants.Verdict
	// Err is the first failure of the store. fosite would turn it into a false
	// answer, so the endpoint looks here first.
	Err error
}

type unitKey struct{}

// WithUnit puts the unit where Tokens finds it.
func WithUnit(ctx context.Context, u *Unit) context.Context {
	return context.WithValue(ctx, unitKey{}, u)
}

var errNoUnit = errors.New("no unit of work in the context")

// UnitFrom is the unit that WithUnit put into the context.
func UnitFrom(ctx context.Context) (*Unit, error) {
	u, ok := ctx.Value(unitKey{}).(*Unit)
	if !ok {
		return nil, errNoUnit
	}
	return u, nil
}

// GetClient answers with the client that the endpoint authenticated.
func (t *Tokens) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	u, err := UnitFrom(ctx)
	if err != nil {
		return nil, err
	}
	if u.Client == nil || u.Client.GetID() != id {
		return nil, fosite.ErrNotFound
	}
	return u.Client, nil
}

// ClientAssertionJWTValid refuses: no client is registered for assertions.
func (*Tokens) ClientAssertionJWTValid(context.Context, string) error { return fosite.ErrJTIKnown }

// SetClientAssertionJWT refuses, like ClientAssertionJWTValid.
func (*Tokens) SetClientAssertionJWT(context.Context, string, time.Time) error {
	return fosite.ErrJTIKnown
}

// CreateAccessTokenSession writes the row of a session that begins here (the
// password grant), and nothing for one that goes on or has none.
func (t *Tokens) CreateAccessTokenSession(ctx context.Context, _ string, _ fosite.Requester) error {
	return t.begin(ctx)
}

// GetAccessTokenSession is never asked: introspection is not fosite's.
func (*Tokens) GetAccessTokenSession(context.Context, string, fosite.Session) (fosite.Requester, error) {
	return nil, fosite.ErrNotFound
}

// DeleteAccessTokenSession does nothing: access tokens are not stored.
func (*Tokens) DeleteAccessTokenSession(context.Context, string) error { return nil }

// CreateRefreshTokenSession does nothing: the grant's generation is the token.
func (*Tokens) CreateRefreshTokenSession(context.Context, string, string, fosite.Requester) error {
	return nil
}

// DeleteRefreshTokenSession does nothing: only the rules of grants end a session.
func (*Tokens) DeleteRefreshTokenSession(context.Context, string) error { return nil }

// RotateRefreshToken does nothing: GetRefreshTokenSession has rotated.
func (*Tokens) RotateRefreshToken(context.Context, string, string) error { return nil }

// RevokeRefreshToken does nothing: reuse has revoked in its own statement.
func (*Tokens) RevokeRefreshToken(context.Context, string) error { return nil }

// RevokeAccessToken does nothing, like RevokeRefreshToken.
func (*Tokens) RevokeAccessToken(context.Context, string) error { return nil }

// BeginTX begins nothing: one statement needs no transaction around it.
func (*Tokens) BeginTX(ctx context.Context) (context.Context, error) { return ctx, nil }

// Commit has nothing to commit.
func (*Tokens) Commit(context.Context) error { return nil }

// Rollback must not undo a revocation, and does not.
func (*Tokens) Rollback(context.Context) error { return nil }
