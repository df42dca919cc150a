package server

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/grantorhq/grantor/config"
)

// addressOf is where a request came from. Without trusted proxies that is the peer: what
// anybody may send says nothing. Each trusted proxy added the address that it
// saw at the end of X-Forwarded-For, so the list is read from there, and what the first
// untrusted one claims about those before it is not read at all.
func addressOf(r *http.Request, trusted config.Networks) string {
	peer, ok := readAddress(r.RemoteAddr)
	if !ok {
		return r.RemoteAddr // not TCP
	}
	if len(trusted) == 0 {
		return peer.String()
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && trusted.Contains(peer); i-- {
		hop, ok := readAddress(strings.TrimSpace(hops[i]))
		if !ok {
			break
		}
		peer = hop
	}
	return peer.String()
}

// behindProxy reports whether a trusted proxy sent the request.
func behindProxy(r *http.Request, trusted config.Networks) bool {
	peer, ok := readAddress(r.RemoteAddr)
	return ok && trusted.Contains(peer)
}

// readAddress reads an address with a port or without: some proxies write the port too.
// An IPv4 address in IPv6 clothes is that IPv4 address. A zone is dropped: it means
// nothing elsewhere, and it is free text.
func readAddress(text string) (netip.Addr, bool) {
	withPort, err := netip.ParseAddrPort(text) // net/http's way, so it comes first
	ip := withPort.Addr()
	if err != nil {
		if ip, err = netip.ParseAddr(text); err != nil {
			return netip.Addr{}, false
		}
	}
	return ip.Unmap().WithZone(""), true
}
