package config_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/config"
)

func TestNetworksContain(t *testing.T) {
	c := load(t, config.Sources{File: "f", ReadFile: files(map[string]string{"f": "trusted_proxies: [10.0.0.7, 192.168.0.0/16, 'fd00::/8', '::ffff:172.16.0.1']"})})
	require.Equal(t, []string{"10.0.0.7/32", "192.168.0.0/16", "fd00::/8", "172.16.0.1/32"}, c.TrustedProxies.Strings())
	for address, want := range map[string]bool{
		"10.0.0.7":           true,
		"10.0.0.8":           false,
		"192.168.255.255":    true,
		"192.169.0.0":        false,
		"::ffff:192.168.1.1": true, // how an IPv4 peer looks on a dual-stack listener
		"::ffff:10.0.0.7":    true,
		"::10.0.0.7":         false,
		"fd12::1":            true,
		"fd12::1%eth0":       true,
		"fe80::1":            false,
		"172.16.0.1":         true,
	} {
		require.Equal(t, want, c.TrustedProxies.Contains(netip.MustParseAddr(address)), address)
	}
	require.False(t, c.TrustedProxies.Contains(netip.Addr{}), "an address that could not be read is nobody's")
	require.False(t, c.LogoutNetworks.Contains(netip.MustParseAddr("10.0.0.7")), "none contain nothing")
}
