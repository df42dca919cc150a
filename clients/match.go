package clients

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// MatchRedirectURI reports whether a request may name this redirect URI: one that is
// registered, byte for byte (RFC 9700 section 2.1), or one on the loopback interface
// that differs from a registered one in nothing but the port (RFC 8252 section 7.3: a
// native app listens on whatever port is free).
//
// Nothing is parsed, decoded or normalised: what two parsers read differently can not
// match here in the first place.
func (c *Client) MatchRedirectURI(uri string) bool {
	if uri == "" {
		return false
	}
	if slices.Contains(c.RedirectURIs, uri) {
		return true
	}
	host, rest, ok := cutLoopbackPort(uri)
	if !ok {
		return false
	}
	return slices.ContainsFunc(c.RedirectURIs, func(registered string) bool {
		registeredHost, registeredRest, ok := cutLoopbackPort(registered)
		return ok && registeredHost == host && registeredRest == rest
	})
}

// cutLoopbackPort takes the port out of an http URI on a literal loopback address. What
// follows host and port must be a path or query, or nothing: a user name is neither.
func cutLoopbackPort(uri string) (host, rest string, ok bool) {
	for _, host := range []string{"http://127.0.0.1", "http://[::1]"} {
		rest, ok := strings.CutPrefix(uri, host)
		if !ok {
			continue
		}
		if port, found := strings.CutPrefix(rest, ":"); found {
			end := strings.IndexFunc(port, func(r rune) bool { return r < '0' || r > '9' })
			if end < 0 {
				end = len(port)
			}
			if !validPort(port[:end]) {
				return "", "", false
			}
			rest = port[end:]
		}
		return host, rest, rest == "" || rest[0] == '/' || rest[0] == '?'
	}
	return "", "", false
}

// Native reports whether an answer that goes to this redirect URI reaches whichever app
// on the person's device takes it (the loopback interface, a private-use scheme), and
// the client has no secret that the app would have to show. Nobody can say then that
// the app is the client, so the person is always asked: RFC 8252 section 8.6.
func (c *Client) Native(uri string) bool {
	if !c.Public {
		return false
	}
	u, err := url.Parse(uri)
	if err != nil {
		return false
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return true
	}
	host := u.Hostname()
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.IsLoopback()
}
