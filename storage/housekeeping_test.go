package storage_test

import (
	"bytes"
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
)

// remembered is how long the row of a grant outlasts it.
const remembered = grants.RequestLifetime + time.Minute

// A thousand sessions, renewed fifty times each, are a thousand rows.
func TestGrowth_is_bounded_by_sessions(t *testing.T) {
	t.Parallel()
	const sessions, refreshes, workers = 1000, 50, 8
	storagetest.EachWith(t, storagetest.Setup{Options: unsynced}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		ids := begin(t, e, sessions)
		errs := make([]error, workers)
		together(workers, func(w int) {
			for i := w; i < sessions; i += workers {
				for generation := int64(1); generation <= refreshes; generation++ {
					_, verdict, err := rotate(ctx, e, e.Store, ids[i], generation)
					if err == nil && verdict != grants.Rotated {
						err = fmt.Errorf("%s: %q", ids[i], verdict)
					}
					if err != nil {
						errs[w] = err
						return
					}
				}
			}
		})
		for _, err := range errs {
			require.NoError(t, err)
		}
		db := storagetest.Database(t, e.URL)
		require.EqualValues(t, sessions, number(t, db, `SELECT count(*) FROM grants`))
		require.EqualValues(t, sessions, number(t, db, fmt.Sprintf(`SELECT count(*) FROM grants WHERE generation = %d`, refreshes+1)))
		for _, table := range []string{"denied_tokens", "leases"} {
			require.Zero(t, number(t, db, "SELECT count(*) FROM "+table))
		}
	})
}

func TestClean_deletes_what_expired_and_nothing_else(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{Options: fromTheFirst}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		const expired = 241 // two full batches and one that is not
		begin(t, e, 1)
		born := e.Clock.Now()
		db := storagetest.Database(t, e.URL)
		copyGrants(t, e, 240, "expires_at")
		e.Clock.Advance(time.Microsecond)
		live := begin(t, e, 3)
		require.NoError(t, e.Store.RevokeSession(ctx, live[1], grants.ReasonAdmin))
		cleaned := born.Add(life + remembered)
		require.NoError(t, e.Store.Deny(ctx, "over", "app", cleaned.Add(-time.Minute)))
		require.NoError(t, e.Store.Deny(ctx, "still within the skew", "app", cleaned.Add(-time.Minute).Add(time.Microsecond)))

		signIn(t, e, "alice") // it ends long before

		e.Clock.Set(cleaned) // the first are over for just long enough, the others for one microsecond less
		e.Tally.Reset()
		done, err := e.Store.Clean(ctx, "me", time.Minute)
		require.NoError(t, err)
		require.Equal(t, storage.Cleaned{Sessions: expired, SignIns: 1, DeniedTokens: 1}, done)
		batches := 0
		for _, statement := range e.Tally.Statements() {
			require.NotEqual(t, "BEGIN", statement, "no batch waits for another")
			if strings.HasPrefix(statement, "DELETE FROM grants") {
				batches++
			}
		}
		require.Equal(t, 3, batches)
		require.EqualValues(t, 3, number(t, db, `SELECT count(*) FROM grants`), "a revoked session stays longer than until it would have expired: reuse is still recognised")
		access, err := e.Store.Access(ctx, live[0], "app", "still within the skew", born.Add(life))
		require.NoError(t, err)
		require.True(t, access.Denied)
		require.NotNil(t, access.Grant)

		done, err = e.Store.Clean(ctx, "me", time.Minute)
		require.NoError(t, err)
		require.Zero(t, done)
	})
}

// copyGrants makes n copies of the one grant that is there, which end when ends says, an
// expression of the number i. They are codes, so that the audit log has nothing to say.
func copyGrants(t *testing.T, e *storagetest.Env, n int, ends string) {
	t.Helper()
	id, series := "decode(md5(s.i::text), 'hex')", "generate_series(1, %d) AS s(i)"
	if e.Dialect == storage.SQLite {
		id, series = "randomblob(16)", "(WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < %d) SELECT i FROM s) AS s"
	}
	_, err := storagetest.Database(t, e.URL).ExecContext(deadline(t), `INSERT INTO grants SELECT `+id+`,
 client_id, user_id, scope, audience, state, 0, redirect_uri, code_challenge, dpop_jkt, created_at, rotated_at, `+ends+`,
 revoked_at, revoked_reason, created_from, rotated_from, details, sid, revoked_from FROM grants, `+fmt.Sprintf(series, n))
	require.NoError(t, err)
}

// fromTheFirst lets the walk along the sessions begin with the lowest id.
func fromTheFirst(o *storage.Options) { o.Rand = bytes.NewReader(make([]byte, len(grants.ID{}))) }

// A round passes a bounded number of sessions that live, and the next one goes on there.
func TestClean_walks_on_where_it_stopped(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{Options: unsynced}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		const all, each = 40_000, 400 // one of each so many ends early
		const lease = time.Minute     // three rounds: a third of 50,000 sessions for each
		begin(t, e, 1)
		copyGrants(t, e, all, fmt.Sprintf("expires_at - CASE WHEN i %% %d = 0 THEN 1 ELSE 0 END", each))
		e.Clock.Advance(life + remembered - time.Microsecond)
		var deleted []int64
		for range 4 {
			e.Tally.Reset()
			done, err := e.Store.Clean(ctx, "me", lease)
			require.NoError(t, err)
			deleted = append(deleted, done.Sessions)
			require.Less(t, e.Tally.Count(), 350, "two statements for each hundred, and what is not about sessions")
		}
		require.EqualValues(t, all/each, deleted[0]+deleted[1]+deleted[2], "%v: all, in three rounds", deleted)
		require.Less(t, deleted[0], int64(all/each*5/6), "%v: two fifths, as luck will have it", deleted)
		require.Zero(t, deleted[3])
		require.EqualValues(t, all-all/each+1, number(t, storagetest.Database(t, e.URL), `SELECT count(*) FROM grants`))
	})
}

// Wherever the first round begins, it comes to every session of a table that is not large.
func TestClean_begins_anywhere(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		for _, first := range []byte{0x00, 0x01, 0x7f, 0xff} {
			begin(t, e, 150)
			e.Clock.Advance(life + remembered)
			replica := e.Open(func(o *storage.Options) { o.Rand = bytes.NewReader(bytes.Repeat([]byte{first}, len(grants.ID{}))) })
			for _, deleted := range []int64{150, 0} {
				done, err := replica.Clean(ctx, fmt.Sprint(first), time.Minute)
				require.NoError(t, err)
				require.Equal(t, deleted, done.Sessions, "from %x", first)
				e.Clock.Advance(time.Minute) // the lease ends
			}
		}
	})
}

// A grant's id comes from the authorization request. Were the row gone while the request
// may still travel, answering it again would make a second code.
func TestClean_leaves_what_an_authorization_request_may_still_meet(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		g := beginCode(t, e, nil) // answered as soon as it had arrived
		clean := func(at time.Time, want int64) {
			t.Helper()
			e.Clock.Set(at)
			done, err := e.Store.Clean(ctx, "me", time.Minute)
			require.NoError(t, err)
			require.Equal(t, want, done.Sessions)
		}
		clean(g.ExpiresAt, 0)
		clean(g.CreatedAt.Add(grants.RequestLifetime), 0)
		_, err := e.Store.Begin(ctx, code(e.Clock.Now(), g.ID), time.Time{})
		require.ErrorIs(t, err, storage.ErrGrantExists)
		clean(g.ExpiresAt.Add(remembered-time.Microsecond), 0)
		clean(g.ExpiresAt.Add(remembered), 1)
	})
}

func TestClean_works_on_one_replica_at_a_time(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		second := e.Open()
		clean := func(s *storage.Store, holder string) bool {
			t.Helper()
			done, err := s.Clean(ctx, holder, time.Minute)
			require.NoError(t, err)
			return !done.Elsewhere
		}
		require.True(t, clean(e.Store, "one"))
		require.False(t, clean(second, "two"))
		require.True(t, clean(e.Store, "one"), "the holder goes on, and its lease is longer")
		e.Clock.Advance(time.Minute - time.Microsecond)
		require.False(t, clean(second, "two"))
		e.Clock.Advance(time.Microsecond)
		require.True(t, clean(second, "two"), "the lease is over: its holder may be dead")
		require.False(t, clean(e.Store, "one"))

		// Both at the same moment, when it is free.
		for range 10 {
			e.Clock.Advance(time.Minute)
			won := make([]bool, 2)
			together(2, func(i int) {
				done, err := []*storage.Store{e.Store, second}[i].Clean(ctx, []string{"one", "two"}[i], time.Minute)
				won[i] = err == nil && !done.Elsewhere
			})
			require.True(t, won[0] != won[1], "%v", won)
		}
	})
}

// A key goes when nothing that it signed can live any more, and not a moment before.
func TestClean_forgets_gone_keys(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, secrets := deadline(t), someSecrets(t)
		first, err := e.Store.SigningKeys(ctx, secrets)
		require.NoError(t, err)
		e.Clock.Advance(time.Hour)
		rotated := e.Clock.Now()
		_, err = e.Store.RotateKeys(ctx, secrets, keys.ES256)
		require.NoError(t, err)
		old := first.List()[0]
		require.Equal(t, keys.ES256, old.Algorithm)

		e.Clock.Set(rotated.Add(keys.Keep).Add(-time.Microsecond))
		done, err := e.Store.Clean(ctx, "me", time.Minute)
		require.NoError(t, err)
		require.Zero(t, done.SigningKeys)
		set, err := e.Store.SigningKeys(ctx, secrets)
		require.NoError(t, err)
		require.Equal(t, keys.Retired, set.State(old.ID, e.Clock.Now()))

		e.Clock.Advance(time.Microsecond)
		require.Equal(t, keys.Gone, set.State(old.ID, e.Clock.Now()), "storage and keys agree on when")
		done, err = e.Store.Clean(ctx, "me", time.Minute)
		require.NoError(t, err)
		require.EqualValues(t, 1, done.SigningKeys)
		set, err = e.Store.SigningKeys(ctx, secrets)
		require.NoError(t, err)
		require.Len(t, set.List(), 4)
		_, err = set.Active(keys.ES256, e.Clock.Now())
		require.NoError(t, err)
	})
}

func TestSecretUses_are_written_in_the_background(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		now := e.Clock.Now()
		require.NoError(t, e.Store.CreateClient(ctx, clients.Client{ID: "app", Secrets: []clients.Secret{
			{ID: "a", Hash: "h", CreatedAt: now}, {ID: "b", Hash: "h", CreatedAt: now},
		}}))
		used := func(secret string) time.Time {
			t.Helper()
			c, err := e.Store.Client(ctx, "app")
			require.NoError(t, err)
			for _, s := range c.Secrets {
				if s.ID == secret {
					return s.LastUsedAt
				}
			}
			return time.Time{}
		}
		before := number(t, storagetest.Database(t, e.URL), `SELECT revision FROM revisions WHERE noun = 'clients'`)
		e.Tally.Reset()
		for i := range 100 {
			e.Store.SecretUsed("app", "a", now.Add(time.Duration(i)*time.Second))
		}
		require.Zero(t, e.Tally.Count(), "a request pays nothing for it")
		require.NoError(t, e.Store.FlushSecretUses(ctx))
		require.Equal(t, 1, e.Tally.Count())
		require.Equal(t, now.Add(99*time.Second), used("a"))
		require.Zero(t, used("b"))

		e.Store.SecretUsed("app", "a", now)
		e.Store.SecretUsed("app", "forgotten", now)
		e.Store.SecretUsed("forgotten", "a", now)
		require.NoError(t, e.Store.FlushSecretUses(ctx))
		require.Equal(t, now.Add(99*time.Second), used("a"), "it never goes back: the other replica may be ahead")
		require.Equal(t, before, number(t, storagetest.Database(t, e.URL), `SELECT revision FROM revisions WHERE noun = 'clients'`), "no replica forgets its clients for this")

		e.Tally.Reset()
		require.NoError(t, e.Store.FlushSecretUses(ctx))
		require.Zero(t, e.Tally.Count(), "nothing new, nothing to write")
	})
}

// unsynced lets SQLite not wait for the disk: 50,000 commits that do take most of a
// minute, and rows are what is counted here.
func unsynced(o *storage.Options) {
	if strings.HasPrefix(o.Database, "sqlite:") {
		wrap := o.Wrap
		o.Wrap = func(c driver.Connector) driver.Connector { return wrap(hasty{c}) }
	}
}

type hasty struct{ driver.Connector }

func (h hasty) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := h.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	_, err = conn.(driver.ExecerContext).ExecContext(ctx, "PRAGMA synchronous=OFF", nil)
	return conn, err
}

// A round ends when half of its lease is over; what is left is for the next one.
func TestClean_ends_before_its_lease(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{Options: fromTheFirst}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		begin(t, e, 250)
		e.Clock.Advance(life + 2*remembered)
		e.Tally.FailAfter(func(sql string) error {
			if strings.HasPrefix(sql, "DELETE FROM grants") {
				e.Clock.Advance(31 * time.Second)
			}
			return nil
		})
		for _, deleted := range []int64{100, 100, 50, 0} {
			done, err := e.Store.Clean(ctx, "me", time.Minute)
			require.NoError(t, err)
			require.Equal(t, deleted, done.Sessions)
		}
	})
}
