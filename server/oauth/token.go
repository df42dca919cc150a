package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ory/fosite"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/server/session"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// tokenResponse is RFC 6749 section 5.1.
type tokenResponse struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
}

// Token is POST /oauth2/token: RFC 6749 section 3.2. Whatever the grant, the same
// checks come first and in the same order: form, client, grant type, scope,
// audience, the token's own proof. Only then does fosite run the grant, and no
// grant can forget one of them.
func (h *Handler) Token(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	trail := TrailOf(ctx)
	form, err := ReadForm(r)
	if err != nil {
		return err
	}
	client, err := h.authenticate(ctx, r, form)
	if err != nil {
		return err
	}
	grantType := form.Get("grant_type")
	switch {
	case grantType == "":
		return invalidRequest("grant_type is missing")
	case !slices.Contains(grantTypes, grantType):
		return unsupportedGrantType()
	case !client.Client.Allows(grantType):
		return unauthorizedClient("not registered for the grant type")
	}
	trail.Grant = grantType

	made := &fositeSession{unit: storage.Unit{
		At: h.Now(), Client: client, Address: trail.Address,
		Limits: h.limits(client.Client), Life: h.sessionLife(client.Client),
	}}
	u := &made.unit
	if grantType == clients.GrantPassword {
		u.Agent = session.AgentOf(r) // of the session that begins; the other grants have theirs
	}
	if u.Scope, err = askedScope(form, client.Client); err != nil && grantType != clients.GrantAuthorizationCode {
		return err
	}
	if u.Audience, err = h.askedAudience(form, client.Client); err != nil {
		return err
	}
	renewal := grantType == clients.GrantRefreshToken
	if err := admitBrowser(r, client.Client, renewal); err != nil {
		return err
	}
	byCookie := renewal && h.fromCookie(r, form, client.Client, "refresh_token")
	if err := h.prove(ctx, u, grantType, form); err != nil {
		return h.ended(w, client.Client, byCookie, about(u, err))
	}

	// fosite gets what is left: it must neither read the body or its type again nor judge the audience by its own rules.
	form.Del("audience")
	form.Del("resource")
	r.Form, r.PostForm, r.MultipartForm = form, form, new(multipart.Form)
	ctx = storage.WithUnit(ctx, u)
	request, err := h.provider.NewAccessRequest(ctx, r, made)
	if err != nil {
		trail.Session = sessionOf(u)
		return h.ended(w, client.Client, byCookie, refusal(u, err))
	}
	if err := h.allow(made, grantType, request); err != nil {
		return about(u, err)
	}
	response, err := h.provider.NewAccessResponse(ctx, request)
	trail.Session = sessionOf(u)
	if err != nil {
		return refusal(u, err)
	}
	trail.Outcome = outcome(u)
	return h.writeToken(w, made, request, response)
}

// ended takes the cookie back from a browser when the session in it is over. Any
// other refusal (a mistyped password) says nothing about that session.
func (h *Handler) ended(w http.ResponseWriter, c *clients.Client, byCookie bool, err error) error {
	if refused := new(Error); byCookie && errors.As(err, &refused) && refused.Code == "invalid_grant" {
		h.setCookie(w, c, "", 0)
	}
	return err
}

// prove checks what the grant's own parameters can prove by themselves.
func (h *Handler) prove(ctx context.Context, u *storage.Unit, grantType string, form url.Values) error {
	switch grantType {
	case clients.GrantRefreshToken:
		token := form.Get("refresh_token")
		if token == "" {
			return invalidRequest("refresh_token is missing")
		}
		id, generation, err := h.Codec.Parse(grants.Refresh, token)
		if err != nil || generation < 1 {
			return invalidGrant("not a refresh token of this server")
		}
		u.ID, u.Generation = id, generation
		u.Registered = slices.Concat(h.issuers, u.Client.Client.Audience)
	case clients.GrantAuthorizationCode:
		return h.proveCode(ctx, u, form)
	case clients.GrantPassword:
		if len(form.Get("password")) > users.MaxPassword {
			return invalidRequest("password is too long")
		}
		if form.Get("username") == "" || form.Get("password") == "" {
			return invalidRequest("username or password is missing")
		}
	}
	return nil
}

// allow grants what was asked for and checked; nothing asked means all that is
// registered (RFC 6749 section 3.3). A code and a refresh were told by their row, less
// what is no longer registered.
func (h *Handler) allow(made *fositeSession, grantType string, request fosite.AccessRequester) error {
	u := &made.unit
	made.audience = u.Audience
	if grantType == clients.GrantRefreshToken || grantType == clients.GrantAuthorizationCode {
		if len(made.audience) > 0 || len(u.Grant.Audience) == 0 {
			return nil
		}
		for _, a := range u.Grant.Audience {
			if h.registered(a, u.Client.Client) {
				made.audience = append(made.audience, a)
			}
		}
		if len(made.audience) == 0 {
			// Falling back to a default would be a token for where the user never allowed it.
			return invalidTarget("nothing that was granted is registered any more")
		}
		return nil
	}
	scope := u.Scope
	if len(scope) == 0 {
		scope = u.Client.Client.Scope
	}
	for _, s := range scope {
		request.GrantScope(s)
	}
	if grantType != clients.GrantPassword {
		return nil
	}
	if len(made.audience) == 0 {
		made.audience = h.issuers
	}
	if err := h.tokens.Start(u, scope, made.audience); err != nil {
		return err
	}
	request.SetID(u.Grant.ID.String())
	return nil
}

// askedScope is the scope parameter, letter for letter within the registration.
func askedScope(form url.Values, c *clients.Client) ([]string, error) {
	// Parted by blanks only: a tab or a line is no part of a scope, and is in none that is registered.
	asked := strings.FieldsFunc(form.Get("scope"), func(r rune) bool { return r == ' ' })
	if len(asked) > maxAsked || !grants.Covers(c.Scope, asked) {
		return nil, invalidScope("not registered for the client")
	}
	return grants.Distinct(asked), nil
}

// askedAudience reads resource (RFC 8707) and audience. The server itself may always be asked for.
func (h *Handler) askedAudience(form url.Values, c *clients.Client) ([]string, error) {
	var asked []string
	for _, values := range [][]string{form["resource"], form["audience"]} {
		for _, value := range values {
			asked = append(asked, strings.Fields(value)...)
		}
	}
	if len(asked) > maxAsked {
		return nil, invalidTarget("too many")
	}
	asked = grants.Distinct(asked)
	for _, a := range asked {
		if !h.registered(a, c) {
			return nil, invalidTarget("not registered for the client")
		}
	}
	return asked, nil
}

func (h *Handler) registered(audience string, c *clients.Client) bool {
	return audience == h.Issuer || slices.Contains(c.Audience, audience)
}

// maxAsked bounds the work on one request. It is more than a client can be registered with.
const maxAsked = 150

func (h *Handler) writeToken(w http.ResponseWriter, made *fositeSession, request fosite.AccessRequester, response fosite.AccessResponder) error {
	u := &made.unit
	if made.claims.ID == "" {
		return errors.New("token response: no claims were made")
	}
	refresh, _ := response.GetExtra("refresh_token").(string)
	if client := u.Client.Client; client.RefreshToken == clients.DeliverCookie && refresh != "" {
		h.setCookie(w, client, refresh, min(u.Limits.Idle, u.Grant.ExpiresAt.Sub(u.At)))
		refresh = ""
	}
	answer := tokenResponse{
		AccessToken: response.GetAccessToken(), TokenType: "Bearer", ExpiresIn: made.claims.Expires - u.At.Unix(),
		RefreshToken: refresh, Scope: made.claims.Scope,
	}
	if wantsIDToken(u, request.GetGrantedScopes()) {
		var err error
		if answer.IDToken, err = h.idToken(u, answer.AccessToken); err != nil {
			return err
		}
	}
	return writeNoStore(w, "application/json", answer.encode())
}

// writeJSON answers 200 with a body that nobody may keep: RFC 6749 section 5.1.
func writeJSON(w http.ResponseWriter, answer any) error {
	body, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return writeNoStore(w, "application/json", body)
}

func writeNoStore(w http.ResponseWriter, kind string, body []byte) error {
	SetHeaders(w.Header(), "Content-Type", kind, "Cache-Control", "no-store", "Pragma", "no-cache")
	// The client is gone when this fails; there is nobody to tell.
	_, _ = w.Write(body)
	return nil
}

// SetHeaders sets headers by their canonical names, with one piece of memory for all
// values: each lies in a slice that has no room to grow into the next.
func SetHeaders(header http.Header, pairs ...string) {
	values := make([]string, len(pairs)/2)
	for i := range values {
		values[i] = pairs[2*i+1]
		header[pairs[2*i]] = values[i : i+1 : i+1]
	}
}

func outcome(u *storage.Unit) string {
	switch u.Verdict {
	case grants.Rotated, grants.Retried, grants.Redeemed:
		return string(u.Verdict)
	}
	return "issued"
}

func sessionOf(u *storage.Unit) string {
	switch {
	case u.Grant.ID != (grants.ID{}):
		return u.Grant.ID.String()
	case u.ID != (grants.ID{}):
		return u.ID.String()
	}
	return ""
}
