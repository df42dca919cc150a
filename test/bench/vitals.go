package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// vitals are what an operator feels before any request.
type vitals struct {
	BinaryMiB  float64   `json:"binary_mib"`
	BuildSecs  float64   `json:"first_build_s,omitempty"` // on an empty build cache
	ReadyMs    []float64 `json:"ready_ms"`                // from exec to the first 200 of /readyz, on an existing database
	IdleMiB    float64   `json:"idle_mib"`
	LoadedMiB  float64   `json:"loaded_mib"` // the most seen at concurrency 64, logins included
	SettledMiB float64   `json:"settled_mib"`
	SettledIn  string    `json:"settled_after"`
}

const loadedClients = 64

func (w *world) vitals(ctx context.Context, o options) (v vitals, err error) {
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
		took, err := w.timeStart(ctx)
		if err != nil {
			return v, err
		}
		v.ReadyMs = append(v.ReadyMs, took)
	}
	slices.Sort(v.ReadyMs)
	return v, w.memory(ctx, o, &v)
}

// timeStart asks /readyz on an address chosen before, as a supervisor does.
func (w *world) timeStart(ctx context.Context) (float64, error) {
	port, err := freePort(ctx)
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
	p, address, err := w.serve(ctx)
	if err != nil {
		return err
	}
	defer p.stop()
	if err := wait(ctx, min(o.settle, 2*time.Second)); err != nil {
		return err
	}
	if v.IdleMiB, err = mebibytes(p.pid()); err != nil {
		return err
	}
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
	for running := true; running; {
		select {
		case err := <-ended:
			if err != nil {
				return err
			}
			running = false
		case <-tick.C:
		}
		now, err := mebibytes(p.pid())
		if err != nil {
			return err
		}
		v.LoadedMiB = max(v.LoadedMiB, now)
	}
	if err := wait(ctx, o.settle); err != nil {
		return err
	}
	v.SettledIn = o.settle.String()
	v.SettledMiB, err = mebibytes(p.pid())
	return err
}

// tableSize is what sessions take on disk, on PostgreSQL.
type tableSize struct {
	Rows    int64 `json:"rows"`
	Heap    int64 `json:"heap_bytes"` // with TOAST and maps
	Indexes int64 `json:"index_bytes"`
	Updates int64 `json:"updates"`
	HOT     int64 `json:"hot_updates"` // those that touched no index
}

func (t tableSize) perRow(bytes int64) float64 { return float64(bytes) / float64(t.Rows) }

func (t tableSize) hotShare() float64 { return 100 * float64(t.HOT) / float64(max(t.Updates, 1)) }

func (w *world) tableSize(ctx context.Context) (t tableSize, err error) {
	if w.pool == nil {
		return t, nil
	}
	err = w.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM grants), pg_table_size('grants'), pg_indexes_size('grants'),
 pg_stat_get_tuples_updated('grants'::regclass), pg_stat_get_tuples_hot_updated('grants'::regclass)`).
		Scan(&t.Rows, &t.Heap, &t.Indexes, &t.Updates, &t.HOT)
	return t, err
}

func mebibytes(pid int) (float64, error) {
	kib, err := residentKiB(pid)
	return float64(kib) / 1024, err
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
