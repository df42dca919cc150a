package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// worker is one client: it says what to ask next, and judges the answer.
type worker interface {
	next() []byte // a whole HTTP request; nil: it has nothing left to ask
	check(status int, body []byte) error
}

// caller does one unit of work at a time. It has one goroutine of its own.
type caller interface {
	call(ctx context.Context) (more bool, err error)
}

// client is a worker with its connection.
type client struct {
	wire *wire
	who  worker
}

func (c client) call(context.Context) (bool, error) {
	request := c.who.next()
	if request == nil {
		return false, nil
	}
	status, body, err := c.wire.do(request)
	if err != nil {
		return false, err
	}
	return true, c.who.check(status, body)
}

// sample is what one step measured.
type sample struct {
	Count    int     `json:"count"`
	Seconds  float64 `json:"seconds"`
	Rate     float64 `json:"requests_per_second"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
	Server   float64 `json:"server_cpu_us,omitempty"`   // per request
	Database float64 `json:"database_cpu_us,omitempty"` // per request
	Own      float64 `json:"generator_cpu_us"`          // per request
	Offered  float64 `json:"offered_per_second,omitempty"`

	took    []uint32      // in nanoseconds
	elapsed time.Duration // of the measured part
	used    usage
}

// usage is CPU time: of a server, of its database, of this program.
type usage struct{ server, database, own time.Duration }

// meter reads what was used so far.
type meter func() (usage, error)

// step is one measurement: a warm-up, then as many calls as fit into the duration.
type step struct {
	callers  []caller
	warm     time.Duration
	duration time.Duration
	// rate is offered in all, 0 as much as goes. Then a request's time begins when it
	// was due, so that a server that stalls is not asked less.
	rate  float64
	meter meter
}

// overHTTP gives each worker a connection, runs the step, and closes them.
func (s step) overHTTP(ctx context.Context, address string, workers []worker) (sample, error) {
	for _, who := range workers {
		w, err := dial(ctx, address, s.warm+s.duration+patience)
		if err != nil {
			return sample{}, err
		}
		defer w.close()
		s.callers = append(s.callers, client{w, who})
	}
	return s.run(ctx)
}

func (s step) run(ctx context.Context) (sample, error) {
	if err := ctx.Err(); err != nil {
		return sample{}, err
	}
	if _, err := s.drive(ctx, s.warm); err != nil {
		return sample{}, err
	}
	before, err := s.meter()
	if err != nil {
		return sample{}, err
	}
	m, err := s.drive(ctx, s.duration)
	if err := cmp.Or(err, ctx.Err()); err != nil {
		return sample{}, err
	}
	after, err := s.meter()
	if err != nil {
		return sample{}, err
	}
	if m.Count == 0 {
		return sample{}, errors.New("no request was made")
	}
	m.used = usage{after.server - before.server, after.database - before.database, after.own - before.own}
	m.Offered = s.rate
	return m, nil
}

// join adds a later slice of the same turn.
func (m *sample) join(next sample) {
	m.took, m.Count, m.elapsed, m.Offered = append(m.took, next.took...), m.Count+next.Count, m.elapsed+next.elapsed, next.Offered
	m.used.server += next.used.server
	m.used.database += next.used.database
	m.used.own += next.used.own
}

func perRequest(used time.Duration, count int) float64 {
	return float64(used.Nanoseconds()) / 1000 / float64(count)
}

// summarize turns what was counted into what is told.
func (m *sample) summarize() {
	m.Server, m.Database, m.Own = perRequest(m.used.server, m.Count), perRequest(m.used.database, m.Count), perRequest(m.used.own, m.Count)
	slices.Sort(m.took)
	m.P50, m.P99 = quantile(m.took, 0.50), quantile(m.took, 0.99)
	m.Seconds = m.elapsed.Seconds()
	m.Rate = float64(m.Count) / m.Seconds
	m.took = nil
}

func quantile(sorted []uint32, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[int(q*float64(len(sorted)-1)+0.5)]) / 1000
}

// drive lets all callers work at once.
func (s step) drive(ctx context.Context, duration time.Duration) (sample, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	took := make([][]uint32, len(s.callers))
	errs := make([]error, len(s.callers))
	began := time.Now()
	var all sync.WaitGroup
	for i := range s.callers {
		all.Go(func() {
			took[i], errs[i] = s.ask(ctx, i, began, began.Add(duration))
			if errs[i] != nil {
				cancel() // the numbers of a run with wrong answers mean nothing
			}
		})
	}
	all.Wait()
	m := sample{elapsed: time.Since(began)}
	for i := range took {
		m.took = append(m.took, took[i]...)
	}
	m.Count = len(m.took)
	return m, cmp.Or(errs...) // the others tell the same
}

func (s step) ask(ctx context.Context, number int, began, ends time.Time) ([]uint32, error) {
	took := make([]uint32, 0, 1<<14)
	due, interval := began, time.Duration(0)
	if s.rate > 0 {
		interval = time.Duration(float64(len(s.callers)) / s.rate * float64(time.Second))
		due = began.Add(interval * time.Duration(number) / time.Duration(len(s.callers)))
	}
	pause := time.NewTimer(time.Hour)
	defer pause.Stop()
	for ctx.Err() == nil {
		from := time.Now()
		if interval > 0 {
			if wait := due.Sub(from); wait > 0 && due.Before(ends) {
				pause.Reset(wait)
				select {
				case <-pause.C:
				case <-ctx.Done():
					return took, nil
				}
			}
			from, due = due, due.Add(interval)
		}
		if !from.Before(ends) {
			return took, nil
		}
		more, err := s.callers[number].call(ctx)
		if err != nil {
			return took, fmt.Errorf("worker %d, after %d: %w", number, len(took), err)
		}
		if !more {
			return took, nil
		}
		took = append(took, nanoseconds(time.Since(from)))
	}
	return took, nil
}

// nanoseconds end at four seconds, which is all that fits.
func nanoseconds(d time.Duration) uint32 { return uint32(min(d, 4*time.Second)) }
