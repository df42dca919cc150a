//go:build linux

package main

import (
	"context"
	"net/url"
	"sync"
)

// race is one session, and six who want it at once.
func race(ctx context.Context, st *stage) error {
	a := &application{st: st, user: st.users[st.chance.below(len(st.users))], chance: st.chance}
	if !a.login(ctx) {
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
