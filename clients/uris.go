package clients

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

const maxRedirectURI = 2000

// CheckRedirectURI says what is wrong with a redirect URI, wrapping ErrInvalid. Native
// schemes are for public clients only: nobody keeps a secret in an app.
//
// Registration asks it through Check; what a request brings is compared by MatchRedirectURI.
func CheckRedirectURI(uri string, public bool) error {
	if why := redirectFault(uri, public); why != "" {
		return fmt.Errorf("%w: redirect URI %s %s", ErrInvalid, show(uri), why)
	}
	return nil
}

var (
	// What RFC 3986 allows before a fragment, less "*" (a pattern in some servers, so in some heads).
	uriForm = regexp.MustCompile(`^(?:[A-Za-z0-9._~:/?\[\]@!$&'()+,;=-]|%[0-9A-Fa-f]{2})*$`)
	// RFC 8252 section 7.1: a scheme based on a domain under the app's control. It
	// has a dot, so no scheme that a browser acts upon (javascript, data, file, blob) is one.
	nativeScheme = regexp.MustCompile(`^[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+$`)
	hostForm     = regexp.MustCompile(`^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$`)
)

func redirectFault(uri string, public bool) string {
	switch {
	case strings.Contains(uri, "#"):
		return "has a fragment (RFC 6749 section 3.1.2)"
	case strings.Contains(uri, "*"):
		return "has a *: it is compared as it is, not as a pattern"
	}
	u, why := parseStrictly(uri)
	switch {
	case why != "":
		return why
	case u.Scheme == "https":
		if !validHost(u) {
			return "has no valid host"
		}
		return ""
	case u.Scheme == "http":
		return loopbackFault(u)
	case !nativeScheme.MatchString(u.Scheme):
		return "must be https, http on 127.0.0.1 or [::1], or a native app's own scheme with a dot like com.example.app (RFC 8252 section 7)"
	case u.Opaque != "" || u.Host == "" && u.Path == "":
		return "needs a path, as in com.example.app:/callback"
	case u.Host != "" && !validHost(u):
		return "has no valid host"
	case !public:
		return "has a native app's scheme, which only a public client may have"
	}
	return ""
}

// parseStrictly takes an absolute URI without user name, in the characters of one.
func parseStrictly(uri string) (u *url.URL, fault string) {
	switch {
	case uri == "":
		return nil, "is empty"
	case len(uri) > maxRedirectURI:
		return nil, fmt.Sprintf("is longer than %d characters", maxRedirectURI)
	case !uriForm.MatchString(uri):
		return nil, "has a character that no URI has (RFC 3986)"
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return nil, "is not a URI"
	case !u.IsAbs() || !strings.HasPrefix(uri, u.Scheme+":"):
		return nil, "is not an absolute URI with a scheme in lower case"
	case u.User != nil:
		return nil, "has a user name"
	}
	return u, ""
}

// backchannelFault looks at the form. Which addresses the server then connects to is
// decided when it does: what a name resolves to can change (attacks.md G-12).
func backchannelFault(uri string) string {
	if strings.Contains(uri, "#") {
		return "has a fragment (Back-Channel Logout 1.0 section 2.2)"
	}
	u, why := parseStrictly(uri)
	switch {
	case why != "":
		return why
	case u.Scheme == "http":
		return loopbackFault(u)
	case u.Scheme != "https":
		return "must be https, or http on 127.0.0.1 or [::1]"
	case !validHost(u) || oddNumber(u.Hostname()):
		return "has no valid host"
	}
	return ""
}

// oddNumber reports whether some resolvers would read a host as an IPv4 address that
// others do not: 2130706433, 0x7f.1, 127.1. Its last label is a number (URL Standard
// section 3.5), yet it is no address in four parts.
func oddNumber(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	_, err := strconv.ParseUint(last, 0, 64)
	numeric := err == nil || strings.Trim(last, "0123456789") == ""
	_, notAddress := netip.ParseAddr(host)
	return numeric && notAddress != nil
}

// pageFault is for links that people may follow. They get no token, so http will do.
func pageFault(uri string) string {
	page, fragment, _ := strings.Cut(uri, "#")
	u, why := parseStrictly(page)
	switch {
	case why != "":
		return why
	case !uriForm.MatchString(fragment):
		return "has a character that no URI has (RFC 3986)"
	case u.Scheme != "https" && u.Scheme != "http":
		return "is neither https nor http"
	case !validHost(u):
		return "has no valid host"
	}
	return ""
}

func loopbackFault(u *url.URL) string {
	switch host := u.Hostname(); {
	case strings.EqualFold(host, "localhost"):
		return "must name 127.0.0.1 or [::1] instead of localhost, which may lead elsewhere (RFC 8252 section 8.3)"
	case host != "127.0.0.1" && host != "::1":
		return "must be https: http is for 127.0.0.1 and [::1] only"
	case !validHost(u):
		return "has no valid host"
	}
	return ""
}

// validHost is stricter than url.Parse, which lets much through that browsers read otherwise.
func validHost(u *url.URL) bool {
	host, port := u.Hostname(), u.Port()
	want := host
	if strings.Contains(host, ":") {
		if addr, err := netip.ParseAddr(host); err != nil || addr.Zone() != "" {
			return false
		}
		want = "[" + host + "]"
	} else if !hostForm.MatchString(host) {
		return false
	}
	if port != "" {
		if !validPort(port) {
			return false
		}
		want += ":" + port
	}
	return u.Host == want && u.Opaque == ""
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && port == strconv.FormatUint(n, 10)
}

// originFault accepts exactly what a browser sends in Origin (RFC 6454 section 6.2),
// so that it can be compared byte for byte. Here localhost is fine: browsers keep it
// on the machine, and nothing is ever sent to an origin.
func originFault(origin string) string {
	const form = "must be as a browser sends it: https://host or https://host:port, in lower case, without path and default port"
	u, err := url.Parse(origin)
	if err != nil || len(origin) > maxRedirectURI || origin != u.Scheme+"://"+u.Host || origin != strings.ToLower(origin) || !validHost(u) {
		return form
	}
	host := u.Hostname()
	if addr, err := netip.ParseAddr(host); err == nil && addr.String() != host {
		return form
	}
	switch u.Scheme {
	case "https":
		if u.Port() == "443" {
			return form
		}
		return ""
	case "http":
		if host != "127.0.0.1" && host != "::1" && host != "localhost" {
			return "must be https: http is for this machine only"
		}
		if u.Port() == "80" {
			return form
		}
		return ""
	}
	return form
}
