package main

import (
	queue "container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"

	"github.com/grantorhq/grantor/telemetry"
)

// gate bounds the connections that are open at once.
//
// When all places are taken, the connection that has waited longest without a request
// gives up its own to the new one: it costs its client one new connection, where refusing
// the new one would cost somebody an answer, and would let whoever opens many and says
// nothing lock out the rest. When every connection is in the middle of a request, the new
// one waits, and those behind it in the kernel's queue: the requests are bounded by
// limits, so the wait is, too.
type gate struct {
	net.Listener
	most int

	mu      sync.Mutex
	changed *sync.Cond // a connection ended or began to wait, or the gate was closed
	open    int
	waiting queue.List // of *guest, the longest wait in front
	evicted uint64     // of them, for new ones
	closed  bool
}

func newGate(l net.Listener, most int) *gate {
	g := &gate{Listener: l, most: most}
	g.changed = sync.NewCond(&g.mu)
	return g
}

// Accept answers a connection that has a place.
func (g *gate) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.open >= g.most && !g.closed {
		if longest := g.waiting.Front(); longest != nil {
			gone := longest.Value.(*guest)
			g.evicted++
			gone.leave()
			_ = gone.Conn.Close()
			continue
		}
		g.changed.Wait()
	}
	if g.closed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	g.open++
	return &guest{Conn: c, gate: g}, nil
}

// stats looks at this moment.
func (g *gate) stats() telemetry.Connections {
	g.mu.Lock()
	defer g.mu.Unlock()
	return telemetry.Connections{Open: g.open, Waiting: g.waiting.Len(), Most: g.most, Evicted: g.evicted}
}

// Close lets nobody in any more. Who is in stays.
func (g *gate) Close() error {
	g.mu.Lock()
	g.closed = true
	g.changed.Broadcast()
	g.mu.Unlock()
	return g.Listener.Close()
}

// track is the ConnState of the HTTP server: it says which connections wait. One whose
// header is not complete waits, too, however long it has been sending.
func (g *gate) track(c net.Conn, state http.ConnState) {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	who, ok := c.(*guest)
	if !ok {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	who.stopWaiting()
	if !who.left && (state == http.StateNew || state == http.StateIdle) {
		who.place = g.waiting.PushBack(who)
		g.changed.Broadcast()
	}
}

// guest is a connection that has a place until it is closed.
type guest struct {
	net.Conn
	gate  *gate
	place *queue.Element // in gate.waiting, or nil
	left  bool
}

// Close gives the place back, once.
func (c *guest) Close() error {
	c.gate.mu.Lock()
	c.leave()
	c.gate.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite is what net/http looks for after an answer that it gives before the request
// has ended (413, 431), so that the client can still read it.
func (c *guest) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (c *guest) leave() {
	c.stopWaiting()
	if !c.left {
		c.left = true
		c.gate.open--
		c.gate.changed.Broadcast()
	}
}

func (c *guest) stopWaiting() {
	if c.place != nil {
		c.gate.waiting.Remove(c.place)
		c.place = nil
	}
}
