package storage_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
)

func TestConsents_are_remembered_and_withdrawn(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, s := deadline(t), e.Store
		people(t, e)
		consent := func(client string, scope ...string) storage.Consent {
			return storage.Consent{ClientID: client, Scope: scope, Audience: []string{}, GrantedAt: e.Clock.Advance(time.Second)}
		}
		first, second := consent("app", "read"), consent("mail", "read", "write")
		replaced := consent("app", "write")
		replaced.Audience = []string{"https://api.test"}
		for _, c := range []storage.Consent{first, second, replaced} {
			require.NoError(t, s.RememberConsent(ctx, "id-alice", c))
		}
		require.NoError(t, s.RememberConsent(ctx, "id-bob", first))
		require.NoError(t, s.RememberConsent(ctx, "id-alice", consent("unknown")), "there is nothing to remember")
		require.NoError(t, s.RememberConsent(ctx, "nobody", first))
		consents := func(user string) []storage.Consent {
			t.Helper()
			list, err := s.Consents(ctx, user)
			require.NoError(t, err)
			return list
		}
		require.Equal(t, []storage.Consent{replaced, second}, consents("id-alice"))
		require.Empty(t, consents("nobody"))

		b := signIn(t, e, "alice")
		offline := at(t, e, b.ID, func(g *grants.Grant) { g.Scope = []string{"offline_access"} })
		by, other := begin(t, e, 1)[0], at(t, e, b.ID, func(g *grants.Grant) { g.ClientID = "mail" })
		ended, err := s.WithdrawConsent(ctx, "id-alice", "app")
		require.NoError(t, err)
		require.EqualValues(t, 2, ended)
		for _, id := range []grants.ID{offline, by} {
			require.Equal(t, string(grants.ReasonConsentWithdrawn), sessionOf(t, e, id).Dead)
		}
		require.Empty(t, sessionOf(t, e, other).Dead)
		require.Equal(t, []storage.Consent{second}, consents("id-alice"))
		require.Equal(t, []storage.Consent{first}, consents("id-bob"))
		require.Equal(t, map[string]grants.ID{"app": b.ID}, told(t, e))
		_, found := signedIn(t, e, b.ID, 1)
		require.True(t, found, "they are still signed in here")
		for _, client := range []string{"app", "unknown", "\x00"} {
			ended, err = s.WithdrawConsent(ctx, "id-alice", client)
			require.NoError(t, err)
			require.Zero(t, ended)
		}
	})
}

// What comes back with the same id inherits no consent.
func TestConsents_go_with_their_user_and_client(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, s := deadline(t), e.Store
		people(t, e)
		for _, client := range []string{"app", "mail"} {
			require.NoError(t, s.RememberConsent(ctx, "id-alice", storage.Consent{ClientID: client, GrantedAt: e.Clock.Now()}))
		}
		at(t, e, signIn(t, e, "alice").ID, nil)
		require.NoError(t, second(s.RevokeUserSessions(ctx, "id-alice", grants.ReasonAdmin)))
		require.NoError(t, second(s.DeleteClient(ctx, "app")))
		createClient(t, s, "app")
		list, err := s.Consents(ctx, "id-alice")
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, "mail", list[0].ClientID)
		require.Empty(t, told(t, e), "there is nobody to tell")
		require.NoError(t, second(s.DeleteUser(ctx, "id-alice")))
		createUser(t, s, "alice")
		list, err = s.Consents(ctx, "id-alice")
		require.NoError(t, err)
		require.Empty(t, list)
	})
}
