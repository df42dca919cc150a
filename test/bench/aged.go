package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/grantorhq/grantor/grants"
)

// agedResult is what sessions take on disk after they were renewed many times. Half of
// them began with a password, half with a code that was redeemed through the server.
type agedResult struct {
	Laps     int                `json:"renewals_each"`
	Seconds  float64            `json:"seconds"`
	RowBytes map[string]float64 `json:"row_bytes"` // of a live row, by client
	Table    tableSize          `json:"table"`
	Vacuumed int64              `json:"autovacuums"` // meanwhile
}

// aged renews through the server, as fast as it goes, with autovacuum on, and vacuums.
func (b *benchmark) aged(ctx context.Context, c *cluster) (*agedResult, error) {
	o := b.o
	n := o.aged / 2
	o.grants, o.users = 8*o.concurrency, n // nearly: the few more of the world are deleted again
	progress("growth: making %d sessions to renew %d times", 2*n, o.laps)
	w, err := newWorld(ctx, o, site{dir: b.dir, binary: b.binary, name: "aged", cluster: c})
	if err != nil {
		return nil, err
	}
	defer w.close()
	if _, err := w.pool.Exec(ctx, "DELETE FROM grants WHERE id <> ALL($1)", [][]byte{idOf(w.template["app-jwt"]), idOf(w.template["web"])}); err != nil {
		return nil, err
	}
	var walks []*walk
	if _, err := w.pool.Exec(ctx, "VACUUM FULL grants"); err != nil {
		return nil, err
	}
	for client, life := range map[string]time.Duration{"app-jwt": sessionLife, "web": codeLife} {
		// With the indexes in place: they shall be as loose as single inserts leave them.
		of, err := w.insert(ctx, client, n, w.began.Add(life))
		if err != nil {
			return nil, err
		}
		walks = append(walks, newWalk(w, client, of))
	}
	for _, statement := range []string{"VACUUM ANALYZE", "SELECT pg_stat_reset_single_table_counters('grants'::regclass)"} {
		if _, err := w.pool.Exec(ctx, statement); err != nil {
			return nil, fmt.Errorf("%s: %w", statement, err)
		}
	}
	p, address, err := w.serve(ctx)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	r := &agedResult{Laps: o.laps}
	drive := func(doing string, workers []worker) error {
		progress("growth: %s", doing)
		m, err := drain(ctx, address, workers)
		r.Seconds += m.elapsed.Seconds()
		return err
	}
	for _, k := range walks {
		if k.client != "web" {
			continue
		}
		if err := drive(fmt.Sprintf("redeeming %d codes", n), k.redemptions(o.concurrency)); err != nil {
			return nil, err
		}
	}
	// All together, so that each session rests between its renewals, as it does in life.
	half := max(1, o.concurrency/2)
	if err := drive(fmt.Sprintf("renewing %d sessions %d times", 2*n, o.laps), slices.Concat(walks[0].workers(half, o.laps), walks[1].workers(half, o.laps))); err != nil {
		return nil, err
	}
	p.stop() // its connections end, and tell what they counted
	if err := w.counted(ctx, int64(2*n*o.laps)); err != nil {
		return nil, err
	}
	if err := w.pool.QueryRow(ctx, "SELECT autovacuum_count FROM pg_stat_user_tables WHERE relname = 'grants'").Scan(&r.Vacuumed); err != nil {
		return nil, err
	}
	if _, err := w.pool.Exec(ctx, "VACUUM grants"); err != nil {
		return nil, err
	}
	if r.Table, err = w.tableSize(ctx); err != nil {
		return nil, err
	}
	rows, err := w.pool.Query(ctx, "SELECT client_id, avg(pg_column_size(grants.*))::float8 FROM grants GROUP BY client_id")
	if err != nil {
		return nil, err
	}
	r.RowBytes = map[string]float64{}
	var client string
	var bytes float64
	_, err = pgx.ForEachRow(rows, []any{&client, &bytes}, func() error { r.RowBytes[client] = bytes; return nil })
	return r, err
}

func idOf(id grants.ID) []byte { return id[:] }

// redemptions are the codes of all the sessions, once each.
func (p *walk) redemptions(clients int) []worker {
	requests := make([][]byte, p.of.count)
	for i := range requests {
		requests[i] = p.w.redemption(tokenPath, p.client, p.id(i))
	}
	return spend(requests, clients, redeemed)
}

// drain lets the workers ask all they have.
func drain(ctx context.Context, address string, workers []worker) (sample, error) {
	return step{duration: time.Hour, meter: func() (usage, error) { return usage{}, nil }}.overHTTP(ctx, address, workers)
}

// counted waits until PostgreSQL knows of so many updates: each of its processes tells
// when it ends, or some seconds after it did something.
func (w *world) counted(ctx context.Context, updates int64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		t, err := w.tableSize(ctx)
		if err != nil || t.Updates >= updates {
			return err
		}
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("PostgreSQL counted %d of %d updates: %w", t.Updates, updates, err)
		}
	}
}
