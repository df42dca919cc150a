package doctor

import (
	"net/url"
	"strings"
	"time"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/config"
)

// Bounds of what RFC 9700 only calls short.
const (
	longAccess  = time.Hour
	longSession = 366 * 24 * time.Hour
	oldSecret   = 366 * 24 * time.Hour
)

// checkClients holds every registration against RFC 9700. Disabled ones too: enabling
// one brings back what it could do.
func checkClients(c *chart, list []clients.Client, cfg config.Config, now time.Time) {
	for _, client := range list {
		if isGuest(client.ID) {
			continue // attacks.go tells of those that were left behind
		}
		of := c.of(client.ID)
		checkPKCE(of, client)
		checkGrantTypes(of, client)
		checkRedirectURIs(of, client)
		checkLifetimes(of, client, cfg)
		checkClientSecrets(of, client, now)
		if err := client.Check(); err != nil && !toldAlready(c, client.ID) {
			of.fail("client-registration", "grantor client update "+client.ID, "%s", strings.TrimPrefix(err.Error(), clients.ErrInvalid.Error()+": "))
		}
	}
	for _, check := range clientChecks() {
		c.settle(check[0])
	}
}

// toldAlready: Check would say a second time what a check of its own said better.
func toldAlready(c *chart, id string) bool {
	for _, check := range []string{"client-pkce", "client-redirect-uri"} {
		for _, f := range c.found[check] {
			if f.Subject == id && f.Grade == Fail {
				return true
			}
		}
	}
	return false
}

func checkPKCE(c *chart, client clients.Client) {
	switch {
	case client.PKCE != clients.PKCEOptional || !client.Allows(clients.GrantAuthorizationCode):
	case client.Public:
		c.fail("client-pkce", "grantor client update "+client.ID+" --pkce required", "a public client may leave out PKCE: whoever takes its code has the session")
	default:
		c.warn("client-pkce", "grantor client update "+client.ID+" --pkce required, when its library can", "it may leave out PKCE, so its codes can be injected")
	}
}

func checkGrantTypes(c *chart, client clients.Client) {
	if client.Allows(clients.GrantPassword) {
		c.warn("client-password-grant", "move it to authorization_code, then: grantor client update "+client.ID+" --grant …", "it takes people's passwords")
	}
	if client.ResourceServer && len(client.Audience) == 0 {
		c.warn("client-introspection", "grantor client update "+client.ID+" --audience …", "it may ask about every token of this server")
	}
	if len(client.AllowedOrigins) > 0 && client.RefreshToken == clients.DeliverBody && client.Allows(clients.GrantRefreshToken) {
		c.warn("client-refresh-token", "grantor client update "+client.ID+" --refresh-token cookie, or remove its origins if it is no browser application",
			"scripts in a browser may call for it, and get the refresh token in the body")
	}
}

func checkRedirectURIs(c *chart, client clients.Client) {
	const hint = "grantor client update … --redirect-uri"
	for _, uri := range client.RedirectURIs {
		u, err := url.Parse(uri)
		if err != nil {
			c.fail("client-redirect-uri", hint, "%q is not a URI", uri)
			continue
		}
		host := u.Hostname()
		switch {
		case strings.Contains(uri, "*"):
			c.fail("client-redirect-uri", hint, "%q has a *", uri)
		case u.Scheme == "http" && host == "localhost":
			c.fail("client-redirect-uri", hint, "%q names localhost, which may lead elsewhere: write 127.0.0.1", uri)
		case u.Scheme == "http" && !loopback(host):
			c.fail("client-redirect-uri", hint, "%q is http: anybody on the way reads the code", uri)
		case u.Scheme == "http" && !client.Public:
			c.warn("client-redirect-uri", hint, "%q is on the person's own device, where a confidential client is not: is it left over from trying things out?", uri)
		case u.Scheme != "http" && u.Scheme != "https" && !strings.Contains(u.Scheme, "."):
			c.fail("client-redirect-uri", hint, "the scheme of %q has no dot: any app may claim it", uri)
		}
	}
}

func checkLifetimes(c *chart, client clients.Client, cfg config.Config) {
	access, session := client.AccessTokenLifetime, client.SessionLifetime
	if access == 0 {
		access = cfg.AccessTokenLifetime
	}
	if session == 0 {
		session = cfg.SessionLifetime
	}
	if access > longAccess && len(client.Grants) > 0 {
		c.warn("client-access-token", "grantor client update "+client.ID+" --access-token-lifetime 10m", "its access tokens live %s", access)
	}
	if session > longSession && client.Allows(clients.GrantRefreshToken) {
		c.warn("client-session", "grantor client update "+client.ID+" --session-lifetime 2160h", "its sessions may last %d days", session/(24*time.Hour))
	}
}

func checkClientSecrets(c *chart, client clients.Client, now time.Time) {
	live := client.LiveSecrets(now)
	rotate := "grantor client rotate-secret " + client.ID + " --overlap 24h"
	if !client.Public && len(live) == 0 && client.DisabledAt.IsZero() {
		c.warn("client-secret-age", "grantor client rotate-secret "+client.ID+", or delete it", "it has no secret that works: nobody can be it")
	}
	for _, secret := range live {
		age, used := now.Sub(secret.CreatedAt), secret.LastUsedAt
		switch {
		case !client.DisabledAt.IsZero():
			c.warn("client-secret-age", "grantor client delete "+client.ID+", when nobody will need it again", "it is disabled, and secret %s would work again if it were enabled", secret.ID)
		case age > oldSecret && (used.IsZero() || now.Sub(used) > oldSecret):
			c.warn("client-secret-age", "grantor client retire-secret "+client.ID+" "+secret.ID+", or delete the client", "secret %s was not used for a year", secret.ID)
		case age > oldSecret:
			c.warn("client-secret-age", rotate, "secret %s is %d days old", secret.ID, age/(24*time.Hour))
		}
		if !secret.Generated() {
			c.warn("client-secret-chosen", rotate, "secret %s was chosen by a person", secret.ID)
		}
	}
}
