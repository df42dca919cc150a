package oauth_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/users"
)

func TestPassword_begins_one_session(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for _, client := range []string{"c1", "pw", "sealed", "p1"} {
			for _, spelling := range []string{"alice", "ALICE", " alice", "alice@app.test", "Alice@APP.test"} {
				a := w.Token(client, "grant_type", "password", "username", spelling, "password", servertest.Password("alice")).Require(200)
				require.NotEmpty(t, a.Refresh())
				told := w.Introspect("rs", a.Access()).Require(200)
				require.Equal(t, servertest.UserID("alice"), told.Text("sub"))
				require.Equal(t, "alice", told.Text("username"))
				s := session(t, w, a.Refresh())
				require.Equal(t, client, s.ClientID)
				require.Equal(t, "127.0.0.1", s.CreatedFrom)
				require.Equal(t, w.Clock.Now(), s.CreatedAt)
			}
		}
		require.Len(t, sessions(t, w), 20)
	})
}

func TestPassword_without_the_refresh_grant_gives_no_refresh_token(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		a := w.Login("once", "alice")
		require.NotContains(t, a.JSON, "refresh_token")
		require.True(t, w.Active(a.Access()))
		w.Clock.Advance(10 * time.Minute)
		require.False(t, w.Active(a.Access()))
		require.Equal(t, "expired", sessions(t, w)[0].Dead, "a session that can not be renewed ends with its access token")
	})
}

// X-05, and L-07's half of the token endpoint.
func TestPassword_wrong_password_and_unknown_user_are_one_answer_X05(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		require.NoError(t, w.Store.CreateUser(t.Context(), users.User{ID: "id-of-nopass", Name: "nopass"}))
		w.AddUser("gone")
		require.NoError(t, w.Store.DisableUser(t.Context(), servertest.UserID("gone")))
		try := func(name, password string) *servertest.Answer {
			a := w.Token("pw", "grant_type", "password", "username", name, "password", password).Refused(400, "invalid_grant")
			a.Header.Del("Date")
			a.Header.Del("X-Request-Id")
			return a
		}
		wrong := try("alice", "evil-evil-evil")
		for name, other := range map[string]*servertest.Answer{
			"unknown":              try("nobody", "evil-evil-evil"),
			"disabled, right":      try("gone", servertest.Password("gone")),
			"without a password":   try("nopass", "evil-evil-evil"),
			"password of another":  try("alice", servertest.Password("bob")),
			"by id":                try(servertest.UserID("alice"), servertest.Password("alice")),
			"the hash":             try("alice", "$argon2id$v=19$m=64,t=1,p=1$AAAA$AAAA"),
			"too long a password":  try("alice", strings.Repeat("a", users.MaxPassword)),
			"a name of 10 KB":      try(strings.Repeat("a", 10<<10), "evil-evil-evil"),
			"a name with quotes":   try(`' OR 1=1--`, "evil-evil-evil"),
			"a name with percents": try(`%`, "evil-evil-evil"),
		} {
			require.Equal(t, string(wrong.Body), string(other.Body), name)
			require.Equal(t, wrong.Header, other.Header, name)
		}
		require.Empty(t, sessions(t, w))
	})
}

// The same order of time, without a clock: each refusal enters the queue of the
// password hash, so each is refused when the queue is full.
func TestPassword_every_refusal_costs_one_hash_X05(t *testing.T) {
	t.Parallel()
	busy := newBusy()
	w := servertest.New(t, servertest.Setup{Passwords: busy.options()})
	w.AddUser("gone")
	require.NoError(t, w.Store.DisableUser(t.Context(), servertest.UserID("gone")))
	defer busy.fill(t, w)()
	defer w.Overload()()
	for _, name := range []string{"alice", "nobody", "gone"} {
		w.Token("pw", "grant_type", "password", "username", name, "password", "evil-evil-evil").Refused(503, "temporarily_unavailable")
	}
}

func TestPassword_too_long_is_not_hashed_X08(t *testing.T) {
	t.Parallel()
	busy := newBusy()
	w := servertest.New(t, servertest.Setup{Passwords: busy.options()})
	defer busy.fill(t, w)()
	// Nothing here may be told to wait: it never comes to the queue.
	for length, status := range map[int]int{users.MaxPassword + 1: 400, 60_000: 400, 1 << 20: http.StatusRequestEntityTooLarge} {
		w.Token("pw", "grant_type", "password", "username", "alice", "password", strings.Repeat("a", length)).Refused(status, "invalid_request")
	}
	// nor what the client may not ask for.
	w.TryLogin("cc", "alice").Refused(400, "unauthorized_client")
	w.TryLogin("pw", "alice", "scope", "evil").Refused(400, "invalid_scope")
	w.TryLogin("pw", "alice", "resource", "https://evil.test").Refused(400, "invalid_target")
	for _, missing := range [][]string{
		{"grant_type", "password", "username", "alice"},
		{"grant_type", "password", "password", servertest.Password("alice")},
		{"grant_type", "password", "username", "", "password", servertest.Password("alice")},
		{"grant_type", "password", "username", "alice", "password", ""},
	} {
		w.Token("pw", missing...).Refused(400, "invalid_request")
	}
}

// X-09, as a pair: the same password works where it may.
func TestPassword_of_a_client_without_the_grant_X09(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	w.TryLogin("cc", "alice").Refused(400, "unauthorized_client")
	w.UpdateClient("cc", func(c *clients.Client) { c.Grants = append(c.Grants, clients.GrantPassword) })
	w.Login("cc", "alice")
}

func TestPassword_scope_and_audience(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		a := w.Login("c1", "alice", "scope", "write  read write", "audience", servertest.API)
		require.Equal(t, "write read", a.Text("scope"))
		told := w.Introspect("rs", a.Access())
		require.Equal(t, "write read", told.Text("scope"))
		require.Equal(t, servertest.API, told.JSON["aud"])
		require.Equal(t, w.Issuer, w.Introspect("rs", w.Login("c1", "alice").Access()).JSON["aud"], "the default")
		require.Equal(t, "read write openid profile email", w.Login("c1", "alice").Text("scope"))
		w.TryLogin("c1", "alice", "scope", "read evil").Refused(400, "invalid_scope")
		w.TryLogin("c1", "alice", "scope", "OpenID").Refused(400, "invalid_scope")
	})
}

// the spellings of one account share its failures, whatever the client.
func TestPassword_failures_are_counted_per_account_X06_X07(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		other := w.Replica()
		spellings := []string{"alice", "ALICE", " alice", "alice@app.test", "Alice@App.Test "}
		held := false
		for i := range 20 {
			replica := []*servertest.World{w, other}[i%2]
			client := []string{"c1", "pw", "p1"}[i%3]
			a := replica.Token(client, "grant_type", "password", "username", spellings[i%len(spellings)], "password", "evil-evil-evil")
			held = held || a.Status == http.StatusTooManyRequests
		}
		require.True(t, held, "within 20 failures further attempts are delayed")
		a := w.TryLogin("c1", "alice").Require(http.StatusTooManyRequests)
		require.NotEmpty(t, a.Header.Get("Retry-After"))
		w.Login("c1", "bob")
		require.Len(t, sessions(t, w), 1)

		// Nothing locks an account for ever.
		w.Clock.Advance(users.MaxDelay)
		w.Login("c1", "alice")
		w.Login("c1", "alice")
	})
}

// A name that nobody has is counted like one, so that the wait tells nothing.
func TestPassword_an_unknown_name_waits_like_a_known_one(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	answers := map[string][]int{}
	for _, name := range []string{"alice", "nobody"} {
		for range 15 {
			a := w.Token("pw", "grant_type", "password", "username", name, "password", "evil-evil-evil")
			answers[name] = append(answers[name], a.Status)
		}
	}
	require.Equal(t, answers["alice"], answers["nobody"])
	require.Contains(t, answers["nobody"], http.StatusTooManyRequests)
}

// A foreign hash is replaced at the next sign-in, and works before and after.
func TestPassword_of_a_foreign_hash_is_upgraded(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		const password = "correct horse"
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		require.NoError(t, err)
		require.NoError(t, w.Store.CreateUser(t.Context(), users.User{ID: "id-of-carol", Name: "carol", PasswordHash: string(hash)}))
		try := func() *servertest.Answer {
			return w.Token("pw", "grant_type", "password", "username", "carol", "password", password)
		}
		w.Token("pw", "grant_type", "password", "username", "carol", "password", "wrong horse").Refused(400, "invalid_grant")
		try().Require(200)
		carol, err := w.Store.UserByLogin(t.Context(), "carol")
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(carol.PasswordHash, "$argon2id$"), carol.PasswordHash)
		try().Require(200)

		require.NoError(t, w.Store.CreateUser(t.Context(), users.User{ID: "id-of-dan", Name: "dan", PasswordHash: "plain:correct horse"}))
		w.Token("pw", "grant_type", "password", "username", "dan", "password", password).Refused(400, "invalid_grant")
	})
}

// F-23 in small: beyond the queue a sign-in is told to come again, and what hashes
// nothing is not in its way.
func TestPassword_Concurrent_storm_leaves_the_rest_alone(t *testing.T) {
	t.Parallel()
	busy := newBusy()
	w := servertest.New(t, servertest.Setup{Passwords: busy.options()})
	login := w.Login("c1", "alice")
	release := busy.fill(t, w)
	end := w.Overload()
	var storm sync.WaitGroup
	for range 20 {
		storm.Go(func() {
			a := w.TryLogin("c1", "alice").Refused(503, "temporarily_unavailable")
			require.NotEmpty(t, a.Header.Get("Retry-After"))
		})
	}
	storm.Wait()
	end()
	require.True(t, w.Active(login.Access()))
	w.Refresh("c1", login.Refresh()).Require(200)
	w.Token("cc", "grant_type", "client_credentials").Require(200)
	release()
	w.Login("c1", "alice")
}
