//go:build linux

package main

import (
	"context"
	"net/url"
	"sync"
)

// race is one session, and six who want it at once.
func race(ctx context.Context, st *stage) error {
	a := st.newcomer()
	if !a.byCode(ctx) {
		return ctx.Err()
	}
	st.injected.Add(1)
	var start, done sync.WaitGroup
	start.Add(1)
	var mu sync.Mutex
	var renewed []pair
	for range 2 {
		done.Go(func() {
			start.Wait()
			e, got := a.show(opRefresh, a.newest)
			st.journal.write(e)
			if e.Class == ok && e.Wrong == "" {
				mu.Lock()
				defer mu.Unlock()
				renewed = append(renewed, got)
			}
		})
	}
	for range 3 {
		done.Go(func() {
			start.Wait()
			a.introspect()
		})
	}
	done.Go(func() {
		start.Wait()
		e, _ := a.ask(opRevoke, "/oauth2/revoke", url.Values{"token": {a.newest.text}})
		e.Grant, e.Shown = a.newest.grant, a.newest.generation
		st.journal.write(e)
	})
	start.Done()
	done.Wait()
	// What was renewed in the race has ended with it.
	a.introspect()
	for _, got := range renewed {
		late := &application{st: st, user: a.user, chance: st.chance, newest: got.refresh, access: got.access}
		st.remember(late)
		late.introspect()
		late.refresh()
	}
	return nil
}

// raceRenewals is one token, and 2, 8 or 50 who show it at once. Each gets the same
// successor.
func raceRenewals(ctx context.Context, st *stage) error {
	a := st.newcomer()
	if !a.byCode(ctx) {
		return ctx.Err()
	}
	st.injected.Add(1)
	together([]int{2, 8, 50}[int(st.rounds.Add(1))%3], func() {
		e, _ := a.show(opRefresh, a.newest)
		st.journal.write(e)
	})
	return nil
}

// raceCode is one code, and 2, 8 or 50 who redeem it at once. One gets tokens, the others
// nothing, and its session goes on.
func raceCode(ctx context.Context, st *stage) error {
	a := st.newcomer()
	asked, is := a.authorize(ctx)
	if !is {
		return ctx.Err()
	}
	st.injected.Add(1)
	outcome, got := a.redeemAtOnce(asked, []int{2, 8, 50}[int(st.rounds.Add(1))%3])
	if outcome == ok {
		a.newest, a.access = got.refresh, got.access
		a.introspect()
		a.refresh()
	}
	return nil
}

// newcomer is an application with a browser that stays signed in, so that a new session
// costs no password.
func (st *stage) newcomer() *application {
	if st.racer == nil {
		st.racer = st.application(st.chance, st.users[0])
	}
	return st.racer
}

// together runs what so many do at once.
func together(times int, do func()) {
	var start, done sync.WaitGroup
	start.Add(1)
	for range times {
		done.Go(func() {
			start.Wait()
			do()
		})
	}
	start.Done()
	done.Wait()
}
