package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// limits is how long a client may take for each part of an exchange. Each is counted
// from the beginning of the part, not from the last byte, so that a client that goes on
// one byte at a time ends like one that sends nothing.
type limits struct {
	header time.Duration // the header, and before it the handshake of TLS
	read   time.Duration // the header and the body
	write  time.Duration // from the end of the header to the last byte of the answer
	idle   time.Duration // between two requests
}

// usualLimits leave a phone with bad reception its time. idle is longer than what proxies
// and load balancers keep a connection for (60 s is common), so that it is they who close:
// otherwise some request would meet a connection that has just gone.
func usualLimits() limits {
	return limits{header: 15 * time.Second, read: 30 * time.Second, write: 30 * time.Second, idle: 2 * time.Minute}
}

const maxHeader = 64 << 10

// newWeb is the HTTP server. What it does not bound is bounded per route: the size of a
// body (server/routes.go) and the time of a statement (database_timeout).
func newWeb(work context.Context, handler http.Handler, log *slog.Logger, l limits) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: l.header,
		ReadTimeout:       l.read,
		WriteTimeout:      l.write,
		IdleTimeout:       l.idle,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return work },
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 100, // the least that RFC 9113 section 6.5.2 recommends
			// No body is longer than a form of 64 KiB, so more would only be a place to
			// put bytes that nobody reads.
			MaxReceiveBufferPerStream:     64 << 10,
			MaxReceiveBufferPerConnection: 256 << 10,
			// The limits above are those of a stream. A connection that stays in the middle of
			// a frame has no stream; it fails to answer a ping.
			SendPingTimeout:  l.read,
			PingTimeout:      l.header,
			WriteByteTimeout: l.write,
		},
	}
}
