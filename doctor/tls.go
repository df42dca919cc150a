package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Bounds of a certificate's end. One that lives for days only is renewed late on purpose.
const (
	certificateSoon = 30 * 24 * time.Hour
	shortLived      = 45 * 24 * time.Hour
)

// checkTLS reads the certificate without sending anything, so that a bad one can be told
// apart from a server that is gone.
func (p *Patient) checkTLS(ctx context.Context, c *chart, issuer *url.URL) {
	if issuer.Scheme != "https" {
		if loopback(issuer.Hostname()) {
			for _, check := range []string{"tls-certificate", "tls-expiry", "tls-version"} {
				c.skip(check, "http on this machine only")
			}
			return
		}
		c.fail("tls-certificate", "serve https, by a proxy or with tls_cert_file", "the issuer is http, beyond this machine")
		return
	}
	state, err := p.handshake(ctx, issuer, tls.VersionTLS12, tls.VersionTLS13)
	if err != nil {
		c.fail("tls-certificate", "is something listening there that speaks TLS 1.2 or later?", "no TLS with %s: %v", issuer.Host, err)
		return
	}
	p.checkCertificate(c, issuer, state.PeerCertificates)
	if _, err := p.handshake(ctx, issuer, tls.VersionTLS10, tls.VersionTLS11); err == nil {
		c.fail("tls-version", "switch TLS 1.0 and 1.1 off in the proxy", "TLS 1.1 or older is accepted")
	}
	c.settle("tls-version")
}

func (p *Patient) checkCertificate(c *chart, issuer *url.URL, chain []*x509.Certificate) {
	leaf, between := chain[0], x509.NewCertPool()
	for _, certificate := range chain[1:] {
		between.AddCert(certificate)
	}
	now := p.Now()
	left := leaf.NotAfter.Sub(now)
	switch life := leaf.NotAfter.Sub(leaf.NotBefore); {
	case left <= 0:
		c.fail("tls-expiry", "renew it", "the certificate ended on %s", leaf.NotAfter.UTC().Format(time.DateOnly))
	case life > shortLived && left < certificateSoon, life <= shortLived && left < life/3:
		c.warn("tls-expiry", "renew it, or mend what should have", "the certificate ends on %s, in %d days", leaf.NotAfter.UTC().Format(time.DateOnly), left/(24*time.Hour))
	default:
		c.good("tls-expiry", "the certificate is good until %s", leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	if left <= 0 {
		now = leaf.NotAfter.Add(-time.Second) // that it ended is said; is anything else wrong?
	}
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: issuer.Hostname(), Roots: p.Roots, Intermediates: between, CurrentTime: now})
	if err != nil {
		c.fail("tls-certificate", "get one for this name from an authority that clients know, and serve its chain with it", "%v", err)
	}
	c.settle("tls-certificate")
}

func (p *Patient) handshake(ctx context.Context, issuer *url.URL, oldest, newest uint16) (tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	port := issuer.Port()
	if port == "" {
		port = "443"
	}
	raw, err := p.Dial(ctx, "tcp", net.JoinHostPort(issuer.Hostname(), port))
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{
		ServerName: issuer.Hostname(), MinVersion: oldest, MaxVersion: newest,
		InsecureSkipVerify: true, //nolint:gosec // nothing is sent: the certificate is what is looked at, by checkCertificate
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		return tls.ConnectionState{}, err
	}
	return conn.ConnectionState(), nil
}

// checkPlainHTTP asks port 80 of the issuer's host.
func (p *Patient) checkPlainHTTP(ctx context.Context, c *chart, w *web, issuer *url.URL) {
	if issuer.Scheme != "https" {
		c.skip("plain-http", "the issuer is http")
		return
	}
	host := issuer.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	a, err := w.get(ctx, "http://"+host+issuer.Path+"/.well-known/openid-configuration")
	if err == nil && a.status == http.StatusOK && a.member("issuer") != "" {
		c.warn("plain-http", "let port 80 answer with a redirect to https, or not at all", "the metadata is served over http, too")
	}
	c.settle("plain-http")
}

func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}
