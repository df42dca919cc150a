package storage_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
)

// together runs n functions as much at once as the machine can.
func together(n int, run func(i int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			run(i)
		})
	}
	close(start)
	all.Wait()
}

func serializable(o *storage.Options) {
	if !strings.HasPrefix(o.Database, "sqlite:") {
		o.Database += "&default_transaction_isolation=serializable"
	}
}

// INV1, R-05, F-14: eight show the same token at once, on two replicas, and all get
// the one successor.
func TestConcurrent_rotations_have_one_successor(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]func(*storage.Options){"": nil, "serializable": serializable} {
		t.Run("isolation "+name, func(t *testing.T) {
			t.Parallel()
			storagetest.EachWith(t, storagetest.Setup{Options: options}, func(t *testing.T, e *storagetest.Env) {
				const sessions, showers = 50, 8
				ctx := deadline(t)
				ids := begin(t, e, sessions)
				stores := []*storage.Store{e.Store, e.Open()}
				var verdicts [sessions * showers]grants.Verdict
				var after [sessions * showers]grants.Grant
				var errs [sessions * showers]error
				together(sessions*showers, func(i int) {
					after[i], verdicts[i], errs[i] = rotate(ctx, e, stores[i%2], ids[i/showers], 1)
				})
				rotated := 0
				for i, verdict := range verdicts {
					require.NoError(t, errs[i])
					require.Contains(t, []grants.Verdict{grants.Rotated, grants.Retried}, verdict)
					require.EqualValues(t, 2, after[i].Generation)
					if verdict == grants.Rotated {
						rotated++
					}
				}
				require.Equal(t, sessions, rotated, "exactly one rotation per session")
			})
		})
	}
}

// A request that was held up, while its client renewed elsewhere, is no reuse; nor is one
// whose client hung up and asked again. The same token from anybody else is, and soon is
// from those.
func TestOvertaken_requests_end_nothing(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		gone, cancel := context.WithCancel(ctx)
		cancel()
		old := grants.Showing{ClientID: "app", Generation: 1}
		show := func(ctx context.Context, id grants.ID, b grants.Bounds) grants.Verdict {
			g, verdict, err := e.Store.Rotate(ctx, id, old, b, "192.0.2.1")
			require.NoError(t, err)
			require.Equal(t, verdict == grants.Reused, !g.RevokedAt.IsZero())
			return verdict
		}
		ids := begin(t, e, 5)
		arrived := limits.At(e.Clock.Now())
		e.Clock.Advance(time.Second)
		for _, id := range ids {
			for generation := range int64(2) {
				_, verdict, err := rotate(ctx, e, e.Store, id, generation+1)
				require.NoError(t, err)
				require.Equal(t, grants.Rotated, verdict)
			}
		}
		require.Equal(t, grants.Overtaken, show(ctx, ids[0], arrived), "held up for a second")
		require.Equal(t, grants.Overtaken, show(gone, ids[1], limits.At(e.Clock.Now())), "hung up")
		require.Equal(t, grants.Reused, show(ctx, ids[2], limits.At(e.Clock.Now())))
		going, hangUp := context.WithCancel(ctx)
		e.Tally.FailAfter(func(sql string) error {
			if strings.HasPrefix(sql, "SELECT") {
				hangUp()
			}
			return nil
		})
		require.Equal(t, grants.Overtaken, show(going, ids[3], limits.At(e.Clock.Now())), "hung up while it was judged")
		e.Tally.FailAfter(nil)

		// The client renews after the look, and before the end.
		e.Clock.Advance(time.Second)
		held := limits.At(e.Clock.Now())
		e.Clock.Advance(time.Second)
		other := e.Open()
		e.Tally.Fail(func(sql string) error {
			if strings.HasPrefix(sql, "UPDATE grants SET revoked_at") {
				_, verdict, err := other.Rotate(ctx, ids[4], grants.Showing{ClientID: "app", Generation: 3}, limits.At(e.Clock.Now()), "")
				require.NoError(t, err)
				require.Contains(t, []grants.Verdict{grants.Rotated, grants.Retried}, verdict)
			}
			return nil
		})
		require.Equal(t, grants.Dead, show(ctx, ids[4], held))
		e.Tally.Fail(nil)
		_, verdict, err := rotate(ctx, e, e.Store, ids[4], 4)
		require.NoError(t, err)
		require.Equal(t, grants.Rotated, verdict, "and goes on")

		e.Clock.Advance(limits.Retry)
		require.Equal(t, grants.Reused, show(ctx, ids[0], limits.At(e.Clock.Now())))
		require.Equal(t, grants.Reused, show(gone, ids[1], limits.At(e.Clock.Now())), "hanging up hides nothing")
	})
}

// many who show one spent token end the session once, on any number of replicas.
func TestConcurrent_reuse_ends_a_session_once(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		stores := []*storage.Store{e.Store, e.Open()}
		id := begin(t, e, 1)[0]
		for generation := range int64(2) {
			_, _, err := rotate(ctx, e, e.Store, id, generation+1)
			require.NoError(t, err)
		}
		verdicts, errs := make([]grants.Verdict, 20), make([]error, 20)
		together(len(verdicts), func(i int) { _, verdicts[i], errs[i] = rotate(ctx, e, stores[i%2], id, 1) })
		ended := 0
		for i, verdict := range verdicts {
			require.NoError(t, errs[i])
			require.Contains(t, []grants.Verdict{grants.Reused, grants.Dead}, verdict)
			if verdict == grants.Reused {
				ended++
			}
		}
		require.Equal(t, 1, ended)
	})
}

// V-07, F-16, INV3: whatever a refresh won or lost against the revocation, when
// Revoke has returned nothing of the session is alive, on any replica.
func TestConcurrent_revocation_against_rotation_and_introspection(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		stores := []*storage.Store{e.Store, e.Open()}
		for round, id := range begin(t, e, 60) {
			revoked := make(chan struct{})
			errs := make([]error, 4)
			together(len(errs), func(i int) {
				s := stores[(i+round)%2]
				if i == 0 {
					found, own, err := s.Revoke(ctx, id, "app", e.Clock.Now(), "")
					if err == nil && !(found && own) {
						err = fmt.Errorf("found %v, own %v", found, own)
					}
					errs[i] = err
					close(revoked)
					return
				}
				generation := int64(1)
				for try := 0; errs[i] == nil && try < 200; try++ {
					over := false
					select {
					case <-revoked:
						over = true
					default:
					}
					var alive bool
					if i == 1 {
						var access storage.AccessRecord
						access, errs[i] = s.Access(ctx, id, "app", "jti", e.Clock.Now())
						alive = access.Grant != nil
					} else {
						var verdict grants.Verdict
						_, verdict, errs[i] = rotate(ctx, e, s, id, generation)
						alive = verdict == grants.Rotated || verdict == grants.Retried
						generation++
					}
					if alive && over {
						errs[i] = fmt.Errorf("alive after Revoke returned")
					}
					if over {
						return
					}
				}
			})
			for _, err := range errs {
				require.NoError(t, err)
			}
			for _, s := range stores {
				for generation := int64(1); generation < 4; generation++ {
					_, verdict, err := rotate(ctx, e, s, id, generation)
					require.NoError(t, err)
					require.Equal(t, grants.Dead, verdict)
				}
			}
		}
	})
}

// F-17: nothing that a disabled user or a deleted client began is alive, even if it
// began in the same moment, and it stays dead when the name comes back.
func TestConcurrent_logins_against_disabling_and_deleting(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		createUser(t, e.Store, "alice")
		for range 15 {
			// A fresh replica each time: what is compiled first in a race once waited for itself.
			second := e.Open()
			createClient(t, e.Store, "app")
			ids := make([]grants.ID, 14)
			for i := range ids {
				ids[i] = newID(t)
			}
			errs := make([]error, len(ids))
			together(len(errs), func(i int) {
				switch i {
				case 3:
					_, errs[i] = second.DeleteClient(ctx, "app")
				case 7:
					errs[i] = e.Store.DisableUser(ctx, "id-alice")
				default:
					_, errs[i] = []*storage.Store{e.Store, second}[i%2].Begin(ctx, login(e.Clock.Now(), ids[i]), time.Time{})
				}
			})
			for _, err := range errs {
				require.NoError(t, err)
			}
			e.Clock.Advance(1)
			require.NoError(t, e.Store.EnableUser(ctx, "id-alice"))
			createClient(t, e.Store, "app")
			for _, id := range ids {
				access, err := second.Access(ctx, id, "app", "jti", e.Clock.Now())
				require.NoError(t, err)
				require.Nil(t, access.Grant, "it lives again")
			}
			_, err := e.Store.DeleteClient(ctx, "app")
			require.NoError(t, err)
			require.NoError(t, second.Close())
		}
	})
}

func someSecrets(t require.TestingT) *keys.Secrets {
	text, err := keys.GenerateSecret(rand.Reader)
	require.NoError(t, err)
	s, err := keys.ParseSecrets(text)
	require.NoError(t, err)
	return s
}

func kids(set *keys.Set) (list []string) {
	for _, k := range set.List() {
		list = append(list, fmt.Sprint(k.Algorithm, " ", k.Ordinal, " ", k.ID))
	}
	return list
}

func TestConcurrent_first_starts_make_one_set_of_keys(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, secrets := deadline(t), someSecrets(t)
		stores := []*storage.Store{e.Store, e.Open(), e.Open(), e.Open(), e.Open()}
		sets, errs := make([]*keys.Set, len(stores)), make([]error, len(stores))
		together(len(stores), func(i int) { sets[i], errs[i] = stores[i].SigningKeys(ctx, secrets) })
		for i := range stores {
			require.NoError(t, errs[i])
			require.Equal(t, kids(sets[0]), kids(sets[i]))
			_, err := sets[i].Active(keys.ES256, e.Clock.Now())
			require.NoError(t, err)
			_, err = sets[i].Active(keys.RS256, e.Clock.Now())
			require.NoError(t, err)
		}
		require.Len(t, kids(sets[0]), 4)
	})
}

// However many rotate at once, the keys are whole: ordinals without gaps, one that
// waits to be next, and all others planned in the order of their ordinals.
func TestConcurrent_key_rotations_leave_a_whole_set(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, secrets := deadline(t), someSecrets(t)
		_, err := e.Store.SigningKeys(ctx, secrets)
		require.NoError(t, err)
		stores := []*storage.Store{e.Store, e.Open(), e.Open()}
		errs := make([]error, len(stores))
		together(len(stores), func(i int) { _, errs[i] = stores[i].RotateKeys(ctx, secrets, keys.ES256) })
		for _, err := range errs {
			require.NoError(t, err)
		}
		set, err := e.Store.SigningKeys(ctx, secrets)
		require.NoError(t, err)
		var ordinals []int64
		var last keys.Key
		for _, k := range set.List() {
			if k.Algorithm == keys.ES256 {
				ordinals = append(ordinals, k.Ordinal)
				require.True(t, k.ActivateAt.IsZero() || !k.ActivateAt.Before(last.ActivateAt))
				require.True(t, last.ID == "" || !last.ActivateAt.IsZero(), "two wait to be next")
				last = k
			}
		}
		require.True(t, last.ActivateAt.IsZero(), "none waits to be next")
		require.GreaterOrEqual(t, len(ordinals), 3)
		require.LessOrEqual(t, len(ordinals), 5)
		for i, ordinal := range ordinals {
			require.EqualValues(t, i+1, ordinal)
		}
	})
}

func TestConcurrent_registrations_of_one_id_one_wins(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		stores := []*storage.Store{e.Store, e.Open()}
		errs := make([]error, 8)
		together(len(errs), func(i int) {
			errs[i] = stores[i%2].CreateClient(ctx, clients.Client{ID: "app", Name: fmt.Sprint(i), Secrets: []clients.Secret{{ID: fmt.Sprint(i), Hash: "h"}}})
		})
		winner := one(t, errs, clients.ErrExists)
		c, err := e.Store.Client(ctx, "app")
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(winner), c.Name)
		require.Len(t, c.Secrets, 1)
		require.Equal(t, fmt.Sprint(winner), c.Secrets[0].ID, "the losers leave nothing")
	})
}

// A lost update: both have read version 1.
func TestConcurrent_changes_of_a_client_one_wins(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		createClient(t, e.Store, "app")
		stores := []*storage.Store{e.Store, e.Open()}
		read, err := e.Store.Client(ctx, "app")
		require.NoError(t, err)
		errs := make([]error, 8)
		together(len(errs), func(i int) {
			if i%2 == 0 {
				c := *read
				c.Name = fmt.Sprint(i)
				errs[i] = stores[i/2%2].UpdateClient(ctx, c)
			} else {
				errs[i] = stores[i/2%2].ReplaceSecrets(ctx, "app", read.Version, []clients.Secret{{ID: fmt.Sprint(i), Hash: "h"}})
			}
		})
		winner := one(t, errs, clients.ErrConflict)
		c, err := e.Store.Client(ctx, "app")
		require.NoError(t, err)
		require.Equal(t, read.Version+1, c.Version)
		if winner%2 == 0 {
			require.Equal(t, fmt.Sprint(winner), c.Name)
			require.Empty(t, c.Secrets)
		} else {
			require.Equal(t, "app", c.Name)
			require.Len(t, c.Secrets, 1)
			require.Equal(t, fmt.Sprint(winner), c.Secrets[0].ID)
		}
	})
}

// one is the place of the only nil; all others must be want.
func one(t *testing.T, errs []error, want error) int {
	t.Helper()
	winner := -1
	for i, err := range errs {
		if err != nil {
			require.ErrorIs(t, err, want)
			continue
		}
		require.Equal(t, -1, winner, "two won")
		winner = i
	}
	require.NotEqual(t, -1, winner, "nobody won")
	return winner
}

// Housekeeping while sessions are renewed takes only what is dead (F-27).
func TestConcurrent_cleaning_takes_no_live_session(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		old := begin(t, e, 20)
		e.Clock.Advance(life + remembered)
		ids := begin(t, e, 20)
		second := e.Open()
		errs := make([]error, len(ids)+2)
		var cleaned [2]storage.Cleaned
		together(len(errs), func(i int) {
			if i >= len(ids) {
				holder := i - len(ids)
				for range 5 {
					var c storage.Cleaned
					c, errs[i] = []*storage.Store{e.Store, second}[holder].Clean(context.WithoutCancel(ctx), fmt.Sprint(holder), 0)
					cleaned[holder].Sessions += c.Sessions
				}
				return
			}
			for generation := int64(1); generation < 6 && errs[i] == nil; generation++ {
				var verdict grants.Verdict
				_, verdict, errs[i] = rotate(ctx, e, e.Store, ids[i], generation)
				if errs[i] == nil && verdict != grants.Rotated {
					errs[i] = fmt.Errorf("a live session got %q", verdict)
				}
			}
		})
		for _, err := range errs {
			require.NoError(t, err)
		}
		require.EqualValues(t, len(old), cleaned[0].Sessions+cleaned[1].Sessions)
		require.EqualValues(t, len(ids), number(t, storagetest.Database(t, e.URL), `SELECT count(*) FROM grants`))
	})
}
