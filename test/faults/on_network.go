//go:build linux

package main

import (
	"context"
	"net/http"
	"slices"
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

// refuseConnections is a database that is down for as long as it takes to mend it. What
// needs none goes on meanwhile.
func refuseConnections(ctx context.Context, st *stage) error {
	st.begins("refuse connections")
	st.link.closed.Store(true)
	st.link.reset()
	pause(ctx, 200*time.Millisecond) // what was on its way has ended
	for end := time.Now().Add(min(30*time.Second, st.quantity.duration)); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, 200*time.Millisecond) {
		for _, r := range st.replicas {
			for path, want := range map[string]int{
				"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable, "/.well-known/openid-configuration": http.StatusOK, "/.well-known/jwks.json": http.StatusOK,
			} {
				if got := st.statusOf(ctx, "http://"+r.where()+path); got != want && ctx.Err() == nil {
					st.note(opProbe, "%s of %s says %d while the database refuses connections", path, r.name, got)
				}
			}
		}
	}
	st.link.closed.Store(false)
	st.lifted("connections are taken")
	return nil
}

// refuseStatements says each of PostgreSQL's reasons to some of the statements.
func refuseStatements(codes ...[]string) func(context.Context, *stage) error {
	all := slices.Concat(codes...)
	return func(ctx context.Context, st *stage) error {
		// One at a time, so that each has its turn.
		code := all[int(st.rounds.Add(1)-1)%len(all)]
		before := st.link.refused.Load()
		st.begins("say %s to one statement in three", code)
		st.link.refuseOne.Store(3)
		st.link.codes.Store(&[]string{code})
		pause(ctx, st.chance.between(100*time.Millisecond, 400*time.Millisecond))
		st.link.codes.Store(nil)
		st.lifted("statements are answered")
		st.injected.Add(max(0, st.link.refused.Load()-before-1)) // each is one
		return nil
	}
}

// rollBack says to one statement in four that its transaction was rolled back, all the time.
func rollBack(ctx context.Context, st *stage) error {
	codes := rollbacks()
	before := st.link.refused.Load()
	st.link.refuseOne.Store(4)
	st.link.codes.Store(&codes)
	pause(ctx, 500*time.Millisecond)
	st.injected.Add(st.link.refused.Load() - before)
	return nil
}
