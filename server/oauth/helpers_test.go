package oauth_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// sessions are all, the ended ones too.
func sessions(t *testing.T, w *servertest.World) []storage.Session {
	t.Helper()
	list, err := w.Store.Sessions(t.Context(), storage.SessionFilter{Ended: true})
	require.NoError(t, err)
	return list
}

// session is the row that a refresh token belongs to.
func session(t *testing.T, w *servertest.World, refresh string) storage.Session {
	t.Helper()
	id, _, err := w.Codec.Parse(grants.Refresh, refresh)
	require.NoError(t, err)
	s, err := w.Store.Session(t.Context(), id)
	require.NoError(t, err)
	return s
}

func withBody(r *servertest.Request, body string) *servertest.Request {
	r.Body = body
	return r
}

var errBroken = errors.New("the test broke the database")

// everything is for World.Break: no statement works.
func everything(string) error { return errBroken }

// busy keeps the queue of the password hash full: hashing draws a salt while it has
// its place, and the salt does not come.
type busy struct {
	mu    sync.Mutex
	gate  chan struct{} // nil: open
	asked chan struct{}
}

func newBusy() *busy { return &busy{asked: make(chan struct{}, 8)} }

// options leave one place and one that waits.
func (b *busy) options() users.PasswordOptions {
	return users.PasswordOptions{Memory: 64, Time: 1, Threads: 1, Concurrent: 1, Queue: 1, Rand: b}
}

func (b *busy) Read(p []byte) (int, error) {
	b.mu.Lock()
	gate := b.gate
	b.mu.Unlock()
	if gate != nil {
		b.asked <- struct{}{}
		<-gate
	}
	return rand.Read(p)
}

// fill takes both places until release is called.
func (b *busy) fill(t *testing.T, w *servertest.World) (release func()) {
	t.Helper()
	gate := make(chan struct{})
	b.mu.Lock()
	b.gate = gate
	b.mu.Unlock()
	var hashing sync.WaitGroup
	hash := func() { _, _ = w.Passwords.Hash(t.Context(), "somebody else's password") }
	hashing.Go(hash)
	<-b.asked
	hashing.Go(hash)
	require.Eventually(t, func() bool { return w.Passwords.Waiting() == 1 }, 10*time.Second, time.Millisecond)
	return sync.OnceFunc(func() {
		b.mu.Lock()
		b.gate = nil
		b.mu.Unlock()
		close(gate)
		hashing.Wait()
	})
}

var update = flag.Bool("update", false, "write the golden files")

// counting is a source of bytes that anybody can tell in advance.
type counting struct{}

func (counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i + 1)
	}
	return len(p), nil
}

// part is a segment of a compact JWS, decoded.
func part(t *testing.T, token string, at int) []byte {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	raw, err := base64.RawURLEncoding.DecodeString(parts[at])
	require.NoError(t, err)
	return raw
}

func headerOf(t *testing.T, token string) (header map[string]any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(part(t, token, 0), &header))
	return header
}
