package clients

import (
	"errors"
	"io"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
)

var errTodo = errors.New("not written yet")

func (c Client) Check() error              { return errTodo }
func (c *Client) SetDefaults()             {}
func NewID(rand io.Reader) (string, error) { return "", errTodo }
func GenerateSecret(rand io.Reader, now time.Time) (plain string, s Secret, err error) {
	return "", Secret{}, errTodo
}
func ChosenSecret(rand io.Reader, hash string, now time.Time) (Secret, error) {
	return Secret{}, errTodo
}
func CheckChosenSecret(secret string) error          { return errTodo }
func (s Secret) Generated() bool                     { return false }
func (s Secret) MatchesGenerated(plain string) bool  { return false }
func (s Secret) Live(now time.Time) bool             { return false }
func (c *Client) LiveSecrets(now time.Time) []Secret { return nil }
func (c *Client) Allows(grant string) bool           { return false }
func (c *Client) HasOrigin(origin string) bool       { return false }
func (c *Client) PlanRotation(next Secret, overlap time.Duration, now time.Time) ([]Secret, error) {
	return nil, errTodo
}

// Metadata is a client as the command line, the REST API and the console show it.
// The names are those of RFC 7591 where it has one.
type Metadata struct {
	ClientID                string           `json:"client_id"`
	ClientName              string           `json:"client_name,omitempty"`
	TokenEndpointAuthMethod string           `json:"token_endpoint_auth_method,omitempty"`
	GrantTypes              []string         `json:"grant_types"`
	ResponseTypes           []string         `json:"response_types"`
	RedirectURIs            []string         `json:"redirect_uris"`
	Scope                   string           `json:"scope"`
	Audience                []string         `json:"audience"`
	FirstParty              bool             `json:"first_party"`
	ResourceServer          bool             `json:"resource_server"`
	PKCE                    string           `json:"pkce"`
	AccessTokenFormat       string           `json:"access_token_format"`
	AccessTokenLifetime     int64            `json:"access_token_lifetime,omitempty"`
	RefreshTokenLifetime    int64            `json:"refresh_token_lifetime,omitempty"`
	SessionLifetime         int64            `json:"session_lifetime,omitempty"`
	RefreshTokenDelivery    string           `json:"refresh_token_delivery"`
	AllowedOrigins          []string         `json:"allowed_origins"`
	Disabled                bool             `json:"disabled"`
	CreatedAt               time.Time        `json:"created_at"`
	UpdatedAt               time.Time        `json:"updated_at"`
	Version                 int64            `json:"version"`
	Secrets                 []SecretMetadata `json:"secrets"`
}

// SecretMetadata is what may be shown of a secret.
type SecretMetadata struct {
	SecretID   string     `json:"secret_id"`
	Kind       string     `json:"kind"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	ExpiresAt  *time.Time `json:"expires_at"`
}

func (c Client) Metadata(now time.Time) Metadata { return Metadata{} }

type Fosite struct{ Client *Client }

func NewFosite(c *Client) *Fosite                              { return &Fosite{Client: c} }
func (f *Fosite) GetID() string                                { return f.Client.ID }
func (f *Fosite) GetHashedSecret() []byte                      { return nil }
func (f *Fosite) GetRotatedHashes() [][]byte                   { return nil }
func (f *Fosite) GetRedirectURIs() []string                    { return f.Client.RedirectURIs }
func (f *Fosite) GetGrantTypes() fosite.Arguments              { return f.Client.Grants }
func (f *Fosite) GetResponseTypes() fosite.Arguments           { return nil }
func (f *Fosite) GetResponseModes() []fosite.ResponseModeType  { return nil }
func (f *Fosite) GetScopes() fosite.Arguments                  { return f.Client.Scope }
func (f *Fosite) IsPublic() bool                               { return f.Client.Public }
func (f *Fosite) GetAudience() fosite.Arguments                { return f.Client.Audience }
func (f *Fosite) GetRequestURIs() []string                     { return nil }
func (f *Fosite) GetJSONWebKeys() *jose.JSONWebKeySet          { return nil }
func (f *Fosite) GetJSONWebKeysURI() string                    { return "" }
func (f *Fosite) GetRequestObjectSigningAlgorithm() string     { return "" }
func (f *Fosite) GetTokenEndpointAuthMethod() string           { return string(f.Client.AuthMethod) }
func (f *Fosite) GetTokenEndpointAuthSigningAlgorithm() string { return "" }
func (f *Fosite) GetEffectiveLifespan(_ fosite.GrantType, _ fosite.TokenType, fallback time.Duration) time.Duration {
	return fallback
}
