//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// The program of these stages is built with the tag faults, and reads in a file how wrong
// its clock is (cmd/grantor/clock_faults.go).

func (r *replica) clockFile() string { return filepath.Join(r.dir, r.name+".clock") }

// stepClock sets one replica's clock forward or back, and after a while right again.
func stepClock(steps ...time.Duration) func(context.Context, *stage) error {
	return func(ctx context.Context, st *stage) error {
		round := int(st.rounds.Add(1) - 1)
		step := steps[round/2%len(steps)]
		if round%2 == 1 {
			step = -step
		}
		r := st.replicas[len(st.replicas)-1]
		st.begins("the clock of %s is wrong by %s", r.name, step)
		if err := setClock(r, step); err != nil {
			return err
		}
		pause(ctx, st.chance.between(time.Second, 2*time.Second))
		if err := setClock(r, 0); err != nil {
			return err
		}
		st.lifted("the clock is right")
		return nil
	}
}

// setClock replaces the file whole.
func setClock(r *replica, by time.Duration) error {
	if err := os.WriteFile(r.clockFile()+".new", []byte(by.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(r.clockFile()+".new", r.clockFile())
}
