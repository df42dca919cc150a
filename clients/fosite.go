package clients

import (
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
)

// The type of a client decides which of fosite's checks run, so one type has them all.
var (
	_ fosite.Client                         = (*Fosite)(nil)
	_ fosite.ClientWithSecretRotation       = (*Fosite)(nil)
	_ fosite.OpenIDConnectClient            = (*Fosite)(nil)
	_ fosite.ResponseModeClient             = (*Fosite)(nil)
	_ fosite.ClientWithCustomTokenLifespans = (*Fosite)(nil)
)

// Fosite is a Client as fosite wants to see it. It is made once and then shared by
// requests: neither it nor its Client may be changed.
type Fosite struct {
	Client        *Client
	responseTypes fosite.Arguments
	responseModes []fosite.ResponseModeType
}

// NewFosite wraps a client that passed Check.
func NewFosite(c *Client) *Fosite {
	return &Fosite{
		Client:        c,
		responseTypes: c.responseTypes(),
		responseModes: []fosite.ResponseModeType{fosite.ResponseModeDefault, fosite.ResponseModeQuery, fosite.ResponseModeFragment, fosite.ResponseModeFormPost},
	}
}

// GetID is the client id.
func (f *Fosite) GetID() string { return f.Client.ID }

// GetHashedSecret is always empty: secrets end with time and chosen ones need the
// queue of the password hash, and fosite knows neither. server/oauth checks
// Client.LiveSecrets itself; should fosite's own strategy ever run, it finds nothing
// that matches.
func (f *Fosite) GetHashedSecret() []byte { return nil }

// GetRotatedHashes is always empty, like GetHashedSecret.
func (f *Fosite) GetRotatedHashes() [][]byte { return nil }

// GetRedirectURIs are the registered ones.
func (f *Fosite) GetRedirectURIs() []string { return f.Client.RedirectURIs }

// GetGrantTypes are exactly the registered ones: fosite's own client means
// authorization_code when there is none, ours (a resource server) means none.
func (f *Fosite) GetGrantTypes() fosite.Arguments { return f.Client.Grants }

// GetResponseTypes follow from the grants.
func (f *Fosite) GetResponseTypes() fosite.Arguments { return f.responseTypes }

// GetResponseModes are all that the server knows: none is safer for some clients than for others.
func (f *Fosite) GetResponseModes() []fosite.ResponseModeType { return f.responseModes }

// GetScopes are the scopes that may be asked for.
func (f *Fosite) GetScopes() fosite.Arguments { return f.Client.Scope }

// IsPublic reports whether the client has no secret.
func (f *Fosite) IsPublic() bool { return f.Client.Public }

// GetAudience are the audiences that may be asked for.
func (f *Fosite) GetAudience() fosite.Arguments { return f.Client.Audience }

// GetTokenEndpointAuthMethod is "" for a client that may use basic or post. fosite's
// own strategy refuses both then; ours asks the Client.
func (f *Fosite) GetTokenEndpointAuthMethod() string { return string(f.Client.AuthMethod) }

// GetEffectiveLifespan is the registered lifetime, or the server's. A refresh token's
// is the idle limit; the absolute one belongs to the grant.
func (f *Fosite) GetEffectiveLifespan(_ fosite.GrantType, token fosite.TokenType, fallback time.Duration) time.Duration {
	own := time.Duration(0)
	switch token {
	case fosite.AccessToken:
		own = f.Client.AccessTokenLifetime
	case fosite.RefreshToken:
		own = f.Client.RefreshTokenLifetime
	}
	if own > 0 {
		return own
	}
	return fallback
}

// Request objects, their addresses and client assertions are not offered: with
// nothing registered fosite refuses them (design.md section 8, rule 12).

// GetRequestURIs is empty.
func (f *Fosite) GetRequestURIs() []string { return nil }

// GetJSONWebKeys is nil.
func (f *Fosite) GetJSONWebKeys() *jose.JSONWebKeySet { return nil }

// GetJSONWebKeysURI is empty.
func (f *Fosite) GetJSONWebKeysURI() string { return "" }

// GetRequestObjectSigningAlgorithm is empty.
func (f *Fosite) GetRequestObjectSigningAlgorithm() string { return "" }

// GetTokenEndpointAuthSigningAlgorithm is empty.
func (f *Fosite) GetTokenEndpointAuthSigningAlgorithm() string { return "" }
