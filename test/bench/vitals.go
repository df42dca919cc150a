package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	pgserver "github.com/grantorhq/grantor/test/postgres"
)

// vitals are what an operator feels before any request.
type vitals struct {
	BinaryMiB float64   `json:"binary_mib"`
	ReadyMs   []float64 `json:"ready_ms"` // from exec to the first 200 of /readyz, on an existing database
	IdleMiB   float64   `json:"idle_mib"`
	LoadedMiB float64   `json:"loaded_mib"` // the most seen at concurrency 64, logins included
	// LoadedEachMiB is the same, with shared pages counted for each process.
	LoadedEachMiB float64 `json:"loaded_each_mib"`
	SettledMiB    float64 `json:"settled_mib"`
	SettledIn     string  `json:"settled_after"`
}

const loadedClients = 64

func (w *world) vitals(ctx context.Context, o options) (*vitals, error) {
	v := new(vitals)
	info, err := os.Stat(w.binary)
	if err != nil {
		return v, err
	}
	v.BinaryMiB = float64(info.Size()) / (1 << 20)
	starts := 5
	if o.quick {
		starts = 2
	}
	for range starts {
		progress("%s: starting", w.kind)
		took, err := w.timeStart(ctx)
		if err != nil {
			return v, err
		}
		v.ReadyMs = append(v.ReadyMs, took)
	}
	slices.Sort(v.ReadyMs)
	return v, w.memory(ctx, o, v)
}

// timeStart asks /readyz on an address chosen before, as a supervisor does.
func (w *world) timeStart(ctx context.Context) (float64, error) {
	port, err := pgserver.FreePort(ctx)
	if err != nil {
		return 0, err
	}
	address := "127.0.0.1:" + strconv.Itoa(port)
	began := time.Now()
	p, err := start(ctx, filepath.Join(w.dir, "grantor.log"), "", append(slices.Clone(w.env), "GRANTOR_ADDRESS="+address), w.binary, "serve")
	if err != nil {
		return 0, err
	}
	defer p.stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
		if err != nil {
			return 0, err
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return float64(time.Since(began).Microseconds()) / 1000, nil
			}
		}
		if time.Since(began) > patience {
			return 0, err
		}
	}
}

// memory looks at a server that has just started, at 64 clients that renew and log in,
// and at what is left of it.
func (w *world) memory(ctx context.Context, o options, v *vitals) error {
	progress("%s: memory", w.kind)
	p, address, err := w.serve(ctx)
	if err != nil {
		return err
	}
	defer p.stop()
	if err := wait(ctx, min(o.settle, 2*time.Second)); err != nil {
		return err
	}
	idle, err := memoryOf(p)
	if err != nil {
		return err
	}
	v.IdleMiB = idle.once()
	var workers []worker
	for _, op := range operations() {
		if op.name != "refresh/jwt" && op.name != "password" {
			continue
		}
		list, err := op.workers(ctx, w, "memory", loadedClients/2, 0)
		if err != nil {
			return err
		}
		workers = append(workers, list...)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := step{duration: 2 * o.duration, meter: func() (usage, error) { return usage{}, nil }}.overHTTP(ctx, address, workers)
		ended <- err
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var family []int
	looked := 0
	for running := true; running; {
		select {
		case err := <-ended:
			if err != nil {
				return err
			}
			running = false
		case <-tick.C:
		}
		// Its children begin soon, and to look for them takes a look at every process.
		if looked++; looked%10 == 1 || !running {
			if family, err = familyOf(p.pid()); err != nil {
				return err
			}
		}
		now, err := resident(family)
		if err != nil {
			return err
		}
		v.LoadedMiB, v.LoadedEachMiB = max(v.LoadedMiB, now.once()), max(v.LoadedEachMiB, now.each())
	}
	if err := wait(ctx, o.settle); err != nil {
		return err
	}
	v.SettledIn = o.settle.String()
	settled, err := memoryOf(p)
	v.SettledMiB = settled.once()
	return err
}

// footprint is the memory of processes. The server's children run from the file that it
// runs from: what they share of it is there once, and is in the resident set of each.
type footprint struct{ onceKiB, eachKiB int }

func (f footprint) once() float64 { return float64(f.onceKiB) / 1024 }
func (f footprint) each() float64 { return float64(f.eachKiB) / 1024 }

// memoryOf is that of a server and all that it started.
func memoryOf(p *process) (footprint, error) {
	pids, err := familyOf(p.pid())
	if err != nil {
		return footprint{}, err
	}
	return resident(pids)
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
