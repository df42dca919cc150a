package clients

import (
	"strings"
	"time"
)

// Metadata is a client as the command line, the REST API and the console show it, in
// the names of RFC 7591 section 2 and OpenID Connect (Registration 1.0 section 2, and its
// logout specifications) where they have one. It holds neither a secret nor a
// hash, so that nothing that shows it can show one.
type Metadata struct {
	ClientID                string           `json:"client_id"`
	ClientName              string           `json:"client_name,omitempty"`
	TokenEndpointAuthMethod string           `json:"token_endpoint_auth_method,omitempty"` // absent: basic or post
	GrantTypes              []string         `json:"grant_types"`
	ResponseTypes           []string         `json:"response_types"`
	RedirectURIs            []string         `json:"redirect_uris"`
	Scope                   string           `json:"scope"`
	Audience                []string         `json:"audience"`
	FirstParty              bool             `json:"first_party"`
	ResourceServer          bool             `json:"resource_server"`
	PKCE                    string           `json:"pkce"`
	AccessTokenFormat       string           `json:"access_token_format"`
	AccessTokenLifetime     int64            `json:"access_token_lifetime,omitempty"` // seconds; absent: the server's default
	RefreshTokenLifetime    int64            `json:"refresh_token_lifetime,omitempty"`
	SessionLifetime         int64            `json:"session_lifetime,omitempty"`
	RefreshTokenDelivery    string           `json:"refresh_token_delivery"`
	AllowedOrigins          []string         `json:"allowed_origins"`
	PostLogoutRedirectURIs  []string         `json:"post_logout_redirect_uris"`
	BackchannelLogoutURI    string           `json:"backchannel_logout_uri,omitempty"`
	IDTokenAlg              string           `json:"id_token_signed_response_alg,omitempty"` // absent: RS256
	UserinfoAlg             string           `json:"userinfo_signed_response_alg,omitempty"` // absent: plain JSON
	ClientURI               string           `json:"client_uri,omitempty"`
	PolicyURI               string           `json:"policy_uri,omitempty"`
	TOSURI                  string           `json:"tos_uri,omitempty"`
	Disabled                bool             `json:"disabled"`
	CreatedAt               time.Time        `json:"created_at"`
	UpdatedAt               time.Time        `json:"updated_at"`
	Version                 int64            `json:"version"`
	Secrets                 []SecretMetadata `json:"secrets"`
}

// SecretMetadata is what may be shown of a secret.
type SecretMetadata struct {
	SecretID   string     `json:"secret_id"`
	Kind       string     `json:"kind"` // "generated" or "chosen"
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at"` // null: never
	ExpiresAt  *time.Time `json:"expires_at"`   // null: does not end by itself
}

// Metadata describes the client, with the secrets that work at that moment.
func (c Client) Metadata(now time.Time) Metadata {
	m := Metadata{
		ClientID:                c.ID,
		ClientName:              c.Name,
		TokenEndpointAuthMethod: string(c.AuthMethod),
		GrantTypes:              list(c.Grants),
		ResponseTypes:           list(c.responseTypes()),
		RedirectURIs:            list(c.RedirectURIs),
		Scope:                   strings.Join(c.Scope, " "),
		Audience:                list(c.Audience),
		FirstParty:              c.FirstParty,
		ResourceServer:          c.ResourceServer,
		PKCE:                    string(c.PKCE),
		AccessTokenFormat:       string(c.AccessToken),
		AccessTokenLifetime:     seconds(c.AccessTokenLifetime),
		RefreshTokenLifetime:    seconds(c.RefreshTokenLifetime),
		SessionLifetime:         seconds(c.SessionLifetime),
		RefreshTokenDelivery:    string(c.RefreshToken),
		AllowedOrigins:          list(c.AllowedOrigins),
		PostLogoutRedirectURIs:  list(c.PostLogoutRedirectURIs),
		BackchannelLogoutURI:    c.BackchannelLogoutURI,
		IDTokenAlg:              c.IDTokenAlg,
		UserinfoAlg:             c.UserinfoAlg,
		ClientURI:               c.ClientURI,
		PolicyURI:               c.PolicyURI,
		TOSURI:                  c.TOSURI,
		Disabled:                !c.DisabledAt.IsZero(),
		CreatedAt:               c.CreatedAt.UTC(),
		UpdatedAt:               c.UpdatedAt.UTC(),
		Version:                 c.Version,
		Secrets:                 []SecretMetadata{},
	}
	for _, s := range c.LiveSecrets(now) {
		kind := "chosen"
		if s.Generated() {
			kind = "generated"
		}
		m.Secrets = append(m.Secrets, SecretMetadata{
			SecretID: s.ID, Kind: kind,
			CreatedAt: s.CreatedAt.UTC(), LastUsedAt: moment(s.LastUsedAt), ExpiresAt: moment(s.ExpiresAt),
		})
	}
	return m
}

// responseTypes follow from the grants (RFC 7591 section 2.1).
func (c Client) responseTypes() []string {
	if c.Allows(GrantAuthorizationCode) {
		return []string{"code"}
	}
	return nil
}

// list makes an empty JSON array of nil, and no alias of the client's own.
func list(values []string) []string { return append([]string{}, values...) }

// moment makes null of no time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }
