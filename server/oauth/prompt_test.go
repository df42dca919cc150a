package oauth_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/servertest"
)

// authTime is the auth_time in the ID token that a page's code is worth.
func authTime(t *testing.T, w *servertest.World, client string, page *servertest.Page) int64 {
	t.Helper()
	a := w.Redeem(client, page.Code()).Require(200)
	return int64(servertest.Claims(t, a.Text("id_token"))["auth_time"].(float64))
}

// P-01, P-02 and the rest of prompt's grammar.
func TestPrompt_none_P01_P02(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	requireRedirect(t, b.Authorize("c1", "prompt", "none"), "login_required")
	requireRedirect(t, b.Authorize("own", "prompt", "none"), "login_required")
	b.SignIn("alice")
	requireRedirect(t, b.Authorize("c1", "prompt", "none"), "consent_required")
	b.Authorize("own", "prompt", "none").Code()
	b.Authorize("c1").Through("alice").Code()
	b.Authorize("c1", "prompt", "none").Code()
	requireRedirect(t, b.Authorize("c1", "prompt", "none", "scope", "openid read"), "consent_required") // more than was allowed
	b.Authorize("c1", "prompt", "none", "max_age", "1").Code()
	requireRedirect(t, b.Authorize("c1", "prompt", "none", "max_age", "0"), "login_required")
	for _, prompt := range []string{"none login", "login none", "none consent", "none none", "evil", "login evil", "None", "none,login"} {
		requireRedirect(t, b.Authorize("c1", "prompt", prompt), "invalid_request")
	}
	// A cookie that proves nothing, and one that is over.
	b.Cookies["__Host-grantor-session"].Value += "x"
	requireRedirect(t, b.Authorize("own", "prompt", "none"), "login_required")
}

// P-03: who signed in before has to again, and nothing from before answers for it.
func TestPrompt_login_P03(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		b := w.Browser()
		first := b.Authorize("own", "prompt", "login")
		earlier := first.Follow()
		began := authTime(t, w, "own", earlier.Submit("username", "alice", "password", servertest.Password("alice")))
		require.Equal(t, w.Clock.Now().Unix(), began)

		w.Clock.Advance(time.Minute)
		require.Equal(t, began, authTime(t, w, "own", b.Authorize("own")), "without prompt the sign-in is the old one")
		waiting := requireAsked(t, b.Authorize("own", "prompt", "login"), "/login")
		waiting.Follow().Require(200).Form("password")
		_, sealed, _ := strings.Cut(waiting.Location(), "request=")
		requireAsked(t, b.Get("/consent?request="+sealed), "/login") // around the page
		require.Equal(t, w.Clock.Now().Unix(), authTime(t, w, "own", waiting.Through("alice")), "a later auth_time")

		// The request that was answered by the first sign-in makes no second code.
		w.Clock.Advance(time.Minute)
		before := len(sessions(t, w))
		again := earlier.Submit("username", "alice", "password", servertest.Password("alice"))
		require.Equal(t, 409, again.Status)
		require.Len(t, sessions(t, w), before)
	})
}

// A sign-in that was made for one request is none for another, nor once the same person
// signed in anew.
func TestPrompt_login_is_for_one_request_P03(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	one := requireAsked(t, b.Authorize("c1", "prompt", "login", "state", "one"), "/login").Follow()
	consent := requireAsked(t, one.Submit("username", "alice", "password", servertest.Password("alice")), "/consent")
	two := requireAsked(t, b.Authorize("c1", "prompt", "login", "state", "two"), "/login").Follow()
	requireAsked(t, two.Submit("username", "alice", "password", servertest.Password("alice")), "/consent")
	requireAsked(t, b.Get(consent.Location()), "/login").Through("alice").Code()
}

func TestPrompt_select_account(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	b.SignIn("alice")
	began := w.Clock.Now().Unix()
	w.Clock.Advance(time.Minute)

	// Going on as who is signed in is no new sign-in.
	page := requireAsked(t, b.Authorize("own", "prompt", "select_account"), "/login").Follow()
	require.Contains(t, string(page.Body), "alice")
	require.Equal(t, began, authTime(t, w, "own", page.Submit("decision", "continue")))
	// Or somebody else signs in.
	page = requireAsked(t, b.Authorize("own", "prompt", "select_account"), "/login").Follow()
	a := w.Redeem("own", page.Submit("username", "bob", "password", servertest.Password("bob")).Code()).Require(200)
	require.Equal(t, servertest.UserID("bob"), servertest.Claims(t, a.Text("id_token"))["sub"])
	// With prompt=login the button is not enough.
	page = requireAsked(t, b.Authorize("own", "prompt", "login select_account"), "/login").Follow()
	sealed := page.Form("password").Fields.Get("request")
	csrf := page.Form("password").Fields.Get("csrf_token")
	again := b.Post("/login", "request", sealed, "csrf_token", csrf, "decision", "continue")
	require.NotContains(t, again.Location(), "code=")
	// Nobody was asked: the button means nothing.
	page = b.Authorize("own", "prompt", "login").Follow()
	sealed = page.Form("password").Fields.Get("request")
	requireAsked(t, b.Post("/login", "request", sealed, "csrf_token", csrf, "decision", "continue"), "/login")
}

// prompt=consent asks although it was allowed, and although it is our own application.
func TestPrompt_consent(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	b.Authorize("c1").Through("alice").Code()
	for _, client := range []string{"c1", "own"} {
		page := requireAsked(t, b.Authorize(client, "prompt", "consent"), "/consent")
		requireRedirect(t, page.Follow().Submit("decision", "deny"), "access_denied")
		b.Authorize(client, "prompt", "consent").Through("alice").Code()
	}
}

// P-04, P-05.
func TestMaxAge_P04_P05(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	began := authTime(t, w, "own", b.Authorize("own").Through("alice"))
	requireAsked(t, b.Authorize("own", "max_age", "0"), "/login") // at once, and by the same clock
	b.Authorize("own", "max_age", "1").Code()
	w.Clock.Advance(2 * time.Second)
	require.Equal(t, began, authTime(t, w, "own", b.Authorize("own", "max_age", "10000")))
	require.Equal(t, began, authTime(t, w, "own", b.Authorize("own", "max_age", "2147483647")))
	for _, age := range []string{"1", "0"} {
		page := requireAsked(t, b.Authorize("own", "max_age", age), "/login").Through("alice")
		require.Equal(t, w.Clock.Now().Unix(), authTime(t, w, "own", page), "max_age=%s", age)
		w.Clock.Advance(2 * time.Second)
	}
	// Slow with the password, and the consent page in between: still signed in for this request.
	page := requireAsked(t, b.Authorize("c1", "max_age", "0"), "/login").Follow()
	w.Clock.Advance(time.Minute)
	page = requireAsked(t, page.Submit("username", "alice", "password", servertest.Password("alice")), "/consent")
	w.Clock.Advance(time.Minute)
	page.Through("alice").Code()
	for _, age := range []string{"-1", "1.5", "evil", "1e3", "+1", " 1", "0x1", "99999999999999999999", "2147483648"} {
		requireRedirect(t, b.Authorize("own", "max_age", age), "invalid_request")
	}
}

// P-06: the code is the hinted person's or nobody's.
func TestIDTokenHint_names_the_person_P06(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	hints := map[string]string{}
	for _, user := range []string{"alice", "bob"} {
		hints[user] = w.Obtain("own", user).Text("id_token")
	}
	w.Clock.Advance(24 * time.Hour) // a hint may have expired
	for user, other := range map[string]string{"alice": "bob", "bob": "alice"} {
		for name, pairs := range map[string][]string{
			"hint":                  {"id_token_hint", hints[other]},
			"claims":                {"claims", fmt.Sprintf(`{"id_token":{"sub":{"value":%q}}}`, servertest.UserID(other))},
			"claims for userinfo":   {"claims", fmt.Sprintf(`{"userinfo":{"sub":{"value":%q}}}`, servertest.UserID(other))},
			"hint and claims agree": {"id_token_hint", hints[other], "claims", fmt.Sprintf(`{"id_token":{"sub":{"value":%q}}}`, servertest.UserID(other))},
		} {
			t.Run(user+", "+name, func(t *testing.T) {
				b := w.Browser()
				b.SignIn(user)
				requireRedirect(t, b.Authorize("own", append(pairs, "prompt", "none")...), "login_required")
				// The person may sign in as the one who is asked for, and as nobody else.
				page := requireAsked(t, b.Authorize("own", pairs...), "/login").Follow()
				requireRedirect(t, page.Submit("username", user, "password", servertest.Password(user)), "login_required")
				page = requireAsked(t, b.Authorize("own", pairs...), "/login").Follow()
				a := w.Redeem("own", page.Submit("username", other, "password", servertest.Password(other)).Code()).Require(200)
				require.Equal(t, servertest.UserID(other), servertest.Claims(t, a.Text("id_token"))["sub"])
				b.Authorize("own", append(pairs, "prompt", "none")...).Code()
			})
		}
	}
	b := w.Browser()
	b.SignIn("alice")
	requireRedirect(t, b.Authorize("own", "id_token_hint", hints["alice"], "claims", fmt.Sprintf(`{"id_token":{"sub":{"value":%q}}}`, servertest.UserID("bob"))), "invalid_request")
	requireRedirect(t, b.Authorize("c1", "id_token_hint", hints["alice"]), "invalid_request") // of another client
}

// P-07, P-08, P-09 and L-06.
func TestAuthorize_hints_P07_P08_P09(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for _, hint := range []string{`"><script>alert(1)</script>`, `"><svg onload=1>`, "alice", "ü' OR 1=1--"} {
		page := w.Browser().Authorize("own", "login_hint", hint).Follow().Require(200)
		require.Equal(t, hint, page.Form("username").Fields.Get("username"))
		page.Submit("username", "alice", "password", servertest.Password("alice")).Code()
	}
	long := strings.Repeat("x", 5000)
	require.NotContains(t, string(w.Browser().Authorize("own", "login_hint", long).Follow().Require(200).Body), long)

	b := w.Browser()
	b.SignIn("alice")
	for _, nonce := range []string{"-", "n", strings.Repeat("n", 64), strings.Repeat("n", 2048), "ü\u2028\"\\<>&\x01", " "} {
		a := w.Redeem("own", b.Authorize("own", "nonce", nonce).Code()).Require(200)
		claims := servertest.Claims(t, a.Text("id_token"))
		if nonce == "-" {
			require.NotContains(t, claims, "nonce")
			continue
		}
		require.Equal(t, nonce, claims["nonce"])
	}
	for _, pair := range [][]string{
		{"display", "page"},
		{"display", "popup"},
		{"display", "evil"},
		{"ui_locales", "fr-CA de en"},
		{"ui_locales", "evil"},
		{"ui_locales", strings.Repeat("x-", 2000)},
		{"acr_values", "1"},
		{"acr_values", "urn:mace:incommon:iap:silver 2"},
		{"claims_locales", "de fr"},
		{"login_hint", "bob"},
	} {
		b.Authorize("own", pair...).Code()
		w.Browser().Authorize("own", pair...).Follow().Require(200)
	}
	page := w.Browser().Authorize("own", "ui_locales", "fr de").Follow()
	require.Equal(t, "de", page.Header.Get("Content-Language"))
}
