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
}

const mostReplicas = 4

// replicas renews through 1, 2 and 4 processes: what each request costs must not grow.
// The goal can be read in two ways, so both are measured: the same clients spread over
// the processes, and as many clients for each process. All processes run all the time,
// and the cases take turns.
func (w *world) replicas(ctx context.Context, o options) ([]*replicaResult, error) {
	var servers []*process
	var addresses []string
	for range mostReplicas {
		p, address, err := w.serve(ctx)
		if err != nil {
			return nil, err
		}
		defer p.stop()
		servers, addresses = append(servers, p), append(addresses, address)
	}
	op := find("refresh/jwt")
	one := &replicaResult{Replicas: 1, Clients: o.concurrency}
	list := []*replicaResult{one}
	for _, n := range []int{2, mostReplicas} {
		list = append(list, &replicaResult{Replicas: n, Clients: o.concurrency}, &replicaResult{Replicas: n, Clients: n * o.concurrency})
	}
	// Each process has a cold start of its own.
	for _, r := range list {
		if _, err := w.renewThrough(ctx, o, op, r, servers[:r.Replicas], addresses); err != nil {
			return nil, fmt.Errorf("%d replicas: %w", r.Replicas, err)
		}
	}
	for round := range o.rounds {
		samples := make([]sample, len(list))
		order := make([]int, len(list))
		for i := range order {
			order[i] = i
		}
		for slice := range o.slices {
			if (round+slice)%2 == 1 {
				slices.Reverse(order)
			}
			for _, i := range order {
				r := list[i]
				progress("%s: round %d of %d, %d replicas, %d clients", w.kind, round+1, o.rounds, r.Replicas, r.Clients)
				m, err := w.renewThrough(ctx, o, op, r, servers[:r.Replicas], addresses)
				if err != nil {
					return list, fmt.Errorf("%d replicas: %w", r.Replicas, err)
				}
				samples[i].join(m)
			}
		}
		for i, r := range list {
			samples[i].summarize()
			r.Samples = append(r.Samples, samples[i])
		}
	}
	return list, nil
}

func (w *world) renewThrough(ctx context.Context, o options, op *operation, r *replicaResult, servers []*process, addresses []string) (sample, error) {
	workers, err := op.workers(ctx, w, "replicas", r.Clients, 0)
	if err != nil {
		return sample{}, err
	}
	s := step{warm: 2 * o.warm, duration: o.share(o.slices), meter: w.meterOf(servers...)}
	for i, who := range workers {
		wire, err := dial(ctx, addresses[i%r.Replicas], s.warm+s.duration+patience)
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
