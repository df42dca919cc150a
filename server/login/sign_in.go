package login

import (
	"errors"
	"net/http"

	"github.com/grantorhq/grantor/server/oauth"
	"github.com/grantorhq/grantor/server/session"
	"github.com/grantorhq/grantor/server/ui"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// SignInPage is GET /login, for an authorization request that waits, or for the account page.
func (h *Handler) SignInPage(w http.ResponseWriter, r *http.Request) error {
	query, err := oauth.ReadQuery(r)
	if err != nil {
		return err
	}
	sealed := query.Get("request")
	a, err := h.resume(r, sealed)
	if err != nil {
		return err
	}
	in, err := h.Sessions.Read(r, clientOf(a))
	if err != nil {
		return err
	}
	switch {
	case a == nil && in != nil:
		return h.seeOther(w, "/account")
	case a != nil && !a.NeedsSignIn(in, h.Now()):
		// Signed in meanwhile, in another tab.
		return h.OAuth.Proceed(w, r, a, in)
	}
	page := ui.SignIn{Request: sealed}
	if a != nil {
		page.Username = a.LoginHint()
	}
	return h.showSignIn(w, r, a, in, page, http.StatusOK)
}

// resume opens the authorization request that waits, if one does.
func (h *Handler) resume(r *http.Request, sealed string) (*oauth.Authorization, error) {
	if sealed == "" {
		return nil, nil // the person came by themselves
	}
	return h.OAuth.Resume(r.Context(), sealed)
}

func clientOf(a *oauth.Authorization) string {
	if a == nil {
		return ""
	}
	return a.Client.GetID()
}

// maxName bounds what is filled in beforehand, in bytes.
const maxName = 256

func (h *Handler) showSignIn(w http.ResponseWriter, r *http.Request, a *oauth.Authorization, in *storage.SignedIn, page ui.SignIn, status int) error {
	var err error
	if page.CSRF, err = h.Sessions.Form(w, r); err != nil {
		return err
	}
	if len(page.Username) > maxName {
		page.Username = ""
	}
	view := ui.View{Status: status}
	if a != nil {
		view, page.Client = a.View(status), a.Name()
		if a.MayChoose(in, h.Now()) {
			page.Current = in.User.Name
		}
	}
	return h.Pages.Write(w, r, view, page)
}

// SignIn is POST /login. Unknown names, wrong passwords and switched-off accounts get
// one answer, at one price.
func (h *Handler) SignIn(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	form, err := h.form(r)
	if err != nil && !errors.Is(err, ErrForm) {
		return err
	}
	sealed := form.Get("request")
	a, resumed := h.resume(r, sealed)
	if resumed != nil {
		return resumed
	}
	page := ui.SignIn{Request: sealed, Username: form.Get("username")}
	if err != nil {
		// Shown again rather than refused: a browser that lost its cookies, or a page from yesterday.
		page.Fault = ui.FaultExpired
		return h.showSignIn(w, r, a, nil, page, http.StatusForbidden)
	}
	if form.Get("decision") == "continue" && a != nil {
		return h.goOn(w, r, a)
	}
	user, err := h.check(r, form.Get("username"), form.Get("password"))
	if err != nil {
		return h.failed(w, r, a, page, err)
	}
	in, err := h.Sessions.Begin(w, r, user, oauth.AddressOf(ctx), clientOf(a))
	if errors.Is(err, session.ErrEnded) {
		return h.failed(w, r, a, page, users.ErrWrongPassword)
	}
	if err != nil {
		return err
	}
	// Somebody else may have been signed out by it.
	h.OAuth.LogoutsDue()
	oauth.TrailOf(ctx).Outcome = "signed in"
	if a == nil {
		return h.seeOther(w, "/account")
	}
	a.SignedIn(in)
	return h.OAuth.Proceed(w, r, a, in)
}

// goOn is for the person who was asked which account, and stays with this one.
func (h *Handler) goOn(w http.ResponseWriter, r *http.Request, a *oauth.Authorization) error {
	in, err := h.Sessions.Read(r, a.Client.GetID())
	if err != nil {
		return err
	}
	if a.MayChoose(in, h.Now()) {
		a.Choose(in)
	}
	return h.OAuth.Proceed(w, r, a, in)
}

// check proves a password, counted and slowed down like every attempt.
func (h *Handler) check(r *http.Request, name, password string) (users.User, error) {
	if name == "" || password == "" || len(password) > users.MaxPassword {
		return users.User{}, users.ErrWrongPassword
	}
	device, known := h.Sessions.Known(r)
	return h.Store.SignIn(r.Context(), h.Passwords, storage.Attempt{
		Door: storage.LoginPage, Login: name, Password: password, Address: oauth.AddressOf(r.Context()), Device: device, Known: known,
	}, h.Now())
}

// failed shows the page again, where that helps.
func (h *Handler) failed(w http.ResponseWriter, r *http.Request, a *oauth.Authorization, page ui.SignIn, err error) error {
	trail := oauth.TrailOf(r.Context())
	throttled := new(users.ThrottledError)
	switch {
	case errors.Is(err, users.ErrWrongPassword):
		trail.Outcome, page.Fault = "wrong password", ui.FaultWrong
		return h.showSignIn(w, r, a, nil, page, http.StatusBadRequest)
	case errors.As(err, &throttled):
		trail.Outcome, page.Fault, page.Wait = "throttled", ui.FaultThrottled, throttled.Wait
		w.Header().Set("Retry-After", throttled.RetryAfter())
		return h.showSignIn(w, r, a, nil, page, http.StatusTooManyRequests)
	case errors.Is(err, users.ErrBusy):
		trail.Outcome, page.Fault = "busy", ui.FaultBusy
		w.Header().Set("Retry-After", "2")
		return h.showSignIn(w, r, a, nil, page, http.StatusServiceUnavailable)
	}
	return err
}
