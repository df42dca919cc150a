package server

import (
	"net"
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
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	peer, err := netip.ParseAddr(host)
	if err != nil || len(trusted) == 0 {
		return host
	}
	peer = peer.Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && trusted.Contains(peer); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		peer = hop.Unmap()
	}
	return peer.String()
}
