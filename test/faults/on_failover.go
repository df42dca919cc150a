//go:build linux

package main

import (
	"context"
	"strings"
	"syscall"
	"time"
)

// addStandby gives the replicas both addresses: they look for the one that can write.
func addStandby(ctx context.Context, st *stage) error {
	primary := st.primary()
	if err := primary.follow(ctx); err != nil {
		return err
	}
	hosts := primary.Address() + "," + primary.standby.Address()
	st.database = strings.Replace(st.database, primary.Address(), hosts, 1) + "&target_session_attrs=read-write"
	st.env = st.world.environment(st.database, st.fault.settings...)
	return nil
}

// failOver kills the primary, promotes its standby, and makes the old one the standby of
// the new one. Every other time the old one is the first that the replicas try: then
// nobody fences it, and it comes back as the primary that it was.
func failOver(ctx context.Context, st *stage) error {
	old := st.primary()
	heir := old.standby
	began := st.journal.now()
	st.begins("kill postgres for good")
	if err := old.Crash(); err != nil {
		return err
	}
	pause(ctx, st.chance.between(0, 500*time.Millisecond)) // somebody must notice
	if err := heir.Exec(ctx, "SELECT pg_promote()"); err != nil {
		return err
	}
	old.standby = nil
	st.moved(heir)
	st.liftedSince(began, "promoted")
	pause(ctx, 2*time.Second)
	if strings.Index(st.database, old.Address()) < strings.Index(st.database, heir.Address()) {
		if err := comeBack(ctx, st, old); err != nil {
			return err
		}
	}
	return heir.rejoin(ctx, old)
}

// comeBack lets the replicas connect anew while both can write.
func comeBack(ctx context.Context, st *stage, old *cluster) error {
	if err := old.Start(ctx); err != nil {
		return err
	}
	st.begins("the old primary is back as if nothing had happened")
	for range 4 {
		if err := st.exec(ctx, throwOut); err != nil {
			return err
		}
		pause(ctx, 500*time.Millisecond)
	}
	if err := old.Shut(syscall.SIGINT, 10*time.Second, syscall.SIGQUIT); err != nil {
		return err
	}
	st.lifted("it is gone again")
	return nil
}
