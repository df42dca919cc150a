package oauth_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/server/servertest"
)

const window = 10 * time.Second // of a retry, by default

// formats are clients whose access tokens look different and obey the same rules.
var formats = []string{"c1", "sealed", "p1"}

func TestRefresh_rotates_R01(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for _, client := range formats {
			old := w.Login(client, "alice")
			renewed := w.Refresh(client, old.Refresh()).Require(200)
			require.NotEmpty(t, renewed.Refresh())
			require.NotEqual(t, old.Refresh(), renewed.Refresh())
			require.NotEqual(t, old.Access(), renewed.Access())
			require.True(t, w.Active(renewed.Access()))
			require.True(t, w.Active(old.Access()), "the old access token lives until its own end")
			w.Refresh(client, renewed.Refresh()).Require(200)
		}
	})
}

func TestRefresh_reuse_after_the_window_ends_the_grant_R02(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for _, client := range formats {
			rt0 := w.Login(client, "alice")
			rt1 := w.Refresh(client, rt0.Refresh()).Require(200)
			w.Clock.Advance(window)
			w.Refresh(client, rt0.Refresh()).Refused(400, "invalid_grant")
			w.Refresh(client, rt1.Refresh()).Refused(400, "invalid_grant")
			require.False(t, w.Active(rt0.Access()))
			require.False(t, w.Active(rt1.Access()))
			w.Userinfo(rt1.Access()).Refused(401, "invalid_token")
			require.Equal(t, string(grants.ReasonReuse), session(t, w, rt0.Refresh()).Dead)

			// nothing of it lives again on a server that starts now.
			again := w.Replica()
			again.Refresh(client, rt0.Refresh()).Refused(400, "invalid_grant")
			again.Refresh(client, rt1.Refresh()).Refused(400, "invalid_grant")
		}
	})
}

func TestRefresh_retry_inside_the_window_R03(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for _, client := range formats {
			rt0 := w.Login(client, "alice")
			rt1 := w.Refresh(client, rt0.Refresh()).Require(200)
			for range 3 {
				w.Clock.Advance(window/3 - time.Microsecond)
				retried := w.Refresh(client, rt0.Refresh()).Require(200)
				require.Equal(t, rt1.Refresh(), retried.Refresh(), "the same successor")
				require.True(t, w.Active(retried.Access()))
			}
			w.Refresh(client, rt1.Refresh()).Require(200)
			require.Empty(t, session(t, w, rt0.Refresh()).Dead)
		}
	})
}

func TestRefresh_window_edges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		window, wait time.Duration
		status       int
	}{
		"last microsecond":  {window, window - time.Microsecond, 200},
		"the edge itself":   {window, window, 400},
		"no window":         {0, 0, 400},
		"a window of 60 s":  {time.Minute, time.Minute - time.Microsecond, 200},
		"a clock set back":  {window, -time.Hour, 200},
		"immediately after": {window, 0, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := servertest.New(t, servertest.Setup{Config: func(s *config.Config) { s.RetryWindow = c.window }})
			rt0 := w.Login("c1", "alice")
			rt1 := w.Refresh("c1", rt0.Refresh()).Require(200)
			w.Clock.Advance(c.wait)
			a := w.Refresh("c1", rt0.Refresh()).Require(c.status)
			if c.status == 200 {
				require.Equal(t, rt1.Refresh(), a.Refresh())
			}
		})
	}
}

func TestRefresh_of_a_predecessor_whose_successor_was_used_R04(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		rt0 := w.Login("c1", "alice")
		rt1 := w.Refresh("c1", rt0.Refresh()).Require(200)
		rt2 := w.Refresh("c1", rt1.Refresh()).Require(200)
		w.Refresh("c1", rt0.Refresh()).Refused(400, "invalid_grant")
		for _, a := range []*servertest.Answer{rt0, rt1, rt2} {
			w.Refresh("c1", a.Refresh()).Refused(400, "invalid_grant")
			require.False(t, w.Active(a.Access()))
		}
	})
}

// R-05 on one machine: what two processes do is in test/.
func TestRefresh_Concurrent_over_two_replicas_R05(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		replicas := []*servertest.World{w, w.Replica()}
		token := w.Login("c1", "alice").Refresh()
		for range 5 {
			var race sync.WaitGroup
			var mu sync.Mutex
			successors := map[string]int{}
			for i := range 16 {
				race.Go(func() {
					a := replicas[i%2].Refresh("c1", token)
					mu.Lock()
					defer mu.Unlock()
					successors[fmt.Sprint(a.Status, " ", a.Refresh())]++
				})
			}
			race.Wait()
			require.Len(t, successors, 1, "one successor, and nobody failed")
			for answer := range successors {
				require.True(t, strings.HasPrefix(answer, "200 gr1_"), answer)
				token = strings.TrimPrefix(answer, "200 ")
			}
		}
		require.Len(t, sessions(t, w), 1)
	})
}

// R-07, and rule 11 of design.md section 8: reuse is judged after the client.
func TestRefresh_by_another_client_changes_nothing_R07(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for _, client := range formats {
			rt0 := w.Login(client, "alice")
			rt1 := w.Refresh(client, rt0.Refresh()).Require(200)
			rt2 := w.Refresh(client, rt1.Refresh()).Require(200)
			w.Clock.Advance(time.Hour)
			for _, stranger := range []string{"c2", "pw", "b1"} {
				for _, a := range []*servertest.Answer{rt2, rt1, rt0} {
					if stranger == "b1" {
						r := w.As(servertest.Form("/oauth2/token", "grant_type", "refresh_token", "refresh_token", a.Refresh()), stranger)
						w.Send(r.Set("Origin", servertest.Origin)).Refused(400, "invalid_grant")
						continue
					}
					w.Refresh(stranger, a.Refresh()).Refused(400, "invalid_grant")
				}
			}
			require.True(t, w.Active(w.Refresh(client, rt2.Refresh()).Require(200).Access()))
		}
	})
}

func TestRefresh_scope_R08_R09(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for _, client := range formats {
			token := w.Login(client, "alice", "scope", "read write openid").Refresh()

			narrow := w.Refresh(client, token, "scope", "read").Require(200)
			require.Equal(t, "read", narrow.Text("scope"), "R-08")
			require.Equal(t, "read", w.Introspect("rs", narrow.Access()).Text("scope"))

			// what is refused has not moved the grant, so an honest refresh is no reuse.
			w.Clock.Advance(time.Minute)
			for _, scope := range []string{"read profile", "profile", "email", "evil", "READ", "*", "read\twrite", "read\nwrite", "read\u00a0write", strings.Repeat("read ", 5000)} {
				w.Refresh(client, narrow.Refresh(), "scope", scope).Refused(400, "invalid_scope")
			}
			w.Clock.Advance(time.Minute)
			whole := w.Refresh(client, narrow.Refresh()).Require(200)
			require.Equal(t, "read write openid", whole.Text("scope"), "nothing asked means all that was granted")
			again := w.Refresh(client, whole.Refresh(), "scope", "openid  read").Require(200)
			require.Equal(t, "openid read", again.Text("scope"))
		}
	})
}

func TestRefresh_narrows_the_audience(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for _, client := range formats {
			login := w.Login(client, "alice", "resource", servertest.API, "audience", servertest.OtherAPI)
			token := login.Refresh()
			require.ElementsMatch(t, []any{servertest.API, servertest.OtherAPI}, w.Introspect("rs", login.Access()).JSON["aud"])

			narrow := w.Refresh(client, token, "resource", servertest.API).Require(200)
			require.Equal(t, servertest.API, w.Introspect("rs", narrow.Access()).JSON["aud"])
			w.Clock.Advance(time.Minute)
			// Registered, but not granted to this session: RFC 8707 section 2.2.
			w.Refresh(client, narrow.Refresh(), "resource", w.Issuer).Refused(400, "invalid_target")
			w.Refresh(client, narrow.Refresh(), "resource", "https://evil.test").Refused(400, "invalid_target")
			w.Refresh(client, narrow.Refresh(), "audience", servertest.API+" https://evil.test").Refused(400, "invalid_target")
			w.Clock.Advance(time.Minute)
			whole := w.Refresh(client, narrow.Refresh()).Require(200)
			require.ElementsMatch(t, []any{servertest.API, servertest.OtherAPI}, w.Introspect("rs", whole.Access()).JSON["aud"])
		}
	})
}

// An administrator who takes something from a client takes it from its sessions too.
func TestRefresh_after_the_registration_was_narrowed(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		token := w.Login("c1", "alice", "scope", "read write", "audience", servertest.API+" "+servertest.OtherAPI).Refresh()
		w.UpdateClient("c1", func(c *clients.Client) { c.Scope, c.Audience = []string{"read"}, []string{servertest.API} })

		a := w.Refresh("c1", token).Require(200)
		require.Equal(t, "read", a.Text("scope"))
		require.Equal(t, servertest.API, w.Introspect("rs", a.Access()).JSON["aud"])
		w.Refresh("c1", a.Refresh(), "scope", "write").Refused(400, "invalid_scope")
		w.Refresh("c1", a.Refresh(), "resource", servertest.OtherAPI).Refused(400, "invalid_target")

		// Nothing is left: no token for somewhere else instead.
		w.UpdateClient("c1", func(c *clients.Client) { c.Audience = nil })
		refused := w.Refresh("c1", a.Refresh()).Refused(400, "invalid_target")
		require.Empty(t, refused.Access())
		w.Clock.Advance(time.Minute) // the refusal has spent nothing: this is no retry

		// It is given back, and the session goes on where it was.
		w.UpdateClient("c1", func(c *clients.Client) { c.Audience = []string{servertest.API} })
		w.Refresh("c1", a.Refresh()).Require(200)

		w.UpdateClient("c1", func(c *clients.Client) { c.Grants, c.RedirectURIs = []string{clients.GrantPassword}, nil })
		w.Refresh("c1", a.Refresh()).Refused(400, "unauthorized_client")
	})
}

func TestRefresh_with_something_else_R10_R11(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		login := w.Login("c1", "alice", "scope", "openid")
		good := login.Refresh()
		id, generation, err := w.Codec.Parse(grants.Refresh, good)
		require.NoError(t, err)
		other := w.Login("sealed", "alice")
		flip := func(at int) string {
			b := []byte(good)
			if b[at]++; b[at] == 'z'+1 || b[at] == '9'+1 || b[at] == 'Z'+1 {
				b[at] = 'A'
			}
			return string(b)
		}
		w.Refresh("c1", good, "scope", "evil") // the client is in the cache now
		for name, token := range map[string]string{
			"R-10 a JWT access token":      login.Access(),
			"R-10 an opaque access token":  other.Access(),
			"R-10 an ID token":             w.Sign("JWT", `{"iss":"`+w.Issuer+`","sub":"id-of-alice","aud":"c1"}`),
			"C-08 a code":                  w.Codec.Mint(grants.Code, id, 0),
			"a code of a later generation": w.Codec.Mint(grants.Code, id, generation),
			"the code's generation":        w.Codec.Mint(grants.Refresh, id, 0),
			"R-11 cut at the end":          good[:len(good)-1],
			"R-11 cut at the start":        good[1:],
			"R-11 longer":                  good + "A",
			"R-11 last changed":            flip(len(good) - 1),
			"R-11 middle changed":          flip(len(good) / 2),
			"R-11 first of the body":       flip(4),
			"R-11 kind changed":            "gx1_" + good[4:],
			"R-11 without kind":            good[4:],
			"R-11 padded":                  good + "=",
			"R-11 a line at the end":       good + "\n",
			"R-11 a blank in front":        " " + good,
			"R-11 twice":                   good + good,
			"R-11 60 KB":                   strings.Repeat("evil", 15_000),
			"R-11 an apostrophe":           "' OR 1=1--",
		} {
			spent := w.Statements(func() { w.Refresh("c1", token).Refused(400, "invalid_grant") })
			require.Zero(t, spent, "%s: refused without a query", name)
		}
		w.Refresh("c1", "").Refused(400, "invalid_request")
		w.Token("c1", "grant_type", "refresh_token").Refused(400, "invalid_request")
		w.Refresh("c1", w.Codec.Mint(grants.Refresh, id, generation+1)).Refused(400, "invalid_grant")
		w.Refresh("c1", w.Codec.Mint(grants.Refresh, id, 1<<62)).Refused(400, "invalid_grant")
		w.Refresh("c1", good).Require(200)
	})
}

func TestRefresh_idle_and_absolute_limits_R12(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		const idle, life = 14 * 24 * time.Hour, 90 * 24 * time.Hour
		for wait, status := range map[time.Duration]int{idle - time.Microsecond: 200, idle: 400, idle + time.Hour: 400} {
			token := w.Login("c1", "alice").Refresh()
			w.Clock.Advance(wait)
			w.Refresh("c1", token).Require(status)
		}
		// Used every day: renewal moves the idle limit and never the absolute one.
		login := w.Login("c1", "alice")
		began, token := w.Clock.Now(), login.Refresh()
		var last *servertest.Answer
		for w.Clock.Now().Sub(began) < life-13*24*time.Hour {
			w.Clock.Advance(13 * 24 * time.Hour)
			last = w.Refresh("c1", token).Require(200)
			token = last.Refresh()
		}
		w.Clock.Set(began.Add(life - 5*time.Second))
		last = w.Refresh("c1", token).Require(200)
		require.LessOrEqual(t, last.JSON["expires_in"], float64(5), "an access token does not outlive its session")
		require.True(t, w.Active(last.Access()))
		w.Clock.Set(began.Add(life))
		w.Refresh("c1", last.Refresh()).Refused(400, "invalid_grant")
		w.Refresh("c1", token).Refused(400, "invalid_grant")
		require.False(t, w.Active(last.Access()))
		require.Equal(t, "expired", session(t, w, token).Dead)
	})
}

func TestRefresh_limits_of_the_client(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	w.AddClient(clients.Client{
		ID: "short", Grants: []string{"password", "refresh_token"}, AccessTokenLifetime: 30 * time.Second,
		RefreshTokenLifetime: time.Minute, SessionLifetime: 3 * time.Minute,
	})
	login := w.Login("short", "alice")
	require.InDelta(t, 30, login.JSON["expires_in"], 0)
	w.Clock.Advance(time.Minute)
	w.Refresh("short", login.Refresh()).Refused(400, "invalid_grant")

	token, began := w.Login("short", "alice").Refresh(), w.Clock.Now()
	for range 3 {
		w.Clock.Advance(59 * time.Second)
		token = w.Refresh("short", token).Require(200).Refresh()
	}
	w.Clock.Set(began.Add(3 * time.Minute))
	w.Refresh("short", token).Refused(400, "invalid_grant")
}

func TestRefresh_of_a_disabled_user_R13(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		other := w.Replica()
		login := w.Login("c1", "alice")
		bob := w.Login("c1", "bob")
		require.True(t, other.Active(login.Access()))
		require.NoError(t, w.Store.DisableUser(t.Context(), servertest.UserID("alice")))
		for _, replica := range []*servertest.World{other, w} {
			require.False(t, replica.Active(login.Access()), "I-07")
			replica.Userinfo(login.Access()).Refused(401, "invalid_token")
			replica.Refresh("c1", login.Refresh()).Refused(400, "invalid_grant")
			replica.TryLogin("c1", "alice").Refused(400, "invalid_grant")
		}
		// The documented rule (storage.EnableUser): the account works again, ended sessions stay ended.
		require.NoError(t, w.Store.EnableUser(t.Context(), servertest.UserID("alice")))
		w.Refresh("c1", login.Refresh()).Refused(400, "invalid_grant")
		require.False(t, w.Active(login.Access()))
		w.Login("c1", "alice")
		w.Refresh("c1", bob.Refresh()).Require(200)
	})
}

func TestRefresh_of_a_disabled_client_G07(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		other := w.Replica()
		login := w.Login("c1", "alice")
		require.True(t, other.Active(login.Access()))
		other.Refresh("c1", login.Refresh(), "scope", "evil").Refused(400, "invalid_scope") // the other replica knows the client now
		require.NoError(t, w.Store.DisableClient(t.Context(), "c1"))

		w.Refresh("c1", login.Refresh()).Refused(401, "invalid_client")
		require.False(t, w.Active(login.Access()))
		w.Userinfo(login.Access()).Refused(401, "invalid_token")
		// A replica whose cache is young still knows the client; its row says no all the same.
		other.Refresh("c1", login.Refresh()).Refused(400, "invalid_grant")
		other.TryLogin("c1", "alice").Refused(400, "invalid_grant")
		require.False(t, other.Active(login.Access()))
		w.Clock.Advance(2 * time.Second)
		other.Refresh("c1", login.Refresh()).Refused(401, "invalid_client")

		require.NoError(t, w.Store.EnableClient(t.Context(), "c1"))
		w.Refresh("c1", login.Refresh()).Require(200)
		ended, err := w.Store.DeleteClient(t.Context(), "c1")
		require.NoError(t, err)
		require.Equal(t, int64(1), ended)
		w.Refresh("c1", login.Refresh()).Refused(401, "invalid_client")
		require.False(t, w.Active(login.Access()))
	})
}

// nothing happened, so nothing is lost.
func TestRefresh_when_the_database_fails_before_the_commit_R14(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(_ *testing.T, w *servertest.World) {
		for _, client := range formats {
			login := w.Login(client, "alice")
			mend := w.Break(everything)
			for range 3 {
				w.Refresh(client, login.Refresh()).Refused(503, "temporarily_unavailable")
			}
			mend()
			w.Clock.Advance(time.Hour)
			w.Refresh(client, login.Refresh()).Require(200)
		}
	})
}

// it happened, and only the answer is lost.
func TestRefresh_when_the_answer_of_the_commit_is_lost_R15(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for _, client := range formats {
			login := w.Login(client, "alice")
			mend := w.BreakAnswers(everything)
			w.Refresh(client, login.Refresh()).Refused(503, "temporarily_unavailable")
			mend()
			require.Equal(t, int64(2), session(t, w, login.Refresh()).Generation, "it was committed")
			first := w.Refresh(client, login.Refresh()).Require(200)
			second := w.Refresh(client, login.Refresh()).Require(200)
			require.Equal(t, first.Refresh(), second.Refresh())
			w.Refresh(client, first.Refresh()).Require(200)
		}
	})
}

// 300 here; the bound on rows is what matters, and it does not depend on how many.
func TestRefresh_many_times_is_one_row_R16(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		token := w.Login("c1", "alice").Refresh()
		for range 300 {
			w.Clock.Advance(time.Second)
			token = w.Refresh("c1", token).Require(200).Refresh()
		}
		require.Len(t, sessions(t, w), 1)
		require.Equal(t, int64(301), session(t, w, token).Generation)
	})
}

// server secrets are rotated by putting the new one first.
func TestRefresh_after_the_server_secret_was_rotated_Q05(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	login := w.Login("c1", "alice")
	sealed := w.Login("sealed", "alice")
	const next = "the-next-secret-of-this-server-long-enough"
	both := w.WithKeyring(next + " , " + w.KeyringText)
	require.True(t, both.Active(sealed.Access()))
	renewed := both.Refresh("c1", login.Refresh()).Require(200)
	after := w.WithKeyring(next)
	after.Refresh("c1", login.Refresh()).Refused(400, "invalid_grant")
	require.False(t, after.Active(sealed.Access()))
	after.Refresh("c1", renewed.Refresh()).Require(200)
}
