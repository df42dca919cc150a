package server_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/server/servertest"
)

func networks(list ...string) config.Networks {
	var found config.Networks
	for _, text := range list {
		found = append(found, netip.MustParsePrefix(text))
	}
	return found
}

// from sends a request as a peer would and answers which address was logged.
func from(t *testing.T, w *servertest.World, peer string, header http.Header) string {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/login", nil)
	r.RemoteAddr = peer
	for name, values := range header {
		r.Header[name] = values
	}
	a := httptest.NewRecorder()
	w.Handler().ServeHTTP(a, r)
	require.Equal(t, http.StatusOK, a.Code)
	lines := w.Log.Requests(t)
	address, _ := lines[len(lines)-1]["address"].(string)
	return address
}

func forwarded(values ...string) http.Header { return http.Header{"X-Forwarded-For": values} }

// Anybody can write these headers: L-14, H-06.
func TestProxies_without_one_nothing_is_believed_H06(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for peer, want := range map[string]string{
		"192.0.2.7:1234": "192.0.2.7", "127.0.0.1:1": "127.0.0.1", "[2001:db8::7]:1": "2001:db8::7", "[::ffff:192.0.2.7]:1": "192.0.2.7",
		"[fe80::1%eth0]:1": "fe80::1", "@": "@",
	} {
		require.Equal(t, want, from(t, w, peer, nil))
		for _, name := range []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded", "X-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-Cluster-Client-Ip", "X-Forwarded", "Via"} {
			for _, value := range []string{"203.0.113.9", "for=203.0.113.9", "127.0.0.1", "ev1l"} {
				require.Equal(t, want, from(t, w, peer, http.Header{name: {value}}), "%s: %s", name, value)
			}
		}
	}
}

func TestProxies_that_are_trusted_L14(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{Config: func(c *config.Config) {
		c.TrustedProxies = networks("10.0.0.0/8", "192.0.2.1/32", "fd00::/8")
	}})
	const proxy, stranger = "10.0.0.1:443", "203.0.113.66:443"
	for name, c := range map[string]struct {
		peer   string
		header http.Header
		want   string
	}{
		"no header":                          {proxy, nil, "10.0.0.1"},
		"one hop":                            {proxy, forwarded("203.0.113.9"), "203.0.113.9"},
		"what the client claimed before":     {proxy, forwarded("1.1.1.1, 203.0.113.9"), "203.0.113.9"},
		"two proxies":                        {proxy, forwarded("1.1.1.1, 203.0.113.9, 10.9.9.9"), "203.0.113.9"},
		"a claim that looks like a proxy":    {proxy, forwarded("10.1.1.1, 203.0.113.9"), "203.0.113.9"},
		"several headers":                    {proxy, forwarded("1.1.1.1", "2.2.2.2", "203.0.113.9"), "203.0.113.9"},
		"several headers, the last a proxy":  {proxy, forwarded("1.1.1.1, 203.0.113.9", "10.9.9.9"), "203.0.113.9"},
		"all of them proxies":                {proxy, forwarded("10.2.2.2, 10.3.3.3"), "10.2.2.2"},
		"a stranger in front":                {stranger, forwarded("1.1.1.1"), "203.0.113.66"},
		"a stranger who names a proxy":       {stranger, forwarded("1.1.1.1, 10.0.0.1"), "203.0.113.66"},
		"a proxy in IPv6 clothes":            {"[::ffff:10.0.0.1]:443", forwarded("203.0.113.9"), "203.0.113.9"},
		"a client in IPv6 clothes":           {proxy, forwarded("::ffff:203.0.113.9"), "203.0.113.9"},
		"a proxy hop in IPv6 clothes":        {proxy, forwarded("203.0.113.9, ::ffff:10.9.9.9"), "203.0.113.9"},
		"IPv6":                               {"[fd00::1]:443", forwarded("2001:db8::9"), "2001:db8::9"},
		"one address is not its network":     {"192.0.2.2:443", forwarded("203.0.113.9"), "192.0.2.2"},
		"with a port":                        {proxy, forwarded("203.0.113.9:5555"), "203.0.113.9"},
		"IPv6 with a port":                   {proxy, forwarded("[2001:db8::9]:5555"), "2001:db8::9"},
		"a zone of free text":                {proxy, forwarded("fe80::9%ev1l\"text"), "fe80::9"},
		"blanks and tabs":                    {proxy, forwarded("\t 1.1.1.1 ,\t203.0.113.9 "), "203.0.113.9"},
		"no address at all":                  {proxy, forwarded("unknown"), "10.0.0.1"},
		"obfuscated (RFC 7239)":              {proxy, forwarded("1.1.1.1, _hidden"), "10.0.0.1"},
		"broken in the middle":               {proxy, forwarded("1.1.1.1, ev1l, 10.9.9.9"), "10.9.9.9"},
		"an empty last hop":                  {proxy, forwarded("1.1.1.1,"), "10.0.0.1"},
		"empty":                              {proxy, forwarded(""), "10.0.0.1"},
		"decimal notation":                   {proxy, forwarded("3405803785"), "10.0.0.1"},
		"octal notation":                     {proxy, forwarded("0313.0.0161.011"), "10.0.0.1"},
		"very long":                          {proxy, forwarded(strings.Repeat("1.1.1.1,", 8000) + "203.0.113.9"), "203.0.113.9"},
		"very long, proxies only":            {proxy, forwarded(strings.Repeat("10.1.1.1,", 8000) + "10.1.1.2"), "10.1.1.1"},
		"Forwarded is another header":        {proxy, http.Header{"Forwarded": {"for=203.0.113.9"}}, "10.0.0.1"},
		"X-Real-IP is another header":        {proxy, http.Header{"X-Real-Ip": {"203.0.113.9"}}, "10.0.0.1"},
		"the peer is not TCP":                {"@", forwarded("203.0.113.9"), "@"},
		"a proxy at a zone is not that net":  {"[fd00::1%eth0]:443", forwarded("203.0.113.9"), "203.0.113.9"},
		"unspecified":                        {proxy, forwarded("0.0.0.0"), "0.0.0.0"},
		"a list in which commas come alone":  {proxy, forwarded(",,,,203.0.113.9"), "203.0.113.9"},
		"a list that ends with commas alone": {proxy, forwarded("203.0.113.9,,,,"), "10.0.0.1"},
	} {
		require.Equal(t, c.want, from(t, w, c.peer, c.header), name)
	}
	require.NotContains(t, w.Log.Text(), "ev1l")
}
