package storage

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// road is a groups whose database is the test.
type road struct {
	groups
	asked   chan []*member // a group that runs
	answers chan error     // and how it ends
}

func newRoad(free int) *road {
	l := &road{asked: make(chan []*member, 10), answers: make(chan error)}
	l.free, l.timeout = free, time.Second
	l.run = func(ctx context.Context, list []*member) error {
		l.asked <- list
		select {
		case err := <-l.answers:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return l
}

// come sends a member in, and answers where its error will be.
func (l *road) come(ctx context.Context, all *sync.WaitGroup, key byte) *error {
	answer := new(error)
	all.Go(func() { *answer = l.do(&member{ctx: ctx, key: []byte{key}}) })
	synctest.Wait()
	return answer
}

func keysOf(list []*member) (keys []byte) {
	for _, m := range list {
		keys = append(keys, m.key...)
	}
	return keys
}

func TestGroups_never_wait_for_company(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newRoad(2)
		var all sync.WaitGroup
		for key := range byte(2) {
			l.come(t.Context(), &all, key)
			require.Equal(t, []byte{key}, keysOf(<-l.asked), "alone, at once")
		}
		l.answers <- nil
		l.answers <- nil
		all.Wait()
		synctest.Wait()
		require.Equal(t, 2, l.free)
	})
}

func TestGroups_take_the_whole_line_in_the_order_of_its_keys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newRoad(1)
		var all sync.WaitGroup
		l.come(t.Context(), &all, 9)
		require.Equal(t, []byte{9}, keysOf(<-l.asked))
		broken := errors.New("cut")
		var answers []*error
		for _, key := range []byte{3, 1, 2} {
			answers = append(answers, l.come(t.Context(), &all, key))
		}
		require.Empty(t, l.asked, "the lane is taken")
		l.answers <- nil
		require.Equal(t, []byte{1, 2, 3}, keysOf(<-l.asked))
		l.answers <- broken
		all.Wait()
		for _, answer := range answers {
			require.ErrorIs(t, *answer, broken, "what happens to a group happens to each")
		}
		synctest.Wait()
		require.Equal(t, 1, l.free)
	})
}

func TestGroups_are_bounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newRoad(1)
		var all sync.WaitGroup
		l.come(t.Context(), &all, 0)
		<-l.asked
		for range maxGroup + 5 {
			l.come(t.Context(), &all, 1)
		}
		for _, want := range []int{maxGroup, 5} {
			l.answers <- nil
			require.Len(t, <-l.asked, want)
		}
		l.answers <- nil
		all.Wait()
		synctest.Wait()
		require.Equal(t, 1, l.free)
	})
}

// Who gave up in the line is told so at once, and is not run behind its back.
func TestGroups_do_not_run_who_gave_up(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newRoad(1)
		var all sync.WaitGroup
		l.come(t.Context(), &all, 0)
		<-l.asked
		ctx, cancel := context.WithCancel(t.Context())
		gone := l.come(ctx, &all, 1)
		l.come(t.Context(), &all, 2)
		cancel()
		synctest.Wait()
		require.ErrorIs(t, *gone, context.Canceled)
		l.answers <- nil
		require.Equal(t, []byte{2}, keysOf(<-l.asked))
		l.answers <- nil
		all.Wait()
	})
}

// A database that says nothing costs a lane its deadline, not for ever.
func TestGroups_end_with_their_deadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newRoad(1)
		var all sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		first := l.come(ctx, &all, 0)
		second := l.come(t.Context(), &all, 1)
		all.Wait()
		require.ErrorIs(t, *first, context.DeadlineExceeded)
		require.ErrorIs(t, *second, context.DeadlineExceeded)
		synctest.Wait()
		require.Equal(t, 1, l.free)
	})
}

// What hangs keeps its connection, and a spare lane serves the others.
func TestGroups_replace_a_slow_lane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newRoad(1)
		l.spare = 1
		var all sync.WaitGroup
		l.come(t.Context(), &all, 0)
		require.Equal(t, []byte{0}, keysOf(<-l.asked))
		time.Sleep(10 * replaceAfter)
		require.False(t, l.watched, "nobody waits, so nothing has to wake up")
		began := time.Now()
		l.come(t.Context(), &all, 1)
		require.Equal(t, []byte{1}, keysOf(<-l.asked))
		require.Zero(t, time.Since(began), "who comes then need not wait for it to be slow")
		// Both hang, and there is no third.
		l.come(t.Context(), &all, 2)
		l.come(t.Context(), &all, 3)
		time.Sleep(10 * replaceAfter)
		synctest.Wait()
		require.Empty(t, l.asked)
		l.answers <- nil
		require.Equal(t, []byte{2, 3}, keysOf(<-l.asked))
		l.answers <- nil
		l.answers <- nil
		all.Wait()
		synctest.Wait()
		require.Equal(t, 1, l.free)
		require.Equal(t, 1, l.spare)
	})
}

// Who lines up behind a lane that is not slow yet has a spare one as soon as it is; and a line
// that is longer than a group has a lane for its rest, too.
func TestGroups_watch_while_somebody_waits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newRoad(1)
		l.spare = 1
		var all sync.WaitGroup
		l.come(t.Context(), &all, 0)
		<-l.asked
		time.Sleep(replaceAfter / 2)
		began := time.Now()
		for range maxGroup + 1 {
			l.come(t.Context(), &all, 1)
		}
		require.True(t, l.watched)
		require.Len(t, <-l.asked, maxGroup)
		require.Equal(t, replaceAfter/2, time.Since(began))
		l.answers <- nil // to either
		require.Len(t, <-l.asked, 1, "and the rest of the line is not forgotten")
		l.answers <- nil
		l.answers <- nil
		all.Wait()
		synctest.Wait()
		require.Equal(t, []int{1, 1, 0}, []int{l.free, l.spare, len(l.running)})
	})
}

// A panic is everybody's failure, not the end of the program.
func TestGroups_survive_a_panic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newRoad(1)
		var all sync.WaitGroup
		l.come(t.Context(), &all, 0)
		<-l.asked
		answer := l.come(t.Context(), &all, 1)
		l.run = func(context.Context, []*member) error { panic("a driver") }
		l.answers <- nil
		all.Wait()
		synctest.Wait()
		require.ErrorIs(t, *answer, errPanicked)
		require.Equal(t, 1, l.free)
	})
}
