package storage_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
)

func ids(list []storage.Session) (out []grants.ID) {
	for _, s := range list {
		out = append(out, s.ID)
	}
	return out
}

func TestGrants_round_trip(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		begin(t, e, 0)
		now := e.Clock.Now()
		want := grants.Grant{
			ID: newID(t), ClientID: "app", UserID: "id-alice", Scope: []string{"read", "write"}, Audience: []string{"https://api.test", "b"}, State: grants.Live,
			Generation: 1, CreatedAt: now, RotatedAt: now, ExpiresAt: now.Add(life), Thumbprint: "jkt", CreatedFrom: "2001:db8::1", RotatedFrom: "2001:db8::1",
			BrowserID: signIn(t, e, "alice").ID, Details: grants.Details{AuthTime: now, AMR: []string{"pwd"}, UserAgent: "curl/8", UserinfoClaims: []string{"picture"}},
		}
		filled(t, want, "RevokedAt", "Reason", "RedirectURI", "CodeChallenge")
		begun, err := e.Store.Begin(ctx, want, time.Time{})
		require.NoError(t, err)
		require.True(t, begun)
		want.Details.Version = grants.DetailsVersion
		got, err := e.Store.Session(ctx, want.ID)
		require.NoError(t, err)
		require.Equal(t, storage.Session{Grant: want, UserName: "alice"}, got)
		access, err := e.Store.Access(ctx, want.ID, "app", "jti", now)
		require.NoError(t, err)
		require.Equal(t, "alice", access.UserName)
		require.Equal(t, "alice@app.test", access.UserEmail)
		require.Equal(t, want.Scope, access.Grant.Scope)
		require.Equal(t, want.Audience, access.Grant.Audience)
		require.Equal(t, want.UserID, access.Grant.UserID)
		require.Equal(t, want.ClientID, access.Grant.ClientID)
		require.Equal(t, want.BrowserID, access.Grant.BrowserID)
		details, err := access.Details()
		require.NoError(t, err)
		require.Equal(t, want.Details, details)

		_, err = e.Store.Begin(ctx, want, time.Time{})
		require.ErrorIs(t, err, storage.ErrGrantExists)
		for _, missing := range []grants.Grant{{ID: newID(t), ClientID: "app", UserID: "nobody"}, {ID: newID(t), ClientID: "none", UserID: "id-alice"}} {
			begun, err = e.Store.Begin(ctx, missing, time.Time{})
			require.NoError(t, err)
			require.False(t, begun)
		}
		_, err = e.Store.Session(ctx, newID(t))
		require.ErrorIs(t, err, grants.ErrNotFound)
		err = e.Store.RevokeSession(ctx, newID(t), grants.ReasonAdmin)
		require.ErrorIs(t, err, grants.ErrNotFound)
		require.NotErrorIs(t, err, storage.ErrUnavailable)
		found, own, err := e.Store.Revoke(ctx, newID(t), "", now, "")
		require.NoError(t, err)
		require.False(t, found || own)
	})
}

func TestSessions_are_listed_newest_first_and_filtered(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		createClient(t, e.Store, "other")
		createUser(t, e.Store, "bob")
		first := begin(t, e, 1)[0]
		e.Clock.Advance(time.Second)
		ended := begin(t, e, 1)[0]
		require.NoError(t, e.Store.RevokeSession(ctx, ended, grants.ReasonAdmin))
		e.Clock.Advance(time.Second)
		atOther, ofBob := login(e.Clock.Now(), newID(t)), login(e.Clock.Now().Add(time.Second), newID(t))
		atOther.ClientID, ofBob.UserID = "other", "id-bob"
		for _, g := range []grants.Grant{atOther, ofBob} {
			begun, err := e.Store.Begin(ctx, g, time.Time{})
			require.NoError(t, err)
			require.True(t, begun)
		}
		for _, c := range []struct {
			filter storage.SessionFilter
			want   []grants.ID
		}{
			{storage.SessionFilter{}, []grants.ID{ofBob.ID, atOther.ID, first}},
			{storage.SessionFilter{Limit: 1}, []grants.ID{ofBob.ID}},
			{storage.SessionFilter{Ended: true}, []grants.ID{ofBob.ID, atOther.ID, ended, first}},
			{storage.SessionFilter{UserID: "id-bob"}, []grants.ID{ofBob.ID}},
			{storage.SessionFilter{ClientID: "app"}, []grants.ID{ofBob.ID, first}},
			{storage.SessionFilter{UserID: "id-alice", ClientID: "app", Ended: true}, []grants.ID{ended, first}},
			{storage.SessionFilter{UserID: "nobody"}, nil},
		} {
			list, err := e.Store.Sessions(ctx, c.filter)
			require.NoError(t, err)
			require.Equal(t, c.want, ids(list), "%+v", c.filter)
		}
		// What is not alive must not push out, by the limit, what is; and a code is no session.
		e.Clock.Advance(2 * time.Second)
		c := code(e.Clock.Now(), newID(t))
		pending := login(e.Clock.Now(), newID(t))
		pending.State = "pending"
		for _, g := range []grants.Grant{c, pending} {
			require.NoError(t, second(e.Store.Begin(ctx, g, time.Time{})))
		}
		require.NoError(t, e.Store.DisableClient(ctx, "other"))
		_, err := storagetest.Database(t, e.URL).ExecContext(ctx, `UPDATE users SET disabled_at = 1 WHERE id = 'id-bob'`)
		require.NoError(t, err)
		live, err := e.Store.Sessions(ctx, storage.SessionFilter{Limit: 1})
		require.NoError(t, err)
		require.Equal(t, []grants.ID{first}, ids(live))
		require.Empty(t, live[0].Dead)
		every, err := e.Store.Sessions(ctx, storage.SessionFilter{Ended: true})
		require.NoError(t, err)
		require.Equal(t, []grants.ID{pending.ID, ofBob.ID, atOther.ID, ended, first}, ids(every))
		require.NoError(t, e.Store.EnableClient(ctx, "other"))

		e.Clock.Set(sessionOf(t, e, first).ExpiresAt)
		list, err := e.Store.Sessions(ctx, storage.SessionFilter{UserID: "id-alice"})
		require.NoError(t, err)
		require.Equal(t, []grants.ID{atOther.ID}, ids(list), "expired ones are ended ones")
	})
}

func sessionOf(t *testing.T, e *storagetest.Env, id grants.ID) storage.Session {
	t.Helper()
	s, err := e.Store.Session(deadline(t), id)
	require.NoError(t, err)
	return s
}

// Why a session is dead, in each way that it can die; and dead it is for every
// question that is asked of it, on the other replica too (INV3).
func TestSessions_die_for_a_reason(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, s := deadline(t), e.Store
		other := e.Open()
		for _, c := range []struct {
			dead   string
			kill   func(t *testing.T, id grants.ID) error
			revive func() error // afterwards everything is as before, but for the session
			lives  bool         // the one case in which it lives again
			from   string       // where the end came from, when it came by a request
		}{
			{dead: "admin", kill: func(_ *testing.T, id grants.ID) error { return s.RevokeSession(ctx, id, grants.ReasonAdmin) }},
			{dead: "admin", kill: func(t *testing.T, _ grants.ID) error {
				n, err := s.RevokeUserSessions(ctx, "id-alice", grants.ReasonAdmin)
				require.EqualValues(t, 1, n)
				return err
			}},
			{dead: "client", kill: func(_ *testing.T, id grants.ID) error {
				_, _, err := s.Revoke(ctx, id, "app", e.Clock.Now(), "192.0.2.7")
				return err
			}, from: "192.0.2.7"},
			{dead: "password_changed", kill: func(t *testing.T, _ grants.ID) error {
				n, err := s.SetPassword(ctx, "id-alice", "another", false)
				require.EqualValues(t, 1, n)
				return err
			}},
			{dead: "user_disabled", kill: func(*testing.T, grants.ID) error { return s.DisableUser(ctx, "id-alice") }, revive: func() error { return s.EnableUser(ctx, "id-alice") }},
			{dead: "user_disabled", kill: func(t *testing.T, _ grants.ID) error {
				n, err := s.DeleteUser(ctx, "id-alice")
				require.EqualValues(t, 1, n)
				return err
			}, revive: func() error { createUser(t, s, "alice"); return nil }},
			{dead: "client disabled", kill: func(*testing.T, grants.ID) error { return s.DisableClient(ctx, "app") }, revive: func() error { return s.EnableClient(ctx, "app") }, lives: true},
			{dead: "client_deleted", kill: func(t *testing.T, _ grants.ID) error {
				n, err := s.DeleteClient(ctx, "app")
				require.EqualValues(t, 1, n)
				return err
			}, revive: func() error { createClient(t, s, "app"); return nil }},
			{dead: "refresh_reuse", kill: func(t *testing.T, id grants.ID) error {
				_, _, err := rotate(ctx, e, s, id, 2)
				require.NoError(t, err)
				_, verdict, err := rotate(ctx, e, s, id, 1)
				require.Equal(t, grants.Reused, verdict)
				return err
			}, from: "192.0.2.1"},
			{dead: "expired", kill: func(*testing.T, grants.ID) error { e.Clock.Advance(life); return nil }},
		} {
			id := begin(t, e, 1)[0]
			_, verdict, err := rotate(ctx, e, s, id, 1)
			require.NoError(t, err)
			require.Equal(t, grants.Rotated, verdict)
			generation := int64(2)
			if c.dead == "refresh_reuse" {
				generation = 3
			}
			require.NoError(t, c.kill(t, id), c.dead)
			isDead := func(want string) {
				t.Helper()
				session, err := other.Session(ctx, id)
				require.NoError(t, err)
				require.Equal(t, want, session.Dead)
				require.Equal(t, c.from, session.RevokedFrom, want)
				access, err := other.Access(ctx, id, "app", "jti", e.Clock.Now())
				require.NoError(t, err)
				require.Nil(t, access.Grant, want)
				for g := int64(1); g <= generation; g++ {
					_, verdict, err := rotate(ctx, e, other, id, g)
					require.NoError(t, err)
					require.Equal(t, grants.Dead, verdict, want)
				}
			}
			isDead(c.dead)
			if c.dead != "expired" && !c.lives {
				require.NoError(t, s.RevokeSession(ctx, id, grants.ReasonAdmin))
				isDead(c.dead) // the first reason stays
			}
			if c.revive != nil {
				require.NoError(t, c.revive())
			}
			if !c.lives {
				isDead(c.dead)
				continue
			}
			_, verdict, err = rotate(ctx, e, other, id, generation)
			require.NoError(t, err)
			require.Equal(t, grants.Rotated, verdict, "enabling a client again gives its sessions back")
			require.NoError(t, s.RevokeSession(ctx, id, grants.ReasonAdmin))
		}
	})
}

func TestSetPassword_may_keep_sessions(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		id := begin(t, e, 1)[0]
		ended, err := e.Store.SetPassword(ctx, "id-alice", "another", true)
		require.NoError(t, err)
		require.Zero(t, ended)
		_, verdict, err := rotate(ctx, e, e.Store, id, 1)
		require.NoError(t, err)
		require.Equal(t, grants.Rotated, verdict)
		user, err := e.Store.UserByLogin(ctx, "alice")
		require.NoError(t, err)
		require.Equal(t, "another", user.PasswordHash)
	})
}

// A sign-in with the old password that was still being hashed when the password was
// replaced begins nothing: the thief of it would stay.
func TestBegin_refuses_a_password_that_was_replaced_meanwhile(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		begin(t, e, 0)
		begins := func(change func() error) bool {
			t.Helper()
			read, err := e.Store.UserByLogin(ctx, "alice")
			require.NoError(t, err)
			e.Clock.Advance(time.Millisecond) // the hash is computed
			require.NoError(t, change())
			begun, err := e.Store.Begin(ctx, login(e.Clock.Now(), newID(t)), read.UpdatedAt)
			require.NoError(t, err)
			return begun
		}
		require.True(t, begins(func() error { return nil }))
		for _, keep := range []bool{false, true} {
			require.False(t, begins(func() error { return second(e.Store.SetPassword(ctx, "id-alice", "another", keep)) }))
		}
		require.False(t, begins(func() error { return e.Store.DisableUser(ctx, "id-alice") }))
		require.NoError(t, e.Store.EnableUser(ctx, "id-alice"))
		require.True(t, begins(func() error { return nil }))
	})
}

func TestDeny_ends_one_access_token(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		id := begin(t, e, 1)[0]
		for range 2 { // twice is fine
			require.NoError(t, e.Store.Deny(ctx, "one", "app", e.Clock.Now().Add(time.Minute)))
		}
		for jti, want := range map[string]bool{"one": true, "two": false, "": false, "ONE": false} {
			access, err := e.Open().Access(ctx, id, "app", jti, e.Clock.Now())
			require.NoError(t, err)
			require.Equal(t, want, access.Denied, jti)
			require.NotNil(t, access.Grant)
		}
		access, err := e.Store.Access(ctx, grants.ID{}, "unknown", "one", e.Clock.Now())
		require.NoError(t, err)
		require.Equal(t, storage.AccessRecord{Denied: true}, access)
	})
}

// A thief of the database, or of a backup, has no token: not one byte of a MAC is there.
func TestDump_holds_no_token(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		codec, err := grants.NewCodec([]grants.Key{{ID: [4]byte{1, 2, 3, 4}, Secret: bytes.Repeat([]byte("k"), 32)}})
		require.NoError(t, err)
		list := begin(t, e, 5)
		for i, id := range list {
			for generation := range int64(i) {
				_, _, err := rotate(ctx, e, e.Store, id, generation+1)
				require.NoError(t, err)
			}
		}
		_, _, err = e.Store.Revoke(ctx, list[4], "app", e.Clock.Now(), "")
		require.NoError(t, err)
		everything := dump(t, e)
		require.Contains(t, everything, "id-alice", "the dump is one")
		require.Contains(t, everything, hex.EncodeToString(list[0][:]), "the dump is one")
		for _, id := range list {
			for _, kind := range []grants.Kind{grants.Code, grants.Refresh, grants.Browser} {
				for generation := range int64(8) {
					token := codec.Mint(kind, id, generation)
					raw, err := base64.RawURLEncoding.DecodeString(token[4:])
					require.NoError(t, err)
					mac := raw[len(raw)-32:]
					for _, secret := range []string{token, token[4:], token[60:], hex.EncodeToString(mac), base64.StdEncoding.EncodeToString(mac), string(mac[:8])} {
						require.NotContains(t, everything, secret)
					}
				}
			}
		}
	})
}

// dump is all rows of all tables as text, bytes in hexadecimal.
func dump(t *testing.T, e *storagetest.Env) string {
	t.Helper()
	db := storagetest.Database(t, e.URL)
	var out bytes.Buffer
	for _, table := range []string{"clients", "client_secrets", "users", "grants", "denied_tokens", "signing_keys", "leases", "revisions", "browsers", "consents", "logout_notices", "throttles"} {
		rows, err := db.QueryContext(deadline(t), "SELECT * FROM "+table)
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			values, places := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				places[i] = &values[i]
			}
			require.NoError(t, rows.Scan(places...))
			for i, v := range values {
				if raw, ok := v.([]byte); ok {
					v = hex.EncodeToString(raw)
				}
				fmt.Fprintf(&out, "%s.%s = %v\n", table, columns[i], v)
			}
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close()) //nolint:sqlclosecheck // one table after the other
	}
	return out.String()
}

// A login may be committed just after its client was deleted or its user disabled,
// with a view from just before. The row that this leaves is dead as long as they are
// away, and must not come to life when they come back. TestConcurrent_logins looks for
// the race; here its outcome is made by hand.
func TestLeftovers_of_a_race_stay_dead(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, s := deadline(t), e.Store
		for _, c := range []struct {
			away func() error
			back func()
			want grants.Reason
		}{
			{func() error { return second(s.DeleteClient(ctx, "app")) }, func() { createClient(t, s, "app") }, grants.ReasonClientDeleted},
			{func() error { return s.DisableUser(ctx, "id-alice") }, func() { require.NoError(t, s.EnableUser(ctx, "id-alice")) }, grants.ReasonUserDisabled},
		} {
			id := begin(t, e, 1)[0]
			require.NoError(t, c.away())
			_, err := storagetest.Database(t, e.URL).ExecContext(ctx, `UPDATE grants SET revoked_at = NULL, revoked_reason = NULL WHERE id = $1`, id[:])
			require.NoError(t, err)
			c.back()
			require.Equal(t, string(c.want), sessionOf(t, e, id).Dead)
		}
	})
}
