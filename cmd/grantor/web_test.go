package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hall is the HTTP server behind its gate, with a handler of the test's.
type hall struct {
	address string
	gate    *gate
	inside  chan struct{} // a request to /stay is there
	leave   chan struct{} // closed: those at /stay are answered
}

func openHall(t *testing.T, most int, l limits) *hall {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h := &hall{address: listener.Addr().String(), gate: newGate(listener, most), inside: make(chan struct{}, 100), leave: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	})
	mux.HandleFunc("/stay", func(http.ResponseWriter, *http.Request) { h.inside <- struct{}{}; <-h.leave })
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) {
		h.inside <- struct{}{}
		for {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	})
	web := newWeb(t.Context(), mux, slog.New(slog.DiscardHandler), l)
	web.ConnState = h.gate.track
	served := make(chan error, 1)
	go func() { served <- web.Serve(h.gate) }()
	t.Cleanup(func() {
		_ = web.Close()
		if err := <-served; !errors.Is(err, net.ErrClosed) { // the test closed the gate itself
			require.ErrorIs(t, err, http.ErrServerClosed)
		}
	})
	return h
}

func (h *hall) connect(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", h.address)
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask sends one request and wants its answer; the connection stays open.
func ask(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answered(t, c))
}

// answered is the status of the next answer.
func answered(t *testing.T, c net.Conn) int {
	t.Helper()
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	return answer.StatusCode
}

// ended waits until the server has closed the connection.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := io.Copy(io.Discard, c)
	var late net.Error
	require.False(t, errors.As(err, &late) && late.Timeout(), "the connection is still open")
}

func (h *hall) waits(t *testing.T, want int) {
	t.Helper()
	require.Eventually(t, func() bool {
		h.gate.mu.Lock()
		defer h.gate.mu.Unlock()
		return h.gate.waiting.Len() == want
	}, patience, time.Millisecond)
}

func (h *hall) isOpen(t *testing.T, want int) {
	t.Helper()
	require.Eventually(t, func() bool {
		h.gate.mu.Lock()
		defer h.gate.mu.Unlock()
		return h.gate.open == want
	}, patience, time.Millisecond)
}

// Whoever opens many connections and says nothing does not lock out the rest.
func TestTheLongestWaitGivesUpItsPlace(t *testing.T) {
	h := openHall(t, 3, usualLimits())
	first, second, silent := h.connect(t), h.connect(t), h.connect(t)
	ask(t, first)
	ask(t, second)
	h.waits(t, 3)
	ask(t, first) // now silent has waited longest
	h.waits(t, 3)

	fourth := h.connect(t)
	ask(t, fourth)
	ended(t, silent)
	ask(t, first)
	ask(t, fourth)
	h.waits(t, 3)
	ask(t, h.connect(t))
	ended(t, second)
	ask(t, first)
	h.isOpen(t, 3)
}

// A request that has begun is never sacrificed: the new connection waits.
func TestWhileAllAreBusyTheNextWaits(t *testing.T) {
	h := openHall(t, 2, usualLimits())
	var busy []net.Conn
	for range 2 {
		c := h.connect(t)
		_, err := io.WriteString(c, "GET /stay HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		<-h.inside
		busy = append(busy, c)
	}
	late := h.connect(t) // the kernel accepts it, nobody answers
	_, err := io.WriteString(late, "GET /stay HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	select {
	case <-h.inside:
		t.Fatal("a third request is in the hall of two")
	case <-time.After(50 * time.Millisecond):
	}
	close(h.leave)
	require.Equal(t, http.StatusOK, answered(t, late))
	for _, c := range busy {
		require.Equal(t, http.StatusOK, answered(t, c))
	}
}

func TestAFullGateCloses(t *testing.T) {
	h := openHall(t, 1, usualLimits())
	busy := h.connect(t)
	_, err := io.WriteString(busy, "GET /stay HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	<-h.inside
	late := h.connect(t)
	require.NoError(t, h.gate.Close())
	ended(t, late)
	close(h.leave)
	require.Equal(t, http.StatusOK, answered(t, busy), "who was in is answered")
}

// H-03 and its kin: each slow client is ended, and the others do not notice.
func TestSlowClientsAreEnded(t *testing.T) {
	const soon = 2 * time.Second
	slow := limits{header: soon, read: soon, write: soon, idle: soon}
	for name, attack := range map[string]func(t *testing.T, h *hall) net.Conn{
		"says nothing": func(t *testing.T, h *hall) net.Conn { return h.connect(t) },
		"says nothing more": func(t *testing.T, h *hall) net.Conn {
			c := h.connect(t)
			ask(t, c)
			return c
		},
		"sends its header byte by byte": func(t *testing.T, h *hall) net.Conn {
			c := h.connect(t)
			go drip(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "+strings.Repeat("x", 60000))
			return c
		},
		"sends its body byte by byte": func(t *testing.T, h *hall) net.Conn {
			c := h.connect(t)
			_, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n")
			require.NoError(t, err)
			go drip(c, strings.Repeat("x", 60000))
			return c
		},
		"sends a chunked body byte by byte": func(t *testing.T, h *hall) net.Conn {
			c := h.connect(t)
			_, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
			require.NoError(t, err)
			go drip(c, strings.Repeat("1\r\nx\r\n", 10000))
			return c
		},
		"does not read its answer": func(t *testing.T, h *hall) net.Conn {
			c := h.connect(t)
			_, err := io.WriteString(c, "GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
			require.NoError(t, err)
			<-h.inside
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := openHall(t, 100, slow)
			attack(t, h)
			ask(t, h.connect(t))
			h.isOpen(t, 0)
		})
	}
}

// drip goes on until the other side has had enough.
func drip(c net.Conn, text string) {
	for i := range len(text) {
		if _, err := c.Write([]byte{text[i]}); err != nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// The answer 431 must arrive although the client is still sending.
func TestTooLargeAHeaderIsAnsweredThroughTheGate(t *testing.T) {
	h := openHall(t, 10, usualLimits())
	c := h.connect(t)
	go func() {
		_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Huge: %s\r\n\r\n", strings.Repeat("x", 100<<10))
	}()
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, answered(t, c))
	_ = c.Close()
	h.isOpen(t, 0)
}

// An idle connection costs a bounded amount of memory and nothing once it is gone. The
// figure for 5,000 of them in the whole program is in docs/operations.md.
func TestIdleConnectionsCostLittle(t *testing.T) {
	const many = 400
	h := openHall(t, many, usualLimits())
	ask(t, h.connect(t))
	h.waits(t, 1)
	before, goroutines := inUse(), runtime.NumGoroutine()
	var idle []net.Conn
	for range many - 1 {
		c := h.connect(t)
		ask(t, c)
		idle = append(idle, c)
	}
	h.waits(t, many)
	// The test's own half of each connection is in the figure, too.
	require.Less(t, (inUse()-before)/many, int64(48<<10), "bytes an idle connection")
	for _, c := range idle {
		_ = c.Close()
	}
	h.isOpen(t, 1)
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+2 }, patience, time.Millisecond)
}

func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// What is in flight at the end of ctx keeps its context: requests do not see the signal.
func TestRequestsHaveTheContextOfTheWork(t *testing.T) {
	type mark struct{}
	web := newWeb(context.WithValue(t.Context(), mark{}, true), nil, slog.New(slog.DiscardHandler), usualLimits())
	require.Equal(t, true, web.BaseContext(nil).Value(mark{}))
}
