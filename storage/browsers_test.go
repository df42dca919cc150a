package storage_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
	"github.com/grantorhq/grantor/users"
)

// signedIn reads what the cookie of that generation says now.
func signedIn(t *testing.T, e *storagetest.Env, id grants.ID, generation int64) (storage.SignedIn, bool) {
	t.Helper()
	in, found, err := e.Store.SignedIn(deadline(t), id, generation, "app", e.Clock.Now())
	require.NoError(t, err)
	return in, found
}

// at begins a session of alice from a browser.
func at(t *testing.T, e *storagetest.Env, browser grants.ID, change func(*grants.Grant)) grants.ID {
	t.Helper()
	g := login(e.Clock.Now(), newID(t))
	g.BrowserID = browser
	if change != nil {
		change(&g)
	}
	begun, err := e.Store.Begin(deadline(t), g, time.Time{})
	require.NoError(t, err)
	require.True(t, begun)
	return g.ID
}

// told are the clients and sign-ins of all notices that are due.
func told(t *testing.T, e *storagetest.Env) map[string]grants.ID {
	t.Helper()
	list, err := e.Store.ClaimLogoutNotices(deadline(t), 100, time.Minute)
	require.NoError(t, err)
	found := map[string]grants.ID{}
	for _, n := range list {
		require.Equal(t, "id-alice", n.UserID)
		require.NotContains(t, found, n.ClientID)
		found[n.ClientID] = n.BrowserID
		require.NoError(t, e.Store.DeleteLogoutNotice(deadline(t), n.ID))
	}
	return found
}

// people creates alice, bob and clients: app wants to be told of sign-outs, so does
// mail, other does not, and quiet would but is switched off.
func people(t *testing.T, e *storagetest.Env) {
	t.Helper()
	for _, id := range []string{"app", "mail", "other", "quiet"} {
		c := clients.Client{ID: id, Name: id, Grants: []string{"authorization_code"}, Scope: []string{"read", "write", "offline_access"}}
		if id != "other" {
			c.BackchannelLogoutURI = "https://" + id + ".test/logout"
		}
		c.SetDefaults()
		require.NoError(t, e.Store.CreateClient(deadline(t), c))
	}
	createUser(t, e.Store, "alice")
	createUser(t, e.Store, "bob")
}

func TestBrowsers_round_trip(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		people(t, e)
		now := e.Clock.Now()
		user, err := e.Store.UserByLogin(ctx, "alice")
		require.NoError(t, err)
		want := storage.Browser{
			ID: newID(t), Generation: 1, UserID: "id-alice", AuthTime: now, CreatedAt: now.Add(-time.Second), ExpiresAt: now.Add(time.Hour),
			AMR: []string{"pwd", "otp"}, UserAgent: "Firefox <ä>", Address: "2001:db8::1",
		}
		filled(t, want)
		begun, err := e.Store.BeginBrowser(ctx, want, user.UpdatedAt)
		require.NoError(t, err)
		require.True(t, begun)
		in, found := signedIn(t, e, want.ID, 1)
		require.True(t, found)
		require.Equal(t, storage.SignedIn{Browser: want, User: user}, in)

		consent := storage.Consent{ClientID: "app", Scope: []string{"read", "write"}, Audience: []string{"https://api.test"}, GrantedAt: now}
		require.NoError(t, e.Store.RememberConsent(ctx, "id-alice", consent))
		in, _ = signedIn(t, e, want.ID, 1)
		require.Equal(t, &consent, in.Consent)
		for _, client := range []string{"other", "", "\x00"} {
			in, found, err = e.Store.SignedIn(ctx, want.ID, 1, client, now)
			require.NoError(t, err)
			require.True(t, found)
			require.Nil(t, in.Consent)
		}

		for name, ask := range map[string]func() (storage.SignedIn, bool, error){
			"another generation": func() (storage.SignedIn, bool, error) { return e.Store.SignedIn(ctx, want.ID, 2, "", now) },
			"an older one":       func() (storage.SignedIn, bool, error) { return e.Store.SignedIn(ctx, want.ID, 0, "", now) },
			"unknown":            func() (storage.SignedIn, bool, error) { return e.Store.SignedIn(ctx, newID(t), 1, "", now) },
			"expired":            func() (storage.SignedIn, bool, error) { return e.Store.SignedIn(ctx, want.ID, 1, "", want.ExpiresAt) },
		} {
			in, found, err := ask()
			require.NoError(t, err, name)
			require.False(t, found, name)
			require.Equal(t, storage.SignedIn{}, in, name)
		}
		_, err = e.Store.BeginBrowser(ctx, want, user.UpdatedAt)
		require.ErrorIs(t, err, storage.ErrUnavailable, "an id that is taken is nobody's fault")

		// Nobody is signed in by a password that was checked before the account changed.
		want.ID = newID(t)
		for _, checked := range []time.Time{user.UpdatedAt.Add(-time.Microsecond), user.UpdatedAt.Add(time.Microsecond)} {
			begun, err = e.Store.BeginBrowser(ctx, want, checked)
			require.NoError(t, err)
			require.False(t, begun)
		}
		// A program of before disables without ending sign-ins. It counts all the same.
		first := signIn(t, e, "alice")
		_, err = storagetest.Database(t, e.URL).ExecContext(ctx, `UPDATE users SET disabled_at = 1 WHERE id = 'id-alice'`)
		require.NoError(t, err)
		_, found = signedIn(t, e, first.ID, 1)
		require.False(t, found)
		_, ok, err := e.Store.RenewBrowser(ctx, first, time.Time{})
		require.NoError(t, err)
		require.False(t, ok)
		require.NoError(t, e.Store.DisableUser(ctx, "id-alice"))
		begun, err = e.Store.BeginBrowser(ctx, want, time.Time{})
		require.NoError(t, err)
		require.False(t, begun)
	})
}

func TestRenewBrowser_keeps_the_sid_and_ends_the_cookie(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		people(t, e)
		b := signIn(t, e, "alice")
		session := at(t, e, b.ID, nil)
		user, err := e.Store.UserByLogin(ctx, "alice")
		require.NoError(t, err)
		now := e.Clock.Advance(time.Hour)
		again := b
		again.AuthTime, again.ExpiresAt, again.AMR, again.UserAgent, again.Address = now, now.Add(time.Hour), []string{"otp"}, "Chrome", "192.0.2.9"
		for name, wrong := range map[string]func(*storage.Browser){
			"another user":       func(b *storage.Browser) { b.UserID = "id-bob" },
			"another generation": func(b *storage.Browser) { b.Generation = 2 },
			"unknown":            func(b *storage.Browser) { b.ID = newID(t) },
			"expired":            func(b *storage.Browser) { b.AuthTime = again.CreatedAt.Add(7 * 24 * time.Hour) },
		} {
			c := again
			wrong(&c)
			_, ok, err := e.Store.RenewBrowser(ctx, c, time.Time{})
			require.NoError(t, err)
			require.False(t, ok, name)
		}
		_, ok, err := e.Store.RenewBrowser(ctx, again, user.UpdatedAt.Add(time.Microsecond))
		require.NoError(t, err)
		require.False(t, ok, "the account changed")

		generation, ok, err := e.Store.RenewBrowser(ctx, again, user.UpdatedAt)
		require.NoError(t, err)
		require.True(t, ok)
		require.EqualValues(t, 2, generation)
		_, found := signedIn(t, e, b.ID, 1)
		require.False(t, found, "the cookie of before")
		in, found := signedIn(t, e, b.ID, 2)
		require.True(t, found)
		again.Generation = 2
		require.Equal(t, again, in.Browser)
		require.Empty(t, sessionOf(t, e, session).Dead, "what began before goes on")
	})
}

func TestBegin_wants_the_browser_signed_in(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		people(t, e)
		alices, bobs := signIn(t, e, "alice"), signIn(t, e, "bob")
		begins := func(browser grants.ID) bool {
			t.Helper()
			g := code(e.Clock.Now(), newID(t))
			g.BrowserID = browser
			begun, err := e.Store.Begin(ctx, g, time.Time{})
			require.NoError(t, err)
			return begun
		}
		require.True(t, begins(alices.ID))
		require.False(t, begins(bobs.ID))
		require.False(t, begins(newID(t)))
		_, found, err := e.Store.EndBrowser(ctx, "id-alice", alices.ID)
		require.NoError(t, err)
		require.True(t, found)
		require.False(t, begins(alices.ID), "signed out meanwhile")
		b := signIn(t, e, "alice")
		e.Clock.Set(b.ExpiresAt)
		require.False(t, begins(b.ID), "expired meanwhile")
	})
}

func TestEndBrowser_ends_what_began_there_and_files_notices(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		people(t, e)
		here, there := signIn(t, e, "alice"), signIn(t, e, "alice")
		client := func(id string, scope ...string) func(*grants.Grant) {
			return func(g *grants.Grant) { g.ClientID, g.Scope = id, scope }
		}
		online := at(t, e, here.ID, client("app", "read"))
		twice := at(t, e, here.ID, client("app", "read"))
		offline := at(t, e, here.ID, client("mail", "read", "offline_access"))
		untold := at(t, e, here.ID, client("other", "not_offline_access", "offline_access_not"))
		off := at(t, e, here.ID, client("quiet", "read"))
		unredeemed := at(t, e, here.ID, func(g *grants.Grant) {
			g.ClientID, g.Scope, g.Generation, g.ExpiresAt = "mail", []string{"offline_access"}, 0, g.CreatedAt.Add(grants.CodeLifetime)
		})
		elsewhere, by := at(t, e, there.ID, nil), begin(t, e, 1)[0]
		require.NoError(t, e.Store.DisableClient(ctx, "quiet"))

		for _, wrong := range []struct {
			user string
			id   grants.ID
		}{{"id-bob", here.ID}, {"id-alice", newID(t)}, {"id-alice", grants.ID{}}} {
			ended, found, err := e.Store.EndBrowser(ctx, wrong.user, wrong.id)
			require.NoError(t, err)
			require.False(t, found)
			require.Zero(t, ended)
		}
		e.Clock.Advance(time.Second)
		ended, found, err := e.Store.EndBrowser(ctx, "id-alice", here.ID)
		require.NoError(t, err)
		require.True(t, found)
		require.EqualValues(t, 5, ended)
		_, found = signedIn(t, e, here.ID, 1)
		require.False(t, found)
		for _, id := range []grants.ID{online, twice, untold, off, unredeemed} {
			require.Equal(t, string(grants.ReasonSignedOut), sessionOf(t, e, id).Dead)
		}
		for _, id := range []grants.ID{offline, elsewhere, by} {
			require.Empty(t, sessionOf(t, e, id).Dead)
		}
		_, found = signedIn(t, e, there.ID, 1)
		require.True(t, found)
		require.Equal(t, map[string]grants.ID{"app": here.ID, "mail": here.ID}, told(t, e), "also who may go on offline is told that nobody is there")

		_, found, err = e.Store.EndBrowser(ctx, "id-alice", here.ID)
		require.NoError(t, err)
		require.False(t, found, "twice is nothing")
		require.Empty(t, told(t, e))

		// The sign-in is gone already, what began there is not.
		_, err = storagetest.Database(t, e.URL).ExecContext(ctx, `DELETE FROM browsers`)
		require.NoError(t, err)
		ended, found, err = e.Store.EndBrowser(ctx, "id-alice", there.ID)
		require.NoError(t, err)
		require.True(t, found)
		require.EqualValues(t, 1, ended)
		require.Equal(t, map[string]grants.ID{"app": there.ID}, told(t, e))
	})
}

// A code that nobody redeemed is no session: its client is not told of one.
func TestEndBrowser_tells_nobody_of_a_code(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		people(t, e)
		b := signIn(t, e, "alice")
		at(t, e, b.ID, func(g *grants.Grant) { g.Generation = 0 })
		ended, _, err := e.Store.EndBrowser(deadline(t), "id-alice", b.ID)
		require.NoError(t, err)
		require.EqualValues(t, 1, ended)
		require.Empty(t, told(t, e))
	})
}

func TestBrowsers_lists_where_a_user_is_signed_in(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		people(t, e)
		first := signIn(t, e, "alice")
		session := at(t, e, first.ID, nil)
		e.Clock.Advance(time.Minute)
		second := signIn(t, e, "alice")
		signIn(t, e, "bob")
		used := e.Clock.Advance(time.Hour)
		_, verdict, err := rotate(ctx, e, e.Store, session, 1)
		require.NoError(t, err)
		require.Equal(t, grants.Rotated, verdict)
		list, err := e.Store.Browsers(ctx, "id-alice")
		require.NoError(t, err)
		require.Equal(t, []storage.BrowserUse{{Browser: second, LastUsed: second.AuthTime}, {Browser: first, LastUsed: used}}, list)
		e.Clock.Set(first.ExpiresAt)
		list, err = e.Store.Browsers(ctx, "id-alice")
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, first.ID, sessionOf(t, e, session).BrowserID)
	})
}

// Each of these ends sign-ins and sessions with one reason; what it keeps is kept.
func TestEndings(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, s := deadline(t), e.Store
		people(t, e)
		changed := func(keep grants.ID) error {
			user, err := s.UserByLogin(ctx, "alice")
			require.NoError(t, err)
			_, err = s.ChangePassword(ctx, "id-alice", "another", user.UpdatedAt, keep)
			return err
		}
		for _, c := range []struct {
			name  string
			want  grants.Reason
			keeps bool // the sign-in here, and what began here
			end   func(keep grants.ID) error
			back  func()
		}{
			{"EndOthers", grants.ReasonUser, true, func(keep grants.ID) error { return second(s.EndOthers(ctx, "id-alice", keep)) }, nil},
			{"ChangePassword", grants.ReasonPasswordChanged, true, changed, nil},
			{"SetPassword", grants.ReasonPasswordChanged, false, func(grants.ID) error { return second(s.SetPassword(ctx, "id-alice", "another", false)) }, nil},
			{"RevokeUserSessions", grants.ReasonAdmin, false, func(grants.ID) error { return second(s.RevokeUserSessions(ctx, "id-alice", grants.ReasonAdmin)) }, nil},
			{"DisableUser", grants.ReasonUserDisabled, false, func(grants.ID) error { return s.DisableUser(ctx, "id-alice") }, func() { require.NoError(t, s.EnableUser(ctx, "id-alice")) }},
			{"DeleteUser", grants.ReasonUserDisabled, false, func(grants.ID) error { return second(s.DeleteUser(ctx, "id-alice")) }, func() { createUser(t, s, "alice") }},
		} {
			here, there, bobs := signIn(t, e, "alice"), signIn(t, e, "alice"), signIn(t, e, "bob")
			kept := at(t, e, here.ID, func(g *grants.Grant) { g.ClientID = "mail" })
			offline := at(t, e, there.ID, func(g *grants.Grant) { g.Scope = []string{"offline_access"} })
			by := begin(t, e, 1)[0]
			ofBob := at(t, e, bobs.ID, func(g *grants.Grant) { g.UserID = "id-bob" })
			require.NoError(t, c.end(here.ID), c.name)
			if c.back != nil {
				c.back()
			}
			_, found := signedIn(t, e, here.ID, 1)
			require.Equal(t, c.keeps, found, c.name)
			_, found = signedIn(t, e, there.ID, 1)
			require.False(t, found, c.name)
			_, found = signedIn(t, e, bobs.ID, 1)
			require.True(t, found, c.name)
			for id, want := range map[grants.ID]bool{kept: c.keeps, offline: false, by: false} {
				if want {
					require.Empty(t, sessionOf(t, e, id).Dead, c.name)
				} else {
					require.Equal(t, string(c.want), sessionOf(t, e, id).Dead, c.name)
				}
			}
			require.Empty(t, sessionOf(t, e, ofBob).Dead, c.name)
			notices := map[string]grants.ID{"app": there.ID}
			if !c.keeps {
				notices["mail"] = here.ID
			}
			require.Equal(t, notices, told(t, e), c.name)
			_, err := s.RevokeUserSessions(ctx, "id-alice", grants.ReasonAdmin)
			require.NoError(t, err)
			told(t, e)
		}
		// Keeping all keeps the sign-ins too.
		b := signIn(t, e, "alice")
		require.NoError(t, second(s.SetPassword(ctx, "id-alice", "another", true)))
		_, found := signedIn(t, e, b.ID, 1)
		require.True(t, found)
	})
}

// L-13: nobody ends what is another's.
func TestEndUserSession_only_ones_own(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		people(t, e)
		b := signIn(t, e, "alice")
		session, beside := at(t, e, b.ID, nil), at(t, e, b.ID, func(g *grants.Grant) { g.ClientID = "mail" })
		for _, wrong := range []struct {
			user string
			id   grants.ID
		}{{"id-bob", session}, {"", session}, {"id-alice", newID(t)}} {
			own, err := e.Store.EndUserSession(ctx, wrong.user, wrong.id)
			require.NoError(t, err)
			require.False(t, own)
		}
		require.Empty(t, sessionOf(t, e, session).Dead)
		for range 2 { // twice is fine
			own, err := e.Store.EndUserSession(ctx, "id-alice", session)
			require.NoError(t, err)
			require.True(t, own)
		}
		require.Equal(t, string(grants.ReasonUser), sessionOf(t, e, session).Dead)
		require.Empty(t, sessionOf(t, e, beside).Dead)
		_, found := signedIn(t, e, b.ID, 1)
		require.True(t, found)
		require.Equal(t, map[string]grants.ID{"app": b.ID}, told(t, e))
	})
}

func TestChangePassword_compares_what_was_checked(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		people(t, e)
		b := signIn(t, e, "alice")
		user, err := e.Store.UserByLogin(ctx, "alice")
		require.NoError(t, err)
		updated, err := e.Store.ChangePassword(ctx, "id-alice", "another", user.UpdatedAt, b.ID)
		require.NoError(t, err)
		require.True(t, updated.After(user.UpdatedAt), "also in the same instant")
		after, err := e.Store.UserByLogin(ctx, "alice")
		require.NoError(t, err)
		require.Equal(t, "another", after.PasswordHash)
		require.Equal(t, updated, after.UpdatedAt)

		kept := at(t, e, b.ID, nil)
		_, err = e.Store.ChangePassword(ctx, "id-alice", "a third", user.UpdatedAt, grants.ID{})
		require.ErrorIs(t, err, users.ErrConflict)
		require.Empty(t, sessionOf(t, e, kept).Dead, "a refusal ends nothing")
		_, err = e.Store.ChangePassword(ctx, "nobody", "a third", updated, b.ID)
		require.ErrorIs(t, err, users.ErrNotFound)
		require.NoError(t, e.Store.DisableUser(ctx, "id-alice"))
		disabled, err := e.Store.UserByLogin(ctx, "alice")
		require.NoError(t, err)
		_, err = e.Store.ChangePassword(ctx, "id-alice", "a third", disabled.UpdatedAt, b.ID)
		require.ErrorIs(t, err, users.ErrConflict, "nobody is there any more")
	})
}

// Every change of an account is seen by who compares, also in the same instant.
func TestChanges_of_a_user_are_told_apart(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		begin(t, e, 0)
		last := time.Time{}
		for _, change := range []func() error{
			func() error { return nil },
			func() error { return second(e.Store.SetPassword(ctx, "id-alice", "another", false)) },
			func() error { return e.Store.DisableUser(ctx, "id-alice") },
			func() error { return e.Store.EnableUser(ctx, "id-alice") },
			func() error {
				e.Clock.Advance(-time.Hour)
				return second(e.Store.SetPassword(ctx, "id-alice", "a third", true))
			},
		} {
			require.NoError(t, change())
			user, err := e.Store.UserByLogin(ctx, "alice")
			require.NoError(t, err)
			require.True(t, user.UpdatedAt.After(last))
			last = user.UpdatedAt
		}
	})
}

// Whatever ends sign-ins and sessions while others begin: afterwards none that it
// should have ended lives. On PostgreSQL an insert goes by what it saw before.
func TestConcurrent_beginnings_against_endings(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		people(t, e)
		stores := []*storage.Store{e.Store, e.Open()}
		for round := range 24 {
			b := signIn(t, e, "alice")
			user, err := e.Store.UserByLogin(ctx, "alice")
			require.NoError(t, err)
			ids := make([]grants.ID, 12)
			for i := range ids {
				ids[i] = newID(t)
			}
			errs := make([]error, len(ids))
			together(len(errs), func(i int) {
				s := stores[i%2]
				switch {
				case i == 5 && round%2 == 0:
					_, _, errs[i] = s.EndBrowser(ctx, "id-alice", b.ID)
				case i == 5:
					_, errs[i] = s.SetPassword(ctx, "id-alice", "another", false)
				case i%3 == 0:
					c := b
					c.ID = ids[i]
					_, errs[i] = s.BeginBrowser(ctx, c, user.UpdatedAt)
				default:
					g := login(e.Clock.Now(), ids[i])
					if i%3 == 1 || round%2 == 0 {
						g.BrowserID = b.ID
					}
					_, errs[i] = s.Begin(ctx, g, user.UpdatedAt)
				}
			})
			for _, err := range errs {
				require.NoError(t, err)
			}
			for i, id := range ids {
				access, err := e.Store.Access(ctx, id, "app", "jti", e.Clock.Now())
				require.NoError(t, err)
				require.Nil(t, access.Grant, "round %d: a session lives that began in the same moment", round)
				if _, found := signedIn(t, e, id, 1); i%3 == 0 && round%2 == 1 {
					require.False(t, found, "round %d: a sign-in with the old password lives", round)
				}
			}
			_, err = e.Store.RevokeUserSessions(ctx, "id-alice", grants.ReasonAdmin)
			require.NoError(t, err)
		}
	})
}
