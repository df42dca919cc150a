// Package login is what people see: sign in, consent, sign out, and their account.
//
//	sign_in.go   /login: name and password, the same throttling as the password grant
//	consent.go   /consent: what an application asks for
//	sign_out.go  /logout
//	account.go   /account: where I am signed in, what may act for me, my password
//
// Pages are forms on plain HTML. What has to be remembered between two of them travels
// sealed in a hidden field; the answer to a form is looked up again, never believed. A
// form must carry the csrf_token of its browser, and server refuses what another site
// sent before it comes here.
//
// server calls it through routes.go. It never decides what an application may have:
// that is server/oauth's, which takes a request further with Proceed.
package login

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/grantorhq/grantor/server/oauth"
	"github.com/grantorhq/grantor/server/session"
	"github.com/grantorhq/grantor/server/ui"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// ErrForm: the form is not from a page that this browser was shown.
var ErrForm = errors.New("the form is not from this browser's page")

// Handler is all pages. All of its fields are needed.
type Handler struct {
	OAuth     *oauth.Handler
	Sessions  *session.Manager
	Pages     *ui.Pages
	Store     *storage.Store
	Passwords *users.Passwords
	Base      string // the issuer's path, before every path of ours
	Now       func() time.Time
}

// form reads what a page posted and checks that the page was this browser's.
func (h *Handler) form(r *http.Request) (url.Values, error) {
	form, err := oauth.ReadForm(r)
	if err != nil {
		return nil, err
	}
	if !h.Sessions.OwnForm(r, form.Get("csrf_token")) {
		return form, ErrForm
	}
	return form, nil
}

// seeOther shows another page of ours. The form is not posted again when it is reloaded.
func (h *Handler) seeOther(w http.ResponseWriter, path string) error {
	return oauth.SeeOther(w, h.Base+path)
}
