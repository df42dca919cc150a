// Package session is who is signed in at this browser.
//
//	session.go  the sign-in: begun, read, ended
//	device.go   the browser itself: known to its users, and the proof that a form is ours
//
// A sign-in is one row, and its cookie is a MAC token over that row's id and
// generation, like every other token here: nothing about it is at rest, and a forged
// one costs no statement. Signing in again makes the next generation, so the value
// from before is dead.
//
// server/login begins and ends sign-ins; server/oauth reads them. The package never
// checks a password, renders a page or decides what a client may have.
package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// ErrEnded: the account was switched off, or its password replaced, while it signed in.
var ErrEnded = errors.New("the sign-in ended before it began")

// What the cookies are called, behind the server's own prefix.
const (
	sessionCookie = "session"
	deviceCookie  = "device"
)

// Manager keeps the sign-ins of all browsers.
type Manager struct {
	Store    *storage.Store
	Codec    *grants.Codec
	Devices  *keys.Box // seals the device cookie
	Issuer   string
	Lifetime time.Duration // absolute, of a sign-in
	Now      func() time.Time
	Rand     io.Reader
}

// Read tells who is signed in, and what they allowed the client before. One
// statement, and none without a cookie that proves itself.
func (m *Manager) Read(r *http.Request, clientID string) (*storage.SignedIn, error) {
	cookie, err := r.Cookie(m.CookieName(sessionCookie))
	if err != nil {
		return nil, nil //nolint:nilerr // nobody is signed in, and nothing went wrong
	}
	id, generation, err := m.Codec.Parse(grants.Browser, cookie.Value)
	if err != nil {
		return nil, nil //nolint:nilerr // as without a cookie
	}
	return m.read(r.Context(), id, generation, clientID)
}

func (m *Manager) read(ctx context.Context, id grants.ID, generation int64, clientID string) (*storage.SignedIn, error) {
	in, found, err := m.Store.SignedIn(ctx, id, generation, clientID, m.Now())
	if err != nil || !found {
		return nil, err
	}
	return &in, nil
}

// Begin signs a user in whose password was just checked, and tells what Read would.
// The same user signing in again keeps the row (what they use stays in one place),
// another one replaces it: whoever was here before is signed out. It answers ErrEnded.
func (m *Manager) Begin(w http.ResponseWriter, r *http.Request, user users.User, address, clientID string) (*storage.SignedIn, error) {
	ctx := r.Context()
	before, err := m.Read(r, clientID)
	if err != nil {
		return nil, err
	}
	now := m.Now()
	b := storage.Browser{
		UserID: user.ID, AuthTime: now, CreatedAt: now, ExpiresAt: now.Add(m.Lifetime), AMR: []string{"pwd"},
		UserAgent: AgentOf(r), Address: address,
	}
	if before != nil && before.UserID != user.ID {
		if _, _, err := m.Store.EndBrowser(ctx, before.UserID, before.ID); err != nil {
			return nil, err
		}
		before = nil
	}
	begun := false
	if before != nil {
		b.ID, b.Generation = before.ID, before.Generation
		if b.Generation, begun, err = m.Store.RenewBrowser(ctx, b, user.UpdatedAt); err != nil {
			return nil, err
		}
	}
	if !begun {
		if b.ID, err = grants.NewID(m.Rand); err != nil {
			return nil, err
		}
		b.Generation = 1
		if begun, err = m.Store.BeginBrowser(ctx, b, user.UpdatedAt); err != nil {
			return nil, err
		}
	}
	if !begun {
		return nil, ErrEnded
	}
	in, err := m.read(ctx, b.ID, b.Generation, clientID)
	if err != nil {
		return nil, err
	}
	if in == nil {
		return nil, ErrEnded
	}
	if err := m.remember(w, r, user.ID); err != nil {
		return nil, err
	}
	m.SetCookie(w, sessionCookie, m.Codec.Mint(grants.Browser, b.ID, b.Generation), 0, http.SameSiteLaxMode)
	return in, nil
}

// Renew gives the cookie of a sign-in that goes on a new value: whoever has a copy of the
// old one is out. checked is the UpdatedAt of the user as it is now. It answers ErrEnded.
func (m *Manager) Renew(w http.ResponseWriter, r *http.Request, in *storage.SignedIn, checked time.Time) error {
	generation, renewed, err := m.Store.RenewBrowser(r.Context(), in.Browser, checked)
	if err != nil {
		return err
	}
	if !renewed {
		return ErrEnded
	}
	m.SetCookie(w, sessionCookie, m.Codec.Mint(grants.Browser, in.ID, generation), 0, http.SameSiteLaxMode)
	return nil
}

// End signs this browser out: the sign-in and the sessions that began from it end,
// and their applications will be told.
func (m *Manager) End(w http.ResponseWriter, r *http.Request, in *storage.SignedIn) error {
	if _, _, err := m.Store.EndBrowser(r.Context(), in.UserID, in.ID); err != nil {
		return err
	}
	m.Forget(w)
	return nil
}

// Forget takes the cookie of a sign-in that has ended.
func (m *Manager) Forget(w http.ResponseWriter) {
	m.SetCookie(w, sessionCookie, "", -1, http.SameSiteLaxMode)
}

func (m *Manager) secure() bool { return strings.HasPrefix(m.Issuer, "https:") }

// CookieName is how browsers know a cookie of this server's. It carries the __Host-
// prefix wherever the browser can enforce it.
func (m *Manager) CookieName(what string) string {
	if m.secure() {
		return "__Host-grantor-" + what
	}
	return "grantor-" + what
}

// SetCookie sets one that no script reads. age is in seconds: 0 is one that ends with the
// browser's own session, below 0 takes it back.
func (m *Manager) SetCookie(w http.ResponseWriter, what, value string, age int, site http.SameSite) {
	http.SetCookie(w, &http.Cookie{
		Name: m.CookieName(what), Value: value, Path: "/", MaxAge: age, Secure: m.secure(), HttpOnly: true, SameSite: site,
	})
}

// maxAgent bounds what a sign-in remembers of a browser's name for itself.
const maxAgent = 200

// AgentOf is a browser's name for itself, as both databases can keep it. What browsers of
// one family all say, and have said for years, is left out: it would be an eighth of a
// session's row, or more.
func AgentOf(r *http.Request) string {
	agent := strings.ToValidUTF8(strings.ReplaceAll(r.UserAgent(), "\x00", ""), "")
	if browser, ok := strings.CutPrefix(agent, "Mozilla/5.0 ("); ok {
		agent = "(" + browser
		for _, frozen := range []string{
			" AppleWebKit/537.36 (KHTML, like Gecko)", " Safari/537.36",
			" AppleWebKit/605.1.15 (KHTML, like Gecko)", " Gecko/20100101",
			"; Win64; x64", " x86_64", "; Intel Mac OS X 10_15_7", "; Intel Mac OS X 10.15", ".0.0.0",
		} {
			agent = strings.ReplaceAll(agent, frozen, "")
		}
		// Firefox says its version twice.
		before, version, _ := strings.Cut(agent, "; rv:")
		if _, after, closed := strings.Cut(version, ")"); closed && strings.Contains(after, " Firefox/") {
			agent = before + ")" + strings.TrimSuffix(after, ".0")
		}
	}
	if len(agent) > maxAgent {
		agent = strings.ToValidUTF8(agent[:maxAgent], "")
	}
	return agent
}

func draw(rand io.Reader, what string) ([]byte, error) {
	raw := make([]byte, 16)
	if _, err := io.ReadFull(rand, raw); err != nil {
		return nil, fmt.Errorf("draw %s: %w", what, err)
	}
	return raw, nil
}
