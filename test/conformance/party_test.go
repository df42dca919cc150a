package conformance_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/servertest"
)

// party is the relying party that the suite would be, with a person at a new browser.
type party struct {
	*servertest.World
	t        *testing.T
	plan     plan
	client   string // whose turn it is
	browser  *servertest.Browser
	metadata map[string]any
	keys     jose.JSONWebKeySet
	asked    int // requests so far
}

// newParty reads the metadata and the keys, as the suite does before each module.
func newParty(t *testing.T, w *servertest.World, pl plan) *party {
	t.Helper()
	p := &party{World: w, t: t, plan: pl, client: first, browser: w.Browser()}
	document := w.Send(servertest.Get("/.well-known/openid-configuration"))
	p.status(document, http.StatusOK)
	p.metadata = document.JSON
	p.keys = p.fetchKeys()
	return p
}

// status and unsuccessful end the module, where the World's own would end the plan.
func (p *party) status(a *servertest.Answer, want int) {
	p.t.Helper()
	require.Equal(p.t, want, a.Status, "%s %s", a.Header.Get("Location"), a.Body)
}

func (p *party) unsuccessful(a *servertest.Answer, status int, code string) {
	p.t.Helper()
	p.status(a, status)
	require.Equal(p.t, code, a.JSON["error"])
}

// endpoint is the path of an endpoint that the metadata names.
func (p *party) endpoint(name string) string {
	p.t.Helper()
	address, _ := p.metadata[name].(string)
	require.True(p.t, strings.HasPrefix(address, p.Issuer+"/"), "%s is %q", name, address)
	return strings.TrimPrefix(address, p.Issuer)
}

func (p *party) fetchKeys() (set jose.JSONWebKeySet) {
	p.t.Helper()
	a := p.Send(servertest.Get(p.endpoint("jwks_uri")))
	p.status(a, http.StatusOK)
	require.NoError(p.t, json.Unmarshal(a.Body, &set))
	return set
}

// flow is one authorization request, and what came of it.
type flow struct {
	*party
	query    url.Values
	verifier string
	page     *servertest.Page
	mode     string
	code     string
	tokens   *servertest.Answer
	idToken  claims
}

// request makes an authorization request as the suite does, changed by pairs: a value of
// "-" takes a parameter out.
func (p *party) request(pairs ...string) *flow {
	p.t.Helper()
	p.asked++
	f := &flow{party: p, mode: p.plan.mode}
	f.query = url.Values{
		"response_type": {"code"}, "client_id": {p.client}, "redirect_uri": {callback}, "scope": {"openid"},
		// What needs no encoding and what does, and long enough that a cut would show.
		"state": {fmt.Sprintf("state %d -._~+/=&%s", p.asked, strings.Repeat("s", 100))}, "nonce": {fmt.Sprintf("nonce %d %%é", p.asked)},
	}
	if f.mode != "" {
		f.query.Set("response_mode", f.mode)
	}
	if p.plan.pkce {
		f.prove()
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "-" {
			f.query.Del(pairs[i])
			continue
		}
		f.query.Set(pairs[i], pairs[i+1])
	}
	return f
}

// prove adds PKCE.
func (f *flow) prove() *flow {
	f.verifier = fmt.Sprintf("%s-%d", servertest.Verifier, f.asked)
	f.query.Set("code_challenge", servertest.Challenge(f.verifier))
	f.query.Set("code_challenge_method", "S256")
	return f
}

// send shows the request to the server, in the browser.
func (f *flow) send() *flow {
	f.t.Helper()
	f.page = f.browser.Get(f.endpoint("authorization_endpoint") + "?" + f.query.Encode())
	return f
}

// ask makes and sends a request.
func (p *party) ask(pairs ...string) *flow {
	p.t.Helper()
	return p.request(pairs...).send()
}

// through lets the person sign in and allow what is asked.
func (f *flow) through() *flow {
	f.t.Helper()
	f.page = f.page.Through(person)
	return f
}

// asksPassword ends the test unless the person is shown the sign-in page.
func (f *flow) asksPassword() *flow {
	f.t.Helper()
	require.True(f.t, strings.HasPrefix(f.page.Location(), "/login"), "no sign-in page but %d %s", f.page.Status, f.page.Location())
	page := f.page.Follow()
	f.status(page.Answer, http.StatusOK)
	require.Contains(f.t, page.Form("password").Names, "username")
	return f
}

// answered reads what the client gets, in the way that it asked for and in no other.
func (f *flow) answered() url.Values {
	f.t.Helper()
	var answer url.Values
	if f.mode == "form_post" {
		f.status(f.page.Answer, http.StatusOK)
		require.Empty(f.t, f.page.Location())
		require.Len(f.t, f.page.Forms, 1)
		form := f.page.Forms[0]
		require.Equal(f.t, callback, form.Action, "the query of the address holds nothing")
		require.Equal(f.t, "post", form.Method)
		answer = form.Fields
	} else {
		f.status(f.page.Answer, http.StatusSeeOther)
		to, err := url.Parse(f.page.Location())
		require.NoError(f.t, err)
		require.Empty(f.t, to.Fragment)
		answer = to.Query()
		to.RawQuery = ""
		require.Equal(f.t, callback, to.String())
	}
	require.Equal(f.t, f.query.Get("state"), answer.Get("state"), "state comes back as it was sent")
	require.Equal(f.t, f.Issuer, answer.Get("iss"))
	for name, values := range answer {
		require.Len(f.t, values, 1, name)
	}
	return answer
}

// refused ends the test unless the client gets an error, one of codes.
func (f *flow) refused(codes ...string) {
	f.t.Helper()
	answer := f.answered()
	require.Contains(f.t, codes, answer.Get("error"))
	require.Empty(f.t, answer.Get("code"))
	description := answer.Get("error_description")
	require.NotEmpty(f.t, description)
	for _, c := range []byte(description) {
		require.True(f.t, c >= 0x20 && c <= 0x7e && c != '"' && c != '\\', "%q", description)
	}
	for name := range answer {
		require.Contains(f.t, []string{"error", "error_description", "error_uri", "state", "iss"}, name)
	}
}

// coded ends the test unless the client gets a code.
func (f *flow) coded() *flow {
	f.t.Helper()
	answer := f.answered()
	require.Empty(f.t, answer.Get("error"), answer)
	f.code = answer.Get("code")
	require.GreaterOrEqual(f.t, len(f.code), 22, "at least 128 bits")
	for name := range answer {
		require.Contains(f.t, []string{"code", "state", "iss"}, name)
	}
	return f
}

// redeem shows the code at the token endpoint, whatever comes.
func (f *flow) redeem() *servertest.Answer {
	f.t.Helper()
	pairs := []string{"grant_type", "authorization_code", "code", f.code, "redirect_uri", callback}
	if f.verifier != "" {
		pairs = append(pairs, "code_verifier", f.verifier)
	}
	return f.token(pairs...)
}

// token asks the token endpoint as the client whose turn it is.
func (p *party) token(pairs ...string) *servertest.Answer {
	p.t.Helper()
	path := p.endpoint("token_endpoint")
	if p.client == post {
		return p.Send(servertest.Form(path, append(pairs, "client_id", post, "client_secret", p.Secret(post))...))
	}
	return p.Send(servertest.Form(path, pairs...).Basic(p.client, p.Secret(p.client)))
}

// granted redeems the code, and holds the answer against RFC 6749 section 5.1 and the ID
// token against OpenID Connect Core.
func (f *flow) granted() *flow {
	f.t.Helper()
	f.tokens = f.redeem()
	f.successful(f.tokens)
	f.idToken = f.checkIDToken(f.tokens)
	return f
}

func (p *party) successful(a *servertest.Answer) {
	t := p.t
	t.Helper()
	p.status(a, http.StatusOK)
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	require.Equal(t, "Bearer", a.Text("token_type"))
	require.GreaterOrEqual(t, len(a.Access()), 22)
	lives, ok := a.JSON["expires_in"].(float64)
	require.True(t, ok, "expires_in is a number")
	require.Positive(t, lives)
}

// complete is a whole flow: the person signs in if asked, the code is redeemed, and the
// access token works at the userinfo endpoint.
func (p *party) complete(pairs ...string) *flow {
	p.t.Helper()
	return p.ask(pairs...).finish()
}

func (f *flow) finish() *flow {
	f.t.Helper()
	f.through().coded().granted()
	f.userinfo(f.idToken.Subject, servertest.Get(f.endpoint("userinfo_endpoint")).Bearer(f.tokens.Access()))
	return f
}
