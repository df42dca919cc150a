package oauth_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/server/servertest"
)

func revoked(t *testing.T, a *servertest.Answer) {
	t.Helper()
	require.Equal(t, 200, a.Status, "%s", a.Body)
	require.Empty(t, a.Body)
}

func TestRevoke_refresh_token_ends_everything_below_it_V01(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		other := w.Replica()
		for _, client := range formats {
			for _, generation := range []string{"current", "previous", "after the window"} {
				rt0 := w.Login(client, "alice", "scope", "openid")
				rt1 := w.Refresh(client, rt0.Refresh()).Require(200)
				spared := w.Login(client, "alice")
				shown := rt1.Refresh()
				if generation != "current" {
					shown = rt0.Refresh()
				}
				if generation == "after the window" {
					w.Clock.Advance(time.Minute)
				}
				revoked(t, w.Revoke(client, shown))
				for _, a := range []*servertest.Answer{rt0, rt1} {
					require.False(t, other.Active(a.Access()))
					other.Refresh(client, a.Refresh()).Refused(400, "invalid_grant")
					other.Userinfo(a.Access()).Refused(401, "invalid_token")
				}
				require.Equal(t, string(grants.ReasonClient), session(t, w, shown).Dead)
				revoked(t, w.Revoke(client, shown)) // V-04
				require.True(t, other.Active(spared.Access()))

				// V-08: a server that starts now knows it.
				require.False(t, w.Replica().Active(rt1.Access()))
			}
		}
	})
}

func TestRevoke_access_token_ends_alone_V02(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		other := w.Replica()
		for _, client := range formats {
			login := w.Login(client, "alice", "scope", "openid")
			second := w.Refresh(client, login.Refresh()).Require(200)
			revoked(t, w.Revoke(client, login.Access(), "token_type_hint", "refresh_token"))
			require.False(t, other.Active(login.Access()))
			other.Userinfo(login.Access()).Refused(401, "invalid_token")
			require.True(t, other.Active(second.Access()))
			w.Refresh(client, second.Refresh()).Require(200)
			revoked(t, w.Revoke(client, login.Access())) // V-04
		}
		at := w.Token("cc", "grant_type", "client_credentials").Access()
		revoked(t, w.Revoke("cc", at))
		require.False(t, other.Active(at))
	})
}

// V-03, and rule 3 of design.md section 8.
func TestRevoke_another_clients_token_V03(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for _, client := range formats {
			login := w.Login(client, "alice")
			renewed := w.Refresh(client, login.Refresh()).Require(200)
			for _, stranger := range []string{"c2", "pw", "rs", "cc"} {
				for _, token := range []string{login.Refresh(), renewed.Refresh(), login.Access(), renewed.Access()} {
					w.Revoke(stranger, token).Refused(400, "invalid_grant")
				}
			}
			require.True(t, w.Active(login.Access()))
			w.Refresh(client, renewed.Refresh()).Require(200)
		}
	})
}

func TestRevoke_what_is_no_token_V04_V05(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		login := w.Login("c1", "alice")
		id := session(t, w, login.Refresh()).ID
		w.Revoke("c1", "x")
		for name, token := range map[string]string{
			"unknown":             "unknown",
			"a refresh token cut": login.Refresh()[:80],
			"an access token cut": login.Access()[:80],
			"a code":              w.Codec.Mint(grants.Code, id, 0),
			"an ID token":         w.Sign("JWT", idToken(w)),
			"60 KB":               strings.Repeat("evil", 15_000),
		} {
			spent := w.Statements(func() { revoked(t, w.Revoke("c1", token)) })
			require.Zero(t, spent, name)
		}
		w.Revoke("c1", "").Refused(400, "invalid_request")
		w.Post("/oauth2/revoke", "c1").Refused(400, "invalid_request")
		// Of a session that never was, or is forgotten.
		revoked(t, w.Revoke("c1", w.Codec.Mint(grants.Refresh, grants.ID{1}, 1)))
		require.True(t, w.Active(login.Access()))

		w.Clock.Advance(time.Hour)
		spent := w.Statements(func() { revoked(t, w.Revoke("c1", login.Access())) })
		require.Zero(t, spent-clientRead, "an expired access token needs no entry on the deny-list")
	})
}

// clientRead is what the cache asks when it was not heard of for two seconds.
const clientRead = 2

// V-06, and rule 2 of design.md section 8.
func TestRevoke_when_the_database_fails_V06(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for _, client := range formats {
			login := w.Login(client, "alice")
			for _, token := range []string{login.Access(), login.Refresh()} {
				w.Revoke(client, "x")
				mend := w.Break(everything)
				w.Revoke(client, token).Refused(503, "temporarily_unavailable")
				mend()
				require.True(t, w.Active(login.Access()), "it has not happened")
			}
			login = w.Refresh(client, login.Refresh()).Require(200)
			revoked(t, w.Revoke(client, login.Refresh()))
			require.False(t, w.Active(login.Access()))

			// It happened and the answer is lost: the retry is a success.
			again := w.Login(client, "alice")
			mend := w.BreakAnswers(everything)
			w.Revoke(client, again.Refresh()).Refused(503, "temporarily_unavailable")
			mend()
			require.False(t, w.Active(again.Access()))
			revoked(t, w.Revoke(client, again.Refresh()))
		}
	})
}

// V-07: whatever was minted in the race is dead when the 200 is there.
func TestRevoke_Concurrent_with_refresh_V07(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		other := w.Replica()
		for range 25 {
			login := w.Login("c1", "alice")
			var race sync.WaitGroup
			answers := make([]*servertest.Answer, 4)
			for i := range answers {
				race.Go(func() {
					if i == 0 {
						answers[i] = w.Revoke("c1", login.Refresh())
						return
					}
					answers[i] = []*servertest.World{w, other}[i%2].Refresh("c1", login.Refresh())
				})
			}
			race.Wait()
			revoked(t, answers[0])
			for _, a := range answers[1:] {
				if a.Status == 200 {
					require.False(t, w.Active(a.Access()))
					w.Refresh("c1", a.Refresh()).Refused(400, "invalid_grant")
					continue
				}
				a.Refused(400, "invalid_grant")
			}
		}
	})
}
