package oauth

import (
	"net/http"
	"net/url"
	"time"

	"github.com/grantorhq/grantor/clients"
)

// A browser client registered with the cookie never sees its refresh token: the
// token endpoint sets it HttpOnly and reads it back. A cookie is sent by the
// browser, not by the script, so every request that uses one must prove where it
// comes from: an Origin registered for that client, and Fetch Metadata that agrees.

// cookieName is the client's own: one browser may have several of them.
func cookieName(c *clients.Client) string { return "rt-" + c.ID }

func (h *Handler) setCookie(w http.ResponseWriter, c *clients.Client, value string, life time.Duration) {
	age := int(life / time.Second)
	if value == "" || age <= 0 {
		age = -1 // gone at once
	}
	h.Sessions.SetCookie(w, cookieName(c), value, age, http.SameSiteStrictMode)
}

// admitBrowser refuses a browser client's request from elsewhere. Without an Origin
// only a request that needs no cookie passes: a server may redeem for its browser.
func admitBrowser(r *http.Request, c *clients.Client, needsOrigin bool) error {
	if c.RefreshToken != clients.DeliverCookie {
		return nil
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 && !needsOrigin {
		return nil
	}
	if len(origins) != 1 || !c.HasOrigin(origins[0]) {
		return invalidRequest("the origin is not registered for the client")
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "same-site":
	default:
		return invalidRequest("the request is from another site")
	}
	switch r.Header.Get("Sec-Fetch-Mode") {
	case "", "cors", "same-origin":
		return nil
	}
	return invalidRequest("the request is not from a script of the client")
}

// fromCookie puts the cookie's token where a form would have it. A token in the form
// stays: there is nothing that a script could gain by sending one. It reports whether
// the token came from the cookie.
func (h *Handler) fromCookie(r *http.Request, form url.Values, c *clients.Client, parameter string) bool {
	if c.RefreshToken != clients.DeliverCookie || form.Get(parameter) != "" {
		return false
	}
	cookie, err := r.Cookie(h.Sessions.CookieName(cookieName(c)))
	if err != nil || cookie.Value == "" {
		return false
	}
	form.Set(parameter, cookie.Value)
	return true
}
