package ui

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// setHeaders sets what every page has.
//
// There is no Cross-Origin-Opener-Policy on purpose: applications sign people in in a
// popup, and it would cut the popup from the page that opened it.
func setHeaders(header http.Header, lang string) {
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Language", lang)
	header.Add("Vary", "Accept-Language")
	header.Set("Cache-Control", "no-store")
	header.Set("Pragma", "no-cache")
	// no-referrer would make browsers send "Origin: null" with our own forms.
	header.Set("Referrer-Policy", "same-origin")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()")
}

// policy is the Content-Security-Policy of a page. Browsers hold form-action against the
// redirects after a POST too, therefore a page whose form ends at an application names
// the application's origin.
func policy(formAction []string) string {
	sources := []string{"'self'"}
	for _, source := range formAction {
		if isSource(source) && !slices.Contains(sources, source) {
			sources = append(sources, source)
		}
	}
	return "default-src 'none'; style-src 'self'; img-src 'self'; form-action " + strings.Join(sources, " ") + "; frame-ancestors 'none'; base-uri 'none'"
}

// policyOfPost is the policy of FormPost: one form, which goes to the application, and
// one script.
func policyOfPost(source, nonce string) string {
	if !isSource(source) {
		source = "'none'"
	}
	return "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'nonce-" + nonce + "'; form-action " + source + "; frame-ancestors 'none'; base-uri 'none'"
}

// nonce draws the nonce of one page.
func (p *Pages) nonce() (string, error) {
	var raw [16]byte
	if _, err := io.ReadFull(p.options.Rand, raw[:]); err != nil {
		return "", fmt.Errorf("draw nonce: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw[:]), nil
}

// Source is the CSP source of a redirect URI, for View.FormAction: the origin of a web
// address, the scheme of anything else; "" for what is no absolute URI.
func Source(redirectURI string) string {
	u, err := url.Parse(redirectURI)
	if err != nil || u.Scheme == "" {
		return ""
	}
	scheme := strings.ToLower(u.Scheme)
	if scheme != "https" && scheme != "http" {
		return scheme + ":"
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.To4() == nil {
		// A host source has no form for IPv6 (CSP Level 3 section 2.3.1).
		return scheme + ":"
	}
	if u.Host == "" {
		return ""
	}
	return scheme + "://" + strings.ToLower(u.Host)
}

// isSource: nothing in it ends a source or a directive.
func isSource(source string) bool {
	return source != "" && !strings.ContainsFunc(source, func(r rune) bool { return r <= ' ' || r > '~' || r == ';' || r == ',' || r == '\'' || r == '"' })
}

// address gives a URI that was compared with a registration to a template. Whatever was
// registered: what a browser would run as a script is none.
func address(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme == "" && (u.Host != "" || !strings.HasPrefix(uri, "/") || strings.HasPrefix(uri, "/\\")) {
		return "" // neither absolute nor a path of this site
	}
	switch strings.ToLower(u.Scheme) {
	case "javascript", "data", "vbscript", "blob", "file", "filesystem", "about", "view-source":
		return ""
	}
	return uri
}

// website is a URL that was registered for people to read: only on the web.
func website(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return uri
}
