package oauth

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/refusals"
	"github.com/grantorhq/grantor/server/session"
	"github.com/grantorhq/grantor/storage"
)

// Authorize is GET and POST /oauth2/auth: RFC 6749 section 3.1, OpenID Connect Core
// section 3.1.2. It reads and checks the request, looks who is signed in, and goes on
// with Proceed. Nothing is kept while a person is asked: the request travels sealed.
func (h *Handler) Authorize(w http.ResponseWriter, r *http.Request) error {
	form, err := readAuthorizationForm(r)
	if err != nil {
		return err
	}
	if h.withoutCookies(r) {
		return SeeOther(w, h.Base+"/oauth2/auth?"+form.Encode())
	}
	a, err := h.checkAuthorization(r.Context(), form)
	if err != nil {
		return h.refuse(w, r, a, err)
	}
	if a.ID, err = grants.NewID(h.Rand); err != nil {
		return err
	}
	a.At = h.Now()
	in, err := h.Sessions.Read(r, a.Client.GetID())
	if err != nil {
		return err
	}
	return h.Proceed(w, r, a, in)
}

// withoutCookies: a form that another site posted arrives without our cookies
// (SameSite=Lax), and the person would look signed out. The same request as a link
// does not.
func (h *Handler) withoutCookies(r *http.Request) bool {
	if r.Method != http.MethodPost {
		return false
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "cross-site"
	}
	origin := r.Header.Get("Origin")
	return origin != "" && !strings.HasPrefix(h.Issuer+"/", origin+"/")
}

// readAuthorizationForm takes the parameters from the query of a GET or the body of a POST.
func readAuthorizationForm(r *http.Request) (url.Values, error) {
	if r.Method == http.MethodPost {
		return ReadForm(r)
	}
	return ReadQuery(r)
}

// step is what has to happen before a request can be answered with a code.
type step string

const (
	stepSignIn  step = "login_required"
	stepConsent step = "consent_required"
	stepIssue   step = ""
)

// Proceed takes a checked request as far as it goes: to the sign-in page, to the
// consent page, or back to the client with a code. in is nil when nobody is signed in.
func (h *Handler) Proceed(w http.ResponseWriter, r *http.Request, a *Authorization, in *storage.SignedIn) error {
	trail := TrailOf(r.Context())
	trail.Client = a.Client.GetID()
	next := a.next(in, h.Now())
	if next == stepIssue {
		return h.issue(w, r, a, in)
	}
	trail.Outcome = string(next)
	// Who signed in for this very request is not who the client asked for: asking again would go round in circles.
	if a.asks("none") || next == stepSignIn && a.fresh(in) && !a.Again {
		return h.refuse(w, r, a, &Error{Status: http.StatusBadRequest, Code: string(next), Description: "The person that is asked for is not signed in, or did not allow it yet.", Reason: refusals.Cause(next)})
	}
	page := "/login"
	if next == stepConsent {
		page, a.Asked = "/consent", in.ID
	}
	sealed, err := h.park(a)
	if err != nil {
		return err
	}
	return SeeOther(w, h.Base+page+"?request="+sealed)
}

// issue makes the code: the grant at generation 0, in one statement.
func (h *Handler) issue(w http.ResponseWriter, r *http.Request, a *Authorization, in *storage.SignedIn) error {
	ctx := r.Context()
	trail := TrailOf(ctx)
	now := h.Now()
	g := grants.Grant{
		ID: a.GrantID(in), ClientID: a.Client.GetID(), UserID: in.UserID, Scope: a.granted, Audience: a.Audience, State: grants.Live,
		CreatedAt: now, RotatedAt: now, ExpiresAt: now.Add(grants.CodeLifetime),
		RedirectURI: a.form.Get("redirect_uri"), CodeChallenge: a.form.Get("code_challenge"),
		BrowserID: in.ID, CreatedFrom: AddressOf(ctx), RotatedFrom: AddressOf(ctx),
		Details: grants.Details{
			AuthTime: in.AuthTime, AMR: in.AMR, ACR: acrPassword, UserAgent: session.AgentOf(r), Nonce: a.form.Get("nonce"),
			UserinfoClaims: a.claims.Userinfo, IDTokenClaims: a.claims.IDToken,
		},
	}
	trail.Session = g.ID.String()
	begun, err := h.Store.Begin(ctx, g, in.User.UpdatedAt)
	if errors.Is(err, storage.ErrGrantExists) {
		return h.answered(w, r, a, in)
	}
	if err != nil {
		return err
	}
	if !begun {
		// Signed out, switched off or changed since it was read: ask again, as of now.
		trail.Outcome = "changed meanwhile"
		if a.fresh(in) {
			// Who has just signed in is not what changed: the client is, and asking again would not end.
			return h.refuse(w, r, a, authorizeRefusal("temporarily_unavailable", "The client or the account was changed at this moment. Try again."))
		}
		return h.Proceed(w, r, a, nil)
	}
	trail.Outcome = "code issued"
	return h.redirect(w, r, a, url.Values{"code": {h.Codec.Mint(grants.Code, g.ID, 0)}})
}

// Deny answers the client that the person said no: RFC 6749 section 4.1.2.1. No row was made.
func (h *Handler) Deny(w http.ResponseWriter, r *http.Request, a *Authorization) error {
	TrailOf(r.Context()).Outcome = "denied"
	return h.refuse(w, r, a, &Error{Status: http.StatusForbidden, Code: "access_denied", Description: "The person did not allow it.", Reason: refusals.DeniedByPerson})
}

// Allow remembers the person's decision and goes on.
func (h *Handler) Allow(w http.ResponseWriter, r *http.Request, a *Authorization, in *storage.SignedIn) error {
	allowed := storage.Consent{ClientID: a.Client.GetID(), Scope: a.Scope, Audience: a.Audience, GrantedAt: h.Now()}
	if in.Consent != nil {
		allowed.Scope = grants.Distinct(slices.Concat(in.Consent.Scope, a.Scope))
		allowed.Audience = grants.Distinct(slices.Concat(in.Consent.Audience, a.Audience))
	}
	if err := h.Store.RememberConsent(r.Context(), in.UserID, allowed); err != nil {
		return err
	}
	a.Allowed = true
	return h.Proceed(w, r, a, in)
}
