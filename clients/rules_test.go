package clients_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
)

// web is a correct confidential client, app a correct public one.
func web() clients.Client {
	c := clients.Client{
		ID: "shop", Name: "Shop", Grants: []string{clients.GrantAuthorizationCode, clients.GrantRefreshToken},
		RedirectURIs: []string{"https://app.test/cb"}, Scope: []string{"openid", "orders:read"}, Audience: []string{"https://api.test"},
	}
	c.SetDefaults()
	return c
}

func app() clients.Client {
	c := web()
	c.ID, c.Public, c.AuthMethod = "app", true, clients.AuthNone
	return c
}

// service signs nobody in.
func service() clients.Client {
	c := clients.Client{ID: "service", Grants: []string{clients.GrantClientCredentials}}
	c.SetDefaults()
	return c
}

func with(c clients.Client, change func(*clients.Client)) clients.Client {
	change(&c)
	return c
}

func many(n int, format string) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf(format, i))
	}
	return out
}

func TestSetDefaults(t *testing.T) {
	var c clients.Client
	c.SetDefaults()
	require.Equal(t, clients.Client{PKCE: clients.PKCERequired, AccessToken: clients.JWT, RefreshToken: clients.DeliverBody}, c)

	c = clients.Client{Public: true}
	c.SetDefaults()
	require.Equal(t, clients.AuthNone, c.AuthMethod)

	set := clients.Client{AuthMethod: clients.AuthPost, PKCE: clients.PKCEOptional, AccessToken: clients.Opaque, RefreshToken: clients.DeliverCookie}
	c = set
	c.SetDefaults()
	require.Equal(t, set, c, "what was said stays")
	c = clients.Client{Public: true, AuthMethod: clients.AuthBasic}
	c.SetDefaults()
	require.Equal(t, clients.AuthBasic, c.AuthMethod, "a contradiction is for Check to tell")
}

func TestCheckAccepts(t *testing.T) {
	only := func(grants ...string) clients.Client {
		return with(web(), func(c *clients.Client) { c.Grants, c.RedirectURIs = grants, nil })
	}
	for name, c := range map[string]clients.Client{
		"web":                  web(),
		"app":                  app(),
		"client_credentials":   only(clients.GrantClientCredentials),
		"password":             only(clients.GrantPassword),
		"password and refresh": only(clients.GrantPassword, clients.GrantRefreshToken),
		"every grant": with(web(), func(c *clients.Client) {
			c.Grants = append(c.Grants, clients.GrantPassword, clients.GrantClientCredentials)
		}),
		"resource server":       with(only(), func(c *clients.Client) { c.ResourceServer = true }),
		"rs with a grant":       with(only(clients.GrantClientCredentials), func(c *clients.Client) { c.ResourceServer = true }),
		"basic":                 with(web(), func(c *clients.Client) { c.AuthMethod = clients.AuthBasic }),
		"post":                  with(web(), func(c *clients.Client) { c.AuthMethod = clients.AuthPost }),
		"PKCE optional":         with(web(), func(c *clients.Client) { c.PKCE = clients.PKCEOptional }),
		"opaque":                with(web(), func(c *clients.Client) { c.AccessToken = clients.Opaque }),
		"no name":               with(web(), func(c *clients.Client) { c.Name = "" }),
		"name of 200":           with(web(), func(c *clients.Client) { c.Name = strings.Repeat("ä", 200) }),
		"name with markup G08":  with(web(), func(c *clients.Client) { c.Name = `<img src=x onerror=alert(1)>` }),
		"id of 255":             with(web(), func(c *clients.Client) { c.ID = strings.Repeat("a", 255) }),
		"id of all characters":  with(web(), func(c *clients.Client) { c.ID = "aZ0.9_~@/b+-" }),
		"no scope, no audience": with(web(), func(c *clients.Client) { c.Scope, c.Audience = nil, nil }),
		"odd scopes": with(web(), func(c *clients.Client) {
			c.Scope = []string{"!", "#$%&'()*+,-./:;<=>?@[]^_`{|}~", strings.Repeat("s", 128)}
		}),
		"100 scopes":      with(web(), func(c *clients.Client) { c.Scope = many(100, "s%d") }),
		"audience of 500": with(web(), func(c *clients.Client) { c.Audience = []string{strings.Repeat("a", 500)} }),
		"50 audiences":    with(web(), func(c *clients.Client) { c.Audience = many(50, "https://api%d.test") }),
		"lifetimes": with(web(), func(c *clients.Client) {
			c.AccessTokenLifetime, c.RefreshTokenLifetime, c.SessionLifetime = 24*time.Hour, time.Hour, time.Hour
		}),
		"ten years": with(web(), func(c *clients.Client) { c.SessionLifetime = 3650 * 24 * time.Hour }),
		"browser": with(app(), func(c *clients.Client) {
			c.RefreshToken, c.AllowedOrigins = clients.DeliverCookie, []string{"https://app.test"}
		}),
		"OpenID Connect": with(web(), func(c *clients.Client) {
			c.PostLogoutRedirectURIs, c.BackchannelLogoutURI = []string{"https://app.test/bye", "http://127.0.0.1/bye"}, "https://app.test/logout?x=1"
			c.IDTokenAlg, c.UserinfoAlg = clients.ES256, clients.RS256
			c.ClientURI, c.PolicyURI, c.TOSURI = "https://app.test", "http://app.test/privacy", "https://app.test/legal#terms"
		}),
		"app that signs out": with(app(), func(c *clients.Client) { c.PostLogoutRedirectURIs = []string{"com.example.app:/bye"} }),
	} {
		t.Run(name, func(t *testing.T) { require.NoError(t, c.Check()) })
	}
}

func TestCheckRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		from   clients.Client
		change func(*clients.Client)
		says   string
	}{
		"id empty":              {web(), func(c *clients.Client) { c.ID = "" }, "the id must be"},
		"id of 256":             {web(), func(c *clients.Client) { c.ID = strings.Repeat("a", 256) }, "the id must be"},
		"id with colon":         {web(), func(c *clients.Client) { c.ID = "a:b" }, "the id must be"},
		"id with blank":         {web(), func(c *clients.Client) { c.ID = "a b" }, "the id must be"},
		"id with percent":       {web(), func(c *clients.Client) { c.ID = "a%2fb" }, "the id must be"},
		"id with umlaut":        {web(), func(c *clients.Client) { c.ID = "ä" }, "the id must be"},
		"id with NUL H05":       {web(), func(c *clients.Client) { c.ID = "a\x00" }, "the id must be"},
		"id not UTF-8 H05":      {web(), func(c *clients.Client) { c.ID = "a\xff" }, "the id must be"},
		"id that climbs":        {web(), func(c *clients.Client) { c.ID = "a/../b" }, "the id must be"},
		"id of a dot":           {web(), func(c *clients.Client) { c.ID = "." }, "the id must be"},
		"id with empty segment": {web(), func(c *clients.Client) { c.ID = "a//b" }, "the id must be"},
		"name of 201":           {web(), func(c *clients.Client) { c.Name = strings.Repeat("ä", 201) }, "the name has more than 200"},
		"name of 10 KB G08":     {web(), func(c *clients.Client) { c.Name = strings.Repeat("x", 10<<10) }, "the name has more than 200"},
		"name not UTF-8":        {web(), func(c *clients.Client) { c.Name = "a\xff" }, "the name is not UTF-8"},
		"name with newline Q03": {web(), func(c *clients.Client) { c.Name = "a\nb" }, "control character"},
		"name with escape Q03":  {web(), func(c *clients.Client) { c.Name = "a\x1b[2J" }, "control character"},
		"name turned round G08": {web(), func(c *clients.Client) { c.Name = "a\u202eb" }, "control character"},
		"name isolated G08":     {web(), func(c *clients.Client) { c.Name = "a\u2066b" }, "control character"},
		"no grant":              {web(), func(c *clients.Client) { c.Grants, c.RedirectURIs = nil, nil }, "it needs a grant"},
		"unknown grant":         {web(), func(c *clients.Client) { c.Grants = append(c.Grants, "implicit") }, `unknown grant "implicit"`},
		"a grant twice":         {web(), func(c *clients.Client) { c.Grants = append(c.Grants, clients.GrantRefreshToken) }, `grant "refresh_token" is there twice`},
		"refresh alone":         {web(), func(c *clients.Client) { c.Grants, c.RedirectURIs = []string{"refresh_token"}, nil }, "nothing else gives a refresh token"},
		"refresh with cc": {web(), func(c *clients.Client) {
			c.Grants, c.RedirectURIs = []string{"refresh_token", "client_credentials"}, nil
		}, "nothing else gives a refresh token"},
		"G-02 code, no URI":      {web(), func(c *clients.Client) { c.RedirectURIs = nil }, "needs a redirect URI"},
		"G-02 public with cc":    {app(), func(c *clients.Client) { c.Grants = append(c.Grants, "client_credentials") }, "can not have the grant client_credentials"},
		"URI without code":       {web(), func(c *clients.Client) { c.Grants = []string{"password"} }, "redirect URIs need the grant authorization_code"},
		"51 URIs":                {web(), func(c *clients.Client) { c.RedirectURIs = many(51, "https://app.test/%d") }, "more than 50 redirect URIs"},
		"a URI twice":            {web(), func(c *clients.Client) { c.RedirectURIs = append(c.RedirectURIs, c.RedirectURIs[0]) }, "is there twice"},
		"unknown auth method":    {web(), func(c *clients.Client) { c.AuthMethod = "private_key_jwt" }, "unknown authentication method"},
		"confidential and none":  {web(), func(c *clients.Client) { c.AuthMethod = clients.AuthNone }, "is for public clients"},
		"public and basic":       {app(), func(c *clients.Client) { c.AuthMethod = clients.AuthBasic }, "its authentication method is none"},
		"public and any":         {app(), func(c *clients.Client) { c.AuthMethod = clients.AuthAny }, "its authentication method is none"},
		"public with a secret":   {app(), func(c *clients.Client) { c.Secrets = []clients.Secret{{}} }, "has no secret"},
		"public resource server": {app(), func(c *clients.Client) { c.ResourceServer = true }, "can not be a resource server"},
		"K-03 public, no PKCE":   {app(), func(c *clients.Client) { c.PKCE = clients.PKCEOptional }, "a public client needs PKCE"},
		"PKCE unset":             {web(), func(c *clients.Client) { c.PKCE = "" }, "PKCE must be"},
		"PKCE unknown":           {web(), func(c *clients.Client) { c.PKCE = "plain" }, "PKCE must be"},
		"format unset":           {web(), func(c *clients.Client) { c.AccessToken = "" }, "access tokens must be"},
		"format unknown":         {web(), func(c *clients.Client) { c.AccessToken = "saml" }, "access tokens must be"},
		"delivery unset":         {web(), func(c *clients.Client) { c.RefreshToken = "" }, "refresh tokens must come by"},
		"scope empty":            {web(), func(c *clients.Client) { c.Scope = []string{""} }, "RFC 6749 section 3.3"},
		"scope with blank":       {web(), func(c *clients.Client) { c.Scope = []string{"a b"} }, "RFC 6749 section 3.3"},
		"scope with quote":       {web(), func(c *clients.Client) { c.Scope = []string{`a"b`} }, "RFC 6749 section 3.3"},
		"scope with backslash":   {web(), func(c *clients.Client) { c.Scope = []string{`a\b`} }, "RFC 6749 section 3.3"},
		"scope with DEL":         {web(), func(c *clients.Client) { c.Scope = []string{"a\x7f"} }, "RFC 6749 section 3.3"},
		"scope with umlaut":      {web(), func(c *clients.Client) { c.Scope = []string{"ä"} }, "RFC 6749 section 3.3"},
		"scope of 129":           {web(), func(c *clients.Client) { c.Scope = []string{strings.Repeat("s", 129)} }, "RFC 6749 section 3.3"},
		"101 scopes":             {web(), func(c *clients.Client) { c.Scope = many(101, "s%d") }, "more than 100 scopes"},
		"a scope twice":          {web(), func(c *clients.Client) { c.Scope = []string{"a", "b", "a"} }, `scope "a" is there twice`},
		"audience empty":         {web(), func(c *clients.Client) { c.Audience = []string{""} }, "audience"},
		"audience with blank":    {web(), func(c *clients.Client) { c.Audience = []string{"a b"} }, "audience"},
		"audience of 501":        {web(), func(c *clients.Client) { c.Audience = []string{strings.Repeat("a", 501)} }, "audience"},
		"51 audiences":           {web(), func(c *clients.Client) { c.Audience = many(51, "a%d") }, "more than 50 audiences"},
		"an audience twice":      {web(), func(c *clients.Client) { c.Audience = []string{"a", "a"} }, `audience "a" is there twice`},
		"access over a day":      {web(), func(c *clients.Client) { c.AccessTokenLifetime = 24*time.Hour + time.Second }, "access token lifetime"},
		"access negative":        {web(), func(c *clients.Client) { c.AccessTokenLifetime = -time.Second }, "access token lifetime"},
		"access of half seconds": {web(), func(c *clients.Client) { c.AccessTokenLifetime = 1500 * time.Millisecond }, "whole seconds"},
		"refresh negative":       {web(), func(c *clients.Client) { c.RefreshTokenLifetime = -time.Second }, "refresh token lifetime"},
		"refresh over session":   {web(), func(c *clients.Client) { c.RefreshTokenLifetime, c.SessionLifetime = time.Hour+time.Second, time.Hour }, "longer than the session"},
		"session negative":       {web(), func(c *clients.Client) { c.SessionLifetime = -time.Second }, "session lifetime"},
		"session over ten years": {web(), func(c *clients.Client) { c.SessionLifetime = 3650*24*time.Hour + time.Second }, "session lifetime"},
		"cookie, no refresh": {web(), func(c *clients.Client) {
			c.Grants, c.RefreshToken, c.AllowedOrigins = []string{"authorization_code"}, clients.DeliverCookie, []string{"https://app.test"}
		}, "the cookie needs the grant refresh_token"},
		"cookie, no origin": {app(), func(c *clients.Client) { c.RefreshToken = clients.DeliverCookie }, "the cookie needs an allowed origin"},
		"cookie, id with @": {app(), func(c *clients.Client) {
			c.ID, c.RefreshToken, c.AllowedOrigins = "a@b", clients.DeliverCookie, []string{"https://app.test"}
		}, "the cookie needs an id without @ and /"},
		"post-logout, http":            {web(), func(c *clients.Client) { c.PostLogoutRedirectURIs = []string{"http://app.test/bye"} }, "post-logout redirect URI \"http://app.test/bye\" must be https"},
		"post-logout, script":          {app(), func(c *clients.Client) { c.PostLogoutRedirectURIs = []string{"javascript:alert(1)"} }, "post-logout redirect URI"},
		"post-logout, app's scheme":    {web(), func(c *clients.Client) { c.PostLogoutRedirectURIs = []string{"com.example.app:/bye"} }, "only a public client"},
		"post-logout, fragment":        {web(), func(c *clients.Client) { c.PostLogoutRedirectURIs = []string{"https://app.test/#bye"} }, "fragment"},
		"post-logout, empty":           {web(), func(c *clients.Client) { c.PostLogoutRedirectURIs = []string{""} }, "is empty"},
		"post-logout, twice":           {web(), func(c *clients.Client) { c.PostLogoutRedirectURIs = []string{"https://a.test/", "https://a.test/"} }, "is there twice"},
		"post-logout, 51":              {web(), func(c *clients.Client) { c.PostLogoutRedirectURIs = many(51, "https://app.test/%d") }, "more than 50 post-logout redirect URIs"},
		"post-logout without code":     {service(), func(c *clients.Client) { c.PostLogoutRedirectURIs = []string{"https://app.test/bye"} }, "post-logout redirect URIs need the grant authorization_code"},
		"back-channel without code":    {service(), func(c *clients.Client) { c.BackchannelLogoutURI = "https://app.test/logout" }, "needs the grant authorization_code"},
		"ID token, symmetric":          {web(), func(c *clients.Client) { c.IDTokenAlg = "HS256" }, "unknown ID token signing algorithm"},
		"ID token, none":               {web(), func(c *clients.Client) { c.IDTokenAlg = "none" }, "unknown ID token signing algorithm"},
		"ID token, another spelling":   {web(), func(c *clients.Client) { c.IDTokenAlg = "rs256" }, "unknown ID token signing algorithm"},
		"userinfo, none":               {web(), func(c *clients.Client) { c.UserinfoAlg = "none" }, "unknown userinfo signing algorithm"},
		"G-08 client URI of a script":  {web(), func(c *clients.Client) { c.ClientURI = "javascript:alert(1)" }, "client URI"},
		"G-08 policy URI of data":      {web(), func(c *clients.Client) { c.PolicyURI = "data:text/html,x" }, "policy URI"},
		"terms with a user name":       {web(), func(c *clients.Client) { c.TOSURI = "https://app.test@evil.test/" }, "terms of service URI"},
		"terms with a quote":           {web(), func(c *clients.Client) { c.TOSURI = `https://app.test/#"onclick=x` }, "character"},
		"terms of 2001 characters":     {web(), func(c *clients.Client) { c.TOSURI = "https://app.test/" + strings.Repeat("a", 2001) }, "longer than 2000"},
		"client URI that is relative":  {web(), func(c *clients.Client) { c.ClientURI = "/about" }, "absolute"},
		"client URI without host":      {web(), func(c *clients.Client) { c.ClientURI = "https:///about" }, "no valid host"},
		"client URI of another scheme": {web(), func(c *clients.Client) { c.ClientURI = "com.example.app:/about" }, "neither https nor http"},
		"bad origin":                   {web(), func(c *clients.Client) { c.AllowedOrigins = []string{"null"} }, `allowed origin "null"`},
		"51 origins":                   {web(), func(c *clients.Client) { c.AllowedOrigins = many(51, "https://a%d.test") }, "more than 50 allowed origins"},
		"an origin twice":              {web(), func(c *clients.Client) { c.AllowedOrigins = []string{"https://a.test", "https://a.test"} }, "is there twice"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, c.from.Check(), "the client is right before the change")
			changed := with(c.from, c.change)
			err := changed.Check()
			require.ErrorIs(t, err, clients.ErrInvalid)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "; ", "one fault")
		})
	}
}

func TestCheckTellsAllFaultsInOneLine(t *testing.T) {
	c := clients.Client{
		ID: "a\nb", Name: "x\ny", Grants: []string{"im\nplicit"}, RedirectURIs: []string{"https://a.test/\r\nb", strings.Repeat("z", 5000)}, Scope: []string{"\x1b[31m"},
		PostLogoutRedirectURIs: []string{"x\ny"}, BackchannelLogoutURI: "x\ny", IDTokenAlg: "\x1b", UserinfoAlg: "a\nb", ClientURI: "\n", PolicyURI: strings.Repeat("\n", 5000), TOSURI: "\x1b",
	}
	err := c.Check()
	require.ErrorIs(t, err, clients.ErrInvalid)
	require.NotContains(t, err.Error(), "\n")
	require.NotContains(t, err.Error(), "\x1b")
	require.Greater(t, strings.Count(err.Error(), "; "), 5)
	require.Less(t, len(err.Error()), 3000)
}

func TestNewID_Q06(t *testing.T) {
	id, err := clients.NewID(rand.Reader)
	require.NoError(t, err)
	require.Regexp(t, `^[a-z2-7]{26}$`, id)
	require.NoError(t, with(web(), func(c *clients.Client) { c.ID = id }).Check())
	id, err = clients.NewID(bytes.NewReader(make([]byte, 16)))
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("a", 26), id)
	broken := errors.New("no randomness")
	_, err = clients.NewID(iotest.ErrReader(broken))
	require.ErrorIs(t, err, broken)
}

func TestAllowsAndHasOrigin(t *testing.T) {
	c := web()
	require.True(t, c.Allows("refresh_token"))
	require.False(t, c.Allows("password"))
	require.False(t, c.Allows(""))
	c.AllowedOrigins = []string{"https://app.test"}
	require.True(t, c.HasOrigin("https://app.test"))
	for _, origin := range []string{"", "null", "https://app.test/", "https://APP.test", "https://app.test:443", "http://app.test", "https://app.test.evil.test"} {
		require.False(t, c.HasOrigin(origin), origin)
	}
}
