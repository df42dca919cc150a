package storage_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
)

// sentTwice is a sign-in form that was sent twice at once: the code hangs on the first
// sign-in, the browser has the cookie of the second.
func sentTwice(t *testing.T, e *storagetest.Env) (first, second storage.Browser, g grants.Grant) {
	t.Helper()
	first, second = signIn(t, e, "alice"), signIn(t, e, "alice")
	return first, second, beginCode(t, e, func(g *grants.Grant) { g.BrowserID = first.ID })
}

func moveCode(t *testing.T, e *storagetest.Env, id grants.ID, userID string, from, to grants.ID) bool {
	t.Helper()
	moved, err := e.Store.MoveCode(deadline(t), id, userID, from, to)
	require.NoError(t, err)
	return moved
}

func TestMoveCode_to_where_the_browser_is_signed_in(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		people(t, e)
		first, second, g := sentTwice(t, e)
		require.True(t, moveCode(t, e, g.ID, "id-alice", first.ID, second.ID))
		want := storedForm(withFrom(g))
		want.BrowserID = second.ID
		require.Equal(t, want, sessionOf(t, e, g.ID).Grant, "nothing else of it changes")
		_, found := signedIn(t, e, first.ID, 1)
		require.False(t, found, "nobody has its cookie, and nothing is left of it")
		_, found = signedIn(t, e, second.ID, 1)
		require.True(t, found)
		require.False(t, moveCode(t, e, g.ID, "id-alice", first.ID, second.ID), "once")
		require.Empty(t, told(t, e), "nobody signed out")

		// It is a code like any other, and ends with the sign-in that it hangs on now.
		_, _, verdict, err := e.Store.Redeem(ctx, g.ID, right, limits.At(e.Clock.Now()), "")
		require.NoError(t, err)
		require.Equal(t, grants.Redeemed, verdict)
		ended, found, err := e.Store.EndBrowser(ctx, "id-alice", second.ID)
		require.NoError(t, err)
		require.True(t, found)
		require.EqualValues(t, 1, ended)
		require.Equal(t, map[string]grants.ID{"app": second.ID}, told(t, e))
	})
}

func TestMoveCode_leaves_a_sign_in_that_is_in_use(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		people(t, e)
		for name, c := range map[string]struct {
			other func(first grants.ID) grants.ID
			left  bool
		}{
			"a session": {func(first grants.ID) grants.ID { return at(t, e, first, nil) }, true},
			"another code": {func(first grants.ID) grants.ID {
				return beginCode(t, e, func(g *grants.Grant) { g.BrowserID = first }).ID
			}, true},
			"a session that is over": {func(first grants.ID) grants.ID {
				return at(t, e, first, func(g *grants.Grant) { g.ExpiresAt = g.CreatedAt })
			}, false},
			"a session that was ended": {func(first grants.ID) grants.ID {
				id := at(t, e, first, nil)
				require.NoError(t, e.Store.RevokeSession(ctx, id, grants.ReasonAdmin))
				return id
			}, false},
			"a session elsewhere": {func(grants.ID) grants.ID { return at(t, e, signIn(t, e, "alice").ID, nil) }, false},
		} {
			first, second, g := sentTwice(t, e)
			other := c.other(first.ID)
			before := sessionOf(t, e, other).Grant
			require.True(t, moveCode(t, e, g.ID, "id-alice", first.ID, second.ID), name)
			_, found := signedIn(t, e, first.ID, 1)
			require.Equal(t, c.left, found, name)
			require.Equal(t, before, sessionOf(t, e, other).Grant, name)
		}
	})
}

func TestMoveCode_refuses_and_changes_nothing(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		people(t, e)
		type move struct {
			id       grants.ID
			user     string
			from, to grants.ID
		}
		for name, spoil := range map[string]func(*move){
			"unknown":            func(m *move) { m.id = newID(t) },
			"another's":          func(m *move) { m.user = "id-bob" },
			"another's, to them": func(m *move) { m.user, m.to = "id-bob", signIn(t, e, "bob").ID },
			"no user":            func(m *move) { m.user = "" },
			"no name":            func(m *move) { m.user = "\x00" },
			"from elsewhere":     func(m *move) { m.from = signIn(t, e, "alice").ID },
			"from nowhere":       func(m *move) { m.from = grants.ID{} },
			"to where it is":     func(m *move) { m.to = m.from },
			"to nowhere":         func(m *move) { m.to = newID(t) },
			"to somebody else":   func(m *move) { m.to = signIn(t, e, "bob").ID },
			"to where it expired": func(m *move) {
				_, err := storagetest.Database(t, e.URL).ExecContext(ctx, `UPDATE browsers SET expires_at = $2 WHERE id = $1`, m.to[:], e.Clock.Now().UnixMicro())
				require.NoError(t, err)
			},
			"ended": func(m *move) { require.NoError(t, e.Store.RevokeSession(ctx, m.id, grants.ReasonAdmin)) },
			"redeemed": func(m *move) {
				_, _, verdict, err := e.Store.Redeem(ctx, m.id, right, limits.At(e.Clock.Now()), "")
				require.NoError(t, err)
				require.Equal(t, grants.Redeemed, verdict)
			},
			"signed out": func(m *move) {
				_, found, err := e.Store.EndBrowser(ctx, "id-alice", m.to)
				require.NoError(t, err)
				require.True(t, found)
			},
		} {
			first, second, g := sentTwice(t, e)
			m := move{g.ID, "id-alice", first.ID, second.ID}
			spoil(&m)
			before, browsers := sessionOf(t, e, g.ID), number(t, storagetest.Database(t, e.URL), `SELECT count(*) FROM browsers`)
			require.False(t, moveCode(t, e, m.id, m.user, m.from, m.to), name)
			require.Equal(t, before, sessionOf(t, e, g.ID), name)
			require.Equal(t, browsers, number(t, storagetest.Database(t, e.URL), `SELECT count(*) FROM browsers`), name)
		}
	})
}

// While the code moves, its user signs out where it goes: it goes with them, or stays.
func TestMoveCode_Concurrent_signing_out_misses_nothing(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		people(t, e)
		replica := e.Open()
		for range 20 {
			first, second, g := sentTwice(t, e)
			var moved bool
			errs := make([]error, 3)
			together(3, func(i int) {
				switch i {
				case 0:
					moved, errs[i] = e.Store.MoveCode(ctx, g.ID, "id-alice", first.ID, second.ID)
				case 1:
					_, _, errs[i] = replica.EndBrowser(ctx, "id-alice", second.ID)
				case 2:
					other := login(e.Clock.Now(), g.ID)
					other.ID[0]++
					other.BrowserID = first.ID
					_, errs[i] = replica.Begin(ctx, other, time.Time{})
				}
			})
			for _, err := range errs {
				require.NoError(t, err)
			}
			session := sessionOf(t, e, g.ID)
			if moved {
				require.Equal(t, string(grants.ReasonSignedOut), session.Dead)
			} else {
				require.Equal(t, first.ID, session.BrowserID)
				require.Empty(t, session.Dead)
			}
			// What began meanwhile at the first has its sign-in.
			require.Zero(t, number(t, storagetest.Database(t, e.URL), `SELECT count(*) FROM grants g WHERE g.revoked_at IS NULL AND NOT EXISTS (SELECT 1 FROM browsers b WHERE b.id = g.sid)`))
		}
	})
}
