package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// housekeepingResult is renewals at a fixed rate while the server deletes what has ended,
// between the same renewals before and after.
type housekeepingResult struct {
	Live     int      `json:"live"`
	Expired  int      `json:"expired"`
	Deleted  int      `json:"deleted"`
	Seconds  float64  `json:"seconds"` // from the first batch to the last
	Rate     float64  `json:"renewals_offered_per_second"`
	Without  []sample `json:"without"` // before and after
	With     []sample `json:"with"`
	Database float64  `json:"database_cpu_s"` // used meanwhile, renewals included
}

// housekeeping begins one interval after the server is ready, and writes a line when a
// round of it is done.
const housekeepingInterval = time.Second

var housekeepingLine = regexp.MustCompile(`housekeeping.*?sessions\W+(\d+)`)

func (b *benchmark) housekeeping(ctx context.Context, c *cluster) (*housekeepingResult, error) {
	o := b.o
	r := &housekeepingResult{Live: max(o.expired/10, 8*o.concurrency), Expired: o.expired}
	o.grants = r.Live
	o.users = max(o.users, r.Live/10)
	progress("growth: making %d ended sessions", r.Expired)
	w, err := newWorld(ctx, o, site{dir: b.dir, binary: b.binary, name: "housekeeping", cluster: c})
	if err != nil {
		return nil, err
	}
	defer w.close()
	if _, err := w.generate(ctx, "app-opaque", r.Expired, time.Now().Add(-24*time.Hour)); err != nil {
		return nil, err
	}
	if err := w.settleAndWarm(ctx); err != nil {
		return nil, err
	}
	workers := newWalk(w, "app-jwt", w.population["app-jwt"]).workers(o.concurrency, 0)
	quiet := func(doing string) error {
		p, address, err := w.serve(ctx, "GRANTOR_HOUSEKEEPING_INTERVAL=1h")
		if err != nil {
			return err
		}
		defer p.stop()
		if r.Rate == 0 {
			m, err := step{warm: 4 * o.warm, duration: o.duration, meter: w.meterOf(p)}.overHTTP(ctx, address, workers)
			if err != nil {
				return err
			}
			m.summarize()
			r.Rate = m.Rate * housekeepingShare
		}
		for range 2 * o.rounds {
			progress("growth: renewals %s housekeeping", doing)
			m, err := step{warm: o.warm, duration: housekeepingStep(o), rate: r.Rate, meter: w.meterOf(p)}.overHTTP(ctx, address, workers)
			if err != nil {
				return err
			}
			m.summarize()
			r.Without = append(r.Without, m)
		}
		return nil
	}
	if err := quiet("before"); err != nil {
		return nil, err
	}
	if err := b.deleting(ctx, w, r, workers); err != nil {
		return nil, err
	}
	return r, quiet("after")
}

// deleting renews in steps until the server says that it has deleted all.
func (b *benchmark) deleting(ctx context.Context, w *world, r *housekeepingResult, workers []worker) error {
	log := filepath.Join(w.dir, "grantor.log")
	lines, err := os.Open(log)
	if err != nil {
		return err
	}
	defer func() { _ = lines.Close() }()
	if _, err := lines.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	meter := w.meterOf()
	from, err := meter()
	if err != nil {
		return err
	}
	p, address, err := w.serve(ctx, "GRANTOR_HOUSEKEEPING_INTERVAL="+housekeepingInterval.String(), "GRANTOR_LOG_LEVEL=info")
	if err != nil {
		return err
	}
	defer p.stop()
	began := time.Now().Add(housekeepingInterval)
	ended := make(chan error, 1)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		ended <- r.await(watching, lines)
		r.Seconds = time.Since(began).Seconds()
		stop()
	}()
	if err := wait(ctx, time.Until(began)); err != nil {
		return err
	}
	for watching.Err() == nil {
		progress("growth: renewals beside housekeeping, %.0f s", time.Since(began).Seconds())
		m, err := step{duration: housekeepingStep(b.o), rate: r.Rate, meter: w.meterOf(p)}.overHTTP(ctx, address, workers)
		if err != nil {
			return err
		}
		m.summarize()
		r.With = append(r.With, m)
	}
	if err := <-ended; err != nil {
		return err
	}
	to, err := meter()
	r.Database = (to.database - from.database).Seconds()
	return err
}

// housekeepingStep is short, so that little of what comes after the last batch is counted.
func housekeepingStep(o options) time.Duration { return max(o.share(2), 50*time.Millisecond) }

// await reads what the server adds to its log until the deletions add up.
// It has a line for each request, too.
func (h *housekeepingResult) await(ctx context.Context, log io.Reader) error {
	var rest []byte
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(10 * time.Minute)
	for {
		more, err := io.ReadAll(log)
		if err != nil {
			return err
		}
		rest = append(rest, more...)
		for {
			line, after, whole := bytes.Cut(rest, []byte("\n"))
			if !whole {
				break
			}
			rest = after
			if bytes.Contains(line, []byte("housekeeping stopped early")) {
				return errors.New("the server's housekeeping stopped early")
			}
			if match := housekeepingLine.FindSubmatch(line); match != nil {
				n, _ := strconv.Atoi(string(match[1]))
				h.Deleted += n
			}
		}
		if h.Deleted >= h.Expired {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-limit:
			return fmt.Errorf("only %d of %d were deleted", h.Deleted, h.Expired)
		}
	}
}
