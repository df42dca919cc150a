package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// bencher takes the turns.
type bencher struct {
	o                     options
	w                     *world
	address, floorAddress string
	server, floor         *process
	counted               map[string]counts
}

// most is how many requests a step on two processors can not exceed; what is spent is
// made for that many.
const most = 16000

// operations measures all that were chosen. What was measured before an error stays in
// the report.
func (b *benchmark) operations(ctx context.Context, w *world, d *databaseReport) error {
	list := b.o.list()
	if len(list) == 0 {
		return nil
	}
	counted := map[string]counts{}
	for _, op := range operations() {
		// The bare handler writes what client_credentials/jwt writes.
		if !b.o.chosen(op.name) && (w.kind == sqlite || op.name != "client_credentials/jwt") {
			continue
		}
		var err error
		if counted[op.name], err = w.count(ctx, op); err != nil {
			return err
		}
	}
	p, address, err := w.serve(ctx)
	if err != nil {
		return err
	}
	defer p.stop()
	t := &bencher{o: b.o, w: w, address: address, server: p, counted: counted}
	if w.kind == postgres {
		if t.floor, t.floorAddress, err = w.serveFloor(ctx, b.o, b.floor, counted); err != nil {
			return err
		}
		defer t.floor.stop()
	}
	if err := t.rounds(ctx, list, d); err != nil {
		err = fmt.Errorf("%w\nthe server's log ends with\n%s", err, tail(p.log))
		if t.floor != nil {
			err = fmt.Errorf("%w\nthe floor's with\n%s", err, tail(t.floor.log))
		}
		return err
	}
	return nil
}

// count asks inside this process: what a request is made of, and what it is answered.
func (w *world) count(ctx context.Context, op *operation) (counts, error) {
	progress("%s: counting %s", w.kind, op.name)
	workers, err := op.workers(ctx, w, toInside, 1, 4*countRequests)
	if err != nil {
		return counts{}, err
	}
	c, err := w.inside.count(ctx, workers[0], op.state)
	if err != nil {
		return counts{}, fmt.Errorf("%s: %w", op.name, err)
	}
	return c, nil
}

func (b *bencher) rounds(ctx context.Context, list []*operation, d *databaseReport) error {
	results := make([]*result, len(list))
	for i, op := range list {
		results[i] = &result{Operation: op.name, State: op.state, Counts: b.counted[op.name]}
	}
	d.Results = results
	handler := &result{Operation: bareHandler}
	if b.floor != nil {
		d.Results = append(d.Results, handler)
	}
	for round := range b.o.rounds {
		for i, op := range list {
			progress("%s: round %d of %d, %s", b.w.kind, round+1, b.o.rounds, op.name)
			if err := b.turn(ctx, op, results[i], round); err != nil {
				return fmt.Errorf("%s: %w", op.name, err)
			}
		}
		if b.floor == nil {
			continue
		}
		m, err := b.bareHandler(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", bareHandler, err)
		}
		m.summarize()
		handler.Floor = append(handler.Floor, m)
	}
	// Half of what Grantor can do at most, offered to both.
	for round := range b.o.rounds {
		for i, op := range list {
			if !op.hasFloor(b.w.kind) {
				continue
			}
			progress("%s: round %d of %d at half the rate, %s", b.w.kind, round+1, b.o.rounds, op.name)
			if err := b.halfTurn(ctx, op, results[i], round); err != nil {
				return fmt.Errorf("%s at half the rate: %w", op.name, err)
			}
		}
	}
	return nil
}

// turn measures one operation once at each target.
func (b *bencher) turn(ctx context.Context, op *operation, res *result, round int) error {
	turns, n := []target{toGrantor}, b.o.slices
	if op.hasFloor(b.w.kind) {
		turns = append(turns, toFloor)
	}
	if op.hasBare(b.w.kind) {
		turns = append(turns, toBare)
	}
	if op.raw {
		// One of these takes so long that the end of a slice would be much of it.
		turns, n = append(turns, toRaw), max(1, n/2)
	}
	samples, err := b.slices(ctx, op, turns, round, n, b.o.share(n), 0)
	for to, list := range map[target]*[]sample{toGrantor: &res.Grantor, toFloor: &res.Floor, toBare: &res.Bare, toRaw: &res.Raw} {
		if m := samples[to]; m != nil {
			*list = append(*list, *m)
		}
	}
	return err
}

// halfTurn is at half the rate. There p99 is what is looked at, and one pause of the
// machine decides it: each round is a few short slices that alternate.
func (b *bencher) halfTurn(ctx context.Context, op *operation, res *result, round int) error {
	n := max(1, b.o.slices/2)
	each := b.o.share(2 * n)
	// A request of each caller at least, also where -quick meets a machine that is busy with other things.
	half := max(median(res.Grantor, rateOf)/2, float64(b.o.concurrency)/each.Seconds())
	samples, err := b.slices(ctx, op, []target{toGrantor, toFloor}, round, n, each, half)
	if err != nil {
		return err
	}
	res.HalfGrantor, res.HalfFloor = append(res.HalfGrantor, *samples[toGrantor]), append(res.HalfFloor, *samples[toFloor])
	return nil
}

// slices lets the targets take turns n times; who begins changes each time. Of an error
// nothing is kept but itself.
func (b *bencher) slices(ctx context.Context, op *operation, turns []target, round, n int, each time.Duration, rate float64) (map[target]*sample, error) {
	if round%2 == 1 {
		slices.Reverse(turns)
	}
	samples := map[target]*sample{}
	for _, to := range turns {
		samples[to] = new(sample)
	}
	for slice := range n {
		if slice > 0 {
			slices.Reverse(turns)
		}
		for _, to := range turns {
			m, err := b.one(ctx, op, to, step{warm: b.o.warm, duration: max(each, 50*time.Millisecond), rate: rate})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", to, err)
			}
			samples[to].join(m)
		}
	}
	for _, m := range samples {
		m.summarize()
	}
	return samples, nil
}

// one is a slice of a turn.
func (b *bencher) one(ctx context.Context, op *operation, to target, s step) (sample, error) {
	perSecond := float64(most)
	if s.rate > 0 {
		perSecond = s.rate * 1.1
	}
	count := int(perSecond*(s.warm+s.duration).Seconds()) + b.o.concurrency
	address, server := b.address, b.server
	switch to {
	case toBare:
		return b.w.bareStep(ctx, op, b.counted[op.name].sql, b.o.concurrency, count+count/2, s)
	case toRaw:
		return rawArgon2id(ctx, s)
	case toFloor:
		address, server, count = b.floorAddress, b.floor, count+count/4
	}
	workers, err := op.workers(ctx, b.w, to, b.o.concurrency, count)
	if err != nil {
		return sample{}, err
	}
	s.meter = b.w.meterOf(server)
	return s.overHTTP(ctx, address, workers)
}

func (b *bencher) bareHandler(ctx context.Context) (sample, error) {
	workers := repeat([][]byte{post("/"+bareHandler, "Basic bm9ib2R5Og==", "grant_type=client_credentials")}, b.o.concurrency, "", `"access_token":"eyJ`)
	return step{warm: b.o.warm, duration: b.o.duration, meter: b.w.meterOf(b.floor)}.overHTTP(ctx, b.floorAddress, workers)
}

// rawArgon2id hashes as the server does, in this process. It takes 19 MiB at a time:
// collected as late as the generator's, most of its time would be fresh pages.
func rawArgon2id(ctx context.Context, s step) (sample, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	return rawStep(ctx, argon2id, s)
}
