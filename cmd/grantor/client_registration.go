package main

import (
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
)

// registration holds the flags that describe a client, for create and update.
type registration struct {
	name           string
	grants         []string
	scope          []string
	redirectURIs   []string
	audience       []string
	firstParty     bool
	resourceServer bool
	authMethod     string
	pkce           string
	accessToken    string
	refreshToken   string
	origins        []string
	postLogout     []string
	backchannel    string
	idTokenAlg     string
	userinfoAlg    string
	clientURI      string
	policyURI      string
	tosURI         string

	accessTokenLifetime  time.Duration
	refreshTokenLifetime time.Duration
	sessionLifetime      time.Duration
}

func (r *registration) declare(flags *pflag.FlagSet) {
	// Arrays, not slices: a comma may be part of a redirect URI.
	flags.StringVar(&r.name, "name", "", "`NAME` that people see")
	flags.StringArrayVar(&r.grants, "grant", nil, "Grant `TYPE`, repeatable: password, refresh_token, client_credentials, authorization_code")
	flags.StringArrayVar(&r.scope, "scope", nil, "`SCOPES` the client may ask for, as in \"openid profile\"")
	flags.StringArrayVar(&r.redirectURIs, "redirect-uri", nil, "Redirect `URI`, repeatable")
	flags.StringArrayVar(&r.audience, "audience", nil, "`AUDIENCE` its tokens may be for, or that it may introspect; repeatable")
	flags.BoolVar(&r.firstParty, "first-party", false, "Never ask people for consent")
	flags.BoolVar(&r.resourceServer, "resource-server", false, "May introspect: tokens for its audiences, or with none every token")
	flags.StringVar(&r.authMethod, "auth-method", "", "Only this `METHOD`: client_secret_basic or client_secret_post (default either)")
	flags.StringVar(&r.pkce, "pkce", "", "`RULE`: required or optional (default required)")
	flags.StringVar(&r.accessToken, "access-token", "", "`FORMAT`: jwt or opaque (default jwt)")
	flags.StringVar(&r.refreshToken, "refresh-token", "", "Its `WAY` to the client: body or cookie (default body)")
	flags.StringArrayVar(&r.origins, "allowed-origin", nil, "Browser `ORIGIN` that may call from a script, with the cookie where it is used; repeatable")
	flags.StringArrayVar(&r.postLogout, "post-logout-redirect-uri", nil, "`URI` a browser may go to after signing out, repeatable")
	flags.StringVar(&r.backchannel, "backchannel-logout-uri", "", "`URI` the server posts a logout token to when somebody signs out")
	flags.StringVar(&r.idTokenAlg, "id-token-alg", "", "`ALGORITHM` that ID tokens are signed with: RS256 or ES256 (default RS256)")
	flags.StringVar(&r.userinfoAlg, "userinfo-alg", "", "`ALGORITHM` that userinfo answers are signed with: RS256 or ES256 (default plain JSON)")
	flags.StringVar(&r.clientURI, "client-uri", "", "`URL` of a page about the application, shown where people are asked for consent")
	flags.StringVar(&r.policyURI, "policy-uri", "", "`URL` of its privacy policy, shown there too")
	flags.StringVar(&r.tosURI, "tos-uri", "", "`URL` of its terms of service, shown there too")
	flags.DurationVar(&r.accessTokenLifetime, "access-token-lifetime", 0, "How long an access token works, a `SPAN` such as 5m (default the setting access_token_lifetime)")
	flags.DurationVar(&r.refreshTokenLifetime, "refresh-token-lifetime", 0, "How long a session lives without renewal, a `SPAN` (default the setting refresh_token_lifetime)")
	flags.DurationVar(&r.sessionLifetime, "session-lifetime", 0, "How long a session lives at most, a `SPAN` (default the setting session_lifetime)")
}

// apply changes what was said on the command line, and nothing else.
func (r *registration) apply(flags *pflag.FlagSet, client *clients.Client) {
	for flag, set := range map[string]func(){
		"name":                     func() { client.Name = r.name },
		"grant":                    func() { client.Grants = list(r.grants) },
		"scope":                    func() { client.Scope = grants.SplitScope(strings.Join(r.scope, " ")) },
		"redirect-uri":             func() { client.RedirectURIs = list(r.redirectURIs) },
		"post-logout-redirect-uri": func() { client.PostLogoutRedirectURIs = list(r.postLogout) },
		"backchannel-logout-uri":   func() { client.BackchannelLogoutURI = r.backchannel },
		"id-token-alg":             func() { client.IDTokenAlg = r.idTokenAlg },
		"userinfo-alg":             func() { client.UserinfoAlg = r.userinfoAlg },
		"client-uri":               func() { client.ClientURI = r.clientURI },
		"policy-uri":               func() { client.PolicyURI = r.policyURI },
		"tos-uri":                  func() { client.TOSURI = r.tosURI },
		"audience":                 func() { client.Audience = list(r.audience) },
		"first-party":              func() { client.FirstParty = r.firstParty },
		"resource-server":          func() { client.ResourceServer = r.resourceServer },
		"auth-method":              func() { client.AuthMethod = clients.AuthMethod(r.authMethod) },
		"pkce":                     func() { client.PKCE = clients.PKCE(r.pkce) },
		"access-token":             func() { client.AccessToken = clients.Format(r.accessToken) },
		"refresh-token":            func() { client.RefreshToken = clients.Delivery(r.refreshToken) },
		"allowed-origin":           func() { client.AllowedOrigins = list(r.origins) },
		"access-token-lifetime":    func() { client.AccessTokenLifetime = r.accessTokenLifetime },
		"refresh-token-lifetime":   func() { client.RefreshTokenLifetime = r.refreshTokenLifetime },
		"session-lifetime":         func() { client.SessionLifetime = r.sessionLifetime },
	} {
		if flags.Changed(flag) {
			set()
		}
	}
	// An emptied choice is its default again.
	client.SetDefaults()
}

// list reads a repeated flag. Given once and empty it empties the list; an empty
// one among others stays, for Check to refuse.
func list(values []string) []string {
	if len(values) == 1 && values[0] == "" {
		return nil
	}
	return values
}
