package oauth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/refusals"
	"github.com/grantorhq/grantor/storage"
)

// Authorization is one request at the authorization endpoint, checked. The exported
// fields without the client are what travels sealed while a person is asked.
type Authorization struct {
	ID   grants.ID // drawn for it: see GrantID
	At   time.Time // when it arrived
	Form url.Values

	// Fresh is the sign-in that was made for this request; Chosen the one that the
	// person went on with when asked which; Asked the one that the consent page is for.
	Fresh, Chosen, Asked grants.ID
	FreshGeneration      int64
	Subject              string // of the id_token_hint: nobody else may answer
	Again                bool   // the person wants another account
	Allowed              bool   // on the consent page, by Asked

	Client      *clients.Fosite `json:"-"`
	RedirectURI string          `json:"-"` // proven
	Scope       []string        `json:"-"` // that the person is asked for
	Audience    []string        `json:"-"`

	form    url.Values // Form, when it may be trusted
	mode    string
	prompt  []string
	maxAge  time.Duration // below 0: not asked
	claims  askedClaims
	granted []string // of Scope what the tokens have; the rest are claims asked for by name
}

// Bounds of what is echoed or kept, in bytes. Longer is refused, never cut.
const (
	maxState = 2048
	maxNonce = 2048
	maxHint  = 256 // longer ones are hints no more
)

// ErrExpired: the sealed request is not ours, or the person took too long. They have to
// start again in the application.
var ErrExpired = errors.New("the request has expired")

// kept are the parameters that still mean something when the person has answered. What
// else was sent would only make the addresses of the pages longer than browsers and
// proxies take.
var kept = []string{
	"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method", "response_mode",
	"prompt", "max_age", "login_hint", "ui_locales", "claims", "resource", "audience",
}

func (h *Handler) park(a *Authorization) (string, error) {
	waiting := *a
	waiting.Form = url.Values{}
	for _, name := range kept {
		if values, ok := a.Form[name]; ok {
			waiting.Form[name] = values
		}
	}
	for _, name := range []string{"login_hint", "ui_locales"} {
		if len(waiting.Form.Get(name)) > maxHint {
			waiting.Form.Del(name)
		}
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // it is never near HTML, and would be six times as long
	if err := e.Encode(waiting); err != nil {
		return "", fmt.Errorf("encode request: %w", err)
	}
	return h.Requests.Seal(h.Rand, text.Bytes())
}

// Resume opens a request that travelled sealed, and checks it again: the client may
// have been changed meanwhile.
func (h *Handler) Resume(ctx context.Context, sealed string) (*Authorization, error) {
	text, err := h.Requests.Open(sealed)
	if err != nil {
		return nil, ErrExpired
	}
	var parked Authorization
	if err := json.Unmarshal(text, &parked); err != nil || h.Now().Sub(parked.At).Abs() > grants.RequestLifetime {
		return nil, ErrExpired
	}
	a, err := h.checkAuthorization(ctx, parked.Form)
	if err != nil {
		return nil, err
	}
	a.ID, a.At, a.Fresh, a.FreshGeneration = parked.ID, parked.At, parked.Fresh, parked.FreshGeneration
	a.Chosen, a.Asked, a.Subject, a.Again, a.Allowed = parked.Chosen, parked.Asked, parked.Subject, parked.Again, parked.Allowed
	TrailOf(ctx).Client = a.Client.GetID()
	return a, nil
}

// GrantID is the id of the grant that the request becomes when this person answers it. The
// same person answering twice meets the row of the first time; somebody else, who was
// sent the page's address, gets a code that the first one does not know.
func (a *Authorization) GrantID(in *storage.SignedIn) grants.ID {
	sum := sha256.Sum256(append(a.ID[:], in.UserID...))
	return grants.ID(sum[:len(grants.ID{})])
}

// SignedIn notes that the person just signed in for this request.
func (a *Authorization) SignedIn(in *storage.SignedIn) {
	a.Fresh, a.FreshGeneration, a.Again = in.ID, in.Generation, false
}

// Choose notes that the person goes on as who is signed in.
func (a *Authorization) Choose(in *storage.SignedIn) { a.Chosen, a.Again = in.ID, false }

// Switch notes that the person wants to sign in as somebody else.
func (a *Authorization) Switch() { a.Again, a.Fresh, a.Chosen = true, grants.ID{}, grants.ID{} }

// LoginHint is what the client thinks that the person would type.
func (a *Authorization) LoginHint() string { return a.form.Get("login_hint") }

// Locales are the languages that the client asks for.
func (a *Authorization) Locales() string { return a.form.Get("ui_locales") }

// MayChoose reports whether going on as who is signed in is an answer: the client wants
// the person asked which account, and does not want a password as well.
func (a *Authorization) MayChoose(in *storage.SignedIn, now time.Time) bool {
	if in == nil || a.Again || !a.asks("select_account") {
		return false
	}
	chosen := *a
	chosen.Choose(in)
	return chosen.next(in, now) != stepSignIn
}

func (a *Authorization) asks(prompt string) bool { return slices.Contains(a.prompt, prompt) }

// next is what OpenID Connect Core section 3.1.2.3 asks for. "Just now" is told by the
// sign-in that was made for this request, not by clocks: replicas have several.
func (a *Authorization) next(in *storage.SignedIn, now time.Time) step {
	if in == nil || a.Again || a.Subject != "" && in.UserID != a.Subject {
		return stepSignIn
	}
	switch {
	case a.fresh(in):
	case a.asks("login"):
		return stepSignIn
	case a.maxAge >= 0 && (a.maxAge == 0 || now.Sub(in.AuthTime) > a.maxAge):
		return stepSignIn
	case a.asks("select_account") && a.Chosen != in.ID:
		return stepSignIn
	}
	if a.needsConsent(in) {
		return stepConsent
	}
	return stepIssue
}

// Native reports whether the answer goes to a program on the device, of which nobody can
// say that it is the client.
func (a *Authorization) Native() bool {
	return a.Client.Client.Native(a.RedirectURI)
}

func (a *Authorization) fresh(in *storage.SignedIn) bool {
	return in != nil && a.Fresh == in.ID && a.FreshGeneration == in.Generation
}

// NeedsSignIn reports whether the sign-in page has something to ask.
func (a *Authorization) NeedsSignIn(in *storage.SignedIn, now time.Time) bool {
	return a.next(in, now) == stepSignIn
}

// NeedsConsent reports whether the consent page has something to ask this person.
func (a *Authorization) NeedsConsent(in *storage.SignedIn, now time.Time) bool {
	return in != nil && a.Asked == in.ID && a.next(in, now) == stepConsent
}

func (a *Authorization) needsConsent(in *storage.SignedIn) bool {
	c := a.Client.Client
	switch {
	case a.Allowed && a.Asked == in.ID:
		return false
	case a.asks("consent"):
		return true
	case c.FirstParty:
		return false
	case a.Native():
		// Another program may use its id and its redirect URI: RFC 8252 section 8.6.
		return true
	}
	return in.Consent == nil || !grants.Covers(in.Consent.Scope, a.Scope) || !grants.Covers(in.Consent.Audience, a.Audience)
}

// checkAuthorization holds a request against the registration and the RFCs. Until the
// redirect URI is proven the error is for the person alone; from then on it is the
// client's, and a comes with it.
func (h *Handler) checkAuthorization(ctx context.Context, form url.Values) (a *Authorization, err error) {
	if form.Get("client_id") == "" {
		return nil, invalidRequest("client_id is missing")
	}
	client, err := h.Store.RegisteredClient(ctx, form.Get("client_id"))
	if errors.Is(err, clients.ErrNotFound) {
		unknown := invalidRequest(refusals.Unlisted)
		unknown.Facts.Sent = form.Get("client_id")
		return nil, unknown
	}
	if err != nil {
		return nil, err
	}
	TrailOf(ctx).Client = client.GetID()
	redirect, err := provenRedirect(form.Get("redirect_uri"), client.Client)
	if err != nil {
		return nil, err
	}
	a = &Authorization{Form: form, Client: client, RedirectURI: redirect, form: form, maxAge: -1}
	return a, h.checkParameters(a)
}

// provenRedirect is RFC 6749 section 3.1.2.3 and RFC 9700 section 4.1.1.
func provenRedirect(uri string, c *clients.Client) (string, error) {
	if !c.Allows(clients.GrantAuthorizationCode) {
		return "", unauthorizedClient("not registered for authorization codes")
	}
	if uri == "" {
		if len(c.RedirectURIs) != 1 {
			return "", invalidRequest("redirect_uri is missing")
		}
		return c.RedirectURIs[0], nil
	}
	if !c.MatchRedirectURI(uri) {
		return "", invalidRequest("redirect_uri is not registered for the client")
	}
	return uri, nil
}

func (h *Handler) checkParameters(a *Authorization) error {
	form, client := a.form, a.Client.Client
	// First of all, because it says how the client hears of the rest.
	switch mode := form.Get("response_mode"); mode {
	case "", "query", "fragment", "form_post":
		a.mode = mode
	default:
		return invalidRequest("response_mode is not supported")
	}
	switch form.Get("response_type") {
	case "code":
	case "":
		return invalidRequest("response_type is missing")
	default:
		return authorizeRefusal("unsupported_response_type", "Only the response type code is supported.")
	}
	for parameter, code := range map[string]string{
		"request": "request_not_supported", "request_uri": "request_uri_not_supported", "registration": "registration_not_supported",
	} {
		if form.Get(parameter) != "" {
			return authorizeRefusal(code, "The parameter is not supported.")
		}
	}
	if len(form.Get("state")) > maxState || len(form.Get("nonce")) > maxNonce {
		return invalidRequest("state or nonce is too long")
	}
	if err := checkChallenge(form, client); err != nil {
		return err
	}
	var err error
	if a.Scope, err = askedScope(form, client); err != nil {
		return err
	}
	if len(a.Scope) == 0 {
		a.Scope = client.Scope
	}
	if a.Audience, err = h.askedAudience(form, client); err != nil {
		return err
	}
	if len(a.Audience) == 0 {
		a.Audience = h.issuers
	}
	return h.checkOpenID(a)
}

// checkChallenge is RFC 7636 section 4.4.1, S256 only. A confidential client may be
// registered to do without (docs/decisions/0014): what it sends is held against it all the same.
func checkChallenge(form url.Values, c *clients.Client) error {
	challenge, method := form.Get("code_challenge"), form.Get("code_challenge_method")
	if challenge == "" && method == "" && c.PKCE == clients.PKCEOptional {
		return nil
	}
	switch {
	case challenge == "":
		return invalidRequest("code_challenge is missing")
	case method != "S256":
		return invalidRequest("code_challenge_method must be S256")
	}
	if sum, err := base64.RawURLEncoding.Strict().DecodeString(challenge); err != nil || len(sum) != 32 || strings.ContainsAny(challenge, "\r\n") {
		return invalidRequest("code_challenge is not an S256 challenge")
	}
	return nil
}

// checkOpenID reads what OpenID Connect Core section 3.1.2.1 adds.
func (h *Handler) checkOpenID(a *Authorization) error {
	a.prompt = strings.Fields(a.form.Get("prompt"))
	for _, p := range a.prompt {
		if !slices.Contains(prompts, p) {
			return invalidRequest("prompt has an unknown value")
		}
	}
	if a.asks("none") && len(a.prompt) > 1 {
		return invalidRequest("prompt none allows nothing beside it")
	}
	if text := a.form.Get("max_age"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return invalidRequest("max_age is not a number of seconds")
		}
		a.maxAge = time.Duration(seconds) * time.Second
	}
	if hint := a.form.Get("id_token_hint"); hint != "" {
		claims, err := h.readIDToken(hint)
		if err != nil || claims.Audience != a.Client.GetID() {
			return invalidRequest("id_token_hint is not an ID token of this server for the client")
		}
		a.Subject = claims.Subject
		// Long, and no longer needed.
		a.form.Del("id_token_hint")
	}
	var err error
	if a.claims, err = readClaims(a.form.Get("claims"), a.Client.Client.Scope); err != nil {
		return err
	}
	// A claim asked for by its name is as personal as by its scope.
	a.granted, a.Scope = a.Scope, grants.Distinct(slices.Concat(a.Scope, a.claims.Scope))
	if a.claims.Subject != "" {
		if a.Subject != "" && a.Subject != a.claims.Subject {
			return invalidRequest("two different subjects are asked for")
		}
		a.Subject = a.claims.Subject
	}
	if a.claims.acrMissed {
		return authorizeRefusal("unmet_authentication_requirements", "The authentication that is asked for is not available.")
	}
	return nil
}

// prompts are those of OpenID Connect Core section 3.1.2.1.
var prompts = []string{"none", "login", "consent", "select_account"}
