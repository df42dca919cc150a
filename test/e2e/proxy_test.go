package e2e_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy is the network between two programs. It hands over what it gets, until a
// test says otherwise.
type proxy struct {
	address string // where it listens
	target  string
	held    chan []byte // gets the first answer that was held back

	mu    sync.Mutex
	hold  func(toTarget []byte) bool // from the chunk on that it is true for, the connection gets no answer
	conns map[net.Conn]bool
}

// newProxy listens before the host of an URL.
func newProxy(t testing.TB, address string) *proxy {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{target: u.Host, held: make(chan []byte, 1), conns: map[net.Conn]bool{}}
	u.Host = listener.Addr().String()
	p.address = u.String()
	t.Cleanup(func() {
		_ = listener.Close()
		p.cut()
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go p.carry(context.WithoutCancel(t.Context()), conn)
			}
		}
	}()
	return p
}

// holdAnswers makes connections lose their answers, each from the first request on
// that match is true for. Each connection gets a match of its own.
func (p *proxy) holdAnswers(match func(toTarget []byte) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = match
}

func (p *proxy) holds(chunk []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hold != nil && p.hold(chunk)
}

// cut closes every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
}

func (p *proxy) keep(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[conn] = true
}

func (p *proxy) carry(ctx context.Context, from net.Conn) {
	to, err := new(net.Dialer).DialContext(ctx, "tcp", p.target)
	if err != nil {
		_ = from.Close()
		return
	}
	p.keep(from)
	p.keep(to)
	var mu sync.Mutex
	holding := false
	go func() {
		defer func() { _ = from.Close() }()
		_ = chunks(to, func(answer []byte) error {
			mu.Lock()
			defer mu.Unlock()
			if !holding {
				_, err := from.Write(answer)
				return err
			}
			select {
			case p.held <- append([]byte{}, answer...):
			default:
			}
			return nil
		})
	}()
	_ = chunks(from, func(request []byte) error {
		mu.Lock()
		holding = holding || p.holds(request)
		mu.Unlock()
		_, err := to.Write(request)
		return err
	})
	_ = to.Close()
}

func chunks(from io.Reader, each func([]byte) error) error {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if err := each(buffer[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}
