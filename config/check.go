package config

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// verify applies the field's check to the value it holds.
func (f field) verify() (problem, todo string) {
	switch f.check {
	case "", "networks": // what decodes as Networks is good
		return "", ""
	case "name":
		return checkName(f.value.String())
	case "logo":
		return checkLogo(f.value.String())
	case "color":
		return checkColor(f.value.String())
	case "database":
		return checkDatabase(f.value.Interface().(Database))
	case "issuer":
		return checkIssuer(f.value.String())
	case "address":
		return checkAddress(f.value.String())
	case "listener":
		if f.value.String() == "" {
			return "", ""
		}
		return checkAddress(f.value.String())
	}
	if low, high, ok := strings.Cut(f.check, ".."); ok {
		if f.number() < bound(low) || f.number() > bound(high) {
			return "is out of range", "set it between " + low + " and " + high
		}
		return "", ""
	}
	return f.checkChoice(strings.Split(f.check, "|"))
}

func (f field) number() int64 { return f.value.Int() }

// bound reads an end of a range, which is a span of time or a number.
func bound(text string) int64 {
	if d, err := time.ParseDuration(text); err == nil {
		return int64(d)
	}
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

func (f field) checkChoice(allowed []string) (problem, todo string) {
	chosen, isList := f.value.Interface().([]string)
	if !isList {
		chosen = []string{f.value.String()}
	}
	for _, word := range chosen {
		if !slices.Contains(allowed, word) {
			return "is not one of " + strings.Join(allowed, ", "), hintChoice(word, allowed)
		}
	}
	return "", ""
}

func hintChoice(word string, allowed []string) string {
	if near := suggest(word, allowed); near != "" {
		return "did you mean " + near + "?"
	}
	return "use one of " + strings.Join(allowed, ", ")
}

func checkDatabase(d Database) (problem, todo string) {
	const example = "write sqlite:grantor.db or postgres://user:password@host:5432/name"
	text := string(d)
	switch {
	case strings.ContainsFunc(text, isControl):
		return "contains a control character", example
	case strings.HasPrefix(text, sqlitePrefix):
		return checkSQLite(d.File())
	case strings.HasPrefix(text, "postgres://"), strings.HasPrefix(text, "postgresql://"):
		if _, rest, _ := strings.Cut(text, "://"); rest == "" {
			return "names no server", example
		}
		if _, err := url.PathUnescape(text); err != nil {
			return "has a % that begins no %XX", "write a % in a name or password as %25"
		}
		return "", ""
	}
	return "is neither sqlite: nor postgres://", example
}

func checkSQLite(file string) (problem, todo string) {
	switch {
	case file == "":
		return "names no file", "write sqlite:grantor.db"
	case strings.HasPrefix(file, "//"):
		// sqlite://grantor.db would be a file in the root folder, which nobody means.
		return "has two slashes after sqlite:", "write sqlite:grantor.db, or sqlite:/var/lib/grantor/grantor.db for a whole path"
	case strings.Contains(file, ":memory:"):
		return "keeps nothing", "name a file; it may be in a temporary folder"
	case strings.ContainsAny(file, "?#%"):
		return "has a ?, # or % in its path", "use a path without them; SQLite's own parameters can not be set"
	case strings.HasSuffix(file, "/"):
		return "names a folder", "add a file name, such as " + sqlitePrefix + file + "grantor.db"
	}
	return "", ""
}

// checkIssuer holds RFC 8414 section 2 (no query, no fragment), and what lets an
// issuer be compared letter for letter.
func checkIssuer(issuer string) (problem, todo string) {
	if issuer == "" {
		return "", ""
	}
	const example = "write it like https://auth.example.com"
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "" || strings.ContainsFunc(issuer, isControl) || strings.Contains(issuer, " "):
		return "is not a URL", example
	case u.Scheme != "https" && u.Scheme != "http":
		return "is neither https nor http", example
	case u.User != nil:
		return "contains a user name", "remove everything before the @"
	case u.RawQuery != "" || u.ForceQuery:
		return "has a query", "remove the ? and all that follows"
	case strings.Contains(issuer, "#"):
		return "has a fragment", "remove the # and all that follows"
	case strings.HasSuffix(issuer, "/"):
		return "ends with a slash", "write " + strings.TrimRight(issuer, "/")
	case u.Scheme == "http" && !IsLoopback(u.Hostname()):
		return "is http, which is for loopback only", "use https, or an address such as http://127.0.0.1:8080 for trying things out"
	case !portOK(u.Port()):
		return "has a port out of range", "use a port from 1 to 65535"
	case issuer != u.Scheme+"://"+strings.ToLower(u.Host)+u.EscapedPath() || u.Path != "" && path.Clean(u.Path) != u.Path || strings.ContainsFunc(u.EscapedPath(), isUnusual):
		return "is not written in its plainest form", "use lower case for scheme and host; in the path letters, digits, - _ ~ and single dots and slashes"
	}
	return "", ""
}

func checkAddress(address string) (problem, todo string) {
	const example = "write it like 127.0.0.1:8080, or [::]:8080 for all addresses"
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "is not HOST:PORT", example
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || port != strconv.FormatUint(n, 10) {
		return "has no port from 0 to 65535", example
	}
	if strings.ContainsFunc(host, func(r rune) bool { return isControl(r) || strings.ContainsRune(" /@?#", r) }) {
		return "is not HOST:PORT", example
	}
	return "", ""
}

// checkName keeps the name a line of text that can not change how the page around it reads.
func checkName(name string) (problem, todo string) {
	const most = 60
	switch {
	case !utf8.ValidString(name):
		return "is not UTF-8", "write it as UTF-8"
	case strings.TrimSpace(name) == "":
		return "is blank", "remove the line to be called Grantor"
	case name != strings.TrimSpace(name):
		return "has a blank at an end", "remove it"
	case utf8.RuneCountInString(name) > most:
		return "is longer than 60 characters", "shorten it"
	case strings.ContainsFunc(name, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
	}):
		return "contains a control character", "remove it"
	}
	return "", ""
}

// checkLogo looks at the name only; the file is read by who shows it.
func checkLogo(file string) (problem, todo string) {
	if file == "" || LogoType(file) != "" {
		return "", ""
	}
	return "is none of the pictures that browsers show", "name an .svg, .png, .jpg, .jpeg or .webp file"
}

// LogoType is the media type that a logo's file name promises, "" for one that may be no logo.
func LogoType(file string) string {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".jpg", ".jpeg":
		return "image/jpeg"
	case ".webp":
		return "image/webp"
	}
	return ""
}

func checkColor(color string) (problem, todo string) {
	const hexDigits = "0123456789abcdefABCDEF"
	digits, ok := strings.CutPrefix(color, "#")
	if !ok || len(digits) != len("rrggbb") || strings.Trim(digits, hexDigits) != "" {
		return "is not a colour of the form #rrggbb", `write it in quotes, such as display_color: "#1a5fb4"`
	}
	return "", ""
}

func portOK(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// Loopback reports whether the listening address and the issuer reach this machine only.
func (c Config) Loopback() bool {
	if !loopbackAddress(c.Address) {
		return false
	}
	u, err := url.Parse(c.Issuer)
	return c.Issuer == "" || err == nil && IsLoopback(u.Hostname())
}

func loopbackAddress(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && IsLoopback(host)
}

// IsLoopback reports whether a host, without a port, is this machine to itself.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// isUnusual: characters that are legal in a path, but that some client, proxy or
// shell would write differently.
func isUnusual(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/-._~", r))
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }
