package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Scenarios are what single operations do not show. Each runs on PostgreSQL when there
// is one, by -scenarios.

// replicaResult is so many processes on one database.
type replicaResult struct {
	Replicas int    `json:"replicas"`
	Sample   sample `json:"sample"`
}

// replicas renews through 1, 2 and 4 processes: what each request costs must not grow.
func (w *world) replicas(ctx context.Context, o options) (list []replicaResult, err error) {
	op := find("refresh/jwt")
	for _, n := range []int{1, 2, 4} {
		progress("%s: %d replicas", w.kind, n)
		m, err := w.renewThrough(ctx, o, op, n)
		if err != nil {
			return nil, fmt.Errorf("%d replicas: %w", n, err)
		}
		list = append(list, replicaResult{n, m})
	}
	return list, nil
}

func (w *world) renewThrough(ctx context.Context, o options, op *operation, n int) (sample, error) {
	var servers []*process
	var addresses []string
	for range n {
		p, address, err := w.serve(ctx)
		if err != nil {
			return sample{}, err
		}
		defer p.stop()
		servers, addresses = append(servers, p), append(addresses, address)
	}
	workers, err := op.workers(ctx, w, "replicas", o.concurrency, 0)
	if err != nil {
		return sample{}, err
	}
	s := step{warm: 4 * o.warm, duration: o.duration, meter: w.meterOf(servers...)}
	for i, who := range workers {
		wire, err := dial(ctx, addresses[i%n], s.warm+s.duration+patience)
		if err != nil {
			return sample{}, err
		}
		defer wire.close()
		s.callers = append(s.callers, client{wire, who})
	}
	m, err := s.run(ctx)
	m.summarize()
	return m, err
}

// mixedResult is renewing and introspecting at a fixed rate, without and with a storm of logins.
type mixedResult struct {
	Refresh         [2]sample `json:"refresh"` // without, with
	Introspect      [2]sample `json:"introspect"`
	LoginsOffered   float64   `json:"logins_offered_per_second"`
	LoginsDone      float64   `json:"logins_per_second"`
	LoginsTurned    float64   `json:"logins_turned_away_per_second"` // 503 with Retry-After
	TurnedAwayP50us float64   `json:"turned_away_p50_us"`
	TurnedAwayP99us float64   `json:"turned_away_p99_us"`
}

const (
	loginsOffered = 200 // more than two processors can hash
	loginClients  = 128
	mixedShare    = 0.3 // of what each of the two can do alone
)

func (w *world) mixed(ctx context.Context, o options) (r mixedResult, err error) {
	p, address, err := w.serve(ctx)
	if err != nil {
		return r, err
	}
	defer p.stop()
	names := []string{"refresh/jwt", "introspect/opaque/active"}
	into := []*[2]sample{&r.Refresh, &r.Introspect}
	workers := make([][]worker, len(names))
	rates := make([]float64, len(names))
	quiet := step{warm: o.warm, duration: o.duration, meter: func() (usage, error) { return usage{}, nil }}
	for i, name := range names {
		progress("%s: mixed load, %s alone", w.kind, name)
		if workers[i], err = find(name).workers(ctx, w, "mixed", o.concurrency, 0); err != nil {
			return r, err
		}
		m, err := quiet.overHTTP(ctx, address, workers[i])
		if err != nil {
			return r, err
		}
		m.summarize()
		rates[i] = m.Rate * mixedShare
	}
	for with := range 2 {
		progress("%s: mixed load, logins %v", w.kind, with == 1)
		var all sync.WaitGroup
		errs := make([]error, len(names)+1)
		for i := range names {
			all.Go(func() {
				s := quiet
				s.rate = rates[i]
				into[i][with], errs[i] = s.overHTTP(ctx, address, workers[i])
			})
		}
		if with == 1 {
			all.Go(func() { errs[len(names)] = w.storm(ctx, quiet, address, &r) })
		}
		all.Wait()
		for i := range names {
			if errs[i] != nil {
				return r, fmt.Errorf("%s: %w", names[i], errs[i])
			}
			into[i][with].summarize()
		}
		if err := errs[len(names)]; err != nil {
			return r, fmt.Errorf("logins: %w", err)
		}
	}
	return r, nil
}

// storm offers logins on a schedule, on enough connections that none waits for another.
func (w *world) storm(ctx context.Context, s step, address string, r *mixedResult) error {
	inner, err := find("password").workers(ctx, w, toGrantor, loginClients, 0)
	if err != nil {
		return err
	}
	workers := make([]worker, len(inner))
	logins := make([]*login, len(inner))
	for i, who := range inner {
		logins[i] = &login{worker: who}
		workers[i] = logins[i]
	}
	s.rate = loginsOffered
	m, err := s.overHTTP(ctx, address, workers)
	if err != nil {
		return err
	}
	var turned []uint32
	done := 0
	for _, l := range logins {
		turned = append(turned, l.turned...)
		done += l.done
	}
	slices.Sort(turned)
	// The workers counted during the warm-up too.
	seconds := m.elapsed.Seconds() + s.warm.Seconds()
	r.LoginsOffered, r.LoginsDone, r.LoginsTurned = loginsOffered, float64(done)/seconds, float64(len(turned))/seconds
	r.TurnedAwayP50us, r.TurnedAwayP99us = quantile(turned, 0.5), quantile(turned, 0.99)
	return nil
}

// login is a client that may be turned away, with Retry-After (wire.go looks for it).
type login struct {
	worker
	asked  time.Time
	done   int
	turned []uint32
}

func (l *login) next() []byte {
	l.asked = time.Now()
	return l.worker.next()
}

func (l *login) check(status int, body []byte) error {
	if status == http.StatusServiceUnavailable {
		l.turned = append(l.turned, uint32(min(time.Since(l.asked), 4*time.Second)))
		return nil
	}
	l.done++
	return l.worker.check(status, body)
}

func find(name string) *operation {
	list := operations()
	return list[slices.IndexFunc(list, func(o *operation) bool { return o.name == name })]
}

func (d *databaseReport) scenarios(b *strings.Builder) {
	if len(d.Replicas) > 0 {
		b.WriteString("\n| replicas, refresh/jwt | requests/s | p99 µs | servers µs | database µs | all ÷ one replica |\n|---|---|---|---|---|---|\n")
		one := d.Replicas[0].Sample
		for _, r := range d.Replicas {
			m := r.Sample
			fmt.Fprintf(b, "| %d | %.0f | %.0f | %.0f | %.0f | %s |\n", r.Replicas, m.Rate, m.P99, m.Server, m.Database,
				atMost((m.Server+m.Database)/(one.Server+one.Database), replicasGoal))
		}
	}
	if m := d.Mixed; m != nil {
		fmt.Fprintf(b, "\n| mixed load, at a fixed rate | requests/s | p99 µs without logins | p99 µs with %d logins/s offered | ÷ |\n|---|---|---|---|---|\n", loginsOffered)
		for _, row := range []struct {
			name string
			m    [2]sample
		}{{"refresh/jwt", m.Refresh}, {"introspect/opaque", m.Introspect}} {
			fmt.Fprintf(b, "| %s | %.0f | %.0f | %.0f | %s |\n", row.name, row.m[1].Rate, row.m[0].P99, row.m[1].P99, atMost(row.m[1].P99/row.m[0].P99, mixedGoal))
		}
		fmt.Fprintf(b, "\nOf the logins %.0f/s were done and %.0f/s turned away with 503 and Retry-After, half of those within %.1f ms, 99 %% within %.1f ms.\n",
			m.LoginsDone, m.LoginsTurned, m.TurnedAwayP50us/1000, m.TurnedAwayP99us/1000)
	}
}
