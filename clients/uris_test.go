package clients_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
)

func TestRedirectURIs(t *testing.T) {
	for _, uri := range []string{
		"https://app.test/cb", "https://app.test/cb2?x=1", "https://app.test", "https://app.test:8443/cb", "https://xn--bcher-kva.test/cb",
		"https://app.test/a%20b", "https://app.test/cb;x", "https://127.0.0.1/cb", "https://localhost/cb", "https://[2001:db8::1]:444/cb", "https://a_b.test/cb",
		"http://127.0.0.1/cb", "http://127.0.0.1:51004/cb", "http://[::1]/cb", "http://[::1]:8080/cb?x=1",
		"https://app.test/" + strings.Repeat("a", 2000-len("https://app.test/")),
	} {
		require.NoError(t, clients.CheckRedirectURI(uri, true), uri)
		require.NoError(t, clients.CheckRedirectURI(uri, false), uri)
	}
	for _, uri := range []string{"com.example.app:/cb", "com.example.app://cb", "com.example.app://cb/path?x=1", "com.example.my-app:/", "com.googleusercontent.apps.123-abc:/oauth2redirect"} {
		require.NoError(t, clients.CheckRedirectURI(uri, true), uri)
		require.ErrorContains(t, clients.CheckRedirectURI(uri, false), "only a public client", uri)
	}
}

// None of these is right for any client.
func TestRedirectURIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ uri, says string }{
		"G-01 http":                  {"http://app.test/cb", "must be https"},
		"G-01 fragment":              {"https://app.test/cb#frag", "fragment"},
		"G-01 empty fragment":        {"https://app.test/cb#", "fragment"},
		"G-01 relative":              {"/cb", "absolute"},
		"G-01 relative to scheme":    {"//app.test/cb", "absolute"},
		"G-01 star":                  {"https://*.app.test/cb", "*"},
		"G-01 star in path":          {"https://app.test/*", "*"},
		"G-01 empty":                 {"", "is empty"},
		"A-07 javascript":            {"javascript:alert(1)", "must be https"},
		"A-07 javascript, slashes":   {"javascript://app.test/%0aalert(1)", "must be https"},
		"A-07 javascript, capitals":  {"JavaScript:alert(1)", "lower case"},
		"A-07 javascript, tab":       {"java\tscript:alert(1)", "character"},
		"A-07 javascript, blank":     {" javascript:alert(1)", "character"},
		"A-07 data":                  {"data:text/html,x", "must be https"},
		"A-07 vbscript":              {"vbscript:x", "must be https"},
		"A-07 file":                  {"file:///etc/passwd", "must be https"},
		"A-07 blob":                  {"blob:https://app.test/x", "must be https"},
		"A-07 about":                 {"about:blank", "must be https"},
		"A-07 filesystem":            {"filesystem:https://app.test/x", "must be https"},
		"A-07 view-source":           {"view-source:https://app.test/", "must be https"},
		"A-07 intent":                {"intent://x", "must be https"},
		"A-07 ftp, ws, mailto":       {"ftp://app.test/cb", "must be https"},
		"scheme without dot":         {"myapp:/cb", "with a dot"},
		"scheme of a dot":            {".:/cb", "not a URI"},
		"scheme with dot at the end": {"com.:/cb", "with a dot"},
		"scheme in capitals":         {"HTTPS://app.test/cb", "lower case"},
		"native, nothing":            {"com.example.app:", "needs a path"},
		"native, opaque":             {"com.example.app:cb", "needs a path"},
		"native, user":               {"com.example.app://u@cb/x", "user name"},
		"user":                       {"https://app.test@evil.test/cb", "user name"},
		"empty user":                 {"https://@evil.test/cb", "user name"},
		"user and password":          {"https://a:b@app.test/cb", "user name"},
		"no host":                    {"https:///cb", "no valid host"},
		"only a port":                {"https://:443/cb", "no valid host"},
		"opaque":                     {"https:app.test/cb", "no valid host"},
		"one slash":                  {"https:/app.test/cb", "no valid host"},
		"empty port":                 {"https://app.test:/cb", "no valid host"},
		"port 0":                     {"https://app.test:0/cb", "no valid host"},
		"port 65536":                 {"https://app.test:65536/cb", "no valid host"},
		"port with zeros":            {"https://app.test:0443/cb", "no valid host"},
		"port of letters":            {"https://app.test:x/cb", "not a URI"},
		"two dots":                   {"https://app..test/cb", "no valid host"},
		"trailing dot":               {"https://app.test./cb", "no valid host"},
		"IPv6 zone":                  {"https://[fe80::1%25eth0]/cb", "no valid host"},
		"broken IPv6":                {"https://[::zz]/cb", "not a URI"},
		"host with escape":           {"https://app%2etest/cb", "not a URI"},
		"host with subdelim":         {"https://app.test,evil.test/cb", "no valid host"},
		"backslash":                  {`https://app.test\@evil.test/cb`, "character"},
		"blank":                      {"https://app.test/c b", "character"},
		"line break":                 {"https://app.test/cb\r\nX: y", "character"},
		"NUL":                        {"https://app.test/cb\x00", "character"},
		"umlaut":                     {"https://äpp.test/cb", "character"},
		"invalid UTF-8":              {"https://app.test/\xff", "character"},
		"quote":                      {`https://app.test/"onload=x`, "character"},
		"angle bracket":              {"https://app.test/<script>", "character"},
		"brace":                      {"https://app.test/{id}", "character"},
		"broken escape":              {"https://app.test/%2", "character"},
		"2001 characters":            {"https://app.test/" + strings.Repeat("a", 2001-len("https://app.test/")), "longer than 2000"},
		"localhost":                  {"http://localhost/cb", "instead of localhost"},
		"localhost, port":            {"http://LOCALHOST:8080/cb", "instead of localhost"},
		"localhost of evil":          {"http://localhost.evil.test/cb", "must be https"},
		"127.0.0.1 of evil":          {"http://127.0.0.1.evil.test/cb", "must be https"},
		"127.0.0.2":                  {"http://127.0.0.2/cb", "must be https"},
		"127.1":                      {"http://127.1/cb", "must be https"},
		"127.0.0.1 as a number":      {"http://2130706433/cb", "must be https"},
		"127.0.0.1 with zeros":       {"http://127.000.000.001/cb", "must be https"},
		"0.0.0.0":                    {"http://0.0.0.0/cb", "must be https"},
		"::1 in full":                {"http://[0:0:0:0:0:0:0:1]/cb", "must be https"},
		"::1 mapped":                 {"http://[::ffff:127.0.0.1]/cb", "must be https"},
		"loopback, port 0":           {"http://127.0.0.1:0/cb", "no valid host"},
		"loopback, empty port":       {"http://127.0.0.1:/cb", "no valid host"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, public := range []bool{true, false} {
				err := clients.CheckRedirectURI(c.uri, public)
				require.ErrorIs(t, err, clients.ErrInvalid)
				require.ErrorContains(t, err, c.says)
				require.NotContains(t, err.Error(), "\n")
			}
			client := app()
			client.RedirectURIs = []string{"https://app.test/cb", c.uri}
			require.ErrorIs(t, client.Check(), clients.ErrInvalid, "Check asks the same rule")
		})
	}
}

// Whatever comes through is safe to put into a Location header: it leads to the host
// that it shows, over TLS, to this machine or into an app.
func FuzzRedirectURI(f *testing.F) {
	for _, uri := range []string{
		"https://app.test/cb", "http://127.0.0.1:8080/cb", "http://[::1]/", "com.example.app:/cb", "javascript:alert(1)", "https://a@b/", `https://a\b`,
		"https://[::1%25x]/", "https://a:0/", "data:,", "https://a%2f/", "com.example.app:cb", "https:/a", "http://localhost/",
	} {
		f.Add(uri, true)
		f.Add(uri, false)
	}
	f.Fuzz(func(t *testing.T, uri string, public bool) {
		err := clients.CheckRedirectURI(uri, public)
		if err != nil {
			require.ErrorIs(t, err, clients.ErrInvalid)
			require.NotContains(t, err.Error(), "\n")
			return
		}
		for i := range len(uri) {
			require.True(t, uri[i] > 0x20 && uri[i] < 0x7f, "byte %x", uri[i])
		}
		require.NotContains(t, uri, "#")
		require.NotContains(t, uri, `\`)
		require.NotContains(t, uri, `*`)
		u, err := url.Parse(uri)
		require.NoError(t, err)
		require.Nil(t, u.User)
		require.Empty(t, u.Opaque)
		switch u.Scheme {
		case "https":
			require.NotEmpty(t, u.Hostname())
			require.True(t, strings.HasPrefix(uri, "https://"+u.Host))
		case "http":
			require.Contains(t, []string{"127.0.0.1", "::1"}, u.Hostname())
		default:
			require.True(t, public)
			require.Contains(t, u.Scheme, ".")
		}
		if public {
			return
		}
		require.NoError(t, clients.CheckRedirectURI(uri, true), "a public client may have all that a confidential one may")
	})
}

func TestBackchannelLogoutURIs(t *testing.T) {
	check := func(uri string) error {
		return with(web(), func(c *clients.Client) { c.BackchannelLogoutURI = uri }).Check()
	}
	for _, uri := range []string{
		"https://app.test/logout", "https://app.test:8443/logout?tenant=1", "https://app.test", "https://10.0.0.7/logout", "https://[fd00::1]/logout", "https://localhost/logout",
		"http://127.0.0.1:9090/logout", "http://[::1]/logout", "https://123.app.test/", "https://app.test1/",
	} {
		require.NoError(t, check(uri), uri)
	}
	for name, uri := range map[string]string{
		"http":                 "http://app.test/logout",
		"http, private":        "http://10.0.0.7/logout",
		"http, link-local":     "http://169.254.169.254/latest/meta-data",
		"http, localhost":      "http://localhost/logout",
		"fragment":             "https://app.test/logout#x",
		"user name":            "https://u:p@app.test/logout",
		"relative":             "/logout",
		"native":               "com.example.app:/logout",
		"file":                 "file:///etc/passwd",
		"gopher":               "gopher://app.test/",
		"unix":                 "unix:/run/docker.sock",
		"decimal G-12":         "https://2130706433/logout",
		"hexadecimal G-12":     "https://0x7f000001/logout",
		"octal G-12":           "https://0177.0.0.1/logout",
		"three parts G-12":     "https://127.0.1/logout",
		"five parts":           "https://1.2.3.4.5/",
		"blank":                "https://app.test/log out",
		"line break":           "https://app.test/\r\nX: y",
		"IPv6 with a zone":     "https://[fe80::1%25eth0]/",
		"scheme in capitals":   "HTTPS://app.test/",
		"2001 characters":      "https://app.test/" + strings.Repeat("a", 2001-len("https://app.test/")),
		"loopback of evil":     "http://127.0.0.1.evil.test/",
		"user of the loopback": "http://127.0.0.1@evil.test/",
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, check(uri), clients.ErrInvalid)
			require.ErrorContains(t, check(uri), "back-channel logout URI")
		})
	}
}

func TestOrigins(t *testing.T) {
	check := func(origin string) error {
		c := web()
		c.AllowedOrigins = []string{origin}
		return c.Check()
	}
	for _, origin := range []string{
		"https://app.test", "https://app.test:8443", "https://127.0.0.1", "https://[2001:db8::1]:444",
		"http://127.0.0.1:5173", "http://localhost:5173", "http://localhost", "http://[::1]:3000",
	} {
		require.NoError(t, check(origin), origin)
	}
	for name, origin := range map[string]string{
		"empty":              "",
		"null":               "null",
		"star":               "*",
		"star in host":       "https://*.app.test",
		"path":               "https://app.test/",
		"query":              "https://app.test?x",
		"fragment":           "https://app.test#",
		"user":               "https://u@app.test",
		"capitals":           "https://App.test",
		"scheme in capitals": "HTTPS://app.test",
		"default port":       "https://app.test:443",
		"default http port":  "http://localhost:80",
		"empty port":         "https://app.test:",
		"port with zero":     "https://app.test:08443",
		"port 65536":         "https://app.test:65536",
		"http":               "http://app.test",
		"http, like local":   "http://localhost.evil.test",
		"no scheme":          "app.test",
		"no host":            "https://",
		"another scheme":     "ftp://app.test",
		"an extension":       "chrome-extension://abcdef",
		"an app":             "com.example.app://cb",
		"IPv6 in full":       "https://[2001:0db8::1]",
		"umlaut":             "https://äpp.test",
		"blank":              " https://app.test",
		"two":                "https://a.test https://b.test",
		"line break":         "https://app.test\n",
		"long":               "https://" + strings.Repeat("a", 3000),
	} {
		t.Run(name, func(t *testing.T) { require.ErrorIs(t, check(origin), clients.ErrInvalid) })
	}
}
