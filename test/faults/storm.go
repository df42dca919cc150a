//go:build linux

package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"
)

// storm is 200 sign-ins a second with the right password, whose hashes cost what they cost
// in production. Those that find no place are told so; sessions go on as before.
func storm(ctx context.Context, st *stage) error {
	const perSecond = 200
	pause(ctx, 2*time.Second) // a quiet time, to compare with
	st.begins("sign in %d times a second", perSecond)
	var all sync.WaitGroup
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end) && ctx.Err() == nil; <-tick.C {
		all.Go(func() {
			a := st.application(st.chance, st.users[st.chance.below(len(st.users))])
			e, body := a.ask(opLogin, "/oauth2/token", url.Values{"grant_type": {"password"}, "username": {a.user.name}, "password": {a.user.password}})
			if e.Class == ok {
				e.Grant = a.read(&e, body).refresh.grant
			}
			st.journal.write(e)
		})
	}
	st.lifted("quiet")
	all.Wait()
	return nil
}

// storms compares how long sessions waited while everybody signed in, and else.
func (f *finding) storms(events []event, r rules) {
	if r.storm == 0 {
		return
	}
	var quiet, stormy []time.Duration
	inside := false
	for _, e := range events {
		switch {
		case e.Op == markInject:
			inside = true
		case e.Op == markLift:
			inside = false
		case e.Class == ok && (e.Op == opRefresh || e.Op == opIntrospect) && inside:
			stormy = append(stormy, e.took())
		case e.Class == ok && (e.Op == opRefresh || e.Op == opIntrospect):
			quiet = append(quiet, e.took())
		}
	}
	if len(quiet) < 100 || len(stormy) < 100 {
		f.violate(honest, event{}, "%d renewals and looks in quiet times and %d in storms: too few to compare", len(quiet), len(stormy))
		return
	}
	before, during := percentile99(quiet), percentile99(stormy)
	f.remark = fmt.Sprintf("p99 of renewals and introspections %s, in storms %s", milliseconds(before), milliseconds(during))
	if during > max(2*before, r.storm) {
		f.violate(honest, event{}, "%s", f.remark)
	}
}

func percentile99(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)*99/100]
}
