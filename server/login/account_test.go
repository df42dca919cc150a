package login_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/users"
)

// act presses a button of the account page, without looking for it there.
func act(t *testing.T, b *servertest.Browser, pairs ...string) *servertest.Page {
	t.Helper()
	return b.Post("/account", append([]string{"csrf_token", formToken(t, b), "action"}, pairs...)...)
}

func done(t *testing.T, p *servertest.Page, notice string) {
	t.Helper()
	require.Equal(t, "/account?done="+notice, p.Require(http.StatusSeeOther).Location())
	withText(t, p.Follow().Require(http.StatusOK), `role="status"`)
}

func dead(w *servertest.World, client string, tokens *servertest.Answer) {
	w.Refresh(client, tokens.Refresh()).Refused(400, "invalid_grant")
}

func TestAccount_shows_what_is_there(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	w.UpdateClient("c1", func(c *clients.Client) { c.Name = `The "><svg onload=1> App` })
	b := w.Browser()
	b.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0")
	b.SignIn("alice")
	obtain(w, b, "c1", "alice")
	w.UpdateClient("c2", func(c *clients.Client) { c.Name = "Another person's" })
	w.Obtain("c2", "bob")
	p := b.Get("/account").Require(http.StatusOK)
	for _, text := range []string{"alice@app.test", "Firefox", "127.0.0.1", "The &#34;&gt;&lt;svg onload=1&gt; App"} {
		withText(t, p, text)
	}
	require.Equal(t, 1, strings.Count(string(p.Body), "end_session"), "bob's is not among them")
	require.NotContains(t, string(p.Body), `value="c2"`)
	require.NotContains(t, string(p.Body), "Another person")
	require.Equal(t, []string{"action=change_password", "action=end_others", "action=end_session", "action=withdraw", "decision=signout"}, buttons(p))

	// A notice is one of ours, or none.
	require.NotContains(t, string(b.Get("/account?done=ev!l").Body), "ev!l")
	require.NotContains(t, string(b.Get("/account?done=evil").Body), `role="status"`)
	require.Equal(t, "/login", w.Browser().Get("/account?done=others_ended").Location())
	act(t, b, "evil").Require(http.StatusBadRequest)
	act(t, b, "").Require(http.StatusBadRequest)

	// A client that is gone still has a name.
	_, err := w.Store.DeleteClient(t.Context(), "c1")
	require.NoError(t, err)
	b.Get("/account").Require(http.StatusOK)
}

func TestAccount_ends_what_is_ones_own(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		here, there := w.Browser(), w.Browser()
		here.SignIn("alice")
		there.SignIn("alice")
		one, two := obtain(w, here, "c1", "alice"), obtain(w, there, "c1", "alice")
		other := obtain(w, here, "own", "alice")

		done(t, act(t, here, "end_session", "id", sessionID(t, w, one.Refresh()).String()), "session_ended")
		dead(w, "c1", one)
		w.Refresh("own", other.Refresh()).Require(200)
		two = w.Refresh("c1", two.Refresh()).Require(200)
		done(t, act(t, here, "end_session", "id", sessionID(t, w, one.Refresh()).String()), "session_ended") // twice is fine

		done(t, here.Get("/account").Submit("action", "end_browser"), "session_ended") // the only button: that of the other
		require.False(t, signedIn(t, there))
		dead(w, "c1", two)
		require.True(t, signedIn(t, here))

		at := browserID(t, w, here)
		require.Equal(t, "/login", act(t, here, "end_browser", "id", at.String()).Require(http.StatusSeeOther).Location())
		require.NotContains(t, here.Cookies, sessionCookie)
		dead(w, "own", other)
	})
}

// L-13: an id is no right. Somebody else's, an unknown one and nonsense are the same.
func TestAccount_leaves_other_people_alone_L13(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		alice, bob := w.Browser(), w.Browser()
		alice.SignIn("alice")
		bob.SignIn("bob")
		tokens := obtain(w, bob, "c1", "bob")
		unknown, err := grants.NewID(zeros{})
		require.NoError(t, err)
		var first []byte
		for _, id := range []string{browserID(t, w, bob).String(), sessionID(t, w, tokens.Refresh()).String(), unknown.String(), "", "evil", "../..", "' OR 1=1 --", strings.Repeat("a", 5000)} {
			for _, action := range []string{"end_browser", "end_session"} {
				p := act(t, alice, action, "id", id, "user_id", servertest.UserID("bob")).Require(http.StatusNotFound)
				body := []byte(strings.ReplaceAll(string(p.Body), p.Header.Get("X-Request-Id"), ""))
				if first == nil {
					first = body
				}
				require.Equal(t, string(first), string(body), "nobody learns which ids there are")
			}
		}
		done(t, act(t, alice, "withdraw", "client_id", "c1"), "consent_withdrawn")
		done(t, act(t, alice, "end_others", "user_id", servertest.UserID("bob")), "others_ended")
		require.True(t, signedIn(t, bob))
		w.Refresh("c1", tokens.Refresh()).Require(200)
		require.False(t, asks(bob.Authorize("c1")), "his consent stays")
	})
}

func TestAccount_ends_all_others(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		here, there := w.Browser(), w.Browser()
		here.SignIn("alice")
		there.SignIn("alice")
		mine, elsewhere, byPassword := obtain(w, here, "c1", "alice"), obtain(w, there, "c2", "alice"), w.Login("pw", "alice")
		done(t, here.Get("/account").Submit("action", "end_others"), "others_ended")
		dead(w, "c2", elsewhere)
		dead(w, "pw", byPassword)
		require.False(t, signedIn(t, there))
		require.True(t, signedIn(t, here))
		w.Refresh("c1", mine.Refresh()).Require(200)
	})
}

func TestAccount_withdraws_a_consent(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		here, there := w.Browser(), w.Browser()
		here.SignIn("alice")
		there.SignIn("alice")
		mine, elsewhere := obtain(w, here, "c1", "alice"), obtain(w, there, "c1", "alice")
		other := obtain(w, here, "own", "alice")
		require.False(t, asks(here.Authorize("c1")))
		done(t, here.Get("/account").Submit("client_id", "c1", "action", "withdraw"), "consent_withdrawn")
		dead(w, "c1", mine)
		dead(w, "c1", elsewhere)
		require.False(t, w.Active(mine.Access()))
		w.Refresh("own", other.Refresh()).Require(200)
		require.True(t, asks(here.Authorize("c1")))
		require.True(t, asks(there.Authorize("c1")))
		for _, id := range []string{"", "evil", "c1", strings.Repeat("x", 500)} {
			done(t, act(t, here, "withdraw", "client_id", id), "consent_withdrawn")
		}
	})
}

// change fills in the form of the password.
func change(b *servertest.Browser, current, next, repeat string) *servertest.Page {
	return b.Get("/account").Submit("current_password", current, "new_password", next, "repeat_password", repeat, "action", "change_password")
}

func TestAccount_changes_the_password(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		const next = "a new password for her"
		current := servertest.Password("alice")
		here, there := w.Browser(), w.Browser()
		here.SignIn("alice")
		there.SignIn("alice")
		mine, elsewhere, byPassword := obtain(w, here, "c1", "alice"), obtain(w, there, "c2", "alice"), w.Login("pw", "alice")

		for name, c := range map[string][3]string{
			"wrong":                {"not hers at all", next, next},
			"nothing":              {"", next, next},
			"bob's":                {servertest.Password("bob"), next, next},
			"the same":             {current, current, current},
			"a mistyped repeat":    {current, next, next + "x"},
			"no repeat":            {current, next, ""},
			"too short":            {current, "seven77", "seven77"},
			"empty":                {current, "", ""},
			"her address":          {current, "Alice@App.test", "Alice@App.test"},
			"too long":             {current, strings.Repeat("x", 2000), strings.Repeat("x", 2000)},
			"wrong current length": {strings.Repeat("x", 2000), next, next},
		} {
			p := change(here, c[0], c[1], c[2]).Require(http.StatusBadRequest)
			withText(t, p, `role="alert"`)
			withText(t, p, `aria-describedby="fault`)
			require.NotContains(t, string(p.Body), "new password for", name)
		}
		require.True(t, signedIn(t, there))
		w.Login("pw", "alice")

		done(t, change(here, current, next, next), "password_changed")
		require.True(t, signedIn(t, here), "where it was changed")
		w.Refresh("c1", mine.Refresh()).Require(200)
		require.False(t, signedIn(t, there))
		dead(w, "c2", elsewhere)
		dead(w, "pw", byPassword)
		w.TryLogin("pw", "alice").Refused(400, "invalid_grant")
		there.Get("/login").Submit("username", "alice", "password", current).Require(http.StatusBadRequest)
		there.Get("/login").Submit("username", "alice", "password", next).Require(http.StatusSeeOther)
	})
}

// Somebody at an unlocked screen guesses the password: counted like every other guess.
func TestAccount_a_password_is_guessed(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	b.SignIn("alice")
	for range users.FreeFailures {
		change(b, wrong, "a new password for her", "a new password for her").Require(http.StatusBadRequest)
	}
	p := change(b, servertest.Password("alice"), "a new password for her", "a new password for her").Require(http.StatusTooManyRequests)
	require.Equal(t, "1", p.Header.Get("Retry-After"))
	withText(t, p, `role="alert"`)
	require.Equal(t, http.StatusTooManyRequests, b.Post("/login", "csrf_token", formToken(t, b), "username", "alice", "password", servertest.Password("alice")).Status)
	w.Browser().SignIn("alice")
	w.Clock.Advance(time.Second)
	done(t, change(b, servertest.Password("alice"), "a new password for her", "a new password for her"), "password_changed")
}

func TestAccount_when_the_server_is_busy(t *testing.T) {
	t.Parallel()
	queue := newBusy()
	w := servertest.New(t, servertest.Setup{Passwords: queue.options()})
	b := w.Browser()
	b.SignIn("alice")
	release := queue.fill(t, w)
	defer release()
	p := change(b, servertest.Password("alice"), "a new password for her", "a new password for her").Require(http.StatusServiceUnavailable)
	require.NotEmpty(t, p.Header.Get("Retry-After"))
	release()
	require.True(t, signedIn(t, b))
	w.Login("pw", "alice")
}

// An administrator changes the account between the check and the change: the older check counts no more.
func TestAccount_a_change_meets_another(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		b := w.Browser()
		b.SignIn("alice")
		other, err := w.Passwords.Hash(t.Context(), "what an administrator set")
		require.NoError(t, err)
		replica := w.Open()
		set := false
		w.Tally.Fail(func(sql string) error {
			// Between the check and the change.
			if !set && strings.HasPrefix(sql, "UPDATE users SET password_hash") {
				set = true
				_, err := replica.SetPassword(t.Context(), servertest.UserID("alice"), other, true)
				require.NoError(t, err)
			}
			return nil
		})
		if w.Dialect == "sqlite" {
			t.Skip("SQLite has one writer: nothing comes in between")
		}
		change(b, servertest.Password("alice"), "a new password for her", "a new password for her").Require(http.StatusConflict)
		w.Tally.Fail(nil)
		w.Browser().Get("/login").Submit("username", "alice", "password", "what an administrator set").Require(http.StatusSeeOther)
	})
}

// Whoever has a copy of this browser's cookie is another one: nothing of it outlives a
// changed password, or "sign out everywhere else". The owner stays.
func TestAccount_a_copied_cookie_ends_with_the_others(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		b := w.Browser()
		b.SignIn("alice")
		thief := func() *servertest.Browser {
			copied := w.Browser()
			for name, cookie := range b.Cookies {
				copied.Cookies[name] = cookie
			}
			copied.Get("/account").Require(http.StatusOK)
			return copied
		}
		first := thief()
		b.Get("/account").Submit("action", "end_others").Follow().Require(http.StatusOK)
		require.Equal(t, "/login", first.Get("/account").Location())

		second := thief()
		require.Equal(t, http.StatusSeeOther, change(b, servertest.Password("alice"), "a password of today", "a password of today").Status)
		b.Get("/account").Require(http.StatusOK)
		require.Equal(t, "/login", second.Get("/account").Location())
	})
}
