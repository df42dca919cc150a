package clients_test

import (
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
)

func TestFosite(t *testing.T) {
	c := web()
	_, s := generate(t)
	c.Secrets = []clients.Secret{s}
	c.AuthMethod = clients.AuthPost
	f := clients.NewFosite(&c)
	require.Equal(t, "shop", f.GetID())
	require.Equal(t, c.RedirectURIs, f.GetRedirectURIs())
	require.Equal(t, fosite.Arguments(c.Grants), f.GetGrantTypes())
	require.Equal(t, fosite.Arguments{"code"}, f.GetResponseTypes())
	require.Equal(t, fosite.Arguments(c.Scope), f.GetScopes())
	require.Equal(t, fosite.Arguments(c.Audience), f.GetAudience())
	require.Equal(t, "client_secret_post", f.GetTokenEndpointAuthMethod())
	require.False(t, f.IsPublic())
	require.Contains(t, f.GetResponseModes(), fosite.ResponseModeFormPost)
	require.Empty(t, f.GetHashedSecret(), "fosite must not check secrets: it knows no end of them")
	require.Empty(t, f.GetRotatedHashes())
	require.Empty(t, f.GetRequestURIs())
	require.Nil(t, f.GetJSONWebKeys())
	require.Empty(t, f.GetJSONWebKeysURI())
	require.Empty(t, f.GetRequestObjectSigningAlgorithm())
	require.Empty(t, f.GetTokenEndpointAuthSigningAlgorithm())

	a := app()
	require.True(t, clients.NewFosite(&a).IsPublic())
	require.Equal(t, "none", clients.NewFosite(&a).GetTokenEndpointAuthMethod())
}

func TestFositeResourceServerHasNoGrant(t *testing.T) {
	f := clients.NewFosite(&clients.Client{ID: "rs", ResourceServer: true})
	require.Empty(t, f.GetGrantTypes(), "none means none")
	require.Empty(t, f.GetResponseTypes())
}

func TestFositeLifetimes(t *testing.T) {
	const fallback = 42 * time.Second
	c := web()
	f := clients.NewFosite(&c)
	lifetime := func(token fosite.TokenType) time.Duration {
		return fosite.GetEffectiveLifespan(f, fosite.GrantTypePassword, token, fallback)
	}
	require.Equal(t, fallback, lifetime(fosite.AccessToken))
	require.Equal(t, fallback, lifetime(fosite.RefreshToken))
	c.AccessTokenLifetime, c.RefreshTokenLifetime, c.SessionLifetime = time.Minute, time.Hour, 2*time.Hour
	require.Equal(t, time.Minute, lifetime(fosite.AccessToken))
	require.Equal(t, time.Hour, lifetime(fosite.RefreshToken))
	require.Equal(t, fallback, lifetime(fosite.IDToken))
	require.Equal(t, fallback, lifetime(fosite.AuthorizeCode))
}
