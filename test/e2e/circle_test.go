package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/grantorhq/grantor/storage/storagetest"
)

// The circle with libraries that know nothing of Grantor: log in, renew, verify,
// ask, end, and all of it again after the keys were rotated under them.
func TestCircle_with_foreign_libraries(t *testing.T) {
	t.Parallel()
	each(t, storagetest.Setup{}, nil, func(t *testing.T, w *world) {
		p := w.serve()
		web := w.client("web", "--grant", "password", "--grant", "refresh_token", "--grant", "client_credentials", "--scope", "openid orders")
		w.user("mallory") // somebody else is there too
		password := w.user("alice")

		provider, err := oidc.NewProvider(t.Context(), p.url)
		require.NoError(t, err)
		verify := verifiers(t, provider, p.url)

		var live []tokens // one pair of each style, of before the rotation
		for name, style := range map[string]oauth2.AuthStyle{
			"autodetect": oauth2.AuthStyleAutoDetect, "header": oauth2.AuthStyleInHeader, "form": oauth2.AuthStyleInParams,
		} {
			live = append(live, w.walk(provider, web, style, password, verify))
			t.Log("walked with client authentication by", name)
		}

		// A verifier that last looked before the rotation: the key that comes next was published already.
		before := fetchKeys(t, p.url)
		signer := keyOf(t, live[0].access)
		w.run("key", "rotate", "--algorithm", "ES256")
		began := time.Now()
		var fresh string
		require.Eventually(t, func() bool {
			fresh = w.tokensOf(post(t, p.url+"/oauth2/token", web, clientForm())).access
			verify(fresh) // whoever signed it
			return keyOf(t, fresh) != signer
		}, 10*time.Second, 50*time.Millisecond, "the running server obeys within ten seconds")
		t.Logf("the new key signs %s after the command", time.Since(began).Round(time.Millisecond))

		verifyWith(t, before, fresh, p.url)
		again, err := oidc.NewProvider(t.Context(), p.url)
		require.NoError(t, err)
		verifyAgain := verifiers(t, again, p.url)
		for _, pair := range live {
			verify(pair.access)
			verifyAgain(pair.access)
			require.True(t, w.active(p, web, pair.access), "the server still takes what the old key signed")
			renewed := w.renew(p, web, pair.refresh)
			require.NotEqual(t, signer, keyOf(t, renewed.access))
			verify(renewed.access)
			verifyAgain(renewed.access)
		}
		w.walk(again, web, oauth2.AuthStyleAutoDetect, password, verifyAgain)
	})
}

// walk logs in, renews with an expired token, gets a token for the client itself,
// and ends one session. It answers a pair that is still good.
func (w *world) walk(provider *oidc.Provider, web credentials, style oauth2.AuthStyle, password string, verify func(string) claims) tokens {
	t := w.t
	t.Helper()
	endpoint := provider.Endpoint()
	endpoint.AuthStyle = style
	config := oauth2.Config{ClientID: web.ID, ClientSecret: web.Secret, Endpoint: endpoint, Scopes: []string{"openid", "orders"}}
	login := func() *oauth2.Token {
		token, err := config.PasswordCredentialsToken(t.Context(), "alice", password)
		require.NoError(t, err)
		w.secret(token.AccessToken, token.RefreshToken)
		require.Equal(t, "Bearer", token.Type())
		require.NotEmpty(t, token.RefreshToken)
		require.True(t, token.Valid())
		return token
	}
	token := login()
	who := verify(token.AccessToken)
	require.Equal(t, "web", who.ClientID)
	require.Equal(t, "openid orders", who.Scope)

	info, err := provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token))
	require.NoError(t, err)
	require.Equal(t, who.Subject, info.Subject)

	// The library renews when the token is over. Nothing else is changed about it.
	over := *token
	over.Expiry = time.Now().Add(-time.Minute)
	source := config.TokenSource(t.Context(), &over)
	renewed, err := source.Token()
	require.NoError(t, err)
	w.secret(renewed.AccessToken, renewed.RefreshToken)
	require.NotEqual(t, token.AccessToken, renewed.AccessToken)
	require.NotEqual(t, token.RefreshToken, renewed.RefreshToken)
	require.Equal(t, who.Subject, verify(renewed.AccessToken).Subject)
	same, err := source.Token()
	require.NoError(t, err)
	require.Equal(t, renewed.AccessToken, same.AccessToken, "it is good for a while")

	own := clientcredentials.Config{
		ClientID: web.ID, ClientSecret: web.Secret, TokenURL: endpoint.TokenURL, AuthStyle: style, Scopes: []string{"orders"},
	}
	machine, err := own.Token(t.Context())
	require.NoError(t, err)
	w.secret(machine.AccessToken)
	require.Empty(t, machine.RefreshToken)
	require.Equal(t, "web", verify(machine.AccessToken).Subject)

	// The end: one of two sessions, by revocation.
	ended := login()
	var document struct {
		Revocation    string `json:"revocation_endpoint"`
		Introspection string `json:"introspection_endpoint"`
	}
	require.NoError(t, provider.Claims(&document))
	require.Equal(t, "true", post(t, document.Introspection, web, tokenForm(ended.AccessToken)).field("active"))
	require.Equal(t, http.StatusOK, post(t, document.Revocation, web, tokenForm(ended.RefreshToken)).status)
	require.Equal(t, "false", post(t, document.Introspection, web, tokenForm(ended.AccessToken)).field("active"))
	ended.Expiry = time.Now().Add(-time.Minute)
	_, err = config.TokenSource(t.Context(), ended).Token()
	refusal := new(oauth2.RetrieveError)
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, "invalid_grant", refusal.ErrorCode)
	_, err = config.PasswordCredentialsToken(t.Context(), "alice", password+"x")
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, "invalid_grant", refusal.ErrorCode)
	return tokens{renewed.AccessToken, renewed.RefreshToken}
}

// claims are what a resource server reads.
type claims struct {
	jwt.Claims
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

// verifiers checks a token with go-oidc, which found and keeps the keys by itself,
// and with go-jose, on keys fetched that moment.
func verifiers(t testing.TB, provider *oidc.Provider, server string) func(token string) claims {
	t.Helper()
	verifier := provider.Verifier(&oidc.Config{ClientID: server, SupportedSigningAlgs: []string{oidc.ES256}})
	return func(token string) claims {
		t.Helper()
		byOIDC, err := verifier.Verify(context.WithoutCancel(t.Context()), token)
		require.NoError(t, err)
		var document struct {
			JWKS string `json:"jwks_uri"`
		}
		require.NoError(t, provider.Claims(&document))
		require.Equal(t, server+"/.well-known/jwks.json", document.JWKS)
		byJOSE := verifyWith(t, fetchKeys(t, server), token, server)
		require.Equal(t, byOIDC.Subject, byJOSE.Subject)
		return byJOSE
	}
}

func fetchKeys(t testing.TB, server string) jose.JSONWebKeySet {
	t.Helper()
	a := get(t, server+"/.well-known/jwks.json")
	require.Equal(t, http.StatusOK, a.status)
	var keys jose.JSONWebKeySet
	require.NoError(t, json.Unmarshal(a.body, &keys))
	require.NotEmpty(t, keys.Keys)
	for _, key := range keys.Keys {
		require.True(t, key.Valid())
		require.True(t, key.IsPublic(), "no private part is published")
		require.Equal(t, "sig", key.Use)
	}
	return keys
}

// verifyWith is RFC 9068 section 4 with go-jose.
func verifyWith(t testing.TB, keys jose.JSONWebKeySet, token, server string) (c claims) {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	require.NoError(t, err)
	require.Equal(t, "at+jwt", parsed.Headers[0].ExtraHeaders[jose.HeaderType])
	found := keys.Key(parsed.Headers[0].KeyID)
	require.Len(t, found, 1, "the key is published")
	require.NoError(t, parsed.Claims(found[0].Key, &c))
	require.NoError(t, c.ValidateWithLeeway(jwt.Expected{Issuer: server, AnyAudience: jwt.Audience{server}, Time: time.Now()}, time.Second))
	require.NotEmpty(t, c.ID)
	return c
}

func keyOf(t testing.TB, token string) string {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	require.NoError(t, err)
	return parsed.Headers[0].KeyID
}

// Metadata lists exactly what works: every endpoint in it answers as what it is.
func TestCircle_begins_with_metadata(t *testing.T) {
	t.Parallel()
	each(t, storagetest.Setup{}, nil, func(t *testing.T, w *world) {
		p := w.serve()
		web := w.client("web", "--grant", "client_credentials")
		a, b := get(t, p.url+"/.well-known/openid-configuration"), get(t, p.url+"/.well-known/oauth-authorization-server")
		require.JSONEq(t, string(a.body), string(b.body))
		require.Equal(t, p.url, a.field("issuer"))
		for _, name := range []string{"token_endpoint", "introspection_endpoint", "revocation_endpoint"} {
			refused(t, post(t, a.field(name), web, url.Values{}), "invalid_request")
		}
		require.Equal(t, http.StatusUnauthorized, get(t, a.field("userinfo_endpoint")).status)
		require.Equal(t, http.StatusBadRequest, get(t, a.field("authorization_endpoint")).status)
		require.Equal(t, http.StatusOK, get(t, a.field("end_session_endpoint")).status)
		require.Empty(t, a.field("registration_endpoint"), "it does not work yet")
	})
}
