package login

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/server/oauth"
	"github.com/grantorhq/grantor/server/session"
	"github.com/grantorhq/grantor/server/ui"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// notices are what the page may say after a redirect: nobody else's text gets there.
var notices = []ui.AccountNotice{ui.NoticePasswordChanged, ui.NoticeSessionEnded, ui.NoticeOthersEnded, ui.NoticeConsentWithdrawn}

// AccountPage is GET /account.
func (h *Handler) AccountPage(w http.ResponseWriter, r *http.Request) error {
	in, err := h.Sessions.Read(r, "")
	if err != nil {
		return err
	}
	if in == nil {
		return h.seeOther(w, "/login")
	}
	page := ui.Account{}
	if done := ui.AccountNotice(r.URL.Query().Get("done")); slices.Contains(notices, done) {
		page.Notice = done
	}
	return h.showAccount(w, r, in, page, http.StatusOK)
}

func (h *Handler) showAccount(w http.ResponseWriter, r *http.Request, in *storage.SignedIn, page ui.Account, status int) error {
	ctx := r.Context()
	var err error
	if page.CSRF, err = h.Sessions.Form(w, r); err != nil {
		return err
	}
	page.User, page.Email, page.Minimum, page.Now = in.User.Name, in.User.Email, users.MinPassword, h.Now()
	browsers, err := h.Store.Browsers(ctx, in.UserID)
	if err != nil {
		return err
	}
	for _, b := range browsers {
		page.Browsers = append(page.Browsers, ui.AccountBrowser{
			ID: b.ID.String(), Device: ui.Device(b.UserAgent), Address: b.Address, Since: b.CreatedAt, LastUsed: b.LastUsed, This: b.ID == in.ID,
		})
	}
	// The one that they know for certain comes first.
	slices.SortStableFunc(page.Browsers, func(a, b ui.AccountBrowser) int {
		switch {
		case a.This:
			return -1
		case b.This:
			return 1
		}
		return 0
	})
	sessions, err := h.Store.Sessions(ctx, storage.SessionFilter{UserID: in.UserID, Limit: 200})
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if s.Dead != "" {
			continue
		}
		name, err := h.clientName(ctx, s.ClientID)
		if err != nil {
			return err
		}
		page.Sessions = append(page.Sessions, ui.AccountSession{
			ID: s.ID.String(), Client: name, Device: ui.Device(s.Details.UserAgent), Since: s.CreatedAt, LastUsed: s.RotatedAt, Ends: s.ExpiresAt, This: s.BrowserID == in.ID,
		})
	}
	consents, err := h.Store.Consents(ctx, in.UserID)
	if err != nil {
		return err
	}
	for _, c := range consents {
		name, err := h.clientName(ctx, c.ClientID)
		if err != nil {
			return err
		}
		page.Consents = append(page.Consents, ui.AccountConsent{ClientID: c.ClientID, Client: name, Scopes: c.Scope, Since: c.GrantedAt})
	}
	return h.Pages.Write(w, r, ui.View{Status: status}, page)
}

// clientName is what people know a client by, also one that is gone.
func (h *Handler) clientName(ctx context.Context, id string) (string, error) {
	client, err := h.Store.RegisteredClient(ctx, id)
	if errors.Is(err, clients.ErrNotFound) {
		return id, nil
	}
	if err != nil {
		return "", err
	}
	return client.Client.DisplayName(), nil
}

// Account is POST /account: one of its buttons. Everything is done to what is the
// signed-in person's own, by the statement itself.
func (h *Handler) Account(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	form, err := h.form(r)
	if err != nil {
		return err
	}
	in, err := h.Sessions.Read(r, "")
	if err != nil {
		return err
	}
	if in == nil {
		return h.seeOther(w, "/login")
	}
	action := form.Get("action")
	oauth.TrailOf(ctx).Outcome = "account"
	switch action {
	case "end_browser", "end_session":
		return h.endOne(w, r, in, action, form.Get("id"))
	case "end_others":
		if _, err := h.Store.EndOthers(ctx, in.UserID, in.ID); err != nil {
			return err
		}
		h.OAuth.LogoutsDue()
		return h.renewed(w, r, in, in.User.UpdatedAt, ui.NoticeOthersEnded)
	case "withdraw":
		if _, err := h.Store.WithdrawConsent(ctx, in.UserID, form.Get("client_id")); err != nil {
			return err
		}
		h.OAuth.LogoutsDue()
		return h.done(w, ui.NoticeConsentWithdrawn)
	case "change_password":
		return h.changePassword(w, r, in, form)
	}
	return h.showAccount(w, r, in, ui.Account{}, http.StatusBadRequest)
}

func (h *Handler) done(w http.ResponseWriter, notice ui.AccountNotice) error {
	return h.seeOther(w, "/account?done="+string(notice))
}

// endOne ends a session, or a browser's sign-in. Somebody else's, and one that is not
// there, are the same: not found.
func (h *Handler) endOne(w http.ResponseWriter, r *http.Request, in *storage.SignedIn, action, text string) error {
	ctx := r.Context()
	id, err := grants.ParseID(text)
	if err != nil {
		return grants.ErrNotFound
	}
	var own bool
	if action == "end_browser" {
		_, own, err = h.Store.EndBrowser(ctx, in.UserID, id)
	} else {
		own, err = h.Store.EndUserSession(ctx, in.UserID, id)
	}
	if err != nil {
		return err
	}
	if !own {
		return grants.ErrNotFound
	}
	h.OAuth.LogoutsDue()
	if action == "end_browser" && id == in.ID {
		h.Sessions.Forget(w)
		return h.seeOther(w, "/login")
	}
	return h.done(w, ui.NoticeSessionEnded)
}

// changePassword asks for the current one, counted like every attempt to guess it. All
// other sign-ins and sessions of the account end.
func (h *Handler) changePassword(w http.ResponseWriter, r *http.Request, in *storage.SignedIn, form url.Values) error {
	ctx := r.Context()
	next := form.Get("new_password")
	fault := func(f ui.AccountFault) error {
		return h.showAccount(w, r, in, ui.Account{Fault: f}, http.StatusBadRequest)
	}
	switch {
	case next != form.Get("repeat_password"):
		return fault(ui.FaultPasswordMismatch)
	case next == form.Get("current_password"):
		return fault(ui.FaultPasswordSame)
	case users.CheckPassword(next) != nil, users.NormalizeName(next) == users.NormalizeName(in.User.Name), users.NormalizeName(next) == users.NormalizeName(in.User.Email):
		return fault(ui.FaultPasswordWeak)
	}
	user, err := h.check(r, in.User.Name, form.Get("current_password"))
	throttled := new(users.ThrottledError)
	switch {
	case errors.As(err, &throttled):
		w.Header().Set("Retry-After", throttled.RetryAfter())
		return h.showAccount(w, r, in, ui.Account{Fault: ui.FaultPasswordThrottled, Wait: throttled.Wait}, http.StatusTooManyRequests)
	case errors.Is(err, users.ErrWrongPassword), err == nil && user.ID != in.UserID:
		return fault(ui.FaultPasswordWrong)
	case err != nil:
		return err
	}
	hash, err := h.Passwords.Hash(ctx, next)
	if err != nil {
		return err
	}
	changed, err := h.Store.ChangePassword(ctx, in.UserID, hash, user.UpdatedAt, in.ID)
	if err != nil {
		return err
	}
	h.OAuth.LogoutsDue()
	in.AuthTime = h.Now()
	return h.renewed(w, r, in, changed, ui.NoticePasswordChanged)
}

// renewed ends the copies of this browser's cookie too, where everything else has ended.
func (h *Handler) renewed(w http.ResponseWriter, r *http.Request, in *storage.SignedIn, checked time.Time, notice ui.AccountNotice) error {
	err := h.Sessions.Renew(w, r, in, checked)
	if errors.Is(err, session.ErrEnded) {
		return h.seeOther(w, "/login")
	}
	if err != nil {
		return err
	}
	return h.done(w, notice)
}
