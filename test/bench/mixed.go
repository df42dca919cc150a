package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// mixedResult is renewing and introspecting at fixed rates, without and with a storm of
// logins, in turns.
type mixedResult struct {
	Share      float64       `json:"share"` // of what both do at most when they run at once; 0: the rates were given
	Base       []*baseResult `json:"base"`
	Storms     []stormSample `json:"storms"`
	DurationMs float64       `json:"duration_ms"`
	Usage      []mixedUsage  `json:"usage"` // of the steps with logins
}

type baseResult struct {
	Operation    string   `json:"operation"`
	AtMost       float64  `json:"requests_per_second_at_most"`
	Without      []sample `json:"without"`
	With         []sample `json:"with"`
	FloorWithout []sample `json:"floor_without"`
	FloorWith    []sample `json:"floor_with"`
}

// samples are those of Grantor or the floor server, with or without logins.
func (r *baseResult) samples(to target, with bool) *[]sample {
	switch {
	case to == toFloor && with:
		return &r.FloorWith
	case to == toFloor:
		return &r.FloorWithout
	case with:
		return &r.With
	}
	return &r.Without
}

// mixedUsage is processor time used per second, of all processors.
type mixedUsage struct {
	Server    float64 `json:"server"`
	Database  float64 `json:"database"`
	Generator float64 `json:"generator"`
}

// stormSample is one storm of logins.
type stormSample struct {
	Offered      float64 `json:"offered_per_second"`
	Done         float64 `json:"done_per_second"`
	TurnedAway   float64 `json:"turned_away_per_second"` // 503 with Retry-After
	DoneP50      float64 `json:"done_p50_us"`
	DoneP99      float64 `json:"done_p99_us"`
	TurnedP50    float64 `json:"turned_away_p50_us"`
	TurnedP99    float64 `json:"turned_away_p99_us"`
	SentLateP99  float64 `json:"sent_late_p99_us"` // how far the generator was behind its schedule
	Connections  int     `json:"connections"`
	Answered     int     `json:"answered"` // before the storm was over
	lates, taken []uint32
	turned       []uint32
}

// mixed offers what about a third of the machine can do, so that there is room that
// logins may have, and then more logins than there is room for. The floor server is
// offered the same, beside the same logins at Grantor: it shares no line of code with
// them, so what it loses is what the machine takes.
func (b *benchmark) mixed(ctx context.Context, w *world) (*mixedResult, error) {
	o := b.o
	r := &mixedResult{Share: o.mixedShare, DurationMs: float64(o.mixedDuration.Milliseconds())}
	p, address, err := w.serve(ctx)
	if err != nil {
		return r, err
	}
	defer p.stop()
	var both []*operation
	counted := map[string]counts{}
	for _, name := range []string{"refresh/jwt", "introspect/opaque/active"} {
		both, r.Base = append(both, find(name)), append(r.Base, &baseResult{Operation: name})
		if counted[name], err = w.count(ctx, find(name)); err != nil {
			return r, err
		}
	}
	floor, floorAddress, err := w.serveFloor(ctx, o, b.floor, counted)
	if err != nil {
		return r, err
	}
	defer floor.stop()
	base := func(to target, duration time.Duration, rates []float64, beside func() error) ([]sample, error) {
		at := address
		if to == toFloor {
			at = floorAddress
		}
		samples, errs := make([]sample, len(both)), make([]error, len(both)+1)
		var all sync.WaitGroup
		for i, op := range both {
			workers, err := op.workers(ctx, w, to, o.concurrency, 0)
			if err != nil {
				return nil, err
			}
			all.Go(func() {
				s := step{warm: o.warm, duration: duration, rate: rates[i], meter: func() (usage, error) { return usage{}, nil }}
				samples[i], errs[i] = s.overHTTP(ctx, at, workers)
			})
		}
		if beside != nil {
			all.Go(func() { errs[len(both)] = beside() })
		}
		all.Wait()
		for i := range samples {
			if errs[i] == nil {
				samples[i].summarize()
			}
		}
		return samples, errors.Join(errs...)
	}
	progress("%s: mixed load, what both do at most", w.kind)
	most, err := base(toGrantor, 2*o.duration, []float64{0, 0}, nil)
	if err != nil {
		return r, err
	}
	rates := []float64{o.mixedRefresh, o.mixedIntrospect}
	for i, m := range most {
		r.Base[i].AtMost = m.Rate
		if rates[i] == 0 {
			rates[i] = m.Rate * o.mixedShare
		} else {
			r.Share = 0
		}
	}
	storm := func() error { return w.storm(ctx, o, address, r) }
	turns := []struct {
		to     target
		beside func() error
	}{{toGrantor, nil}, {toGrantor, storm}, {toFloor, nil}, {toFloor, storm}}
	for round := range o.rounds {
		if round > 0 {
			slices.Reverse(turns)
		}
		for _, t := range turns {
			with := t.beside != nil
			progress("%s: mixed load, round %d of %d, %s, logins %v", w.kind, round+1, o.rounds, t.to, with)
			meter := w.meterOf(p)
			before, err := meter()
			if err != nil {
				return r, err
			}
			began := time.Now()
			samples, err := base(t.to, o.mixedDuration, rates, t.beside)
			if err != nil {
				return r, fmt.Errorf("%s, logins %v: %w", t.to, with, err)
			}
			after, err := meter()
			if err != nil {
				return r, err
			}
			if with && t.to == toGrantor {
				s := time.Since(began).Seconds() // until the last login is answered
				r.Usage = append(r.Usage, mixedUsage{(after.server - before.server).Seconds() / s, (after.database - before.database).Seconds() / s, (after.own - before.own).Seconds() / s})
			}
			for i, m := range samples {
				all := r.Base[i].samples(t.to, with)
				*all = append(*all, m)
			}
		}
	}
	return r, nil
}

// storm offers logins on a schedule that no answer delays: each takes a connection that
// is free, or a new one.
func (w *world) storm(ctx context.Context, o options, address string, r *mixedResult) error {
	workers, err := find("password").workers(ctx, w, toGrantor, 1, 0)
	if err != nil {
		return err
	}
	request := workers[0].next()
	began, duration := time.Now(), o.warm+o.mixedDuration
	var mu sync.Mutex
	var free []*wire
	var failed error
	var storm stormSample
	defer func() {
		for _, c := range free {
			c.close()
		}
	}()
	one := func(c *wire, due time.Time) error {
		if c == nil {
			var err error
			if c, err = dial(ctx, address, duration+patience); err != nil {
				return err
			}
		}
		late := time.Since(due)
		status, body, err := c.do(request)
		took := time.Since(due)
		if err == nil && status != http.StatusServiceUnavailable { // wire.go wants its Retry-After
			err = workers[0].check(status, body)
		}
		if err != nil {
			c.close()
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		free = append(free, c)
		if time.Since(began) < duration {
			storm.Answered++
		}
		if status == http.StatusServiceUnavailable {
			storm.turned = append(storm.turned, nanoseconds(took))
		} else {
			storm.taken = append(storm.taken, nanoseconds(took))
		}
		storm.lates = append(storm.lates, nanoseconds(late))
		return nil
	}
	interval := time.Duration(float64(time.Second) / o.logins)
	tick := time.NewTicker(max(interval/4, time.Millisecond))
	defer tick.Stop()
	var all sync.WaitGroup
	defer all.Wait() // before the connections are closed, also after an error
	for due := began; due.Sub(began) < duration; due = due.Add(interval) {
		for time.Until(due) > 0 {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		mu.Lock()
		var c *wire
		if n := len(free); n > 0 {
			c, free = free[n-1], free[:n-1]
		} else {
			storm.Connections++
		}
		err := failed
		mu.Unlock()
		if err != nil {
			return err
		}
		all.Go(func() {
			if err := one(c, due); err != nil {
				mu.Lock()
				failed = errors.Join(failed, err)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	storm.summarize(duration)
	r.Storms = append(r.Storms, storm)
	return failed
}

// summarize counts what came in time by the number of logins that were still in the queue
// at the end: those were done, never turned away.
func (s *stormSample) summarize(duration time.Duration) {
	all := len(s.taken) + len(s.turned)
	late := all - s.Answered
	for _, list := range [][]uint32{s.taken, s.turned, s.lates} {
		slices.Sort(list)
	}
	perSecond := func(n int) float64 { return float64(n) / duration.Seconds() }
	s.Offered, s.Done, s.TurnedAway = perSecond(all), perSecond(max(0, len(s.taken)-late)), perSecond(len(s.turned))
	s.DoneP50, s.DoneP99, s.TurnedP50, s.TurnedP99 = quantile(s.taken, 0.5), quantile(s.taken, 0.99), quantile(s.turned, 0.5), quantile(s.turned, 0.99)
	s.SentLateP99 = quantile(s.lates, 0.99)
	s.taken, s.turned, s.lates = nil, nil, nil
}
