package conformance_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
)

func displayPage(p *party)      { p.complete("display", "page") }
func displayPopup(p *party)     { p.complete("display", "popup") }
func claimsLocales(p *party)    { p.complete("claims_locales", "se") }
func unknownParameter(p *party) { p.complete("extra", "foobar") }

// Beyond the suite: the first language that we have is used.
func uiLocales(p *party) {
	f := p.ask("ui_locales", "se de").asksPassword()
	require.Contains(p.t, string(f.page.Follow().Body), `<html lang="de"`)
	f.finish()
}

// Beyond the suite: the hint is filled in, whoever it names.
func loginHint(p *party) {
	f := p.ask("login_hint", "buffy@as.test").asksPassword()
	require.Equal(p.t, "buffy@as.test", f.page.Follow().Form("password").Fields.Get("username"))
	f.finish()
}

// It asks for what the metadata offers, and gets one of them.
func acrValues(p *party) {
	offered, ok := p.metadata["acr_values_supported"].([]any)
	require.True(p.t, ok)
	var values []string
	for _, value := range offered {
		text, ok := value.(string)
		require.True(p.t, ok)
		values = append(values, text)
	}
	f := p.complete("acr_values", strings.Join(values, " "))
	require.Contains(p.t, values, f.idToken.ACR)
}

func postRequest(p *party) {
	f := p.request()
	var pairs []string
	for name := range f.query {
		pairs = append(pairs, name, f.query.Get(name))
	}
	f.page = f.browser.Post(p.endpoint("authorization_endpoint"), pairs...)
	f.finish()
}

// The URI of the registration with something at its end is another one.
func registeredRedirectURI(p *party) {
	p.ask("redirect_uri", callback+"/aXbYcZ0123").errorPage("redirect_uri is not registered for the client")
}

// errorPage ends the test unless the person, and nobody else, is told what is wrong.
func (f *flow) errorPage(what string) {
	f.t.Helper()
	f.status(f.page.Answer, http.StatusBadRequest)
	require.Empty(f.t, f.page.Location())
	require.Empty(f.t, f.page.Forms)
	require.Contains(f.t, string(f.page.Body), "<h1>")
	require.Contains(f.t, string(f.page.Body), what)
}

// requestObject is the request as an unsigned JWT, and the query that goes with it:
// what RFC 6749 requires, and neither state nor nonce.
func (f *flow) requestObject() string {
	f.t.Helper()
	members := map[string]string{"iss": f.client, "aud": f.Issuer}
	for name := range f.query {
		members[name] = f.query.Get(name)
	}
	payload, err := json.Marshal(members)
	require.NoError(f.t, err)
	f.query.Del("state")
	f.query.Del("nonce")
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode(payload) + "."
}

func requestObjectUnsigned(p *party) {
	require.Equal(p.t, false, p.metadata["request_parameter_supported"])
	f := p.request()
	f.query.Set("request", f.requestObject())
	f.send().refused("request_not_supported")
}

func requestURIUnsigned(p *party) {
	require.Equal(p.t, false, p.metadata["request_uri_parameter_supported"], "leaving it out means true")
	f := p.request()
	f.requestObject()
	f.query.Set("request_uri", "https://suite.test/test/a/grantor/requesturi/1#2")
	f.send().refused("request_uri_not_supported")
}

// Whoever can not read the object must not follow the URI beside it.
func requestObjectWithRedirectURI(p *party) {
	f := p.request()
	f.query.Set("request", f.requestObject())
	f.query.Set("redirect_uri", callback+"/aXbYcZ0123")
	f.send().errorPage("redirect_uri is not registered for the client")
}

// backwards is a query with its parameters in the order that no library uses.
func backwards(query url.Values) string {
	parts := strings.Split(query.Encode(), "&")
	slices.Reverse(parts)
	return strings.Join(parts, "&")
}
