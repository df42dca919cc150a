package session

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

// Device is a browser, signed in or not. Its cookie is sealed and lives long: it makes
// an owner known at their own browser while somebody elsewhere guesses passwords
// (storage.Attempt), and it holds what proves that a form came from one of our pages.
type Device struct {
	ID    string   `json:"id"`
	Form  string   `json:"form"`            // the csrf_token of this browser's forms
	Users []string `json:"users,omitempty"` // who signed in here, latest first
}

const (
	// deviceAge is the longest that browsers keep a cookie, in seconds.
	deviceAge = 400 * 24 * 60 * 60
	// maxUsers bounds the cookie.
	maxUsers = 8
)

// Device reads the browser's cookie, or makes a new device. A new one is only kept
// when Form or Begin is called.
func (m *Manager) device(r *http.Request) (d Device, known bool, err error) {
	if cookie, err := r.Cookie(m.CookieName(deviceCookie)); err == nil {
		if text, err := m.Devices.Open(cookie.Value); err == nil && json.Unmarshal(text, &d) == nil && d.ID != "" && d.Form != "" {
			return d, true, nil
		}
	}
	id, err := draw(m.Rand, "device id")
	if err != nil {
		return Device{}, false, err
	}
	form, err := draw(m.Rand, "form token")
	if err != nil {
		return Device{}, false, err
	}
	return Device{ID: base64.RawURLEncoding.EncodeToString(id), Form: base64.RawURLEncoding.EncodeToString(form)}, false, nil
}

// Form is the csrf_token for the forms of a page. It sets the cookie that it is compared with.
func (m *Manager) Form(w http.ResponseWriter, r *http.Request) (string, error) {
	d, known, err := m.device(r)
	if err != nil || known {
		return d.Form, err
	}
	return d.Form, m.keep(w, d)
}

// OwnForm reports whether a posted csrf_token is this browser's. Who signed in since
// the page was made does not matter: two tabs of one browser share it.
func (m *Manager) OwnForm(r *http.Request, token string) bool {
	d, known, err := m.device(r)
	return err == nil && known && token != "" && subtle.ConstantTimeCompare([]byte(d.Form), []byte(token)) == 1
}

// Known is the browser for storage.Attempt: its id, and who signed in here before.
// Both are empty at a browser that nobody signed in at.
func (m *Manager) Known(r *http.Request) (device string, userIDs []string) {
	d, known, err := m.device(r)
	if err != nil || !known || len(d.Users) == 0 {
		return "", nil
	}
	return d.ID, d.Users
}

// remember makes the user known at this browser.
func (m *Manager) remember(w http.ResponseWriter, r *http.Request, userID string) error {
	d, _, err := m.device(r)
	if err != nil {
		return err
	}
	rest := slices.DeleteFunc(slices.Clone(d.Users), func(id string) bool { return id == userID })
	d.Users = append([]string{userID}, rest...)
	d.Users = d.Users[:min(len(d.Users), maxUsers)]
	return m.keep(w, d)
}

func (m *Manager) keep(w http.ResponseWriter, d Device) error {
	text, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode device: %w", err)
	}
	sealed, err := m.Devices.Seal(m.Rand, text)
	if err != nil {
		return err
	}
	m.SetCookie(w, deviceCookie, sealed, deviceAge, http.SameSiteLaxMode)
	return nil
}
