//go:build linux

package main

import (
	"context"
	"time"
)

// killBetween makes sure that the moment is the right one.
func killBetween(ctx context.Context, st *stage) error {
	r := st.any()
	held := &st.link.swallowAnswers
	if st.chance.once(2) {
		held = &st.link.swallowQuestions
	}
	before := st.link.swallowed.Load()
	st.begins("hold what is on the way, and kill %s", r.name)
	held.Store(true)
	err := st.until(ctx, time.Second, "something on the way", func() bool { return st.link.swallowed.Load() > before+6 })
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err := r.kill(); err != nil {
		return err
	}
	held.Store(false)
	st.link.reset() // what was swallowed never comes
	st.lifted("killed", st.others(r)...)
	pause(ctx, st.chance.between(0, 300*time.Millisecond))
	if err := r.revive(ctx); err != nil {
		return err
	}
	st.lifted("started again", r)
	return nil
}

func cutAnswers(ctx context.Context, st *stage) error {
	before := st.link.cuts.Load()
	st.begins("lose answers")
	st.link.cut.Store(4)
	pause(ctx, st.chance.between(100*time.Millisecond, 400*time.Millisecond))
	st.link.cut.Store(0)
	st.lifted("answers pass")
	st.injected.Add(max(0, st.link.cuts.Load()-before-1)) // each is one
	return nil
}

func delayAnswers(ctx context.Context, st *stage) error {
	// Beyond the deadline of a statement, and within it, in turn.
	delay := []time.Duration{2 * time.Second, 500 * time.Millisecond}[st.injected.Load()%2]
	st.begins("delay answers by %s", delay)
	st.link.delay.Store(int64(delay))
	pause(ctx, st.chance.between(time.Second, 3*time.Second))
	st.link.delay.Store(0)
	st.lifted("answers are in time")
	return nil
}
