package conformance_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/servertest"
)

func discovery(p *party) {
	t := p.t
	a := p.Send(servertest.Get("/.well-known/openid-configuration"))
	p.status(a, http.StatusOK)
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	issuer, err := url.Parse(p.Issuer)
	require.NoError(t, err)
	require.Equal(t, "https", issuer.Scheme)
	require.Empty(t, issuer.RawQuery+issuer.Fragment)
	require.Equal(t, p.Issuer, p.metadata["issuer"], "the address of the document less its path")

	for _, name := range []string{"authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"} {
		require.Contains(t, p.metadata, name)
	}
	p.endpointsAreSecure()

	require.Subset(t, p.strings("response_types_supported"), []string{"code"})
	require.Subset(t, p.strings("subject_types_supported"), []string{"public"})
	require.Subset(t, p.strings("id_token_signing_alg_values_supported"), []string{"RS256"})
	require.Subset(t, p.strings("userinfo_signing_alg_values_supported"), []string{"RS256"})
	require.Subset(t, p.strings("scopes_supported"), scopes)
	require.Subset(t, p.strings("grant_types_supported"), []string{"authorization_code"}, "left out it means implicit, too")
	require.Subset(t, p.strings("claims_supported"), []string{"sub", "iss", "auth_time", "name", "email"})
	require.Equal(t, []string{"S256"}, p.strings("code_challenge_methods_supported"))
	require.Equal(t, true, p.metadata["claims_parameter_supported"])
	for _, name := range []string{"request_parameter_supported", "request_uri_parameter_supported"} {
		require.IsType(t, true, p.metadata[name])
	}
	for _, scope := range p.strings("scopes_supported") {
		require.Regexp(t, scopeToken, scope)
	}
	for _, language := range p.strings("ui_locales_supported") {
		require.Regexp(t, languageTag, language)
	}
	for name := range p.metadata {
		require.True(t, registered[name], "%s is in no registry", name)
	}
	p.keysAreSound()
}

var (
	scopeToken  = regexp.MustCompile(`^[\x21\x23-\x5b\x5d-\x7e]+$`)      // RFC 6749 section 3.3
	languageTag = regexp.MustCompile(`^[a-z]{2,3}(-[A-Z]{2}|-[0-9]+)?$`) // RFC 5646, in its usual case
	unpadded    = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
)

// strings is a list in the metadata, which is never empty.
func (p *party) strings(name string) (list []string) {
	p.t.Helper()
	values, ok := p.metadata[name].([]any)
	require.True(p.t, ok, "%s is a list", name)
	require.NotEmpty(p.t, values, name)
	for _, value := range values {
		text, ok := value.(string)
		require.True(p.t, ok, name)
		list = append(list, text)
	}
	return list
}

// endpointsAreSecure: each address in the metadata, those that OpenID Connect does not know too.
func (p *party) endpointsAreSecure() {
	p.t.Helper()
	for name, value := range p.metadata {
		if !strings.HasSuffix(name, "_endpoint") && !strings.HasSuffix(name, "_uri") {
			continue
		}
		text, ok := value.(string)
		require.True(p.t, ok, name)
		address, err := url.Parse(text)
		require.NoError(p.t, err, name)
		require.Equal(p.t, "https", address.Scheme, name)
		require.NotEmpty(p.t, address.Host, name)
	}
}

// keysAreSound: public ones, each with an id of its own, one of them for RS256.
func (p *party) keysAreSound() {
	t := p.t
	t.Helper()
	require.NotEmpty(t, p.keys.Keys)
	ids, algorithms := map[string]bool{}, map[string]bool{}
	for _, key := range p.keys.Keys {
		require.True(t, key.Valid())
		require.True(t, key.IsPublic())
		require.Equal(t, "sig", key.Use)
		require.NotEmpty(t, key.KeyID)
		require.False(t, ids[key.KeyID], "two keys of one id")
		ids[key.KeyID], algorithms[key.Algorithm] = true, true
	}
	require.True(t, algorithms["RS256"])

	var raw struct {
		Keys []map[string]any `json:"keys"`
	}
	require.NoError(t, json.Unmarshal(p.Send(servertest.Get(p.endpoint("jwks_uri"))).Body, &raw))
	for _, key := range raw.Keys {
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
			require.NotContains(t, key, private)
		}
		for _, name := range []string{"n", "e", "x", "y"} {
			if value, ok := key[name]; ok {
				require.Regexp(t, unpadded, value)
			}
		}
	}
}

// registered are names of the IANA registry of authorization server metadata, and of
// OpenID Connect's specifications. The suite warns of others.
var registered = func() map[string]bool {
	names := map[string]bool{}
	for _, name := range strings.Fields(`
		issuer authorization_endpoint token_endpoint jwks_uri registration_endpoint scopes_supported response_types_supported
		response_modes_supported grant_types_supported token_endpoint_auth_methods_supported token_endpoint_auth_signing_alg_values_supported
		service_documentation ui_locales_supported op_policy_uri op_tos_uri revocation_endpoint revocation_endpoint_auth_methods_supported
		introspection_endpoint introspection_endpoint_auth_methods_supported code_challenge_methods_supported signed_metadata
		pushed_authorization_request_endpoint require_pushed_authorization_requests authorization_response_iss_parameter_supported
		userinfo_endpoint acr_values_supported subject_types_supported id_token_signing_alg_values_supported
		userinfo_signing_alg_values_supported request_object_signing_alg_values_supported display_values_supported claim_types_supported
		claims_supported claims_locales_supported claims_parameter_supported request_parameter_supported request_uri_parameter_supported
		require_request_uri_registration end_session_endpoint backchannel_logout_supported backchannel_logout_session_supported
		frontchannel_logout_supported frontchannel_logout_session_supported prompt_values_supported dpop_signing_alg_values_supported
		protected_resources`) {
		names[name] = true
	}
	return names
}()
