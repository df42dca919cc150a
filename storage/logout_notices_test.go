package storage_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
)

// signOut signs alice out of a browser where she used app.
func signOut(t *testing.T, e *storagetest.Env) grants.ID {
	t.Helper()
	b := signIn(t, e, "alice")
	at(t, e, b.ID, nil)
	_, _, err := e.Store.EndBrowser(deadline(t), "id-alice", b.ID)
	require.NoError(t, err)
	return b.ID
}

func TestLogoutNotices_are_claimed_retried_and_forgotten(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, s := deadline(t), e.Store
		people(t, e)
		filed := e.Clock.Now()
		first := signOut(t, e)
		e.Clock.Advance(time.Second)
		second := signOut(t, e)
		claim := func(most int) []storage.LogoutNotice {
			t.Helper()
			list, err := s.ClaimLogoutNotices(ctx, most, time.Minute)
			require.NoError(t, err)
			return list
		}
		list := claim(1)
		require.Len(t, list, 1)
		n := list[0]
		require.NotZero(t, n.ID)
		require.Equal(t, storage.LogoutNotice{ID: n.ID, ClientID: "app", UserID: "id-alice", BrowserID: first, Attempts: 1, CreatedAt: filed}, n, "the oldest first")
		list = claim(10)
		require.Len(t, list, 1)
		require.Equal(t, second, list[0].BrowserID)
		require.NoError(t, s.DeleteLogoutNotice(ctx, list[0].ID))
		require.NoError(t, s.DeleteLogoutNotice(ctx, list[0].ID), "twice is fine")
		require.NoError(t, s.RetryLogoutNotices(ctx, list[0], e.Clock.Now()), "so is one that is gone")
		require.Empty(t, claim(10))

		// Who claimed it is gone: after the lease it is anybody's.
		e.Clock.Advance(time.Minute - time.Microsecond)
		require.Empty(t, claim(10))
		e.Clock.Advance(time.Microsecond)
		list = claim(10)
		require.Len(t, list, 1)
		require.Equal(t, 2, list[0].Attempts)
		require.NoError(t, s.RetryLogoutNotices(ctx, n, e.Clock.Now().Add(time.Hour)))
		e.Clock.Advance(time.Hour - time.Microsecond)
		require.Empty(t, claim(10))
		e.Clock.Advance(time.Microsecond)
		require.Len(t, claim(10), 1)

		e.Clock.Set(filed.Add(storage.NoticeLifetime))
		done, err := s.Clean(ctx, "me", time.Minute)
		require.NoError(t, err)
		require.Equal(t, storage.Cleaned{LogoutNotices: 1}, done)
		require.Zero(t, number(t, storagetest.Database(t, e.URL), `SELECT count(*) FROM logout_notices`))
	})
}

// A client that is down, with however many notices, costs one batch for each wait. The
// others are told meanwhile.
func TestLogoutNotices_of_a_dead_client_keep_nobody_waiting(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, s := deadline(t), e.Store
		people(t, e)
		const many, batch, lease, wait = 50, 20, time.Minute, 15 * time.Second
		claim := func() (dead, living []storage.LogoutNotice) {
			t.Helper()
			list, err := s.ClaimLogoutNotices(ctx, batch, lease)
			require.NoError(t, err)
			for _, n := range list {
				if n.ClientID == "app" {
					dead = append(dead, n)
				} else {
					living = append(living, n)
				}
			}
			return dead, living
		}
		for range many {
			signOut(t, e)
			e.Clock.Advance(time.Microsecond)
		}
		b := signIn(t, e, "alice")
		at(t, e, b.ID, func(g *grants.Grant) { g.ClientID = "mail" })
		_, _, err := s.EndBrowser(ctx, "id-alice", b.ID)
		require.NoError(t, err)

		db := storagetest.Database(t, e.URL)
		due := func(n storage.LogoutNotice) time.Time {
			t.Helper()
			return time.UnixMicro(number(t, db, `SELECT due_at FROM logout_notices WHERE id = $1`, n.ID[:])).UTC()
		}
		dead, living := claim()
		require.Len(t, dead, batch)
		require.Empty(t, living)
		leased := e.Clock.Now().Add(lease)
		busy, later := dead[0], dead[1] // another replica is still at the first; the second has failed often
		long := e.Clock.Now().Add(time.Hour)
		_, err = db.ExecContext(ctx, `UPDATE logout_notices SET due_at = $2 WHERE id = $1`, later.ID[:], long.UnixMicro())
		require.NoError(t, err)
		e.Clock.Advance(time.Second)
		signOut(t, e) // while the batch is tried
		again := e.Clock.Now().Add(wait)
		for _, n := range dead[2:] {
			require.NoError(t, s.RetryLogoutNotices(ctx, n, again))
			require.Equal(t, again, due(n), "its own wait, not its lease")
		}
		require.Equal(t, leased, due(busy), "nobody tells it a second time")
		require.Equal(t, long, due(later))

		dead, living = claim()
		require.Empty(t, dead, "those wait too that were not tried")
		require.Len(t, living, 1, "no other client does")
		e.Clock.Set(again.Add(-time.Microsecond))
		dead, _ = claim()
		require.Empty(t, dead)
		e.Clock.Set(again)
		dead, _ = claim()
		require.Len(t, dead, batch, "a batch for each wait")
		require.NoError(t, s.RetryLogoutNotices(ctx, dead[0], again.Add(wait)))
		dead, _ = claim()
		require.Empty(t, dead)
		require.EqualValues(t, many+1, number(t, db, `SELECT count(*) FROM logout_notices WHERE client_id = 'app'`), "none is lost")
	})
}

// One notice for a client, user and sign-in. The second takes the first one's place with
// another id: who is just telling the first does not delete the second.
func TestLogoutNotices_one_for_each_client_and_sign_in(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, s := deadline(t), e.Store
		people(t, e)
		b := signIn(t, e, "alice")
		ends := func() {
			t.Helper()
			own, err := s.EndUserSession(ctx, "id-alice", at(t, e, b.ID, nil))
			require.NoError(t, err)
			require.True(t, own)
		}
		ends()
		telling, err := s.ClaimLogoutNotices(ctx, 10, time.Hour)
		require.NoError(t, err)
		require.Len(t, telling, 1)
		ends()
		ends()
		require.NoError(t, s.DeleteLogoutNotice(ctx, telling[0].ID))
		again, err := s.ClaimLogoutNotices(ctx, 10, time.Hour)
		require.NoError(t, err)
		require.Len(t, again, 1, "due at once, and once")
		require.NotEqual(t, telling[0].ID, again[0].ID)
		require.Equal(t, 1, again[0].Attempts)
	})
}

// Whoever ends a session: its client may have one of its own, which must end, too.
func TestLogoutNotices_when_an_administrator_ends_a_session(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		people(t, e)
		b := signIn(t, e, "alice")
		session := at(t, e, b.ID, nil)
		at(t, e, b.ID, func(g *grants.Grant) { g.ClientID = "mail" })
		require.NoError(t, e.Store.RevokeSession(deadline(t), session, grants.ReasonAdmin))
		require.Equal(t, map[string]grants.ID{"app": b.ID}, told(t, e))
		require.NoError(t, e.Store.RevokeSession(deadline(t), session, grants.ReasonUser))
		require.Empty(t, told(t, e), "it had ended before")
		require.Equal(t, string(grants.ReasonAdmin), sessionOf(t, e, session).Dead)
		_, in := signedIn(t, e, b.ID, 1)
		require.True(t, in, "one session, not the person")
	})
}

// What ends and what is told are one: a sign-out that failed tells nobody.
func TestLogoutNotices_only_of_what_happened(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		people(t, e)
		b := signIn(t, e, "alice")
		session := at(t, e, b.ID, nil)
		e.Tally.Fail(func(sql string) error {
			if sql == "COMMIT" {
				return errors.New("injected")
			}
			return nil
		})
		_, found, err := e.Store.EndBrowser(ctx, "id-alice", b.ID)
		e.Tally.Fail(nil)
		require.ErrorIs(t, err, storage.ErrUnavailable)
		_ = found
		require.Empty(t, told(t, e))
		require.Empty(t, sessionOf(t, e, session).Dead)
		_, in := signedIn(t, e, b.ID, 1)
		require.True(t, in)
	})
}

// A registration that can not be read keeps nobody signed in, and no other client untold.
func TestLogoutNotices_survive_a_broken_registration(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		people(t, e)
		b := signIn(t, e, "alice")
		at(t, e, b.ID, nil)
		at(t, e, b.ID, func(g *grants.Grant) { g.ClientID = "mail" })
		_, err := storagetest.Database(t, e.URL).ExecContext(ctx, `UPDATE clients SET registration = '{"v":99}' WHERE id = 'app'`)
		require.NoError(t, err)
		ended, _, err := e.Store.EndBrowser(ctx, "id-alice", b.ID)
		require.NoError(t, err)
		require.EqualValues(t, 2, ended)
		require.Equal(t, map[string]grants.ID{"mail": b.ID}, told(t, e))
	})
}

// More clients than one statement of anything should mind.
func TestLogoutNotices_for_many_clients(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		people(t, e)
		b := signIn(t, e, "alice")
		const many = 120
		for i := range many {
			id := fmt.Sprint("client-", i)
			require.NoError(t, e.Store.CreateClient(ctx, clients.Client{ID: id, BackchannelLogoutURI: "https://app.test/logout"}))
			at(t, e, b.ID, func(g *grants.Grant) { g.ClientID = id })
		}
		_, _, err := e.Store.EndBrowser(ctx, "id-alice", b.ID)
		require.NoError(t, err)
		list, err := e.Store.ClaimLogoutNotices(ctx, 1000, time.Minute)
		require.NoError(t, err)
		require.Len(t, list, many)
	})
}

// Two replicas choose the same notice, and one is faster: the other, which waits for its
// row, does not have it too.
func TestConcurrent_claim_that_comes_second_gets_nothing(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		if e.Dialect != storage.Postgres {
			return // SQLite has one writer
		}
		ctx := deadline(t)
		people(t, e)
		signOut(t, e)
		db := storagetest.Database(t, e.URL)
		tx, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, `UPDATE logout_notices SET due_at = due_at + 60000000`)
		require.NoError(t, err)
		claimed := make(chan int, 1)
		go func() {
			list, err := e.Store.ClaimLogoutNotices(ctx, 10, time.Minute)
			if err != nil {
				claimed <- -1
				return
			}
			claimed <- len(list)
		}()
		require.Eventually(t, func() bool {
			return number(t, db, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 1
		}, 30*time.Second, time.Millisecond)
		require.NoError(t, tx.Commit())
		require.Zero(t, <-claimed)
	})
}

// However many replicas claim at once, each notice is told by one of them.
func TestConcurrent_claims_of_notices_share_them(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		people(t, e)
		const notices, claimers = 40, 8
		for range notices {
			signOut(t, e)
		}
		stores := []*storage.Store{e.Store, e.Open()}
		errs := make([]error, claimers)
		var mu sync.Mutex
		seen := map[grants.ID]int{}
		together(claimers, func(i int) {
			for range 2 * notices {
				var list []storage.LogoutNotice
				if list, errs[i] = stores[i%2].ClaimLogoutNotices(ctx, 3, time.Hour); errs[i] != nil {
					return
				}
				mu.Lock()
				for _, n := range list {
					seen[n.ID]++
				}
				enough := len(seen) == notices
				mu.Unlock()
				if enough {
					return
				}
			}
		})
		for _, err := range errs {
			require.NoError(t, err)
		}
		require.Len(t, seen, notices)
		for id, times := range seen {
			require.Equal(t, 1, times, id)
		}
	})
}
