package conformance_test

import (
	"net/http"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/server/servertest"
)

func server(p *party) {
	require.Contains(p.t, p.metadata["token_endpoint_auth_methods_supported"], "client_secret_basic")
	f := p.complete()
	require.NotEmpty(p.t, f.idToken.Nonce)
	require.NotEmpty(p.t, f.idToken.ATHash, "optional in this flow, and ours has it")
}

// The answer goes to the client: its redirect URI is proven.
func responseTypeMissing(p *party) {
	p.ask("response_type", "-").refused("invalid_request", "unsupported_response_type")
}

func idTokenSignature(p *party) {
	f := p.complete()
	require.Equal(p.t, "RS256", f.idToken.header.Algorithm)
	require.NotEmpty(p.t, f.idToken.header.KeyID)
}

// The suite skips it for a server that does not say that it can. Ours can not, and
// nobody can ask it to.
func idTokenUnsigned(p *party) {
	require.NotContains(p.t, p.metadata["id_token_signing_alg_values_supported"], "none")
	c := clients.Client{ID: "unsigned", Grants: []string{clients.GrantAuthorizationCode}, RedirectURIs: []string{callback}, IDTokenAlg: "none"}
	c.SetDefaults()
	require.Error(p.t, c.Check())
}

func withoutNonce(p *party) {
	f := p.complete("nonce", "-")
	require.NotContains(p.t, f.idToken.all, "nonce")
}

// The same request with everything in another order.
func alternateHappyFlow(p *party) {
	f := p.request("scope", "email openid")
	f.page = f.browser.Get(f.endpoint("authorization_endpoint") + "?" + backwards(f.query))
	f.finish()
	require.NotContains(p.t, f.idToken.all, "email")
	info := p.userinfo(f.idToken.Subject, servertest.Get(p.endpoint("userinfo_endpoint")).Bearer(f.tokens.Access()))
	require.Equal(p.t, personMail, info["email"])
}

// A reuse at once may be the client's own retry. It gets nothing, and the session stays:
// attacks.md C-03, docs/decisions/0001.
func codeReuse(p *party) {
	f := p.complete()
	a := f.redeem()
	p.unsuccessful(a, http.StatusBadRequest, "invalid_grant")
	require.Equal(p.t, "application/json", a.Header.Get("Content-Type"))
	require.NotContains(p.t, a.JSON, "access_token")
}

func codeReuse30Seconds(p *party) {
	f := p.complete()
	p.Clock.Advance(30 * time.Second)
	p.unsuccessful(f.redeem(), http.StatusBadRequest, "invalid_grant")
	p.unsuccessful(p.Send(servertest.Get(p.endpoint("userinfo_endpoint")).Bearer(f.tokens.Access())), http.StatusUnauthorized, "invalid_token")
	p.unsuccessful(p.token("grant_type", "refresh_token", "refresh_token", f.tokens.Refresh()), http.StatusBadRequest, "invalid_grant")
}

func clientSecretPost(p *party) {
	require.Contains(p.t, p.metadata["token_endpoint_auth_methods_supported"], "client_secret_post")
	p.client = post
	p.complete()
}

func refreshToken(p *party) {
	require.Contains(p.t, p.metadata["grant_types_supported"], "refresh_token")
	var last *servertest.Answer
	for _, client := range []string{first, second} {
		p.client = client
		f := p.complete()
		p.Clock.Advance(time.Second) // iat shows it
		pairs := []string{"grant_type", "refresh_token", "refresh_token", f.tokens.Refresh()}
		if client == first {
			pairs = append(pairs, "scope", "openid")
		}
		last = p.token(pairs...)
		p.renews(f, last)
	}
	// What the second got is of no use to the first, and still the second's.
	p.client = first
	p.unsuccessful(p.token("grant_type", "refresh_token", "refresh_token", last.Refresh()), http.StatusBadRequest, "invalid_grant")
	p.client = second
	p.successful(p.token("grant_type", "refresh_token", "refresh_token", last.Refresh()))
}

// renews holds an answer to a refresh token against OpenID Connect Core section 12.2.
func (p *party) renews(f *flow, a *servertest.Answer) {
	t := p.t
	t.Helper()
	p.successful(a)
	require.NotEqual(t, f.tokens.Access(), a.Access())
	require.GreaterOrEqual(t, len(a.Refresh()), 22)
	require.True(t, ascii(a.Refresh()))
	again := p.readIDToken(a.Text("id_token"))
	require.Equal(t, f.idToken.Issuer, again.Issuer)
	require.Equal(t, f.idToken.Subject, again.Subject)
	require.Equal(t, f.idToken.Audience, again.Audience)
	require.Equal(t, f.idToken.AZP, again.AZP)
	require.Equal(t, f.idToken.AuthTime, again.AuthTime, "when the person signed in")
	require.True(t, again.IssuedAt.Time().After(f.idToken.IssuedAt.Time()))
	require.Empty(t, again.Nonce)
	p.userinfo(again.Subject, servertest.Get(p.endpoint("userinfo_endpoint")).Bearer(a.Access()))
}

func validPKCE(p *party) {
	p.request().prove().send().finish()
}
