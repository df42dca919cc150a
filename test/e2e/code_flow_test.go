package e2e_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/grantorhq/grantor/storage/storagetest"
)

// Where the clients of these tests want people to come back to. Nothing is there: the
// browser is stopped at the door.
const (
	shopCallback  = "https://shop.example.com/callback"
	shopSignedOut = "https://shop.example.com/signed-out"
)

// account makes a user with a few claims.
func (w *world) account(name string) (password string) {
	w.t.Helper()
	var made struct{ Password string }
	w.read(&made, "user", "create", name, "--email", name+"@example.com", "--email-verified", "--full-name", "The full name of "+name)
	w.secret(made.Password)
	return made.Password
}

// People sign in through libraries that know nothing of Grantor but its address:
// go-oidc finds the endpoints and verifies, x/oauth2 does the flow.
func TestCodeFlow_with_foreign_libraries(t *testing.T) {
	t.Parallel()
	each(t, storagetest.Setup{}, nil, func(t *testing.T, w *world) {
		p := w.serve()
		password := w.account("alice")
		provider, err := oidc.NewProvider(t.Context(), p.url)
		require.NoError(t, err)
		base := []string{"--grant", "authorization_code", "--grant", "refresh_token", "--scope", "openid profile email", "--redirect-uri", shopCallback}
		visitor := newPerson(t, "alice", password, "")
		for i, c := range []struct {
			id      string
			flags   []string
			style   oauth2.AuthStyle
			options []oauth2.AuthCodeOption
			back    string // "": shopCallback
		}{
			{id: "shop"},
			{id: "shop-header", style: oauth2.AuthStyleInHeader, flags: []string{"--auth-method", "client_secret_basic"}},
			{id: "shop-form", style: oauth2.AuthStyleInParams, flags: []string{"--auth-method", "client_secret_post"}},
			{id: "shop-es256", flags: []string{"--id-token-alg", "ES256"}},
			{id: "shop-signed-userinfo", flags: []string{"--userinfo-alg", "RS256"}},
			{id: "shop-opaque", flags: []string{"--access-token", "opaque"}},
			{id: "shop-form-post", options: []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("response_mode", "form_post")}},
			{id: "notes", style: oauth2.AuthStyleInParams, flags: []string{"--public", "--redirect-uri", "http://127.0.0.1/back"}, back: "http://127.0.0.1:49152/back"},
		} {
			client := w.client(c.id, append(base, c.flags...)...)
			endpoint := provider.Endpoint()
			endpoint.AuthStyle = c.style
			config := &oauth2.Config{
				ClientID: client.ID, ClientSecret: client.Secret, Endpoint: endpoint, RedirectURL: shopCallback,
				Scopes: []string{oidc.ScopeOpenID, "profile", "email"},
			}
			if c.back != "" {
				config.RedirectURL = c.back
			}
			w.signInThrough(provider, config, visitor, c.options)
			require.Equal(t, 1, visitor.signedIn, "once for all clients")
			require.Equal(t, i+1, visitor.asked, "once for each")
			t.Log("signed in at", c.id)
		}
	})
}

// signInThrough is one client from the link on its page to the end of the session.
func (w *world) signInThrough(provider *oidc.Provider, config *oauth2.Config, visitor *person, options []oauth2.AuthCodeOption) {
	t := w.t
	t.Helper()
	token := w.obtain(config, visitor, "state 1", "nonce 1", options)
	first := w.verifyIDToken(provider, config, token)
	require.Equal(t, "nonce 1", first.Nonce)

	info, err := provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token))
	require.NoError(t, err)
	require.Equal(t, first.Subject, info.Subject)
	require.Equal(t, "alice@example.com", info.Email)
	require.True(t, info.EmailVerified)
	var named struct{ Name string }
	require.NoError(t, info.Claims(&named))
	require.Equal(t, "The full name of alice", named.Name)

	// The library renews when the token is over.
	over := *token
	over.Expiry = time.Now().Add(-time.Minute)
	source := config.TokenSource(t.Context(), &over)
	renewed, err := source.Token()
	require.NoError(t, err)
	w.secret(renewed.AccessToken, renewed.RefreshToken)
	again := w.verifyIDToken(provider, config, renewed)
	require.Equal(t, first.Subject, again.Subject)
	require.Empty(t, again.Nonce)

	// Signed in and asked before: the next time is a redirect there and back.
	if !strings.HasPrefix(config.RedirectURL, "http://127.0.0.1") {
		quiet := append(append([]oauth2.AuthCodeOption{}, options...), oauth2.SetAuthURLParam("prompt", "none"))
		second := w.obtain(config, visitor, "state 2", "nonce 2", quiet)
		require.Equal(t, first.Subject, w.verifyIDToken(provider, config, second).Subject)
	}
}

// obtain sends the person to sign in, and redeems the code that they come back with. It
// can be redeemed once.
func (w *world) obtain(config *oauth2.Config, visitor *person, state, nonce string, options []oauth2.AuthCodeOption) *oauth2.Token {
	t := w.t
	t.Helper()
	verifier := oauth2.GenerateVerifier()
	options = append([]oauth2.AuthCodeOption{oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)}, options...)
	came := visitor.visit(config.AuthCodeURL(state, options...))
	require.Equal(t, config.RedirectURL, (&url.URL{Scheme: came.at.Scheme, Host: came.at.Host, Path: came.at.Path}).String())
	answer := came.values()
	require.Empty(t, answer.Get("error"), answer)
	require.Equal(t, state, answer.Get("state"))
	require.NotEmpty(t, answer.Get("iss"))
	code := answer.Get("code")
	w.secret(code)

	token, err := config.Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	require.NoError(t, err)
	w.secret(token.AccessToken, token.RefreshToken)
	require.True(t, token.Valid())
	require.NotEmpty(t, token.RefreshToken)

	_, err = config.Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	refusal := new(oauth2.RetrieveError)
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, "invalid_grant", refusal.ErrorCode)
	return token
}

// verifyIDToken is all that go-oidc checks: signature, issuer, audience, times, at_hash.
func (w *world) verifyIDToken(provider *oidc.Provider, config *oauth2.Config, token *oauth2.Token) *oidc.IDToken {
	t := w.t
	t.Helper()
	raw, ok := token.Extra("id_token").(string)
	require.True(t, ok, "there is an ID token")
	w.secret(raw)
	idToken, err := provider.Verifier(&oidc.Config{ClientID: config.ClientID}).Verify(t.Context(), raw)
	require.NoError(t, err)
	require.NoError(t, idToken.VerifyAccessToken(token.AccessToken))
	return idToken
}
