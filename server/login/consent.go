package login

import (
	"errors"
	"net/http"
	"slices"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/server/oauth"
	"github.com/grantorhq/grantor/server/ui"
	"github.com/grantorhq/grantor/storage"
)

// ConsentPage is GET /consent: who asks this person for what, and where the answer goes.
func (h *Handler) ConsentPage(w http.ResponseWriter, r *http.Request) error {
	query, err := oauth.ReadQuery(r)
	if err != nil {
		return err
	}
	a, in, err := h.asked(r, query.Get("request"))
	if err != nil {
		return err
	}
	if !a.NeedsConsent(in, h.Now()) {
		// Answered, signed out or somebody else meanwhile: from where it stands now.
		return h.OAuth.Proceed(w, r, a, in)
	}
	return h.showConsent(w, r, a, in, query.Get("request"), http.StatusOK)
}

// asked opens the request that a consent page is for, and reads who is signed in.
func (h *Handler) asked(r *http.Request, sealed string) (*oauth.Authorization, *storage.SignedIn, error) {
	a, err := h.OAuth.Resume(r.Context(), sealed)
	if err != nil {
		return nil, nil, err
	}
	in, err := h.Sessions.Read(r, a.Client.GetID())
	return a, in, err
}

func (h *Handler) showConsent(w http.ResponseWriter, r *http.Request, a *oauth.Authorization, in *storage.SignedIn, sealed string, status int) error {
	csrf, err := h.Sessions.Form(w, r)
	if err != nil {
		return err
	}
	c := a.Client.Client
	return h.Pages.Write(w, r, a.View(status), ui.Consent{
		Request: sealed, CSRF: csrf, Client: a.Name(), ClientURI: c.ClientURI, PolicyURI: c.PolicyURI, TOSURI: c.TOSURI,
		Host: a.Host(), User: in.User.Name, Scopes: a.Scope, Audience: h.others(a.Audience), Native: a.Native(),
	})
}

// others are the services that the access is for, beside this server itself.
func (h *Handler) others(audience []string) []string {
	return slices.DeleteFunc(slices.Clone(audience), func(a string) bool { return a == h.OAuth.Issuer })
}

// Consent is POST /consent. The decision counts only for the person who was shown the
// page, and only for what was sealed into it.
func (h *Handler) Consent(w http.ResponseWriter, r *http.Request) error {
	form, err := h.form(r)
	if err != nil {
		return err
	}
	a, in, err := h.asked(r, form.Get("request"))
	if err != nil {
		return err
	}
	decision := form.Get("decision")
	// A no, or "not me", counts also when a yes in another tab made the question needless.
	switch {
	case decision == "switch":
		a.Switch()
		return h.OAuth.Proceed(w, r, a, in)
	case decision == "deny" && in != nil && a.Asked == in.ID:
		return h.deny(w, r, a, in)
	case !a.NeedsConsent(in, h.Now()):
		return h.OAuth.Proceed(w, r, a, in)
	case decision == "allow":
		return h.OAuth.Allow(w, r, a, in)
	}
	return h.showConsent(w, r, a, in, form.Get("request"), http.StatusBadRequest)
}

// deny says no, unless this very request was answered with a code before: the button
// pressed after the back button.
func (h *Handler) deny(w http.ResponseWriter, r *http.Request, a *oauth.Authorization, in *storage.SignedIn) error {
	_, err := h.Store.Session(r.Context(), a.GrantID(in))
	switch {
	case errors.Is(err, grants.ErrNotFound):
		return h.OAuth.Deny(w, r, a)
	case err != nil:
		return err
	}
	return h.OAuth.Proceed(w, r, a, in)
}
