package server_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/servertest"
)

// One line per request, with what happened and for whom.
func TestLogs_one_line_per_request(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	login := w.Login("c1", "alice")
	renewed := w.Refresh("c1", login.Refresh())
	w.Refresh("c1", login.Refresh())
	w.Token("cc", "grant_type", "client_credentials")
	w.Introspect("rs", login.Access())
	w.Introspect("rs", "evil")
	w.Revoke("c1", renewed.Refresh())
	w.Refresh("c1", renewed.Refresh())
	w.TryLogin("cc", "alice")
	w.Send(servertest.Form("/oauth2/token").Basic("nobody", "wrong-wrong-wrong"))
	w.Send(servertest.Get("/evil"))

	lines := w.Log.Requests(t)
	want := []map[string]any{
		{"route": "/oauth2/token", "status": 200.0, "client": "c1", "grant": "password", "outcome": "redeemed"},
		{"route": "/oauth2/token", "status": 200.0, "client": "c1", "grant": "refresh_token", "outcome": "rotated"},
		{"route": "/oauth2/token", "status": 200.0, "client": "c1", "grant": "refresh_token", "outcome": "retried"},
		{"route": "/oauth2/token", "status": 200.0, "client": "cc", "grant": "client_credentials", "outcome": "issued"},
		{"route": "/oauth2/introspect", "status": 200.0, "client": "rs", "outcome": "active"},
		{"route": "/oauth2/introspect", "status": 200.0, "client": "rs", "outcome": "inactive"},
		{"route": "/oauth2/revoke", "status": 200.0, "client": "c1", "outcome": "session revoked"},
		{"route": "/oauth2/token", "status": 400.0, "client": "c1", "grant": "refresh_token", "error": "invalid_grant", "reason": "token: dead"},
		{"route": "/oauth2/token", "status": 400.0, "client": "cc", "error": "unauthorized_client"},
		{"route": "/oauth2/token", "status": 401.0, "error": "invalid_client", "reason": "unknown client"},
		{"route": "unknown", "status": 404.0, "error": "invalid_request"},
	}
	require.Len(t, lines, len(want))
	ids := map[any]bool{}
	for i, line := range lines {
		for name, value := range want[i] {
			require.Equal(t, value, line[name], "%d %s: %v", i, name, line)
		}
		if want[i]["client"] == nil {
			require.NotContains(t, line, "client", "only a registered id is logged")
		}
		require.Equal(t, "127.0.0.1", line["address"])
		require.False(t, ids[line["id"]], "each request has an id")
		ids[line["id"]] = true
	}
	for _, i := range []int{0, 1, 2, 6, 7} {
		require.Equal(t, lines[0]["session"], lines[i]["session"], "an administrator finds the session")
	}
}

// What people do at the pages is told apart, and what they typed is not there.
func TestLogs_of_pages(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	page := b.Authorize("c1").Follow()
	page.Submit("username", "ev1l\nname", "password", "ev1l-ev1l-ev1l")
	consent := page.Submit("username", "alice", "password", servertest.Password("alice")).Follow()
	denied := b.Authorize("c1", "prompt", "consent").Follow()
	code := consent.Submit("decision", "allow").Code()
	consent.Submit("decision", "allow")
	denied.Submit("decision", "deny")
	w.Redeem("c1", code)
	b.Post("/account", "action", "ev1l")
	b.Get("/account").Submit("action", "end_others")
	b.Get("/oauth2/logout").Follow().Submit("decision", "signout")

	want := []map[string]any{
		{"route": "/oauth2/auth", "status": 303.0, "client": "c1", "outcome": "login_required"},
		{"route": "/login", "status": 200.0, "client": "c1"},
		{"route": "/login", "status": 400.0, "client": "c1", "outcome": "wrong password"},
		{"route": "/login", "status": 303.0, "client": "c1", "outcome": "consent_required"},
		{"route": "/consent", "status": 200.0, "client": "c1"},
		{"route": "/oauth2/auth", "status": 303.0, "client": "c1", "outcome": "consent_required"},
		{"route": "/consent", "status": 200.0, "client": "c1"},
		{"route": "/consent", "status": 303.0, "client": "c1", "outcome": "code issued"},
		{"route": "/consent", "status": 409.0, "client": "c1", "outcome": "answered before"},
		{"route": "/consent", "status": 303.0, "client": "c1", "outcome": "denied"},
		{"route": "/oauth2/token", "status": 200.0, "client": "c1", "outcome": "redeemed"},
		{"route": "/account", "status": 403.0, "reason": "csrf"},
		{"route": "/account", "status": 200.0},
		{"route": "/account", "status": 303.0, "outcome": "account"},
		{"route": "/oauth2/logout", "status": 303.0, "outcome": "asked to sign out"},
		{"route": "/logout", "status": 200.0},
		{"route": "/logout", "status": 200.0, "outcome": "signed out"},
	}
	lines := w.Log.Requests(t)
	require.Len(t, lines, len(want))
	for i, line := range lines {
		for name, value := range want[i] {
			require.Equal(t, value, line[name], "%d %s: %v", i, name, line)
		}
	}
	require.Equal(t, lines[7]["session"], lines[10]["session"], "the code and its session have one id")
	require.NotContains(t, w.Log.Text(), "ev1l") // no drawn id has a 1
}

func TestLogs_the_request_id_is_ours(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	a := w.Send(servertest.Get("/healthz").Set("X-Request-Id", "ev1l"))
	require.NotEqual(t, "ev1l", a.Header.Get("X-Request-Id"))
	require.Contains(t, w.Log.Text(), a.Header.Get("X-Request-Id"))
	require.NotContains(t, w.Log.Text(), "ev1l")
}

// nothing that a stranger chose is in the log, so nothing can break its lines.
func TestLogs_cannot_be_written_by_strangers_Q03(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		before := len(w.Log.Lines(t))
		sent := 0
		send := func(r *servertest.Request) {
			w.Send(r)
			sent++
		}
		for _, ev1l := range []string{"ev1l\n{\"level\":\"ERROR\"}", "ev1l\r\n", "ev1l\x1b[31m", `ev1l","level":"ERROR`, "ev1l\u202e", "ev1l\u2028", strings.Repeat("ev1l", 1000)} {
			encoded := base64.StdEncoding.EncodeToString([]byte(ev1l + ":ev1l"))
			send(w.As(servertest.Form("/oauth2/token", "grant_type", "password", "username", ev1l, "password", "ev1l-ev1l"), "c1"))
			send(w.As(servertest.Form("/oauth2/token", "grant_type", ev1l), "c1"))
			send(w.As(servertest.Form("/oauth2/token", "grant_type", "client_credentials", "scope", ev1l), "cc"))
			send(servertest.Form("/oauth2/token", "client_id", ev1l))
			send(servertest.Form("/oauth2/token").Set("Authorization", "Basic "+encoded))
			send(w.As(servertest.Form("/oauth2/introspect", "token", ev1l, "token_type_hint", ev1l), "rs"))
			send(w.As(servertest.Form("/oauth2/revoke", "token", ev1l), "c1"))
			send(servertest.Form("/userinfo", "access_token", ev1l))
			send(w.As(servertest.Form("/oauth2/token", ev1l, ev1l), "c1"))
		}
		send(servertest.Get("/healthz").Set("User-Agent", "ev1l").Set("Referer", "ev1l").Set("X-Forwarded-For", "ev1l"))
		send(servertest.Get("/ev1l?ev1l=ev1l"))
		require.Len(t, w.Log.Lines(t), before+sent, "one line each")
		require.NotContains(t, w.Log.Text(), "ev1l")
	})
}

// Q-01 on the error paths: what broke is logged, and what was sent is not.
func TestLogs_of_failures_hold_no_secret_Q01(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		login := w.Login("c1", "alice")
		w.Clock.Advance(1)
		for _, broken := range []func() func(){
			func() func() { return w.Break(func(string) error { return errBroken }) },
			func() func() { return w.BreakAnswers(func(string) error { return errBroken }) },
		} {
			mend := broken()
			w.Refresh("c1", login.Refresh())
			w.Introspect("rs", login.Access())
			w.Revoke("c1", login.Access())
			w.Userinfo(login.Access())
			w.TryLogin("c1", "alice")
			mend()
		}
		// The harness searches the log for every secret when the test ends.
		require.Contains(t, w.Log.Text(), errBroken.Error())
	})
}
