package login_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/server/servertest"
)

var posts = []string{"/login", "/consent", "/logout", "/account"}

// evilHeaders are what a browser says of a form that another site posts.
var evilHeaders = map[string]http.Header{
	"Fetch Metadata":         {"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.test"}},
	"Fetch Metadata alone":   {"Sec-Fetch-Site": {"cross-site"}},
	"a sibling":              {"Sec-Fetch-Site": {"same-site"}, "Origin": {"https://evil.as.test"}},
	"an old browser":         {"Origin": {"https://evil.test"}},
	"an opaque origin":       {"Origin": {"null"}},
	"another scheme":         {"Origin": {"http://as.test"}},
	"another port":           {"Origin": {"https://as.test:8443"}},
	"a longer host":          {"Origin": {"https://as.test.evil.test"}},
	"Fetch Metadata, opaque": {"Sec-Fetch-Site": {"cross-site"}, "Origin": {"null"}},
}

// Cookies and the right csrf_token do not help a form of another site: its origin is enough to refuse it.
func TestPages_forms_of_other_sites(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b, page := consentPage(w, "c1")
	request, token := page.Form("decision").Fields.Get("request"), formToken(t, b)
	w.Tally.Reset()
	for name, header := range evilHeaders {
		b.Header = header
		for _, path := range posts {
			p := b.Post(path, "csrf_token", token, "request", request, "decision", "allow", "action", "end_others", "username", "bob", "password", servertest.Password("bob"))
			p.Require(http.StatusForbidden)
			require.Empty(t, p.Location())
			require.Equal(t, "text/html; charset=utf-8", p.Header.Get("Content-Type"), name)
		}
		// A link is no form: it shows the page.
		b.Get("/consent?request=" + request).Require(http.StatusOK)
	}
	require.Zero(t, begun(w))
	b.Header = http.Header{}
	require.True(t, signedIn(t, b))

	for _, header := range []http.Header{
		{"Origin": {servertest.Issuer}}, {"Origin": {servertest.Issuer}, "Sec-Fetch-Site": {"same-origin"}}, {"Sec-Fetch-Site": {"none"}}, {},
	} {
		b.Header = header
		require.True(t, asks(b.Authorize("c1", "prompt", "consent")))
		b.Authorize("c1", "prompt", "consent").Follow().Submit("decision", "allow").Code()
	}
}

// Applications send people with a form of their own.
func TestPages_an_authorization_request_posted_by_an_application(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	b.SignIn("alice")
	b.Authorize("c1").Through("alice").Code()
	pairs := []string{}
	for name, values := range servertest.AuthorizeQuery("c1") {
		pairs = append(pairs, name, values[0])
	}
	// The cookies stay behind (SameSite=Lax), so the request comes again as a link.
	cookies := b.Cookies
	b.Cookies = map[string]*http.Cookie{}
	b.Header = http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://app.test"}}
	p := b.Post("/oauth2/auth", pairs...).Require(http.StatusSeeOther)
	require.True(t, strings.HasPrefix(p.Location(), "/oauth2/auth?"), p.Location())
	b.Cookies = cookies
	require.NotEmpty(t, p.Follow().Code())
	// A browser without Fetch Metadata says where it comes from all the same.
	b.Header = http.Header{"Origin": {"https://evil.test"}}
	require.NotEmpty(t, b.Post("/oauth2/auth", pairs...).Follow().Code())
	for _, origin := range []http.Header{{}, {"Origin": {servertest.Issuer}}, {"Sec-Fetch-Site": {"same-origin"}, "Origin": {servertest.Issuer}}} {
		b.Header = origin
		require.NotEmpty(t, b.Post("/oauth2/auth", pairs...).Code())
	}
}

func TestPages_a_form_without_its_token(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b, page := consentPage(w, "c1")
	request := page.Form("decision").Fields.Get("request")
	stranger := formToken(t, w.Browser())
	w.Tally.Reset()
	for _, token := range []string{"-", "", stranger, "evil-evil-evil", formToken(t, b) + "A", strings.ToUpper(formToken(t, b))} {
		for path, pairs := range map[string][]string{
			"/consent": {"request", request, "decision", "allow"},
			"/logout":  {"decision", "signout"},
			"/account": {"action", "end_others"},
			"/login":   {"username", "bob", "password", servertest.Password("bob")},
		} {
			if token != "-" {
				pairs = append(pairs, "csrf_token", token)
			}
			b.Post(path, pairs...).Require(http.StatusForbidden)
		}
	}
	require.Zero(t, begun(w))
	b.Get("/account").Require(http.StatusOK)
}

// What may follow a form is named by the page itself, and nothing else may: CSP form-action.
func TestPages_name_where_their_forms_end(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	actions := func(p *servertest.Page) string {
		_, rest, _ := strings.Cut(p.Require(http.StatusOK).Header.Get("Content-Security-Policy"), "form-action ")
		rest, _, _ = strings.Cut(rest, ";")
		return rest
	}
	require.Equal(t, "'self'", actions(b.Get("/login")))
	p := b.Authorize("c1").Follow()
	require.Equal(t, "'self' https://app.test", actions(p))
	p = p.Submit("username", "alice", "password", servertest.Password("alice")).Follow()
	require.Equal(t, "'self' https://app.test", actions(p))
	require.Equal(t, "'self' http://127.0.0.1:51004 http://127.0.0.1", actions(b.Authorize("n1", "redirect_uri", "http://127.0.0.1:51004/cb").Follow()))
	require.Equal(t, "'self'", actions(b.Get("/account")))
	require.Equal(t, "'self'", actions(b.Get("/logout")))
}

// E-10: what a request says about its host changes nothing.
func TestPages_of_a_spoofed_host(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	for _, header := range []http.Header{{"Host": {"ev~l.test"}}, {"X-Forwarded-Host": {"ev~l.test"}}, {"X-Forwarded-Proto": {"http"}, "X-Forwarded-Prefix": {"/ev~l"}}, {"Forwarded": {"host=ev~l.test"}}} {
		b.Header = header
		p := b.Get("/login").Require(http.StatusOK)
		require.NotContains(t, string(p.Body), "ev~l")
		require.Equal(t, "/login", p.Form("username").Action)
		require.Equal(t, "/login", b.Get("/account").Location())
		require.NotContains(t, b.Authorize("c1").Location(), "ev~l")
	}
}

// A page that can not be shown says so, and when to try again. Nobody is signed out by it.
func TestPages_while_the_database_is_down(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		b, page := consentPage(w, "c1")
		request, token := page.Form("decision").Fields.Get("request"), formToken(t, b)
		login := b.Authorize("c1", "prompt", "login").Location()
		idToken := w.Obtain("own", "bob").Text("id_token")
		tokens := obtain(w, b, "own", "alice")
		mend := w.Break(everything)
		for name, p := range map[string]*servertest.Page{
			"authorize":       b.Authorize("c1"),
			"authorize, none": b.Authorize("c1", "prompt", "none"),
			"sign in":         b.Get("/login"),
			"sign in for":     b.Get(login),
			"signing in":      b.Post("/login", "csrf_token", token, "username", "alice", "password", servertest.Password("alice")),
			"signing in for":  b.Post("/login", "csrf_token", token, "request", strings.TrimPrefix(login, "/login?request="), "username", "alice", "password", servertest.Password("alice")),
			"consent":         b.Get("/consent?request=" + request),
			"consenting":      page.Submit("decision", "allow"),
			"denying":         page.Submit("decision", "deny"),
			"sign out":        b.Get("/logout"),
			"signing out":     b.Post("/logout", "csrf_token", token, "decision", "signout"),
			"account":         b.Get("/account"),
			"ending":          b.Post("/account", "csrf_token", token, "action", "end_others"),
			"RP logout":       b.Get("/oauth2/logout"),
			"RP logout, hint": b.Get("/oauth2/logout?id_token_hint=" + idToken),
		} {
			require.Equal(t, http.StatusServiceUnavailable, p.Status, "%s: %s %s", name, p.Location(), p.Body)
			require.Equal(t, "text/html; charset=utf-8", p.Header.Get("Content-Type"), name)
			require.NotEmpty(t, p.Header.Get("Retry-After"), name)
			require.Empty(t, p.Location(), name)
			require.Empty(t, p.Header.Values("Set-Cookie"), name)
			require.NotContains(t, string(p.Body), errBroken.Error(), name)
		}
		mend()
		require.True(t, signedIn(t, b))
		w.Refresh("own", tokens.Refresh()).Require(200)

		// It fails in the middle: what was not done can be done again.
		for _, broken := range []string{"INSERT INTO consents", "INSERT INTO grants"} {
			mend = w.Break(func(sql string) error {
				if strings.HasPrefix(sql, broken) {
					return errBroken
				}
				return nil
			})
			page.Submit("decision", "allow").Require(http.StatusServiceUnavailable)
			mend()
		}
		require.NotEmpty(t, page.Submit("decision", "allow").Code())
	})
}

// The commit may have happened when its answer is lost. The same form again does no harm.
func TestPages_when_an_answer_of_the_database_is_lost(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		_, page := consentPage(w, "c1")
		mend := w.BreakAnswers(func(sql string) error {
			if strings.HasPrefix(sql, "INSERT INTO grants") {
				return errBroken
			}
			return nil
		})
		page.Submit("decision", "allow").Require(http.StatusServiceUnavailable)
		mend()
		done := page.Submit("decision", "allow").Require(http.StatusConflict)
		withText(t, done, "code=gc1_")
	})
}

// An issuer may have a path, which something in front takes away: every link and form has it.
func TestPages_of_an_issuer_with_a_path(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{
		Config:  func(c *config.Config) { c.Issuer = servertest.Issuer + "/tenant" },
		Handler: func(next http.Handler) http.Handler { return http.StripPrefix("/tenant", next) },
	})
	b := w.Browser()
	p := b.Get("/tenant/oauth2/auth?" + servertest.AuthorizeQuery("c1").Encode())
	for _, step := range []struct {
		page  string
		pairs []string
	}{
		{"/tenant/login?", []string{"username", "alice", "password", servertest.Password("alice")}},
		{"/tenant/consent?", []string{"decision", "switch"}},
		{"/tenant/login?", []string{"username", "alice", "password", servertest.Password("alice")}},
		{"/tenant/consent?", []string{"decision", "allow"}},
	} {
		require.True(t, strings.HasPrefix(p.Location(), step.page), p.Location())
		p = p.Follow().Require(http.StatusOK)
		require.NotRegexp(t, `(?:href|action|src)="/(?:[^t]|t[^e])`, string(p.Body))
		p = p.Submit(step.pairs...)
	}
	require.Equal(t, servertest.Issuer+"/tenant", p.Answered().Get("iss"))
	require.Equal(t, "/tenant/account", b.Get("/tenant/").Location())
	account := b.Get("/tenant/account").Require(http.StatusOK)
	require.Equal(t, "/tenant/account?done=others_ended", account.Submit("action", "end_others").Location())
	out := b.Get("/tenant/oauth2/logout")
	require.True(t, strings.HasPrefix(out.Location(), "/tenant/logout?"), out.Location())
	out.Follow().Submit("decision", "signout").Require(http.StatusOK)
	require.Equal(t, "/tenant/login", b.Get("/tenant/account").Location())
}
