package conformance_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/server/servertest"
)

func logoutDiscovery(p *party) {
	p.endpointsAreSecure()
	require.Contains(p.t, p.metadata, "end_session_endpoint")
}

func backChannelDiscovery(p *party) {
	logoutDiscovery(p)
	require.Equal(p.t, true, p.metadata["backchannel_logout_supported"])
	require.Equal(p.t, true, p.metadata["backchannel_logout_session_supported"])
}

// logoutState is long enough that a cut would show.
var logoutState = strings.Repeat("long state ", 12)

// signOut sends the person to the logout endpoint, changed by pairs as in request.
func (f *flow) signOut(pairs ...string) *servertest.Page {
	f.t.Helper()
	query := url.Values{"id_token_hint": {f.tokens.Text("id_token")}, "post_logout_redirect_uri": {signedOut}, "state": {logoutState}}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "-" {
			query.Del(pairs[i])
			continue
		}
		query.Set(pairs[i], pairs[i+1])
	}
	path := f.endpoint("end_session_endpoint")
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return f.browser.Get(path)
}

// returns ends the test unless the person is sent back, with that state and nothing else.
func (p *party) returns(page *servertest.Page, state string) {
	p.t.Helper()
	p.status(page.Answer, http.StatusSeeOther)
	want := signedOut
	if state != "" {
		want += "?" + url.Values{"state": {state}}.Encode()
	}
	require.Equal(p.t, want, page.Location())
}

// refusesSignOut ends the test unless there is a page that says what is wrong, no way
// back to the client, and the person is still signed in.
func (f *flow) refusesSignOut(page *servertest.Page, what string) {
	f.t.Helper()
	f.status(page.Answer, http.StatusBadRequest)
	require.Empty(f.t, page.Location())
	require.NotContains(f.t, string(page.Body), signedOut)
	require.Contains(f.t, string(page.Body), what)
	f.sameSignIn(f, f.ask("prompt", "none"))
}

// signsOutAfterAsking ends the test unless the person is asked, and signed out after
// saying so, with a page that does not lead to the client. Nobody showed that they may
// decide it for the person.
func (f *flow) signsOutAfterAsking(page *servertest.Page) {
	f.t.Helper()
	f.status(page.Answer, http.StatusSeeOther)
	page = page.Follow()
	f.status(page.Answer, http.StatusOK)
	f.sameSignIn(f, f.ask("prompt", "none"))
	page = page.Submit("decision", "signout")
	f.status(page.Answer, http.StatusOK)
	require.Empty(f.t, page.Location())
	require.NotContains(f.t, string(page.Body), signedOut)
	f.notSignedIn()
}

func logout(p *party) {
	p.returns(p.complete().signOut(), logoutState)
	p.notSignedIn()
}

func logoutNoState(p *party) {
	p.returns(p.complete().signOut("state", "-"), "")
	p.notSignedIn()
}

func logoutNoRedirectURI(p *party) {
	page := p.complete().signOut("post_logout_redirect_uri", "-")
	p.status(page.Answer, http.StatusOK)
	require.Contains(p.t, string(page.Body), "<h1>")
	require.NotContains(p.t, string(page.Body), signedOut)
	p.notSignedIn()
}

func logoutNoParameters(p *party) {
	f := p.complete()
	f.signsOutAfterAsking(f.signOut("id_token_hint", "-", "post_logout_redirect_uri", "-", "state", "-"))
}

func logoutOnlyState(p *party) {
	f := p.complete()
	f.signsOutAfterAsking(f.signOut("id_token_hint", "-", "post_logout_redirect_uri", "-"))
}

func logoutBadRedirectURI(p *party) {
	f := p.complete()
	f.refusesSignOut(f.signOut("post_logout_redirect_uri", "https://suite.test/bad_post_logout_redirect"), "post_logout_redirect_uri is not registered")
}

func logoutQueryAdded(p *party) {
	f := p.complete()
	f.refusesSignOut(f.signOut("post_logout_redirect_uri", signedOut+"?foo=bar"), "post_logout_redirect_uri is not registered")
}

func logoutNoHint(p *party) {
	f := p.complete()
	f.refusesSignOut(f.signOut("id_token_hint", "-"), "post_logout_redirect_uri without the client")
}

// A hint that proves nothing is as good as none: the person decides, and nobody is left
// to go back to.
func logoutModifiedHint(p *party) {
	f := p.complete()
	payload := strings.Split(f.tokens.Text("id_token"), ".")[1]
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + payload + "."
	f.signsOutAfterAsking(f.signOut("id_token_hint", unsigned))
}

// Everything is right about it but who signed it.
func logoutBadHint(p *party) {
	f := p.complete()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(p.t, err)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: f.idToken.header.KeyID}}, nil)
	require.NoError(p.t, err)
	payload, err := json.Marshal(f.idToken.all)
	require.NoError(p.t, err)
	signed, err := signer.Sign(payload)
	require.NoError(p.t, err)
	forged, err := signed.CompactSerialize()
	require.NoError(p.t, err)
	f.signsOutAfterAsking(f.signOut("id_token_hint", forged))
}

// told is a request at a backchannel_logout_uri.
type told struct {
	method, kind string
	form         url.Values
}

func backChannelLogout(p *party) {
	t := p.t
	calls := make(chan told, 8)
	client := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := r.ParseForm()
		calls <- told{r.Method, r.Header.Get("Content-Type"), r.PostForm}
		w.Header().Set("Cache-Control", "no-store")
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(client.Close)
	p.UpdateClient(first, func(c *clients.Client) { c.BackchannelLogoutURI = client.URL + "/backchannel_logout" })
	p.runServer()

	f := p.complete()
	require.NotEmpty(t, f.idToken.Browser, "sid is in the ID token")
	p.returns(f.signOut(), logoutState)
	select {
	case call := <-calls:
		require.Equal(t, http.MethodPost, call.method)
		require.Equal(t, "application/x-www-form-urlencoded", call.kind)
		require.Len(t, call.form, 1)
		f.checkLogoutToken(call.form.Get("logout_token"))
	case <-time.After(30 * time.Second):
		require.Fail(t, "nobody told the client")
	}
	p.notSignedIn()
}

// runServer does what no request waits for, until the test ends.
func (p *party) runServer() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Server.Run(ctx)
	}()
	p.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// checkLogoutToken is OpenID Connect Back-Channel Logout sections 2.4 and 2.6.
func (f *flow) checkLogoutToken(token string) {
	t := f.t
	t.Helper()
	payload, header := f.verified(token)
	require.Equal(t, "logout+jwt", header.ExtraHeaders[jose.HeaderType])
	var c map[string]any
	require.NoError(t, json.Unmarshal(payload, &c))
	require.Equal(t, f.Issuer, c["iss"])
	require.Equal(t, f.client, c["aud"])
	require.Equal(t, f.idToken.Subject, c["sub"])
	require.Equal(t, f.idToken.Browser, c["sid"])
	require.NotEmpty(t, c["jti"])
	require.NotContains(t, c, "nonce", "or it could pass for an ID token")
	now := float64(f.Clock.Now().Unix())
	require.InDelta(t, now, c["iat"], 1)
	require.Greater(t, c["exp"], now)
	require.LessOrEqual(t, c["exp"], now+120)
	require.Equal(t, map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}, c["events"])
}
