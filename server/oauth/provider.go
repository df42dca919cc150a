package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage"
)

// Prepare composes fosite and makes what does not change while the server runs.
// Call it once, before the first request.
func (h *Handler) Prepare() error {
	h.tokens = &storage.Tokens{Store: h.Store, Passwords: h.Passwords, Rand: h.Rand}
	h.issuers = []string{h.Issuer}
	h.due = make(chan struct{}, 1)
	var err error
	if h.verified, err = lru.New[[32]byte, time.Time](1000); err != nil {
		return fmt.Errorf("make cache: %w", err)
	}
	if _, err := io.ReadFull(h.Rand, h.salt[:]); err != nil {
		return fmt.Errorf("draw salt: %w", err)
	}
	if h.metadata, err = json.Marshal(h.describe()); err != nil {
		return fmt.Errorf("encode metadata: %w", err)
	}
	h.metadataLength = strconv.Itoa(len(h.metadata))
	h.provider = fosite.NewOAuth2Provider(h.tokens, h.compose())
	return nil
}

// compose is the one composition of fosite. Everything that fosite would fill in
// lazily is set, and everything that it would do on its own is ours.
func (h *Handler) compose() *fosite.Config {
	config := &fosite.Config{
		// GlobalSecret stays empty: our strategies never ask for it, and a stock one that slipped in fails at once.
		AccessTokenLifespan:           h.AccessTokenLifetime,
		RefreshTokenLifespan:          -1, // the grant's row decides
		AccessTokenIssuer:             h.Issuer,
		ScopeStrategy:                 fosite.ExactScopeStrategy,
		AudienceMatchingStrategy:      fosite.ExactAudienceMatchingStrategy,
		RefreshTokenScopes:            []string{}, // nil would mean: only with offline_access
		MinParameterEntropy:           1,
		DisableRefreshTokenValidation: true,
		ClientAuthenticationStrategy:  authenticated,
	}
	helper := &oauth2.HandleHelper{AccessTokenStrategy: h, AccessTokenStorage: h.tokens, Config: config}
	password := &oauth2.ResourceOwnerPasswordCredentialsGrantHandler{ //nolint:staticcheck // deprecated as the grant is: docs/decisions/0005
		HandleHelper: helper, ResourceOwnerPasswordCredentialsGrantStorage: h.tokens, RefreshTokenStrategy: h, Config: config,
	}
	refresh := &oauth2.RefreshTokenGrantHandler{
		AccessTokenStrategy: h, RefreshTokenStrategy: h, TokenRevocationStorage: h.tokens, Config: config,
	}
	code := &oauth2.AuthorizeExplicitGrantHandler{
		AccessTokenStrategy: h, RefreshTokenStrategy: h, AuthorizeCodeStrategy: h, CoreStorage: h.tokens, TokenRevocationStorage: h.tokens, Config: config,
	}
	machine := &oauth2.ClientCredentialsGrantHandler{HandleHelper: helper, Config: config}
	config.TokenEndpointHandlers = fosite.TokenEndpointHandlers{dispatcher{
		clients.GrantAuthorizationCode: code,
		clients.GrantRefreshToken:      refresh,
		clients.GrantPassword:          password,
		clients.GrantClientCredentials: machine,
	}}
	return config
}

// grantTypes are those that the dispatcher has, in the order that metadata shows.
var grantTypes = []string{clients.GrantAuthorizationCode, clients.GrantRefreshToken, clients.GrantClientCredentials, clients.GrantPassword}

// authenticated hands fosite the client that the endpoint authenticated before.
func authenticated(ctx context.Context, _ *http.Request, _ url.Values) (fosite.Client, error) {
	u, err := storage.UnitFrom(ctx)
	if err != nil {
		return nil, err
	}
	return u.Client, nil
}

// dispatcher is fosite's only token handler: it finds the grant's own by name, where
// fosite would ask every handler and collect a stack trace from each refusal.
type dispatcher map[string]fosite.TokenEndpointHandler

var _ fosite.TokenEndpointHandler = dispatcher(nil)

func (d dispatcher) of(request fosite.AccessRequester) (fosite.TokenEndpointHandler, bool) {
	types := request.GetGrantTypes()
	if len(types) != 1 {
		return nil, false
	}
	handler, ok := d[types[0]]
	return handler, ok
}

func (d dispatcher) CanHandleTokenEndpointRequest(_ context.Context, request fosite.AccessRequester) bool {
	_, ok := d.of(request)
	return ok
}

// CanSkipClientAuth is always false: the endpoint has authenticated already.
func (d dispatcher) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

func (d dispatcher) HandleTokenEndpointRequest(ctx context.Context, request fosite.AccessRequester) error {
	handler, ok := d.of(request)
	if !ok {
		return fosite.ErrUnknownRequest
	}
	return handler.HandleTokenEndpointRequest(ctx, request)
}

func (d dispatcher) PopulateTokenEndpointResponse(ctx context.Context, request fosite.AccessRequester, response fosite.AccessResponder) error {
	handler, ok := d.of(request)
	made, ours := request.GetSession().(*fositeSession)
	if !ok || !ours {
		return fosite.ErrUnknownRequest
	}
	made.request.AccessRequester, made.response.AccessResponder = request, response
	return handler.PopulateTokenEndpointResponse(ctx, &made.request, &made.response)
}

// bareRequest is a request as it is stored, which is not at all: fosite would copy it
// and draw an id for that.
type bareRequest struct{ fosite.AccessRequester }

func (r *bareRequest) Sanitize([]string) fosite.Requester { return r }

// bareResponse keeps what the answer is made from: the tokens. The rest is in the claims.
type bareResponse struct{ fosite.AccessResponder }

func (*bareResponse) SetExpiresIn(time.Duration) {}

func (*bareResponse) SetScopes(fosite.Arguments) {}

// Handler is fosite's token strategy: a token is made from the unit of work, and was
// proven before fosite saw it.
var (
	_ oauth2.AccessTokenStrategy   = (*Handler)(nil)
	_ oauth2.RefreshTokenStrategy  = (*Handler)(nil)
	_ oauth2.AuthorizeCodeStrategy = (*Handler)(nil)
)

// GenerateAccessToken makes the token of RFC 9068, or an opaque one, as the client is registered.
func (h *Handler) GenerateAccessToken(_ context.Context, request fosite.Requester) (token, signature string, err error) {
	made, ok := request.GetSession().(*fositeSession)
	if !ok {
		return "", "", fmt.Errorf("access token: session is a %T", request.GetSession())
	}
	u := &made.unit
	made.claims, err = h.newClaims(u, request.GetGrantedScopes(), made.audience)
	if err != nil {
		return "", "", err
	}
	token, err = h.mint(&made.claims, u.Client.Client.AccessToken, u.At)
	return token, "", err
}

// GenerateRefreshToken makes the token of the grant's generation. It answers "", and
// fosite leaves it out, for a client that may not renew.
func (h *Handler) GenerateRefreshToken(_ context.Context, request fosite.Requester) (token, signature string, err error) {
	made, ok := request.GetSession().(*fositeSession)
	if !ok {
		return "", "", fmt.Errorf("refresh token: session is a %T", request.GetSession())
	}
	u := &made.unit
	if !u.Client.Client.Allows(clients.GrantRefreshToken) {
		return "", "", nil
	}
	return h.Codec.Mint(grants.Refresh, u.Grant.ID, u.Grant.Generation), "", nil
}

// AccessTokenSignature is empty: nothing is looked up by it.
func (*Handler) AccessTokenSignature(context.Context, string) string { return "" }

// RefreshTokenSignature is empty, like AccessTokenSignature.
func (*Handler) RefreshTokenSignature(context.Context, string) string { return "" }

// ValidateAccessToken is never asked: introspection is ours.
func (*Handler) ValidateAccessToken(context.Context, fosite.Requester, string) error {
	return fosite.ErrTokenSignatureMismatch
}

// ValidateRefreshToken has nothing left to do: the MAC was checked before the query,
// and the limits in it.
func (*Handler) ValidateRefreshToken(context.Context, fosite.Requester, string) error { return nil }

// AuthorizeCodeSignature is empty, like AccessTokenSignature.
func (*Handler) AuthorizeCodeSignature(context.Context, string) string { return "" }

// GenerateAuthorizeCode is never asked: the authorization endpoint is ours (docs/decisions/0011).
func (*Handler) GenerateAuthorizeCode(context.Context, fosite.Requester) (token, signature string, err error) {
	return "", "", fosite.ErrServerError
}

// ValidateAuthorizeCode has nothing left to do, like ValidateRefreshToken.
func (*Handler) ValidateAuthorizeCode(context.Context, fosite.Requester, string) error { return nil }

// fositeSession carries the unit of work through fosite. It is never stored, so it is
// never cloned. What a request needs on the way is in it, in one piece of memory.
type fositeSession struct {
	unit     storage.Unit
	audience []string
	claims   claims // of the access token, when it was made
	request  bareRequest
	response bareResponse
}

var _ fosite.Session = (*fositeSession)(nil)

// SetSubject is how fosite reports who signed in. The unit knows already.
func (*fositeSession) SetSubject(string) {}

// SetExpiresAt ignores fosite's clock: the claims are made from the unit's.
func (*fositeSession) SetExpiresAt(fosite.TokenType, time.Time) {}

// GetExpiresAt is unknown to fosite.
func (*fositeSession) GetExpiresAt(fosite.TokenType) time.Time { return time.Time{} }

// GetUsername is the name of whoever signed in.
func (s *fositeSession) GetUsername() string { return s.unit.User.Name }

// GetSubject is the user of the grant.
func (s *fositeSession) GetSubject() string { return s.unit.Grant.UserID }

// Clone is the session itself: one request has one.
func (s *fositeSession) Clone() fosite.Session { return s }
