package main

import (
	"context"
	"fmt"
	"slices"
)

// replicaResult is so many processes on one database, and so many clients in all.
type replicaResult struct {
	Replicas int      `json:"replicas"`
	Clients  int      `json:"clients"`
	Samples  []sample `json:"samples"`
	Floor    []sample `json:"floor"` // of as many floor servers
}

const mostReplicas = 4

// replicas renews through 1, 2 and 4 processes: what each request costs must not grow.
// The goal can be read in two ways, so both are measured: the same clients spread over
// the processes, and as many clients for each process. Floor servers do the same: what
// four of them pay, processes that share a machine pay. All processes run all the time,
// and the cases take turns.
func (b *benchmark) replicas(ctx context.Context, w *world) ([]*replicaResult, error) {
	op := find("refresh/jwt")
	counted, err := w.count(ctx, op)
	if err != nil {
		return nil, err
	}
	var servers, floors replicaSet
	for range mostReplicas {
		p, address, err := w.serve(ctx)
		if err != nil {
			return nil, err
		}
		defer p.stop()
		servers.add(p, address)
		if p, address, err = w.serveFloor(ctx, b.o, b.floor, map[string]counts{op.name: counted}); err != nil {
			return nil, err
		}
		defer p.stop()
		floors.add(p, address)
	}
	one := &replicaResult{Replicas: 1, Clients: b.o.concurrency}
	list := []*replicaResult{one}
	for _, n := range []int{2, mostReplicas} {
		list = append(list, &replicaResult{Replicas: n, Clients: b.o.concurrency}, &replicaResult{Replicas: n, Clients: n * b.o.concurrency})
	}
	type turn struct {
		r   *replicaResult
		to  target
		set replicaSet
		all *[]sample
	}
	var turns []turn
	for _, r := range list {
		turns = append(turns, turn{r, toGrantor, servers, &r.Samples}, turn{r, toFloor, floors, &r.Floor})
	}
	through := func(t turn) (sample, error) {
		m, err := w.renewThrough(ctx, b.o, op, t.to, t.r, t.set)
		if err != nil {
			err = fmt.Errorf("%d replicas, %s: %w", t.r.Replicas, t.to, err)
		}
		return m, err
	}
	// Each process has a cold start of its own.
	for _, t := range turns {
		if _, err := through(t); err != nil {
			return nil, err
		}
	}
	for round := range b.o.rounds {
		samples := map[*[]sample]*sample{}
		for slice := range b.o.slices {
			if (round+slice)%2 == 1 {
				slices.Reverse(turns)
			}
			for _, t := range turns {
				progress("%s: round %d of %d, %d replicas, %d clients, %s", w.kind, round+1, b.o.rounds, t.r.Replicas, t.r.Clients, t.to)
				m, err := through(t)
				if err != nil {
					return list, err
				}
				if samples[t.all] == nil {
					samples[t.all] = new(sample)
				}
				samples[t.all].join(m)
			}
		}
		for all, s := range samples {
			s.summarize()
			*all = append(*all, *s)
		}
	}
	return list, nil
}

// replicaSet is processes of one program on one database.
type replicaSet struct {
	processes []*process
	addresses []string
}

func (s *replicaSet) add(p *process, address string) {
	s.processes, s.addresses = append(s.processes, p), append(s.addresses, address)
}

func (w *world) renewThrough(ctx context.Context, o options, op *operation, to target, r *replicaResult, set replicaSet) (sample, error) {
	workers, err := op.workers(ctx, w, to, r.Clients, 0)
	if err != nil {
		return sample{}, err
	}
	s := step{warm: 2 * o.warm, duration: o.share(o.slices), meter: w.meterOf(set.processes[:r.Replicas]...)}
	for i, who := range workers {
		wire, err := dial(ctx, set.addresses[i%r.Replicas], s.warm+s.duration+patience)
		if err != nil {
			return sample{}, err
		}
		defer wire.close()
		s.callers = append(s.callers, client{wire, who})
	}
	return s.run(ctx)
}

func find(name string) *operation {
	list := operations()
	return list[slices.IndexFunc(list, func(o *operation) bool { return o.name == name })]
}
