package login_test

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/users"
)

const (
	sessionCookie = "__Host-grantor-session"
	deviceCookie  = "__Host-grantor-device"
)

var errBroken = errors.New("the test broke the database")

// everything is for World.Break: no statement works.
func everything(string) error { return errBroken }

// sealed is the authorization request that a redirect to one of our pages carries.
func sealed(t *testing.T, p *servertest.Page) string {
	t.Helper()
	to, err := url.Parse(p.Location())
	require.NoError(t, err)
	request := to.Query().Get("request")
	require.NotEmpty(t, request, "%d %s %s", p.Status, p.Location(), p.Body)
	return request
}

// formToken is the csrf_token of a browser.
func formToken(t *testing.T, b *servertest.Browser) string {
	t.Helper()
	return (&visitor{t, b}).page("/login", "/account").Form("csrf_token").Fields.Get("csrf_token")
}

type visitor struct {
	t *testing.T
	b *servertest.Browser
}

// page is the first of those that the browser is shown.
func (v *visitor) page(paths ...string) *servertest.Page {
	v.t.Helper()
	for _, path := range paths {
		if p := v.b.Get(path); p.Status == http.StatusOK {
			return p
		}
	}
	require.Fail(v.t, "none of the pages is shown", paths)
	return nil
}

// signedIn reports who is signed in at a browser, by the server's own answer.
func signedIn(t *testing.T, b *servertest.Browser) bool {
	t.Helper()
	p := b.Get("/account")
	if p.Status == http.StatusOK {
		return true
	}
	p.Require(http.StatusSeeOther)
	require.Equal(t, "/login", p.Location())
	return false
}

// copyOf is a second browser with the same cookies: a thief's.
func copyOf(w *servertest.World, b *servertest.Browser) *servertest.Browser {
	c := w.Browser()
	for name, cookie := range b.Cookies {
		c.Cookies[name] = cookie
	}
	return c
}

// browserID is the id of the sign-in at a browser.
func browserID(t *testing.T, w *servertest.World, b *servertest.Browser) grants.ID {
	t.Helper()
	require.Contains(t, b.Cookies, sessionCookie)
	id, _, err := w.Codec.Parse(grants.Browser, b.Cookies[sessionCookie].Value)
	require.NoError(t, err)
	return id
}

// sessionID is that of the session of a refresh token.
func sessionID(t *testing.T, w *servertest.World, refresh string) grants.ID {
	t.Helper()
	id, _, err := w.Codec.Parse(grants.Refresh, refresh)
	require.NoError(t, err)
	return id
}

// obtain is a code flow of whoever is signed in at the browser.
func obtain(w *servertest.World, b *servertest.Browser, client, user string, pairs ...string) *servertest.Answer {
	return w.Redeem(client, b.Authorize(client, pairs...).Through(user).Code()).Require(http.StatusOK)
}

// begun counts the grants that were inserted, or tried to be, since Tally.Reset.
func begun(w *servertest.World) int {
	n := 0
	for _, sql := range w.Tally.Statements() {
		if strings.HasPrefix(sql, "INSERT INTO grants") {
			n++
		}
	}
	return n
}

// withText ends the test unless the page says it.
func withText(t *testing.T, p *servertest.Page, text string) {
	t.Helper()
	require.Contains(t, string(p.Body), text)
}

// proxied is a World in which a browser is wherever its X-Forwarded-For says.
func proxied(t *testing.T) *servertest.World {
	return servertest.New(t, servertest.Setup{Config: func(c *config.Config) {
		c.TrustedProxies = config.Networks{netip.MustParsePrefix("127.0.0.1/32")}
	}})
}

func at(w *servertest.World, address string) *servertest.Browser {
	b := w.Browser()
	b.Header.Set("X-Forwarded-For", address)
	return b
}

// buttons are what a page offers, as name=value.
func buttons(p *servertest.Page) []string {
	var all []string
	for _, f := range p.Forms {
		for _, b := range f.Buttons {
			all = append(all, b.Name+"="+b.Value)
		}
	}
	slices.Sort(all)
	return all
}

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
	end := w.Overload()
	return sync.OnceFunc(func() {
		end()
		b.mu.Lock()
		b.gate = nil
		b.mu.Unlock()
		close(gate)
		hashing.Wait()
	})
}
