package oauth

import (
	"net/http"
	"slices"

	"github.com/grantorhq/grantor/server/ui"
)

// metadata is RFC 8414 section 2 and OpenID Connect Discovery section 3: exactly
// what works, and nothing that does not. Both documents are the same bytes.
type metadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	UserinfoEndpoint      string   `json:"userinfo_endpoint"`
	EndSessionEndpoint    string   `json:"end_session_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	GrantTypes            []string `json:"grant_types_supported"`
	ResponseTypes         []string `json:"response_types_supported"`
	ResponseModes         []string `json:"response_modes_supported"`
	ChallengeMethods      []string `json:"code_challenge_methods_supported"`
	Prompts               []string `json:"prompt_values_supported"`
	Languages             []string `json:"ui_locales_supported"`
	ACRs                  []string `json:"acr_values_supported"`
	ClaimTypes            []string `json:"claim_types_supported"`
	UserinfoAlgorithms    []string `json:"userinfo_signing_alg_values_supported"`
	SubjectTypes          []string `json:"subject_types_supported"`
	// The algorithms of the keys in the JWKS. A required member, and verifiers of access tokens read it too.
	IDTokenAlgorithms        []string `json:"id_token_signing_alg_values_supported"`
	Scopes                   []string `json:"scopes_supported"`
	Claims                   []string `json:"claims_supported"`
	TokenAuthMethods         []string `json:"token_endpoint_auth_methods_supported"`
	IntrospectionAuthMethods []string `json:"introspection_endpoint_auth_methods_supported"`
	RevocationAuthMethods    []string `json:"revocation_endpoint_auth_methods_supported"`
	IssParameter             bool     `json:"authorization_response_iss_parameter_supported"`
	ClaimsParameter          bool     `json:"claims_parameter_supported"`
	BackchannelLogout        bool     `json:"backchannel_logout_supported"`
	BackchannelLogoutSession bool     `json:"backchannel_logout_session_supported"`
	RequestParameter         bool     `json:"request_parameter_supported"`
	// OpenID Connect Discovery says that leaving it out means true.
	RequestURIParameter bool `json:"request_uri_parameter_supported"`
}

func (h *Handler) describe() metadata {
	confidential := []string{"client_secret_basic", "client_secret_post"}
	public := []string{"client_secret_basic", "client_secret_post", "none"}
	return metadata{
		Issuer:                   h.Issuer,
		AuthorizationEndpoint:    h.Issuer + "/oauth2/auth",
		TokenEndpoint:            h.Issuer + "/oauth2/token",
		IntrospectionEndpoint:    h.Issuer + "/oauth2/introspect",
		RevocationEndpoint:       h.Issuer + "/oauth2/revoke",
		UserinfoEndpoint:         h.Issuer + "/userinfo",
		EndSessionEndpoint:       h.Issuer + "/oauth2/logout",
		JWKSURI:                  h.Issuer + "/.well-known/jwks.json",
		GrantTypes:               grantTypes,
		ResponseTypes:            []string{"code"},
		ResponseModes:            []string{"query", "fragment", "form_post"},
		ChallengeMethods:         []string{"S256"},
		Prompts:                  prompts,
		Languages:                ui.Languages(),
		ACRs:                     []string{acrPassword},
		ClaimTypes:               []string{"normal"},
		UserinfoAlgorithms:       []string{"RS256", "ES256"},
		SubjectTypes:             []string{"public"},
		IDTokenAlgorithms:        []string{"RS256", "ES256"},
		Scopes:                   append(slices.Clone(userScopes), "offline_access"),
		Claims:                   append(userClaims(), "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "azp", "sid", "at_hash"),
		TokenAuthMethods:         public,
		IntrospectionAuthMethods: confidential,
		RevocationAuthMethods:    public,
		IssParameter:             true,
		ClaimsParameter:          true,
		BackchannelLogout:        true,
		BackchannelLogoutSession: true,
	}
}

// Metadata is GET /.well-known/oauth-authorization-server and
// /.well-known/openid-configuration.
func (h *Handler) Metadata(w http.ResponseWriter, _ *http.Request) error {
	// With its length, however long: net/http would send a long one in chunks, and HEAD without.
	SetHeaders(w.Header(), "Content-Type", "application/json", "Cache-Control", "public, max-age=300", "Content-Length", h.metadataLength)
	// The client is gone when this fails; there is nobody to tell.
	_, _ = w.Write(h.metadata)
	return nil
}
