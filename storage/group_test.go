package storage_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
)

const crowdSize = 12

// few is so few connections that no lane is a spare one, which would take the line early.
const few = 3

// lineUp renews sessions at a moment when the lane is taken, so that all of the renewals
// are one group: with few connections. It answers what each was told, and the sessions.
func lineUp(t *testing.T, e *storagetest.Env) ([]grants.ID, []error) {
	t.Helper()
	return lineUpAfter(t, e, func([]grants.ID) {})
}

func lineUpAfter(t *testing.T, e *storagetest.Env, prepare func(ids []grants.ID)) ([]grants.ID, []error) {
	t.Helper()
	ctx := deadline(t)
	ids, other := begin(t, e, crowdSize), begin(t, e, 1)[0]

	prepare(ids)

	taken, open := make(chan struct{}), make(chan struct{})
	e.Tally.Fail(func(sql string) error {
		if strings.Contains(sql, "'client'") {
			close(taken)
			<-open
		}
		return nil
	})
	var all sync.WaitGroup
	all.Go(func() { _, _, _ = e.Store.Revoke(ctx, other, "app", e.Clock.Now(), "") })
	<-taken
	errs := make([]error, crowdSize)
	for i, id := range ids {
		all.Go(func() {
			g, verdict, err := rotate(ctx, e, e.Store, id, 1)
			if err == nil && (verdict != grants.Rotated || g.ID != id || g.Generation != 2) {
				err = errors.New("told what another one should be")
			}
			errs[i] = err
		})
	}
	eventually(t, "the others are in line", func() bool { return e.Store.InLine() == crowdSize })
	e.Tally.Reset()
	close(open)
	all.Wait()
	e.Tally.Fail(nil)
	return ids, errs
}

func TestGroup_is_one_transaction(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var sizes []int
	setup := storagetest.Setup{Options: func(o *storage.Options) {
		o.Connections = few
		wrap := o.WrapGroup
		o.WrapGroup = func(statements []string, run func() error) error {
			mu.Lock()
			sizes = append(sizes, len(statements))
			mu.Unlock()
			return wrap(statements, run)
		}
	}}
	storagetest.EachWith(t, setup, func(t *testing.T, e *storagetest.Env) {
		_, errs := lineUp(t, e)
		for _, err := range errs {
			require.NoError(t, err)
		}
		if e.Dialect == storage.SQLite {
			// Its 12 renewals, and what opens and closes their transaction.
			require.Equal(t, crowdSize+2, e.Tally.Count())
			return
		}
		require.Contains(t, sizes, crowdSize)
	})
}

// A row that somebody holds costs its own renewal an answer, and its neighbours none.
func TestGroup_with_a_locked_row(t *testing.T) {
	t.Parallel()
	setup := storagetest.Setup{Options: func(o *storage.Options) { o.Timeout, o.Connections = 5*time.Second, few }}
	storagetest.EachWith(t, setup, func(t *testing.T, e *storagetest.Env) {
		if e.Dialect == storage.SQLite {
			return // it locks the file, not rows: TestLockedFile
		}
		ctx := deadline(t)
		held, err := storagetest.Database(t, e.URL).BeginTx(ctx, nil)
		require.NoError(t, err)
		ids, errs := lineUpAfter(t, e, func(ids []grants.ID) {
			_, err := held.ExecContext(ctx, `SELECT FROM grants WHERE id = $1 FOR UPDATE`, ids[5][:])
			require.NoError(t, err)
		})
		for i, err := range errs {
			if i == 5 {
				require.ErrorIs(t, err, storage.ErrUnavailable)
				continue
			}
			require.NoError(t, err)
		}
		require.NoError(t, held.Rollback())
		_, verdict, err := rotate(ctx, e, e.Store, ids[5], 1)
		require.NoError(t, err)
		// The statement that was given up may have run when the lock was gone.
		require.Contains(t, []grants.Verdict{grants.Rotated, grants.Retried}, verdict)
	})
}

// The group was committed and its answer lost: nobody is told anything, and each gets its
// successor when it asks again.
func TestGroup_whose_answer_is_lost(t *testing.T) {
	t.Parallel()
	setup := storagetest.Setup{Options: func(o *storage.Options) { o.Connections = few }}
	storagetest.EachWith(t, setup, func(t *testing.T, e *storagetest.Env) {
		begin(t, e, 1)
		e.Tally.FailAfter(func(sql string) error {
			if sql == "COMMIT" || e.Dialect == storage.Postgres && strings.HasPrefix(sql, "UPDATE grants SET generation") {
				return errCut
			}
			return nil
		})
		ids, errs := lineUp(t, e)
		e.Tally.FailAfter(nil)
		for i, id := range ids {
			require.ErrorIs(t, errs[i], storage.ErrUnavailable)
			g, verdict, err := rotate(deadline(t), e, e.Store, id, 1)
			require.NoError(t, err)
			require.Equal(t, grants.Retried, verdict)
			require.EqualValues(t, 2, g.Generation)
		}
	})
}

// What fails in a group takes it all back, and everybody is served one by one.
func TestGroup_that_is_rolled_back(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		if e.Dialect == storage.Postgres {
			return // it is what TestGroup_with_a_locked_row does
		}
		var failed atomic.Bool
		e.Tally.FailAfter(func(sql string) error {
			if strings.HasPrefix(sql, "UPDATE grants SET generation") && failed.CompareAndSwap(false, true) {
				return errCut
			}
			return nil
		})
		_, errs := lineUp(t, e)
		for _, err := range errs {
			require.NoError(t, err)
		}
		require.True(t, failed.Load())
		require.Contains(t, e.Tally.Statements(), "ROLLBACK")
	})
}
