package login

import (
	"net/http"

	"github.com/grantorhq/grantor/server/oauth"
	"github.com/grantorhq/grantor/server/ui"
)

// SignOutPage is GET /logout: it asks, because a link must not sign anybody out.
func (h *Handler) SignOutPage(w http.ResponseWriter, r *http.Request) error {
	query, err := oauth.ReadQuery(r)
	if err != nil {
		return err
	}
	request, err := h.OAuth.ResumeLogout(r.Context(), query.Get("request"))
	if err != nil {
		return err
	}
	in, err := h.Sessions.Read(r, "")
	if err != nil {
		return err
	}
	if in == nil {
		return h.OAuth.SignedOut(w, r, request)
	}
	csrf, err := h.Sessions.Form(w, r)
	if err != nil {
		return err
	}
	return h.Pages.Write(w, r, request.View(http.StatusOK), ui.SignOut{
		CSRF: csrf, Request: query.Get("request"), User: in.User.Name, Client: request.Name(),
	})
}

// SignOut is POST /logout.
func (h *Handler) SignOut(w http.ResponseWriter, r *http.Request) error {
	form, err := h.form(r)
	if err != nil {
		return err
	}
	request, err := h.OAuth.ResumeLogout(r.Context(), form.Get("request"))
	if err != nil {
		return err
	}
	if form.Get("decision") != "signout" {
		return h.seeOther(w, "/account")
	}
	in, err := h.Sessions.Read(r, "")
	if err != nil {
		return err
	}
	if in != nil {
		if err := h.Sessions.End(w, r, in); err != nil {
			return err
		}
		h.OAuth.LogoutsDue()
	}
	oauth.TrailOf(r.Context()).Outcome = "signed out"
	return h.OAuth.SignedOut(w, r, request)
}
