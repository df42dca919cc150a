package clients

import (
	"encoding/base32"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of a registration. They keep a client small enough to be cached and shown.
const (
	maxID           = 255
	maxName         = 200
	maxRedirectURIs = 50
	maxScopes       = 100
	maxScope        = 128
	maxAudiences    = 50
	maxAudience     = 500
	maxOrigins      = 50

	// MaxAccessTokenLifetime is also how long package keys keeps a superseded key.
	MaxAccessTokenLifetime = 24 * time.Hour
	// MaxSessionLifetime is the longest that anything lives.
	MaxSessionLifetime = 3650 * 24 * time.Hour
)

var idText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewID draws a client id: 128 random bits in 26 lower-case characters.
func NewID(rand io.Reader) (string, error) {
	var raw [16]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return "", fmt.Errorf("draw client id: %w", err)
	}
	return idText.EncodeToString(raw[:]), nil
}

// SetDefaults fills in what was left open.
func (c *Client) SetDefaults() {
	if c.PKCE == "" {
		c.PKCE = PKCERequired
	}
	if c.AccessToken == "" {
		c.AccessToken = JWT
	}
	if c.RefreshToken == "" {
		c.RefreshToken = DeliverBody
	}
	if c.Public && c.AuthMethod == AuthAny {
		c.AuthMethod = AuthNone
	}
}

// DisplayName is what people know the client by.
func (c *Client) DisplayName() string {
	if c.Name != "" {
		return c.Name
	}
	return c.ID
}

// Allows reports whether the client is registered for a grant type.
func (c *Client) Allows(grant string) bool { return slices.Contains(c.Grants, grant) }

// HasOrigin reports whether a browser origin, as the Origin header bears it, is registered.
func (c *Client) HasOrigin(origin string) bool { return slices.Contains(c.AllowedOrigins, origin) }

// Check says everything that is wrong with a registration, in one line that wraps
// ErrInvalid. What it lets through can be stored and served.
func (c Client) Check() error {
	var f faults
	c.checkNames(&f)
	c.checkGrants(&f)
	c.checkAuthentication(&f)
	c.checkRedirectURIs(&f)
	c.checkScope(&f)
	c.checkTokens(&f)
	c.checkOpenID(&f)
	if len(f) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrInvalid, strings.Join(f, "; "))
}

type faults []string

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

func (c Client) checkNames(f *faults) {
	if !validID(c.ID) {
		f.add("the id must be 1 to %d characters from A-Z a-z 0-9 . _ ~ @ / + - without empty or dotted path segments", maxID)
	}
	switch {
	case !utf8.ValidString(c.Name):
		f.add("the name is not UTF-8")
	case utf8.RuneCountInString(c.Name) > maxName:
		f.add("the name has more than %d characters", maxName)
	case strings.ContainsFunc(c.Name, unprintable):
		f.add("the name has a control character")
	}
}

// validID keeps ids out of trouble in Basic authentication (no colon), in paths of
// the REST API (no "..") and in every log.
func validID(id string) bool {
	if len(id) > maxID {
		return false
	}
	for segment := range strings.SplitSeq(id, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return !strings.ContainsFunc(id, func(r rune) bool { return !idChar(r) && r != '@' && r != '/' })
}

func idChar(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._~+-", r)
}

// unprintable characters could change the line, or the direction of the line, that a
// name is shown in.
func unprintable(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

func (c Client) checkGrants(f *faults) {
	known := []string{GrantPassword, GrantRefreshToken, GrantClientCredentials, GrantAuthorizationCode}
	for _, grant := range c.Grants {
		if !slices.Contains(known, grant) {
			f.add("unknown grant %s (there are: %s)", show(grant), strings.Join(known, ", "))
		}
	}
	noRepeats(f, "grant", c.Grants)
	if len(c.Grants) == 0 && !c.ResourceServer {
		f.add("it needs a grant, or must be a resource server")
	}
	if c.Allows(GrantRefreshToken) && !c.Allows(GrantPassword) && !c.Allows(GrantAuthorizationCode) {
		f.add("the grant %s needs %s or %s beside it: nothing else gives a refresh token", GrantRefreshToken, GrantAuthorizationCode, GrantPassword)
	}
}

func (c Client) checkAuthentication(f *faults) {
	if !slices.Contains([]AuthMethod{AuthAny, AuthBasic, AuthPost, AuthNone}, c.AuthMethod) {
		f.add("unknown authentication method %s (there are: %s, %s, %s)", show(string(c.AuthMethod)), AuthBasic, AuthPost, AuthNone)
	}
	if !slices.Contains([]PKCE{PKCERequired, PKCEOptional}, c.PKCE) {
		f.add("PKCE must be %s or %s", PKCERequired, PKCEOptional)
	}
	if !c.Public {
		if c.AuthMethod == AuthNone {
			f.add("the authentication method %s is for public clients", AuthNone)
		}
		return
	}
	if c.AuthMethod != AuthNone {
		f.add("a public client has no secret: its authentication method is %s", AuthNone)
	}
	if len(c.Secrets) > 0 {
		f.add("a public client has no secret")
	}
	if c.Allows(GrantClientCredentials) {
		f.add("a public client can not have the grant %s (RFC 6749 section 4.4)", GrantClientCredentials)
	}
	if c.ResourceServer {
		f.add("a public client can not be a resource server: it can not prove who it is")
	}
	if c.PKCE == PKCEOptional {
		f.add("a public client needs PKCE (RFC 9700 section 2.1.1)")
	}
}

func (c Client) checkRedirectURIs(f *faults) {
	switch code := c.Allows(GrantAuthorizationCode); {
	case code && len(c.RedirectURIs) == 0:
		f.add("the grant %s needs a redirect URI", GrantAuthorizationCode)
	case !code && len(c.RedirectURIs) > 0:
		f.add("redirect URIs need the grant %s", GrantAuthorizationCode)
	}
	c.checkURIs(f, "redirect URI", c.RedirectURIs)
}

func (c Client) checkURIs(f *faults, what string, uris []string) {
	if len(uris) > maxRedirectURIs {
		f.add("more than %d %ss", maxRedirectURIs, what)
		return
	}
	for _, uri := range uris {
		if why := redirectFault(uri, c.Public); why != "" {
			f.add("%s %s %s", what, show(uri), why)
		}
	}
	noRepeats(f, what, uris)
}

// checkOpenID: a browser is sent to a post-logout redirect URI as to any redirect URI,
// so the same rules hold, and whoever signs nobody in is told of no sign-out.
func (c Client) checkOpenID(f *faults) {
	c.checkURIs(f, "post-logout redirect URI", c.PostLogoutRedirectURIs)
	code := c.Allows(GrantAuthorizationCode)
	if !code && len(c.PostLogoutRedirectURIs) > 0 {
		f.add("post-logout redirect URIs need the grant %s", GrantAuthorizationCode)
	}
	if uri := c.BackchannelLogoutURI; uri != "" {
		if why := backchannelFault(uri); why != "" {
			f.add("back-channel logout URI %s %s", show(uri), why)
		}
		if !code {
			f.add("a back-channel logout URI needs the grant %s", GrantAuthorizationCode)
		}
	}
	for _, choice := range []struct{ what, alg string }{{"ID token", c.IDTokenAlg}, {"userinfo", c.UserinfoAlg}} {
		if !slices.Contains([]string{"", RS256, ES256}, choice.alg) {
			f.add("unknown %s signing algorithm %s (there are: %s, %s)", choice.what, show(choice.alg), RS256, ES256)
		}
	}
	for _, page := range []struct{ what, uri string }{{"client URI", c.ClientURI}, {"policy URI", c.PolicyURI}, {"terms of service URI", c.TOSURI}} {
		if page.uri == "" {
			continue
		}
		if why := pageFault(page.uri); why != "" {
			f.add("%s %s %s", page.what, show(page.uri), why)
		}
	}
}

func (c Client) checkScope(f *faults) {
	if len(c.Scope) > maxScopes {
		f.add("more than %d scopes", maxScopes)
		return
	}
	for _, scope := range c.Scope {
		if !printable(scope, maxScope) || strings.ContainsAny(scope, `"\`) {
			f.add(`scope %s must be 1 to %d visible ASCII characters without " and \ (RFC 6749 section 3.3)`, show(scope), maxScope)
		}
	}
	noRepeats(f, "scope", c.Scope)
	if len(c.Audience) > maxAudiences {
		f.add("more than %d audiences", maxAudiences)
		return
	}
	for _, audience := range c.Audience {
		if !printable(audience, maxAudience) {
			f.add("audience %s must be 1 to %d visible ASCII characters", show(audience), maxAudience)
		}
	}
	noRepeats(f, "audience", c.Audience)
}

func (c Client) checkTokens(f *faults) {
	if !slices.Contains([]Format{JWT, Opaque}, c.AccessToken) {
		f.add("access tokens must be %s or %s", JWT, Opaque)
	}
	if !slices.Contains([]Delivery{DeliverBody, DeliverCookie}, c.RefreshToken) {
		f.add("refresh tokens must come by %s or %s", DeliverBody, DeliverCookie)
	}
	if c.RefreshToken == DeliverCookie {
		if !c.Allows(GrantRefreshToken) {
			f.add("the cookie needs the grant %s", GrantRefreshToken)
		}
		if len(c.AllowedOrigins) == 0 {
			f.add("the cookie needs an allowed origin")
		}
		// The id becomes a part of the cookie's name (RFC 6265 section 4.1.1).
		if strings.ContainsAny(c.ID, "@/") {
			f.add("the cookie needs an id without @ and /")
		}
	}
	if len(c.AllowedOrigins) > maxOrigins {
		f.add("more than %d allowed origins", maxOrigins)
		return
	}
	for _, origin := range c.AllowedOrigins {
		if why := originFault(origin); why != "" {
			f.add("allowed origin %s %s", show(origin), why)
		}
	}
	noRepeats(f, "allowed origin", c.AllowedOrigins)
	c.checkLifetimes(f)
}

func (c Client) checkLifetimes(f *faults) {
	for _, l := range []struct {
		name     string
		is, most time.Duration
	}{
		{"access token lifetime", c.AccessTokenLifetime, MaxAccessTokenLifetime},
		{"refresh token lifetime", c.RefreshTokenLifetime, MaxSessionLifetime},
		{"session lifetime", c.SessionLifetime, MaxSessionLifetime},
	} {
		if l.is < 0 || l.is > l.most || l.is%time.Second != 0 {
			f.add("the %s must be whole seconds, at most %s", l.name, l.most)
		}
	}
	if c.SessionLifetime > 0 && c.RefreshTokenLifetime > c.SessionLifetime {
		f.add("the refresh token lifetime is longer than the session lifetime")
	}
}

func noRepeats(f *faults, what string, list []string) {
	for i, value := range list {
		if slices.Contains(list[:i], value) {
			f.add("%s %s is there twice", what, show(value))
		}
	}
}

// printable accepts %x21-7E.
func printable(s string, most int) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return s != "" && len(s) <= most
}

// show quotes a value for a line of text, however hostile or long.
func show(value string) string {
	const most = 80
	if len(value) > most {
		return fmt.Sprintf("%+q…", value[:most])
	}
	return fmt.Sprintf("%+q", value)
}
