//go:build linux

package main

import (
	"context"
	"net/http"
	"syscall"
	"time"
)

func killReplica(ctx context.Context, st *stage) error {
	r := st.any()
	st.begins("kill %s", r.name)
	if err := r.kill(); err != nil {
		return err
	}
	if others := st.others(r); len(others) > 0 {
		st.lifted("killed", others...)
	}
	pause(ctx, st.chance.between(0, 300*time.Millisecond))
	if err := r.revive(ctx); err != nil {
		return err
	}
	st.lifted("started again", r)
	return nil
}

func rollingRestart(ctx context.Context, st *stage) error {
	st.begins("restart all")
	return restartAll(ctx, st)
}

// restartAll lets the next replica have its turn when the balancer trusts the last one again.
func restartAll(ctx context.Context, st *stage) error {
	for _, r := range st.replicas {
		if err := r.signal(syscall.SIGTERM); err != nil {
			return err
		}
		if status := st.readiness(ctx, r); status != http.StatusServiceUnavailable {
			st.note(opDrain, "%s: /readyz said %d after SIGTERM", r.name, status)
		}
		if code := r.await(); code != 0 {
			st.note(opDrain, "%s ended with code %d", r.name, code)
		}
		if err := r.start(ctx); err != nil {
			return err
		}
		if err := st.until(ctx, patience, r.name+" to be trusted", func() bool { return st.front.trusts(r) }); err != nil {
			return err
		}
	}
	st.lifted("all are new")
	return nil
}

// readiness is what /readyz says first, once the signal was noticed.
func (st *stage) readiness(ctx context.Context, r *replica) (status int) {
	address := "http://" + r.where() + "/readyz"
	for range 20 {
		if status = st.statusOf(ctx, address); status != http.StatusOK || !pause(ctx, 10*time.Millisecond) {
			return status
		}
	}
	return status
}

// statusOf is 0 when there is no answer.
func (st *stage) statusOf(ctx context.Context, address string) int {
	ctx, cancel := context.WithTimeout(ctx, st.patience())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0
	}
	response, err := st.browser.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	return response.StatusCode
}

func freezeReplica(ctx context.Context, st *stage) error {
	r := st.any()
	st.begins("stop %s", r.name)
	if err := r.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	st.lifted("stopped", st.others(r)...)
	pause(ctx, st.chance.between(3*time.Second, min(15*time.Second, max(st.quantity.duration, 4*time.Second))))
	if err := r.signal(syscall.SIGCONT); err != nil {
		return err
	}
	st.lifted("goes on", r)
	return nil
}

func blockLog(ctx context.Context, st *stage) error {
	r := st.any()
	st.begins("nobody reads the log of %s", r.name)
	r.muted.Store(true)
	st.lifted("full", st.others(r)...)
	pause(ctx, st.chance.between(tooLate+time.Second, tooLate+3*time.Second))
	r.muted.Store(false)
	st.lifted("read again", r)
	return nil
}

func rotateKeys(ctx context.Context, st *stage) error {
	st.begins("rotate keys")
	_, err := run(ctx, st.replicas[0].dir, st.env, st.world.binary, "key", "rotate")
	return err
}
