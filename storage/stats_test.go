package storage_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
)

func TestStats_tell_how_the_store_stands_without_asking_the_database(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, ids := deadline(t), begin(t, e, 1)
		s := e.Open(func(o *storage.Options) { o.Count = true })
		_, verdict, err := rotate(ctx, e, s, ids[0], 1)
		require.NoError(t, err)
		require.Equal(t, grants.Rotated, verdict)
		for range 3 {
			_, err := s.RegisteredClient(ctx, "app")
			require.NoError(t, err)
		}

		e.Tally.Reset()
		stats := s.Stats()
		require.Empty(t, e.Tally.Statements())
		require.Equal(t, uint64(1), stats.CacheMisses)
		require.Equal(t, uint64(2), stats.CacheHits)
		require.Contains(t, stats.Refreshes, grants.Reused)
		require.Zero(t, stats.Failures)
		require.True(t, stats.Heard.IsZero(), "nobody watches")
		write := stats.Groups[0]
		require.Equal(t, "write", write.Name)
		require.Equal(t, uint64(1), write.Statements)
		require.Equal(t, uint64(1), write.Sizes[0])
		require.Positive(t, write.Lanes)
		for _, p := range stats.Pools {
			require.Positive(t, p.Most, p.Name)
			require.Equal(t, p.Open, p.InUse+p.Idle, p.Name)
		}

		// Without being asked to, it counts nothing of that.
		quiet := e.Open().Stats()
		require.Empty(t, quiet.Refreshes)
		require.Empty(t, quiet.Codes)
	})
}

func TestStats_count_what_the_database_did_not_do(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ids := begin(t, e, 1)
		s := e.Open()
		e.Tally.Fail(func(string) error { return errors.New("gone") })
		_, _, err := rotate(deadline(t), e, s, ids[0], 1)
		require.ErrorIs(t, err, storage.ErrUnavailable)
		_, err = s.Client(deadline(t), "app")
		require.ErrorIs(t, err, storage.ErrUnavailable)
		require.Equal(t, uint64(2), s.Stats().Failures)
	})
}

// Each unit of work is told once, by its name, with its error, whichever way it takes.
func TestTrace_hears_of_every_unit_of_work(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, ids := deadline(t), begin(t, e, 1)
		var mu sync.Mutex
		var heard []string
		s := e.Open(func(o *storage.Options) {
			o.Trace = func(ctx context.Context, doing string) (context.Context, func(error)) {
				return ctx, func(err error) {
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						doing += ": failed"
					}
					heard = append(heard, doing)
				}
			}
		})
		_, _, err := rotate(ctx, e, s, ids[0], 1)
		require.NoError(t, err)
		_, err = s.Access(ctx, ids[0], "app", "jti", e.Clock.Now())
		require.NoError(t, err)
		require.NoError(t, s.Deny(ctx, "jti", "app", e.Clock.Now().Add(time.Minute)))
		e.Tally.Fail(func(string) error { return errors.New("gone") })
		_, err = s.UserByLogin(ctx, "alice")
		require.Error(t, err)
		require.Len(t, heard, 4)
		require.Equal(t, "rotate refresh token", heard[0])
		require.Equal(t, "read user: failed", heard[3])
	})
}
