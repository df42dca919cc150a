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
	// What RFC 3986 allows, less "#" (RFC 6749 section 3.1.2) and "*" (a pattern in some servers, so in some heads).
	uriForm = regexp.MustCompile(`^(?:[A-Za-z0-9._~:/?\[\]@!$&'()+,;=-]|%[0-9A-Fa-f]{2})*$`)
	// RFC 8252 section 7.1: a scheme based on a domain under the app's control. It
	// has a dot, so no scheme that a browser acts upon (javascript, data, file, blob) is one.
	nativeScheme = regexp.MustCompile(`^[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+$`)
	hostForm     = regexp.MustCompile(`^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$`)
)

func redirectFault(uri string, public bool) string {
	switch {
	case uri == "":
		return "is empty"
	case len(uri) > maxRedirectURI:
		return fmt.Sprintf("is longer than %d characters", maxRedirectURI)
	case strings.Contains(uri, "#"):
		return "has a fragment (RFC 6749 section 3.1.2)"
	case strings.Contains(uri, "*"):
		return "has a *: it is compared as it is, not as a pattern"
	case !uriForm.MatchString(uri):
		return "has a character that no URI has (RFC 3986)"
	}
	u, err := url.Parse(uri)
	if err != nil {
		return "is not a URI"
	}
	if !u.IsAbs() || !strings.HasPrefix(uri, u.Scheme+":") {
		return "is not an absolute URI with a scheme in lower case"
	}
	if u.User != nil {
		return "has a user name"
	}
	switch {
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
