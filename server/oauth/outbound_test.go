package oauth_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/oauth"
)

func nowhere(netip.Addr) bool { return false }

func inside(list ...string) func(netip.Addr) bool {
	return func(ip netip.Addr) bool {
		for _, text := range list {
			if netip.MustParsePrefix(text).Contains(ip) {
				return true
			}
		}
		return false
	}
}

func TestOutbound_only_public_addresses_G12(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
		"169.254.169.254", // where clouds keep credentials
		"100.64.0.1", "100.127.255.254", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
		"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "fe80::1", "fc00::1", "fd12:3456::1", "fd00:ec2::254", "fec0::1", "ff02::1",
		"::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::10.0.0.1", "::ffff:0:127.0.0.1", // old ways to write an IPv4 address
		"64:ff9b::7f00:1", "64:ff9b::169.254.169.254", "64:ff9b:1::10.0.0.1", // NAT64
		"2002:7f00:1::", "2002:a9fe:a9fe::1", "2001::1", "2001:0:7f00:1::", // 6to4, Teredo
		"2001:db8::1", "2001:10::1", "100::1", "100:0:0:1::1", "3fff::1", "5f00::1", "4000::1", "1::1",
	} {
		require.False(t, oauth.MayCall(netip.MustParseAddr(text), nowhere), text)
	}
	for _, text := range []string{"1.1.1.1", "::ffff:1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "192.0.1.1", "2606:4700::1111", "2a00:1450::1", "2003::1"} {
		require.True(t, oauth.MayCall(netip.MustParseAddr(text), nowhere), text)
	}
	allowed := inside("10.2.0.0/16", "fd00::/64")
	for text, may := range map[string]bool{"10.2.3.4": true, "::ffff:10.2.3.4": true, "10.3.0.1": false, "127.0.0.1": false, "fd00::7": true, "fd00:0:0:1::7": false, "1.1.1.1": true} {
		require.Equal(t, may, oauth.MayCall(netip.MustParseAddr(text), allowed), text)
	}
}

// The decision is about what is connected to, however it is written.
func TestOutbound_no_notation_leads_inside_G12(t *testing.T) {
	t.Parallel()
	called := make(chan string, 100)
	inner := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { called <- r.Host }))
	defer inner.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(inner.URL, "http://"), ":")
	client := oauth.NewOutbound(nowhere)
	get := func(client *http.Client, host string) error {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+":"+port+"/", nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(r)
		if err == nil {
			_ = answer.Body.Close()
		}
		return err
	}
	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::1]", "0.0.0.0", "[::]", "localhost", "127.1.2.3", "[fe80::1%25lo]", "10.0.0.1", "169.254.169.254", "[64:ff9b::7f00:1]"} {
		require.ErrorIs(t, get(client, host), oauth.ErrPrivate, host)
	}
	require.Empty(t, called)

	open := oauth.NewOutbound(inside("127.0.0.0/8"))
	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]"} {
		require.NoError(t, get(open, host))
		require.Len(t, called, 1)
		<-called
	}
}

// What answers can neither lead elsewhere nor hold the server up.
func TestOutbound_is_bounded(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer elsewhere.Close()
	inner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			w.Header().Set("X-Long", strings.Repeat("x", 64<<10))
			return
		}
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	defer inner.Close()
	client := oauth.NewOutbound(inside("127.0.0.0/8"))
	require.LessOrEqual(t, client.Timeout, 5*time.Second)
	require.Positive(t, client.Timeout)
	transport, ok := client.Transport.(*http.Transport)
	require.True(t, ok)
	require.Nil(t, transport.Proxy, "a proxy would be asked instead of the address")
	for path, good := range map[string]bool{"/": true, "/long": false} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, inner.URL+path, strings.NewReader("logout_token=x"))
		require.NoError(t, err)
		answer, err := client.Do(r)
		if !good {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		_ = answer.Body.Close()
		require.Equal(t, http.StatusTemporaryRedirect, answer.StatusCode)
	}
}
