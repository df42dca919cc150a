package conformance_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/users"
)

// plan is one certification plan, as somebody who certifies configures it.
type plan struct {
	name    string // the suite's
	test    string // the function here that runs it
	mode    string // response_mode; "" = the default
	pkce    bool   // beyond the suite, which sends none but in one module
	modules []module
}

// module is one test of the suite.
type module struct {
	name string
	run  func(p *party)
}

// The modules of the Basic OP plan in the suite's order. Those that it leaves out for
// clients that do not register themselves are here too: what they ask is answered.
var basic = []module{
	{"oidcc-server", server},
	{"oidcc-response-type-missing", responseTypeMissing},
	{"oidcc-idtoken-signature", idTokenSignature},
	{"oidcc-idtoken-unsigned", idTokenUnsigned},
	{"oidcc-userinfo-get", userinfoGet},
	{"oidcc-userinfo-post-header", userinfoPostHeader},
	{"oidcc-userinfo-post-body", userinfoPostBody},
	{"oidcc-ensure-request-without-nonce-succeeds-for-code-flow", withoutNonce},
	{"oidcc-scope-profile", scopeProfile},
	{"oidcc-scope-email", scopeEmail},
	{"oidcc-scope-address", scopeAddress},
	{"oidcc-scope-phone", scopePhone},
	{"oidcc-scope-all", scopeAll},
	{"oidcc-alternate-happy-flow", alternateHappyFlow},
	{"oidcc-display-page", displayPage},
	{"oidcc-display-popup", displayPopup},
	{"oidcc-prompt-login", promptLogin},
	{"oidcc-prompt-none-not-logged-in", promptNoneNotLoggedIn},
	{"oidcc-prompt-none-logged-in", promptNoneLoggedIn},
	{"oidcc-max-age-1", maxAge1},
	{"oidcc-max-age-10000", maxAge10000},
	{"oidcc-ensure-request-with-unknown-parameter-succeeds", unknownParameter},
	{"oidcc-id-token-hint", idTokenHint},
	{"oidcc-login-hint", loginHint},
	{"oidcc-ui-locales", uiLocales},
	{"oidcc-claims-locales", claimsLocales},
	{"oidcc-ensure-request-with-acr-values-succeeds", acrValues},
	{"oidcc-codereuse", codeReuse},
	{"oidcc-codereuse-30seconds", codeReuse30Seconds},
	{"oidcc-ensure-registered-redirect-uri", registeredRedirectURI},
	{"oidcc-ensure-post-request-succeeds", postRequest},
	{"oidcc-server-client-secret-post", clientSecretPost},
	{"oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported", requestURIUnsigned},
	{"oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported", requestObjectUnsigned},
	{"oidcc-claims-essential", claimsEssential},
	{"oidcc-ensure-request-object-with-redirect-uri", requestObjectWithRedirectURI},
	{"oidcc-refresh-token", refreshToken},
	{"oidcc-ensure-request-with-valid-pkce-succeeds", validPKCE},
}

var rpInitiatedLogout = []module{
	{"oidcc-rp-initiated-logout-discovery-endpoint-verification", logoutDiscovery},
	{"oidcc-rp-initiated-logout", logout},
	{"oidcc-rp-initiated-logout-bad-post-logout-redirect-uri", logoutBadRedirectURI},
	{"oidcc-rp-initiated-logout-modified-id-token-hint", logoutModifiedHint},
	{"oidcc-rp-initiated-logout-no-id-token-hint", logoutNoHint},
	{"oidcc-rp-initiated-logout-no-params", logoutNoParameters},
	{"oidcc-rp-initiated-logout-no-post-logout-redirect-uri", logoutNoRedirectURI},
	{"oidcc-rp-initiated-logout-no-state", logoutNoState},
	{"oidcc-rp-initiated-logout-only-state", logoutOnlyState},
	{"oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri", logoutQueryAdded},
	{"oidcc-rp-initiated-logout-bad-id-token-hint", logoutBadHint},
}

var plans = []plan{
	{name: "oidcc-basic-certification-test-plan", test: "TestBasic", modules: basic},
	{name: "oidcc-formpost-basic-certification-test-plan", test: "TestFormPostBasic", mode: "form_post", modules: basic},
	{name: "oidcc-config-certification-test-plan", test: "TestConfig", modules: []module{
		{"oidcc-discovery-endpoint-verification", discovery},
	}},
	{name: "oidcc-rp-initiated-logout-certification-test-plan", test: "TestRPInitiatedLogout", modules: rpInitiatedLogout},
	{name: "oidcc-backchannel-rp-initiated-logout-certification-test-plan", test: "TestBackChannelLogout", modules: []module{
		{"oidcc-backchannel-logout-discovery-endpoint-verification", backChannelDiscovery},
		{"oidcc-backchannel-rp-initiated-logout", backChannelLogout},
	}},
}

func TestBasic(t *testing.T)             { certify(t, planOf(t)) }
func TestFormPostBasic(t *testing.T)     { certify(t, planOf(t)) }
func TestConfig(t *testing.T)            { certify(t, planOf(t)) }
func TestRPInitiatedLogout(t *testing.T) { certify(t, planOf(t)) }
func TestBackChannelLogout(t *testing.T) { certify(t, planOf(t)) }

// The clients of a certification may do without PKCE, because the suite sends none.
// Ours must not: the same modules with PKCE.
func TestBasic_with_PKCE(t *testing.T) {
	certify(t, plan{test: t.Name(), pkce: true, modules: basic})
}

func planOf(t *testing.T) plan {
	t.Helper()
	for _, p := range plans {
		if p.test == t.Name() {
			return p
		}
	}
	require.Fail(t, "no plan is run by "+t.Name())
	return plan{}
}

// certify runs a plan against one server, a new browser for each module.
func certify(t *testing.T, pl plan) {
	t.Helper()
	t.Parallel()
	w := servertest.New(t, servertest.Setup{Config: func(c *config.Config) {
		// The suite listens on this machine, which is no public address.
		c.LogoutNetworks = config.Networks{netip.MustParsePrefix("127.0.0.0/8")}
	}})
	register(t, w, pl)
	for _, m := range pl.modules {
		t.Run(m.name, func(t *testing.T) { m.run(newParty(t, w, pl)) })
	}
}

// The clients that the suite wants registered, and the person who signs in for it.
const (
	first  = "suite"        // client_secret_basic
	second = "suite-second" // another one, which must not use what the first was given
	post   = "suite-post"   // client_secret_post, and nothing else

	callback   = "https://suite.test/test/a/grantor/callback"
	signedOut  = "https://suite.test/test/a/grantor/post_logout_redirect"
	person     = "carol"
	personMail = "carol@app.test"
)

// scopes are all that have claims behind them.
var scopes = []string{"openid", "profile", "email", "address", "phone"}

func register(t *testing.T, w *servertest.World, pl plan) {
	t.Helper()
	pkce := clients.PKCEOptional
	if pl.pkce {
		pkce = clients.PKCERequired
	}
	for id, method := range map[string]clients.AuthMethod{first: clients.AuthBasic, second: clients.AuthBasic, post: clients.AuthPost} {
		w.AddClient(clients.Client{
			ID: id, AuthMethod: method, PKCE: pkce, Scope: scopes, Grants: []string{clients.GrantAuthorizationCode, clients.GrantRefreshToken},
			RedirectURIs: []string{callback}, PostLogoutRedirectURIs: []string{signedOut},
		})
	}
	hash, err := w.Passwords.Hash(t.Context(), servertest.Password(person))
	require.NoError(t, err)
	require.NoError(t, w.Store.CreateUser(t.Context(), users.User{
		ID: servertest.UserID(person), Name: person, Email: personMail, PasswordHash: hash,
		Profile: users.Profile{
			Name: "Carol Example", GivenName: "Carol", FamilyName: "Example", MiddleName: "M.", Nickname: "Caz",
			Profile: "https://carol.test/", Picture: "https://carol.test/me.png", Website: "https://carol.test/site", Gender: "female",
			Birthdate: "1990-02-03", Zoneinfo: "Europe/Berlin", Locale: "de-DE",
			EmailVerified: true, PhoneNumber: "+49 30 123456", PhoneNumberVerified: true,
			Address: users.Address{Formatted: "Hauptstr. 1\n10115 Berlin", StreetAddress: "Hauptstr. 1", Locality: "Berlin", PostalCode: "10115", Country: "DE"},
		},
	}))
}
