package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/storage"
)

// metadata is what the doctor needs of RFC 8414 section 2.
type metadata struct {
	Issuer        string `json:"issuer"`
	Authorization string `json:"authorization_endpoint"`
	Token         string `json:"token_endpoint"`
	Introspection string `json:"introspection_endpoint"`
	Revocation    string `json:"revocation_endpoint"`
	Userinfo      string `json:"userinfo_endpoint"`
	EndSession    string `json:"end_session_endpoint"`
	JWKS          string `json:"jwks_uri"`
}

// checkOutside looks at what anybody can reach. ok is false when there is nothing that
// an attack could be tried on.
func (p *Patient) checkOutside(ctx context.Context, c *chart, w *web, known []storage.KeyFact) (meta metadata, ok bool) {
	issuer, err := url.Parse(p.Issuer)
	if err != nil || issuer.Host == "" {
		c.fail("issuer-reachable", "set issuer to the URL that clients use", "%q is not a URL", p.Issuer)
		c.stopGroup(Outside, "the issuer is not a URL")
		return metadata{}, false
	}
	p.checkTLS(ctx, c, issuer)
	p.checkPlainHTTP(ctx, c, w, issuer)
	p.checkProxySettings(c, issuer)
	first, ok := p.checkMetadata(ctx, c, w, issuer, &meta)
	if !ok {
		c.stopGroup(Outside, "the issuer can not be reached")
		return meta, false
	}
	checkClock(c, first)
	if meta.Issuer != p.Issuer || p.leadsElsewhere(c, meta) {
		// What is elsewhere is somebody else's: it is not touched.
		c.stopGroup(Outside, "the metadata leads elsewhere")
		return meta, false
	}
	p.checkEndpoints(ctx, c, w, meta)
	p.checkAnswers(ctx, c, w, meta)
	p.checkReady(ctx, c, w)
	p.checkPrivatePaths(ctx, c, w)
	ok = p.checkJWKS(ctx, c, w, meta, known)
	return meta, ok
}

// checkMetadata reads both documents. It answers the first, for the clock.
func (p *Patient) checkMetadata(ctx context.Context, c *chart, w *web, issuer *url.URL, meta *metadata) (first *answer, ok bool) {
	const hint = "is the server running, does the name lead to it, and does a proxy pass /.well-known/ on?"
	origin := issuer.Scheme + "://" + issuer.Host
	for i, at := range []string{
		p.Issuer + "/.well-known/openid-configuration",                   // OpenID Connect Discovery section 4
		origin + "/.well-known/oauth-authorization-server" + issuer.Path, // RFC 8414 section 3
	} {
		a, err := w.get(ctx, at)
		switch {
		case err != nil && i == 0:
			c.fail("issuer-reachable", hint, "%s can not be reached: %v", at, err)
			return nil, false
		case err != nil || a.status != http.StatusOK || json.Unmarshal(a.body, meta) != nil || meta.Issuer == "":
			what := "it can not be reached"
			if err == nil {
				what = "the answer is " + a.tell()
			}
			if i == 1 && issuer.Path != "" {
				// Only a proxy can put this one beside the issuer's path.
				c.warn("issuer-reachable", "let the proxy pass this path on, too", "there is no metadata at %s: %s", at, what)
				continue
			}
			c.fail("issuer-reachable", hint, "there is no metadata at %s: %s", at, what)
			return first, false
		}
		if i == 0 {
			first = a
		}
		if meta.Issuer != p.Issuer {
			c.fail("issuer-equal", "set issuer to what clients use, letter for letter, on every replica", "%s says %q, the setting says %q", at, meta.Issuer, p.Issuer)
			return first, true
		}
	}
	c.settle("issuer-reachable", "issuer-equal")
	return first, true
}

// checkClock compares with a Date header, which has whole seconds and took its time.
func checkClock(c *chart, a *answer) {
	server, err := http.ParseTime(a.header.Get("Date"))
	if err != nil {
		c.warn("clock-server", "a proxy removes the header: RFC 9110 section 6.6.1", "the answers have no Date")
		return
	}
	// It was made between the request and the answer, and rounded down.
	apart := apart(server, a.asked.Add(-time.Second), a.asked.Add(a.took))
	if apart > storage.MaxClockSkew {
		c.fail("clock-server", "set both clocks by NTP", "the server's clock and this machine's are %s apart", apart.Round(time.Second))
		return
	}
	c.settle("clock-server")
}

// endpoint is one of the metadata, with a request that it must refuse, or answer, by
// itself.
type endpoint struct {
	name, at string
	form     url.Values // nil: a GET
	expected []int
}

func (m metadata) endpoints() []endpoint {
	none := url.Values{}
	return []endpoint{
		{"authorization_endpoint", m.Authorization, nil, []int{400}},
		{"token_endpoint", m.Token, none, []int{400, 401}},
		{"introspection_endpoint", m.Introspection, none, []int{400, 401}},
		{"revocation_endpoint", m.Revocation, none, []int{400, 401}},
		{"userinfo_endpoint", m.Userinfo, nil, []int{401}},
		{"end_session_endpoint", m.EndSession, nil, []int{200, 303, 400}},
		{"jwks_uri", m.JWKS, nil, []int{200}},
	}
}

func (p *Patient) leadsElsewhere(c *chart, meta metadata) bool {
	for _, e := range meta.endpoints() {
		if !strings.HasPrefix(e.at, p.Issuer+"/") {
			c.of(e.name).fail("endpoints", "something in front rewrites the metadata, or it is another server's", "%q is not under the issuer", e.at)
		}
	}
	return c.has("endpoints", Fail)
}

func (p *Patient) checkEndpoints(ctx context.Context, c *chart, w *web, meta metadata) {
	for _, e := range meta.endpoints() {
		method := http.MethodGet
		if e.form != nil {
			method = http.MethodPost
		}
		a, err := w.send(ctx, method, e.at, e.form, nil)
		if err != nil {
			c.of(e.name).fail("endpoints", "does a proxy pass it on?", "%s can not be reached: %v", e.at, err)
		} else if !slices.Contains(e.expected, a.status) {
			c.of(e.name).fail("endpoints", "does a proxy pass it on, with its method and its answer?", "%s answers %s to an empty request", e.at, a.tell())
		}
	}
	c.settle("endpoints")
}

// checkAnswers looks at headers that proxies like to change.
func (p *Patient) checkAnswers(ctx context.Context, c *chart, w *web, meta metadata) {
	const mangled = "Grantor sends it: something in front takes it away"
	if token, err := w.post(ctx, meta.Token, url.Values{"grant_type": {"client_credentials"}}, nil); err != nil {
		c.fail("no-store", "try again", "the token endpoint can not be reached: %v", err)
	} else {
		if token.stored() {
			c.fail("no-store", mangled, "an answer of the token endpoint has no Cache-Control: no-store")
		}
		if token.status == http.StatusUnauthorized && token.header.Get("WWW-Authenticate") == "" {
			c.fail("challenge", mangled, "the token endpoint refuses a client without a WWW-Authenticate")
		}
	}
	if info, err := w.get(ctx, meta.Userinfo); err != nil {
		c.fail("challenge", "try again", "the userinfo endpoint can not be reached: %v", err)
	} else {
		if info.stored() {
			c.fail("no-store", mangled, "an answer of the userinfo endpoint has no Cache-Control: no-store")
		}
		if !strings.HasPrefix(info.header.Get("WWW-Authenticate"), "Bearer") {
			c.fail("challenge", mangled, "the userinfo endpoint refuses a token without a WWW-Authenticate")
		}
	}
	if page, err := w.get(ctx, meta.Authorization); err != nil {
		c.fail("page-headers", "try again", "the authorization endpoint can not be reached: %v", err)
	} else {
		policy := page.header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "frame-ancestors 'none'") || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			c.fail("page-headers", mangled, "the Content-Security-Policy of the pages is %q", policy)
		}
		if strings.HasPrefix(p.Issuer, "https:") && page.header.Get("Strict-Transport-Security") == "" {
			c.warn("tls-hsts", "let the proxy pass Strict-Transport-Security on, or send its own", "the pages come without Strict-Transport-Security")
		}
	}
	if strings.HasPrefix(p.Issuer, "https:") {
		c.settle("tls-hsts")
	} else {
		c.skip("tls-hsts", "the issuer is http")
	}
	c.settle("no-store", "challenge", "page-headers")
}

func (p *Patient) checkReady(ctx context.Context, c *chart, w *web) {
	a, err := w.get(ctx, p.Issuer+"/readyz")
	switch {
	case err != nil:
		c.fail("ready", "look into the server's log", "it can not be asked: %v", err)
	case a.status == http.StatusOK:
		c.settle("ready")
	case a.status == http.StatusServiceUnavailable:
		c.fail("ready", "look into the server's log: database, schema and draining count", "/readyz says no")
	default:
		c.skip("ready", "/readyz is not passed on to here (%s)", a.tell())
	}
}

// checkPrivatePaths recognises what must not be public by its content: some proxies
// answer everything.
func (p *Patient) checkPrivatePaths(ctx context.Context, c *chart, w *web) {
	for path, mark := range map[string]string{"/metrics": "# TYPE ", "/debug/pprof/": "goroutine", "/debug/vars": "memstats"} {
		a, err := w.get(ctx, p.Issuer+path)
		if err == nil && a.status == http.StatusOK && bytes.Contains(a.body, []byte(mark)) {
			c.of(path).fail("private-paths", "serve it on an address of its own, and do not let the proxy pass it on", "%s is public", path)
		}
	}
	c.settle("private-paths")
}

// checkJWKS compares names only: a kid is the thumbprint of its key.
func (p *Patient) checkJWKS(ctx context.Context, c *chart, w *web, meta metadata, known []storage.KeyFact) bool {
	a, err := w.get(ctx, meta.JWKS)
	if err != nil || a.status != http.StatusOK {
		c.fail("jwks", "does a proxy pass it on?", "the key set can not be read")
		return false
	}
	type key struct {
		KID string `json:"kid"`
	}
	var set struct {
		Keys []key `json:"keys"`
	}
	if json.Unmarshal(a.body, &set) != nil || len(set.Keys) == 0 {
		c.fail("jwks", "does a proxy change it?", "the key set can not be read")
		return false
	}
	if len(known) == 0 {
		c.skip("jwks", "the keys of the database are not known")
		return false
	}
	const elsewhere = "the server at the issuer works on another database, or a cache keeps an old key set: give the doctor the settings of that server"
	for _, k := range set.Keys {
		if !slices.ContainsFunc(known, func(f storage.KeyFact) bool { return f.ID == k.KID }) {
			c.fail("jwks", elsewhere, "key %s is published and is not in this database", k.KID)
			return false
		}
	}
	for _, f := range known {
		published := slices.ContainsFunc(set.Keys, func(k key) bool { return k.KID == f.ID })
		if !published && !past(f, known, p.Now()) {
			c.fail("jwks", elsewhere, "key %s of this database is not published", f.ID)
			return false
		}
	}
	c.settle("jwks")
	return true
}

// past reports whether a key may be unpublished already: keys.Gone, or about to be, or
// so young that a replica has not read it.
func past(f storage.KeyFact, known []storage.KeyFact, now time.Time) bool {
	if now.Sub(f.CreatedAt) < time.Minute {
		return true
	}
	return slices.ContainsFunc(known, func(later storage.KeyFact) bool {
		return later.Algorithm == f.Algorithm && later.Ordinal > f.Ordinal && !later.ActivateAt.IsZero() &&
			!later.ActivateAt.Add(keys.Keep-time.Minute).After(now)
	})
}

// behindProxy: somebody else ends TLS, so there is a proxy whether or not it says so.
func behindProxy(issuer *url.URL, cfg config.Config) bool {
	return issuer.Scheme == "https" && cfg.TLSCertFile == ""
}

const nameProxy = "name the proxies in trusted_proxies, and let each add the address that it sees to X-Forwarded-For"

// checkProxySettings is what the settings alone tell; a sign-in tells more (attacks.go).
func (p *Patient) checkProxySettings(c *chart, issuer *url.URL) {
	for _, network := range p.Config.TrustedProxies {
		if network.Bits() == 0 {
			c.fail("proxy-forged", "name the proxies only", "trusted_proxies has %s: anybody may claim to come from anywhere", network)
		}
	}
	if behindProxy(issuer, p.Config) && len(p.Config.TrustedProxies) == 0 {
		c.fail("proxy-trusted", nameProxy, "the issuer is https and this server speaks http, so a proxy is in front, and trusted_proxies names none")
	}
}

// judgeAddress compares what a sign-in recorded with where the doctor came from.
func (p *Patient) judgeAddress(c *chart, recorded, forged, from string, via bool) {
	if here, err := netip.ParseAddr(from); err == nil && p.Config.TrustedProxies.Contains(here) && !c.has("proxy-forged", Fail) {
		for _, check := range []string{"proxy-forged", "proxy-trusted"} {
			c.skip(check, "the doctor comes from %s, which is one of trusted_proxies: run it elsewhere to know", from)
		}
		return
	}
	if recorded == forged {
		c.fail("proxy-forged", "name only the proxies in trusted_proxies, and let them replace or extend X-Forwarded-For, not pass it on as it came",
			"a sign-in with a forged X-Forwarded-For was recorded as coming from there")
		return
	}
	c.settle("proxy-forged")
	issuer, _ := url.Parse(p.Issuer)
	if recorded == from || !via && !behindProxy(issuer, p.Config) {
		c.settle("proxy-trusted")
		return
	}
	// The doctor may have left through a gateway of its own, so another address alone is
	// no proof. One that nobody has on the internet is.
	address, err := netip.ParseAddr(recorded)
	switch {
	case err != nil:
		c.fail("proxy-trusted", nameProxy, "a sign-in was recorded without an address")
	case p.Config.TrustedProxies.Contains(address):
		c.fail("proxy-trusted", nameProxy, "a sign-in was recorded as coming from %s, which is one of trusted_proxies: it does not say whom it speaks for", recorded)
	case address.IsPrivate() || address.IsLoopback() || address.IsLinkLocalUnicast():
		c.fail("proxy-trusted", nameProxy, "a sign-in from %s was recorded as coming from %s, which is a proxy's", from, recorded)
	default:
		c.good("proxy-trusted", "a sign-in was recorded as coming from %s: see that this is where you are", recorded)
	}
}
