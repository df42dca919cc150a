package oauth_test

import (
	"context"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/refusals"
	"github.com/grantorhq/grantor/server/servertest"
)

// explain is what grantor explain would say now.
func explain(t *testing.T, w *servertest.World, r refusals.Refusal) string {
	t.Helper()
	ctx := context.Background()
	k := refusals.Known{Limits: grants.Limits{Idle: 14 * 24 * time.Hour, Retry: 10 * time.Second}}
	k.Caller, _ = w.Store.Client(ctx, r.Client+r.Sent)
	userID := r.UserID
	if found, err := w.Store.Session(ctx, r.Session); err == nil {
		found.RedirectURI, found.CodeChallenge, err = w.Store.CodeTerms(ctx, r.Session)
		require.NoError(t, err)
		k.Session, userID = &found.Grant, found.UserID
		k.Owner, _ = w.Store.Client(ctx, found.ClientID)
	}
	if u, err := w.Store.UserByLogin(ctx, userID); err == nil {
		k.User = &u
	}
	return strings.Join(refusals.Explain(r, k).Why, "\n")
}

// Every way to be refused carries a reference that opens to its cause and explains it.
// The harness holds each against the answer: its code, its length, its request.
func TestReference_says_why_R30(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		require.NoError(t, w.Store.DisableUser(t.Context(), servertest.UserID("bob")))
		login := w.Login("c1", "alice", "scope", "openid read", "audience", servertest.API+" "+w.Issuer)
		reused := w.Login("c1", "alice").Refresh()
		newest := w.Refresh("c1", reused).Require(200).Refresh()
		w.Clock.Advance(14 * time.Second)
		verifier := func(code string) *servertest.Answer {
			return w.Redeem("c1", code, "code_verifier", servertest.Verifier+"x")
		}
		code := func() string { return w.Browser().Authorize("c1").Through("alice").Code() }
		redeemed := code()
		w.Redeem("c1", redeemed).Require(200)
		revoked := w.Login("c1", "alice")
		w.Revoke("c1", revoked.Refresh()).Require(200)
		denied := w.Login("c1", "alice", "scope", "openid")
		w.Revoke("c1", denied.Access()).Require(200)
		broken := func(do func() *servertest.Answer) *servertest.Answer {
			defer w.Break(everything)()
			return do()
		}

		for _, c := range []struct {
			name  string
			a     *servertest.Answer
			cause refusals.Cause
			says  string
		}{
			{"reuse", w.Refresh("c1", reused), refusals.Reused, "The last renewal was 14s before"},
			{"after reuse", w.Refresh("c1", newest), refusals.Dead, "shown again (refresh_reuse)"},
			{"another client", w.Refresh("c2", login.Refresh()), refusals.Dead, "belongs to client c1, but client c2 showed it"},
			{"revoked", w.Refresh("c1", revoked.Refresh()), refusals.Dead, "its client revoked it"},
			{"more scope", w.Refresh("c1", login.Refresh(), "scope", "write"), refusals.Exceeds, `Granted were the scope "openid read"`},
			{"another audience", w.Refresh("c1", login.Refresh(), "resource", servertest.OtherAPI), refusals.Astray, "audience"},
			{"unregistered scope", w.Refresh("c1", login.Refresh(), "scope", "evil"), refusals.Unregistered, "not registered with"},
			{"forged", w.Refresh("c1", login.Refresh()+"A"), refusals.NotOurs, "no refresh token of this server"},
			{"code, another client", w.Redeem("c2", code()), refusals.Dead, "belongs to client c1, but client c2"},
			{"code, redeemed before", w.Redeem("c1", redeemed), refusals.Dead, "had been redeemed at"},
			{"code, wrong verifier", verifier(code()), refusals.Dead, "code_verifier is not the one"},
			{"code, no verifier", w.Redeem("c1", code(), "code_verifier", "-"), refusals.Dead, "No code_verifier was sent"},
			{"code, redirect_uri", w.Redeem("c1", code(), "redirect_uri", "https://app.test/evil"), refusals.Dead, "is not the one of the authorization request, https://app.test/cb."},
			{"code, malformed verifier", w.Redeem("c1", code(), "code_verifier", "x"), refusals.BadVerifier, "43 to 128"},
			{"code, forged", w.Redeem("c1", "gc1_x"), refusals.NotOurCode, "no authorization code of this server"},
			{"wrong password", w.Token("c1", "grant_type", "password", "username", "alice", "password", "evil-evil"), refusals.WrongPassword, "not that of user alice"},
			{"no such user", w.Token("c1", "grant_type", "password", "username", "evil", "password", "evil-evil"), refusals.NoSuchUser, "No account has the name"},
			{"disabled user", w.TryLogin("c1", "bob"), refusals.UserDisabled, "The account of user bob was disabled."},
			{"no password", w.Token("c1", "grant_type", "password"), "username or password is missing", "missing"},
			{"wrong grant", w.TryLogin("cc", "alice"), refusals.GrantType, "not registered for the grant type"},
			{"unknown grant", w.Token("c1", "grant_type", "evil"), "unknown grant type", "Unknown grant type."},
			{"unknown client", w.Send(servertest.Form("/oauth2/token").Basic("evil", "x")), refusals.UnknownClient, "No client has the client_id"},
			{"wrong secret", w.Send(servertest.Form("/oauth2/token").Basic("cc", "x")), refusals.WrongSecret, "Client cc sent a secret that is none of its own."},
			{"wrong method", w.Send(servertest.Form("/oauth2/token").Basic("post", w.Secret("post"))), refusals.WrongMethod, "registered for: client_secret_post"},
			{"no credentials", w.Send(servertest.Form("/oauth2/token")), "no client credentials", ""},
			{"body too long", w.Token("c1", "grant_type", strings.Repeat("x", 70<<10)), refusals.TooLong, "longer"},
			{"method", w.Send(servertest.Get("/oauth2/token")), refusals.MethodNotAllowed, "HTTP method"},
			{"path", w.Send(servertest.Get("/oauth2/evil")), refusals.NoSuchPath, "nothing at that path"},
			{"no database", broken(func() *servertest.Answer { return w.Refresh("c1", login.Refresh()) }), refusals.NoDatabase, "database did not answer"},

			{"introspect, public", w.Introspect("p1", "x"), refusals.PublicAsks, "is public"},
			{"introspect, nothing", w.Introspect("rs", ""), "token is missing", ""},
			{"introspect, no database", broken(func() *servertest.Answer { return w.Introspect("rs", login.Access()) }), refusals.NoDatabase, ""},
			{"revoke, another's", w.Revoke("c2", login.Refresh()), refusals.ForeignRefresh, "belongs to client c1, but client c2"},
			{"revoke, another's access token", w.Revoke("c2", login.Access()), refusals.ForeignAccess, "belongs to client c1, but client c2"},
			{"userinfo, forged", w.Userinfo("evil"), refusals.NotAccess, "no live access token"},
			{"userinfo, denied", w.Userinfo(denied.Access()), refusals.Denied, "This one access token was revoked."},
			{"userinfo, another audience", w.Userinfo(w.Login("c1", "alice", "scope", "openid", "audience", servertest.API).Access()), refusals.ForAnother, "meant for another API"},
			{"userinfo, no scope", w.Userinfo(w.Login("c1", "alice", "scope", "read").Access()), "scope openid is missing", "lacks the scope openid"},
		} {
			require.NotZero(t, c.a.Refusal, c.name)
			require.Equal(t, c.cause, c.a.Refusal.Cause, c.name)
			require.Contains(t, explain(t, w, c.a.Refusal), c.says, c.name)
			require.Equal(t, "127.0.0.1", c.a.Refusal.Address, c.name)
		}

		// Time passes.
		tooLate, expired := code(), w.Login("c1", "alice", "scope", "openid").Access()
		w.Clock.Advance(61 * time.Second)
		require.Contains(t, explain(t, w, w.Redeem("c1", tooLate).Refused(400, "invalid_grant").Refusal), "lived 1m: it was shown")
		a := w.Redeem("c1", redeemed).Refused(400, "invalid_grant")
		require.Equal(t, refusals.Replayed, a.Refusal.Cause)
		w.Clock.Advance(20 * time.Minute)
		a = w.Userinfo(expired).Refused(401, "invalid_token")
		require.Equal(t, refusals.Expired, a.Refusal.Cause)
		require.Contains(t, explain(t, w, a.Refusal), "had expired at")
		w.Clock.Advance(14 * 24 * time.Hour)
		a = w.Refresh("c1", login.Refresh()).Refused(400, "invalid_grant")
		require.Equal(t, refusals.Idle, a.Refusal.Cause)
		require.Contains(t, explain(t, w, a.Refusal), "The idle limit of client c1 is 14d")
		w.Clock.Advance(90 * 24 * time.Hour)
		a = w.Refresh("c1", login.Refresh()).Refused(400, "invalid_grant")
		require.Contains(t, explain(t, w, a.Refusal), "had reached its absolute limit")
		_, err := w.Store.Clean(t.Context(), "test", time.Minute)
		require.NoError(t, err)
		require.Contains(t, explain(t, w, a.Refusal), "the row of session "+a.Refusal.Session.String()+" is gone")
	})
}

// The authorization endpoint tells the client by a redirect, in every mode, and the
// person by a page until it knows where the client is.
func TestReference_of_the_authorization_endpoint_R31(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	b.SignIn("alice")
	for _, mode := range []string{"query", "fragment", "form_post"} {
		for name, c := range map[string]struct {
			page  *servertest.Page
			cause refusals.Cause
		}{
			"scope":   {b.Authorize("c1", "response_mode", mode, "scope", "evil"), refusals.Unregistered},
			"none":    {w.Browser().Authorize("c1", "response_mode", mode, "prompt", "none"), refusals.LoginRequired},
			"consent": {b.Authorize("c1", "response_mode", mode, "prompt", "none"), refusals.ConsentRequired},
			"deny":    {b.Authorize("c1", "response_mode", mode).Follow().Submit("decision", "deny"), refusals.DeniedByPerson},
			"type":    {b.Authorize("c1", "response_mode", mode, "response_type", "token"), "unsupported_response_type"},
		} {
			require.Equal(t, c.cause, c.page.Refusal.Cause, "%s, %s", mode, name)
			require.Equal(t, c.page.Answered().Get("error"), c.page.Refusal.Code, "%s, %s", mode, name)
			require.Equal(t, "c1", c.page.Refusal.Client)
			if mode != "form_post" {
				uri, reference, _ := strings.Cut(c.page.Answered().Get("error_uri"), "?reference=")
				require.Equal(t, w.Issuer+"/oauth2/error", uri)
				require.Len(t, reference, refusals.Length, "%s, %s", mode, name)
			}
		}
	}
	page := b.Authorize("c1", "redirect_uri", "https://evil.test/").Require(400)
	require.Equal(t, refusals.RedirectURI, page.Refusal.Cause)
	require.Equal(t, "c1", page.Refusal.Client)
	page = b.Authorize("evil").Require(400)
	require.Equal(t, refusals.Unlisted, page.Refusal.Cause)
	require.Equal(t, "evil", page.Refusal.Sent, "sealed, and shown to nobody whom no client has that id")

	// A refused request is in the log as such, with its reason.
	lines := w.Log.Requests(t)
	b.Authorize("c1", "scope", "evil")
	line := w.Log.Requests(t)[len(lines)]
	require.Equal(t, "not registered for the client", line["reason"])
	require.NotContains(t, w.Log.Text(), "ge1_", "what leads to it is in the log: the id")
}

// No success, and no inactive token, carries one.
func TestReference_is_only_for_errors_R32(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	login := w.Login("c1", "alice")
	for _, a := range []*servertest.Answer{login, w.Introspect("rs", login.Access()), w.Introspect("rs", "x"), w.Revoke("c1", "x"), w.Send(servertest.Get("/healthz"))} {
		a.Require(200)
		require.Zero(t, a.Refusal)
		require.NotContains(t, string(a.Body), "reference")
	}
	require.JSONEq(t, `{"active":false}`, string(w.Introspect("rs", "x").Body))
	a := w.Send(servertest.Get("/userinfo")).Require(401)
	require.Empty(t, a.Body, "RFC 6750 section 3.1: who sent no token gets no code")
}

// The log line of a refusal tells the generations, the times and the address.
func TestReference_the_log_says_the_same_R33(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	old := w.Login("c1", "alice").Refresh()
	w.Refresh("c1", old).Require(200)
	w.Clock.Advance(14 * time.Second)
	w.Refresh("c1", old).Refused(400, "invalid_grant")
	expired := w.Login("c1", "alice", "scope", "openid").Access()
	w.Clock.Advance(20 * time.Minute)
	w.Userinfo(expired).Refused(401, "invalid_token")
	var reasons []any
	for _, line := range w.Log.Requests(t) {
		if line["reason"] != nil {
			reasons = append(reasons, line["reason"])
		}
	}
	require.Equal(t, []any{
		"token: reused: generation 1 was shown, the session is at 2, renewed 14s ago from 127.0.0.1",
		"the access token has expired 10m ago",
	}, reasons)
}

// A cause that is written anywhere in the endpoints has a number, tested path or not.
func TestReference_every_cause_in_the_source_has_a_number(t *testing.T) {
	t.Parallel()
	constructors := map[string]bool{
		"invalidRequest": true, "invalidClient": true, "invalidGrant": true, "unauthorizedClient": true, "invalidScope": true, "invalidTarget": true,
		"invalidToken": true, "authorizeRefusal": true,
	}
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	found := 0
	check := func(e ast.Expr) {
		if text, ok := e.(*ast.BasicLit); ok {
			cause, err := strconv.Unquote(text.Value)
			require.NoError(t, err)
			require.Contains(t, refusals.Causes(), refusals.Cause(cause), "add it to refusals/causes.go")
			found++
		}
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && constructors[f.Name] {
					check(n.Args[0])
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Reason" {
					check(n.Value)
				}
			}
			return true
		})
	}
	require.Greater(t, found, 60)
	for _, verdict := range []grants.Verdict{grants.Reused, grants.Overtaken, grants.Dead, grants.Idle, grants.Foreign, grants.Replayed, grants.Repeated, grants.Mismatch} {
		require.Contains(t, refusals.Causes(), "token: "+refusals.Cause(verdict))
	}
}

// error_uri leads to a page that shows the reference and nothing of what is in it.
func TestReference_has_a_page_R34(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	uri := w.Browser().Authorize("c1", "scope", "evil").Answered().Get("error_uri")
	show := func(path string) *httptest.ResponseRecorder {
		a := httptest.NewRecorder()
		w.Handler().ServeHTTP(a, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
		return a
	}
	a := show(strings.TrimPrefix(uri, w.Issuer))
	require.Equal(t, 200, a.Code)
	_, reference, _ := strings.Cut(uri, "=")
	require.Contains(t, a.Body.String(), reference)
	require.NotContains(t, a.Body.String(), "scope")
	for _, query := range []string{"", "?reference=", "?reference=evil", "?reference=ge1_" + strings.Repeat("%3Cb%3E", 70), "?reference=" + reference[1:]} {
		a := show("/oauth2/error" + query)
		require.Equal(t, 400, a.Code, query)
		require.NotContains(t, a.Body.String(), "<b>")
	}
}
