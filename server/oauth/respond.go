package oauth

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/refusals"
	"github.com/grantorhq/grantor/server/ui"
	"github.com/grantorhq/grantor/storage"
)

// redirect answers the client through the browser, in the mode that it asked for, and
// only to the URI that was compared with its registration. iss is in every answer, so
// that a client of several servers can not be told the one's code as the other's
// (RFC 9207).
func (h *Handler) redirect(w http.ResponseWriter, r *http.Request, a *Authorization, answer url.Values) error {
	answer = h.answer(a, answer)
	if a.mode != "form_post" {
		return SeeOther(w, at(a.RedirectURI, a.mode, answer))
	}
	return h.Pages.Write(w, r, a.View(http.StatusOK), formPost(a, answer))
}

// answer adds what every answer has.
func (h *Handler) answer(a *Authorization, answer url.Values) url.Values {
	if state := a.form.Get("state"); state != "" && len(state) <= maxState {
		answer.Set("state", state)
	}
	answer.Set("iss", h.Issuer)
	return answer
}

func formPost(a *Authorization, answer url.Values) ui.FormPost {
	page := ui.FormPost{Action: a.RedirectURI, Client: a.Name()}
	for _, name := range []string{"code", "error", "error_description", "error_uri", "state", "iss"} {
		if answer.Has(name) {
			page.Fields = append(page.Fields, ui.Field{Name: name, Value: answer.Get(name)})
		}
	}
	return page
}

// at writes the answer into the URI: RFC 6749 section 4.1.2, OAuth 2.0 Multiple
// Response Types section 2.1. A registered URI has no fragment of its own.
func at(uri, mode string, answer url.Values) string {
	switch {
	case mode == "fragment":
		return uri + "#" + answer.Encode()
	case strings.Contains(uri, "?"):
		return uri + "&" + answer.Encode()
	}
	return uri + "?" + answer.Encode()
}

// SeeOther never repeats a POST, and with it a password, at the next address: RFC 9700
// section 4.12.
func SeeOther(w http.ResponseWriter, to string) error {
	header := w.Header()
	header.Set("Location", to)
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "same-origin")
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// refuse tells the client what is wrong, once its redirect URI is proven. Before that,
// and when it is not the request that failed, the person sees a page.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, a *Authorization, err error) error {
	refused := new(Error)
	if a == nil || !errors.As(err, &refused) {
		return err
	}
	trail := TrailOf(r.Context())
	if trail.Outcome == "" {
		trail.Outcome = refused.Code
	}
	refusal := h.Refusal(r.Context(), refused.Code, refused.Reason, refused.Facts)
	trail.Reason = refusal.Reason()
	answer := url.Values{"error": {refused.Code}, "error_description": {refused.Description}}
	if reference := h.Reference(refusal); reference != "" {
		answer.Set("error_uri", h.Issuer+errorPath+"?reference="+reference)
	}
	return h.redirect(w, r, a, answer)
}

func authorizeRefusal(code, description string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: code, Description: description, Reason: refusals.Cause(code)}
}

// answered is for a request that this person answered before: the back button, or a
// button that was pressed twice. There is no second code. While nobody used the first,
// they can go on with it.
func (h *Handler) answered(w http.ResponseWriter, r *http.Request, a *Authorization, in *storage.SignedIn) error {
	ctx := r.Context()
	TrailOf(ctx).Outcome = "answered before"
	page := ui.Done{Client: a.Name()}
	before, err := h.Store.Session(ctx, a.GrantID(in))
	if err != nil && !errors.Is(err, grants.ErrNotFound) {
		return err
	}
	if err != nil || before.Generation != 0 || before.Dead != "" || before.UserID != in.UserID || before.ClientID != a.Client.GetID() {
		return h.Pages.Write(w, r, a.View(http.StatusConflict), page)
	}
	if before.BrowserID != in.ID {
		// The sign-in form was sent twice at once: the browser kept the second sign-in, so the code goes there too.
		if _, err := h.Store.MoveCode(ctx, before.ID, in.UserID, before.BrowserID, in.ID); err != nil {
			return err
		}
	}
	answer := h.answer(a, url.Values{"code": {h.Codec.Mint(grants.Code, before.ID, 0)}})
	if a.mode == "form_post" {
		return h.Pages.Write(w, r, a.View(http.StatusOK), formPost(a, answer))
	}
	page.Continue = at(a.RedirectURI, a.mode, answer)
	return h.Pages.Write(w, r, a.View(http.StatusConflict), page)
}

// Name is what people know the client by.
func (a *Authorization) Name() string { return a.Client.Client.DisplayName() }

// View is how a page of this request is shown: in the languages that the client asked
// for, with forms that may end at the client's own addresses. Not only at this one: where
// the callback leads on to another of them, Chromium would stop the person there.
func (a *Authorization) View(status int) ui.View {
	c := a.Client.Client
	targets := []string{ui.Source(a.RedirectURI)}
	for _, uri := range slices.Concat(c.RedirectURIs, c.AllowedOrigins) {
		targets = append(targets, ui.Source(uri))
	}
	return ui.View{Status: status, Locales: a.Locales(), FormAction: grants.Distinct(targets)}
}

// Host is where the answer goes, as a person can recognise it.
func (a *Authorization) Host() string {
	u, err := url.Parse(a.RedirectURI)
	if err != nil || u.Host == "" {
		return a.RedirectURI
	}
	return u.Host
}
