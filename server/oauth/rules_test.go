package oauth_test

import (
	"testing"
	"time"

	"github.com/ory/fosite/handler/oauth2"
	fositestorage "github.com/ory/fosite/storage"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/storage"
)

// The rules of design.md section 8 that fosite does not keep by itself, each as it
// was seen to be broken over HTTP. Rules 1, 7 and 8 are of the authorization endpoint:
// code_test.go, redirect_uri_test.go and authorize_parameters_test.go.

// Every endpoint that needs the database says 503 while it fails, in every way in
// which it can fail, and what was shown works afterwards.
func TestRule2_a_failing_store_is_503_everywhere(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for name, breakIt := range map[string]func() func(){
			"before": func() func() { return w.Break(everything) },
			"after":  func() func() { return w.BreakAnswers(everything) },
		} {
			for _, cached := range []bool{true, false} {
				for _, client := range formats {
					login := w.Login(client, "alice", "scope", "openid")
					w.Introspect("rs", "x")
					if !cached {
						w.Clock.Advance(2 * time.Second)
					}
					mend := breakIt()
					for what, ask := range map[string]func() *servertest.Answer{
						"password":              func() *servertest.Answer { return w.TryLogin(client, "alice") },
						"refresh":               func() *servertest.Answer { return w.Refresh(client, login.Refresh()) },
						"introspect":            func() *servertest.Answer { return w.Introspect("rs", login.Access()) },
						"introspect a refresh":  func() *servertest.Answer { return w.Introspect("pw", w.Codec.Mint(grants.Refresh, grants.ID{1}, 1)) },
						"userinfo":              func() *servertest.Answer { return w.Userinfo(login.Access()) },
						"revoke of a stranger":  func() *servertest.Answer { return w.Revoke("c2", w.Codec.Mint(grants.Refresh, grants.ID{1}, 1)) },
						"an unknown client":     func() *servertest.Answer { return w.Send(servertest.Form(token).Basic("nobody", "evil-evil-evil")) },
						"an unknown public one": func() *servertest.Answer { return w.Send(servertest.Form(token, "client_id", "nobody")) },
						"readyz":                func() *servertest.Answer { return w.Send(servertest.Get("/readyz")) },
					} {
						a := ask()
						require.Equal(t, 503, a.Status, "%s, %s, %s: %s", name, what, client, a.Body)
						require.NotEmpty(t, a.Header.Get("Retry-After"))
					}
					w.Send(servertest.Get("/healthz")).Require(200)
					w.Send(servertest.Get(jwks)).Require(200)
					w.Send(servertest.Get(documents[0])).Require(200)
					mend()
					require.True(t, w.Active(login.Access()))
					w.Refresh(client, login.Refresh()).Require(200)
				}
			}
		}
	})
}

// One statement fails, not the whole database: whichever it is, the answer is honest.
func TestRule2_each_statement_may_fail_alone(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for what, ask := range map[string]func(*servertest.Answer) *servertest.Answer{
			"password":   func(*servertest.Answer) *servertest.Answer { return w.TryLogin("c1", "alice") },
			"refresh":    func(login *servertest.Answer) *servertest.Answer { return w.Refresh("c1", login.Refresh()) },
			"introspect": func(login *servertest.Answer) *servertest.Answer { return w.Introspect("rs", login.Access()) },
			"revoke":     func(login *servertest.Answer) *servertest.Answer { return w.Revoke("c1", login.Access()) },
			"end":        func(login *servertest.Answer) *servertest.Answer { return w.Revoke("c1", login.Refresh()) },
			"userinfo":   func(login *servertest.Answer) *servertest.Answer { return w.Userinfo(login.Access()) },
		} {
			for nth := 0; ; nth++ {
				login := w.Login("c1", "alice")
				w.Clock.Advance(2 * time.Second) // the cached clients have to be read again
				count := 0
				mend := w.Break(func(string) error {
					if count++; count == nth+1 {
						return errBroken
					}
					return nil
				})
				a := ask(login)
				mend()
				if count <= nth {
					a.Require(200)
					break
				}
				require.Equal(t, 503, a.Status, "%s, statement %d: %s", what, nth, a.Body)
				require.True(t, w.Active(login.Access()), "%s, statement %d", what, nth)
				w.Refresh("c1", login.Refresh()).Require(200)
			}
		}
	})
}

// The same for people and their applications: a page that says try again, and what was
// shown works afterwards. No statement of these is a courtesy.
func TestRule2_each_statement_of_a_code_may_fail_alone(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		type state struct {
			b    *servertest.Browser
			page *servertest.Page
			code string
		}
		for what, c := range map[string]struct {
			prepare func(s *state)
			ask     func(s *state) *servertest.Answer
			done    func(s *state, a *servertest.Answer)
		}{
			"authorize": {
				prepare: func(*state) {},
				ask:     func(s *state) *servertest.Answer { return s.b.Authorize("own").Answer },
				done:    func(_ *state, a *servertest.Answer) { require.Contains(t, a.Header.Get("Location"), "code=") },
			},
			"the sign-in page": {
				prepare: func(s *state) { s.page = s.b.Authorize("own", "prompt", "login") },
				ask:     func(s *state) *servertest.Answer { return s.page.Follow().Answer },
				done:    func(_ *state, a *servertest.Answer) { a.Require(200) },
			},
			"the consent page": {
				prepare: func(s *state) { s.page = s.b.Authorize("own", "prompt", "consent") },
				ask:     func(s *state) *servertest.Answer { return s.page.Follow().Answer },
				done:    func(_ *state, a *servertest.Answer) { a.Require(200) },
			},
			"allow": {
				prepare: func(s *state) { s.page = s.b.Authorize("own", "prompt", "consent").Follow() },
				ask:     func(s *state) *servertest.Answer { return s.page.Submit("decision", "allow").Answer },
				done:    func(_ *state, a *servertest.Answer) { require.Contains(t, a.Header.Get("Location"), "code=") },
			},
			"redeem": {
				prepare: func(s *state) { s.code = s.b.Authorize("own").Code() },
				ask:     func(s *state) *servertest.Answer { return w.Redeem("own", s.code) },
				done:    func(_ *state, a *servertest.Answer) { a.Require(200) },
			},
		} {
			s := &state{b: w.Browser()}
			s.b.SignIn("alice")
			for nth := 0; ; nth++ {
				c.prepare(s)
				w.Clock.Advance(2 * time.Second) // the cached clients have to be read again
				count := 0
				mend := w.Break(func(string) error {
					if count++; count == nth+1 {
						return errBroken
					}
					return nil
				})
				a := c.ask(s)
				mend()
				if count <= nth {
					require.Positive(t, nth, what)
					c.done(s, a)
					break
				}
				require.Equal(t, 503, a.Status, "%s, statement %d: %s", what, nth, a.Body)
				require.NotEmpty(t, a.Header.Get("Retry-After"))
				require.Empty(t, a.Header.Get("Location"))
				kind := "text/html; charset=utf-8"
				if what == "redeem" {
					kind = "application/json"
				}
				require.Equal(t, kind, a.Header.Get("Content-Type"), what)
				c.done(s, c.ask(s)) // the same once more
			}
		}
	})
}

// A code whose redemption was done but not heard of is spent: the client starts again,
// and nothing that it does at once ends anybody's session.
func TestRule2_an_answer_that_was_lost_after_redemption(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		b := w.Browser()
		code := b.Authorize("own").Through("alice").Code()
		mend := w.BreakAnswers(everything)
		w.Redeem("own", code).Refused(503, "temporarily_unavailable")
		mend()
		w.Redeem("own", code).Refused(400, "invalid_grant")
		w.Redeem("own", b.Authorize("own").Code()).Require(200)

		// A code that was made but not heard of: the request comes again and gets its own.
		mend = w.BreakAnswers(everything)
		require.Equal(t, 503, b.Authorize("own").Status)
		mend()
		w.Redeem("own", b.Authorize("own").Code()).Require(200)
	})
}

func TestRule3_another_clients_token_is_not_revoked(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	login := w.Login("c1", "alice")
	w.Revoke("c2", login.Refresh()).Refused(400, "invalid_grant")
	w.Revoke("c2", login.Access()).Refused(400, "invalid_grant")
	require.True(t, w.Active(login.Access()))
	w.Refresh("c1", login.Refresh()).Require(200)
}

func TestRule4_only_who_it_is_for_may_introspect(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	at := w.Login("c1", "alice", "audience", servertest.API).Access()
	for caller, active := range map[string]bool{"rs": true, "rs-api": true, "c1": true, "rs-other": false, "c2": false, "cc": false} {
		require.Equal(t, active, w.Introspect(caller, at).JSON["active"], caller)
	}
}

func TestRule5_the_right_error_for_each_fault(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	rt := w.Login("c1", "alice").Refresh()
	w.Token("c1", "grant_type", "urn:evil").Refused(400, "unsupported_grant_type")
	w.Refresh("c1", rt[:len(rt)-1]+"!").Refused(400, "invalid_grant")
	for _, path := range []string{token, introspect, revoke} {
		require.NotEmpty(t, w.Send(servertest.Form(path)).Refused(401, "invalid_client").Header.Get("WWW-Authenticate"))
	}
}

func TestRule6_nothing_can_be_read_in_two_ways(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for _, path := range []string{token, introspect, revoke} {
		form := func() *servertest.Request {
			return servertest.Form(path, "grant_type", "client_credentials", "token", "x")
		}
		w.Send(withBody(w.As(form(), "cc"), form().Body+"&token=x&token=y")).Refused(400, "invalid_request")
		w.Send(withBody(w.As(form(), "cc"), form().Body+"&client_id=cc&client_secret=x")).Refused(400, "invalid_request")
		w.Send(withBody(w.As(form(), "cc"), form().Body+"&client_id=c1")).Refused(400, "invalid_request")
		w.Send(query(w.As(form(), "cc"), "grant_type=client_credentials")).Refused(400, "invalid_request")
		w.Send(query(w.As(form(), "cc"), "x")).Refused(400, "invalid_request")
	}
}

func TestRule9_the_store_has_transactions(t *testing.T) {
	t.Parallel()
	var tokens any = new(storage.Tokens)
	require.Implements(t, (*fositestorage.Transactional)(nil), tokens)
	require.Implements(t, (*oauth2.TokenRevocationStorage)(nil), tokens)
}

func TestRule10_both_limits_and_the_narrower_scope_are_honoured(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	w.AddClient(clients.Client{
		ID: "short", Grants: []string{"password", "refresh_token"}, Scope: []string{"read", "write"},
		RefreshTokenLifetime: time.Minute, SessionLifetime: 90 * time.Second,
	})
	login := w.Login("short", "alice")
	w.Clock.Advance(50 * time.Second)
	a := w.Refresh("short", login.Refresh(), "scope", "write").Require(200)
	require.Equal(t, "write", a.Text("scope"))
	require.Equal(t, "write", w.Introspect("rs", a.Access()).Text("scope"))
	w.Clock.Advance(39 * time.Second)
	a = w.Refresh("short", a.Refresh()).Require(200)
	require.LessOrEqual(t, a.JSON["expires_in"], 1.0)
	w.Clock.Advance(time.Second)
	w.Refresh("short", a.Refresh()).Refused(400, "invalid_grant")
}

func TestRule11_reuse_is_judged_after_the_client(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	rt0 := w.Login("c1", "alice")
	rt1 := w.Refresh("c1", rt0.Refresh()).Require(200)
	w.Clock.Advance(time.Hour)
	w.Refresh("c2", rt0.Refresh()).Refused(400, "invalid_grant")
	w.Refresh("c1", rt1.Refresh()).Require(200)
}

// No address is fetched and no request object is read for anybody.
func TestRule12_assertions_and_request_objects_are_off(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	w.Token("cc", "grant_type", "client_credentials", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", "evil.evil.evil").Refused(401, "invalid_client")
	a := w.Token("cc", "grant_type", "client_credentials", "request", "eyJhbGciOiJub25lIn0.eyJzY29wZSI6ImV2aWwifQ.", "request_uri", w.URL+"/healthz").Require(200)
	require.Equal(t, "read write openid", a.Text("scope"), "ignored, as every unknown parameter of the token endpoint")
	for _, line := range w.Log.Requests(t) {
		require.NotEqual(t, "/healthz", line["route"])
	}
}
