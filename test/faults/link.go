//go:build linux

package main

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// link is the network between the replicas and PostgreSQL. It hands over what it
// gets, unless a fault says otherwise.
type link struct {
	address  string
	target   string
	listener net.Listener
	chance   *dice

	delay atomic.Int64 // nanoseconds before each answer is passed on
	cut   atomic.Int64 // one in so many answers to a write is lost with its connection; 0: none
	cuts  atomic.Int64 // answers that were lost so far

	swallowQuestions atomic.Bool // nothing reaches PostgreSQL any more, and nobody is told
	swallowAnswers   atomic.Bool // nothing comes back any more
	swallowed        atomic.Int64

	codes     atomic.Pointer[[]string] // SQLSTATEs to answer instead; nil: none
	refuseOne atomic.Int64             // statement in so many
	refused   atomic.Int64             // statements so far
	closed    atomic.Bool              // connections are refused

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func newLink(ctx context.Context, target string, chance *dice) (*link, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{address: listener.Addr().String(), target: target, listener: listener, chance: chance, conns: map[net.Conn]bool{}}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go l.carry(context.WithoutCancel(ctx), conn)
		}
	}()
	return l, nil
}

func (l *link) close() {
	_ = l.listener.Close()
	l.reset()
}

// reset ends all connections.
func (l *link) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		_ = conn.Close()
	}
}

func (l *link) keep(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[conn] = true
}

func (l *link) drop(conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
		delete(l.conns, conn)
	}
}

func (l *link) carry(ctx context.Context, server net.Conn) {
	if l.closed.Load() {
		_ = server.Close()
		return
	}
	database, err := new(net.Dialer).DialContext(ctx, "tcp", l.target)
	if err != nil {
		_ = server.Close()
		return
	}
	var free atomic.Bool // PostgreSQL waits for a question, outside of a transaction
	l.keep(server)
	l.keep(database)
	defer l.drop(server, database)
	go func() {
		defer l.drop(server, database)
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			if n > 0 && l.swallowQuestions.Load() {
				l.swallowed.Add(1)
			} else if n > 0 {
				if answer, ends := l.refuseWhile(&free, buffer[:n]); answer != nil {
					if _, err := server.Write(answer); err != nil || ends {
						return
					}
				} else if _, err := database.Write(buffer[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := database.Read(buffer)
		if n > 0 {
			if d := time.Duration(l.delay.Load()); d > 0 {
				time.Sleep(d)
			}
			if l.swallowAnswers.Load() {
				l.swallowed.Add(1)
				continue
			}
			free.Store(endsIdle(buffer[:n]))
			pass := l.passes(buffer[:n])
			if _, err := server.Write(buffer[:pass]); err != nil || pass < n {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// refuseWhile answers instead of PostgreSQL while that one waits.
func (l *link) refuseWhile(free *atomic.Bool, question []byte) (answer []byte, ends bool) {
	if !free.Load() {
		return nil, false
	}
	if answer, ends = l.refuse(question); answer == nil {
		free.Store(false)
	}
	return answer, ends
}

// passes says how much of an answer gets through. PostgreSQL sends the answer of a
// statement when it is committed, so what is lost here has happened.
func (l *link) passes(answer []byte) int {
	cut := int(l.cut.Load())
	wrote := bytes.Contains(answer, []byte("UPDATE ")) || bytes.Contains(answer, []byte("INSERT 0 ")) || bytes.Contains(answer, []byte("COMMIT\x00"))
	if cut == 0 || !wrote || !l.chance.once(cut) {
		return len(answer)
	}
	l.cuts.Add(1)
	if l.chance.once(2) {
		return 0
	}
	return l.chance.below(len(answer)) // torn in the middle
}
