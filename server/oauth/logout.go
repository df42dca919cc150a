package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/server/ui"
)

// LogoutRequest is what a client may ask at the logout endpoint, checked: OpenID
// Connect RP-Initiated Logout section 2. It travels sealed while the person is asked.
type LogoutRequest struct {
	At       time.Time
	ClientID string
	ReturnTo string // registered for the client; "" = none
	State    string
	Locales  string

	name string
}

// Logout is GET and POST /oauth2/logout. With the ID token of a sign-in it ends that
// one, and this browser's when it is the same person's; without it somebody else's link
// could sign people out, so the person is asked. An unregistered return address gets a
// page and ends nothing.
func (h *Handler) Logout(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	form, err := readAuthorizationForm(r)
	if err != nil {
		return err
	}
	if h.withoutCookies(r) {
		return SeeOther(w, h.Base+"/oauth2/logout?"+form.Encode())
	}
	var token hint
	if text := form.Get("id_token_hint"); text != "" {
		if token, err = h.readIDToken(text); err != nil {
			// Forged, or so old that the key is gone. Whoever wants to sign out still can, and is asked;
			// but where they go then is not up to who sent this.
			form.Del("post_logout_redirect_uri")
		}
	}
	request, err := h.checkLogout(ctx, form, token.Audience)
	if err != nil {
		return err
	}
	in, err := h.Sessions.Read(r, "")
	if err != nil {
		return err
	}
	trail := TrailOf(ctx)
	trail.Outcome = "asked to sign out"
	switch {
	case token.Subject == "" && in != nil, in != nil && in.UserID != token.Subject:
		return h.askLogout(w, request)
	case token.Subject == "":
		// Nobody is signed in, and who asks has not shown that anybody was.
		request.ReturnTo = ""
		return h.SignedOut(w, r, request)
	}
	if in != nil {
		if err := h.Sessions.End(w, r, in); err != nil {
			return err
		}
	}
	if sid, err := grants.ParseID(token.Browser); err == nil && (in == nil || in.ID != sid) {
		if _, _, err := h.Store.EndBrowser(ctx, token.Subject, sid); err != nil {
			return err
		}
	}
	h.LogoutsDue()
	trail.Outcome = "signed out"
	return h.SignedOut(w, r, request)
}

// checkLogout holds the request against the registration of the client that the ID
// token, or client_id, names.
func (h *Handler) checkLogout(ctx context.Context, form url.Values, audience string) (*LogoutRequest, error) {
	request := &LogoutRequest{
		At: h.Now(), ClientID: form.Get("client_id"), ReturnTo: form.Get("post_logout_redirect_uri"),
		State: form.Get("state"), Locales: form.Get("ui_locales"),
	}
	switch {
	case audience != "" && request.ClientID != "" && audience != request.ClientID:
		return nil, invalidRequest("client_id and id_token_hint are of two clients")
	case len(request.State) > maxState:
		return nil, invalidRequest("state is too long")
	case audience != "":
		request.ClientID = audience
	}
	return request, h.checkReturn(ctx, request)
}

func (h *Handler) checkReturn(ctx context.Context, request *LogoutRequest) error {
	if request.ClientID == "" {
		if request.ReturnTo != "" {
			return invalidRequest("post_logout_redirect_uri without the client that it is of")
		}
		return nil
	}
	client, err := h.Store.RegisteredClient(ctx, request.ClientID)
	if errors.Is(err, clients.ErrNotFound) {
		return invalidRequest("the client is not registered")
	}
	if err != nil {
		return err
	}
	TrailOf(ctx).Client = client.GetID()
	request.name = client.Client.DisplayName()
	if request.ReturnTo != "" && !slices.Contains(client.Client.PostLogoutRedirectURIs, request.ReturnTo) {
		return invalidRequest("post_logout_redirect_uri is not registered for the client")
	}
	return nil
}

func (h *Handler) askLogout(w http.ResponseWriter, request *LogoutRequest) error {
	text, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	sealed, err := h.Logouts.Seal(h.Rand, text)
	if err != nil {
		return err
	}
	return SeeOther(w, h.Base+"/logout?request="+sealed)
}

// ResumeLogout opens a request that travelled sealed, and checks it again. An empty one
// is the person's own wish to sign out.
func (h *Handler) ResumeLogout(ctx context.Context, sealed string) (*LogoutRequest, error) {
	if sealed == "" {
		return &LogoutRequest{}, nil
	}
	text, err := h.Logouts.Open(sealed)
	if err != nil {
		return nil, ErrExpired
	}
	var request LogoutRequest
	if err := json.Unmarshal(text, &request); err != nil || h.Now().Sub(request.At).Abs() > grants.RequestLifetime {
		return nil, ErrExpired
	}
	return &request, h.checkReturn(ctx, &request)
}

// Name is what people know the client by, or "" when the person asked.
func (l *LogoutRequest) Name() string { return l.name }

// View is how a page of this request is shown.
func (l *LogoutRequest) View(status int) ui.View {
	v := ui.View{Status: status, Locales: l.Locales}
	if l.ReturnTo != "" {
		v.FormAction = []string{ui.Source(l.ReturnTo)}
	}
	return v
}

// SignedOut answers when it is done: back to the client, or with a page.
func (h *Handler) SignedOut(w http.ResponseWriter, r *http.Request, request *LogoutRequest) error {
	if request.ReturnTo == "" {
		return h.Pages.Write(w, r, request.View(http.StatusOK), ui.SignedOut{})
	}
	answer := url.Values{}
	if request.State != "" {
		answer.Set("state", request.State)
		return SeeOther(w, at(request.ReturnTo, "query", answer))
	}
	return SeeOther(w, request.ReturnTo)
}
