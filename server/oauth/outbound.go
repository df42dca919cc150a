package oauth

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// ErrPrivate: a client registered an address that the server must not call.
var ErrPrivate = errors.New("the address is not a public one")

// outboundLimit bounds one call, from the name to the last byte of the answer's head.
const outboundLimit = 5 * time.Second

// NewOutbound is the one way in which this server calls others. It connects to public
// addresses and to those that allowed says yes to, decided by the address that the name
// resolved to, at the moment of connecting: no name, redirect or notation of a number
// leads inside. It follows no redirect, uses no proxy and keeps no connection.
func NewOutbound(allowed func(netip.Addr) bool) *http.Client {
	dialer := &net.Dialer{
		Timeout: outboundLimit,
		Control: func(_, address string, _ syscall.RawConn) error {
			peer, err := netip.ParseAddrPort(address)
			if err != nil || !mayCall(peer.Addr(), allowed) {
				return ErrPrivate
			}
			return nil
		},
	}
	return &http.Client{
		Timeout: outboundLimit,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, DisableKeepAlives: true, TLSHandshakeTimeout: outboundLimit, ResponseHeaderTimeout: outboundLimit,
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func mayCall(ip netip.Addr, allowed func(netip.Addr) bool) bool {
	ip = ip.Unmap()
	if allowed(ip) {
		return true
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.Is6() && !assigned.Contains(ip) {
		return false
	}
	for _, network := range special {
		if network.Contains(ip) {
			return false
		}
	}
	return true
}

// assigned is the only part of IPv6 from which global unicast addresses were given out
// (IANA, IPv6 Global Unicast Address Assignments). What is outside is a translation, an
// old notation of an IPv4 address or a network of somebody's own.
var assigned = netip.MustParsePrefix("2000::/3")

// special are the blocks of the IANA special-purpose registries (RFC 6890) that are
// global unicast by their bits and not by their meaning.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("3fff::/20"),
}
