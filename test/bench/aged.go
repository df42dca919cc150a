package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/grantorhq/grantor/grants"
)

// agedResult is what sessions take on disk after they were renewed many times. Half of
// them began with a password, half with a code that was redeemed through the server.
//
// They begin in waves, as sessions do not all begin at once: what a code's session gives back
// at its first renewal is room for who comes after it. Between the waves the table is
// vacuumed; autovacuum comes at least as often, whenever a fifth of the table is new.
type agedResult struct {
	Laps     int                `json:"renewals_each"`
	Waves    int                `json:"waves"`
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
	progress("growth: sessions to renew %d times", o.laps)
	w, err := newWorld(ctx, o, site{dir: b.dir, binary: b.binary, name: "aged", cluster: c})
	if err != nil {
		return nil, err
	}
	defer w.close()
	if _, err := w.pool.Exec(ctx, "DELETE FROM grants WHERE id <> ALL($1)", [][]byte{idOf(w.template["app-jwt"]), idOf(w.template["web"])}); err != nil {
		return nil, err
	}
	for _, statement := range []string{"VACUUM FULL grants", "SELECT pg_stat_reset_single_table_counters('grants'::regclass)"} {
		if _, err := w.pool.Exec(ctx, statement); err != nil {
			return nil, fmt.Errorf("%s: %w", statement, err)
		}
	}
	p, address, err := w.serve(ctx)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	r := &agedResult{Laps: o.laps, Waves: 5}
	each := max(1, n/r.Waves)
	drive := func(doing string, workers []worker) error {
		progress("growth: %s", doing)
		m, err := drain(ctx, address, workers)
		r.Seconds += m.elapsed.Seconds()
		return err
	}
	var all []*walk
	renew := func(walks []*walk, laps int) error {
		var workers []worker
		for _, k := range walks {
			workers = append(workers, k.workers(max(1, o.concurrency/len(walks)), laps)...)
		}
		return drive(fmt.Sprintf("renewing %d sessions %d times", len(walks)*each, laps), workers)
	}
	for wave := range r.Waves {
		var begun []*walk
		for client, life := range map[string]time.Duration{"app-jwt": sessionLife, "web": codeLife} {
			// With the indexes in place: they shall be as loose as single inserts leave them.
			of, err := w.insert(ctx, client, each, w.began.Add(life))
			if err != nil {
				return nil, err
			}
			k := newWalk(w, client, of)
			begun = append(begun, k)
			if client == "web" {
				if err := drive(fmt.Sprintf("redeeming %d codes", of.count), k.redemptions(o.concurrency)); err != nil {
					return nil, err
				}
			}
		}
		if err := renew(begun, 1); err != nil {
			return nil, fmt.Errorf("wave %d: %w", wave+1, err)
		}
		if _, err := w.pool.Exec(ctx, "VACUUM ANALYZE"); err != nil {
			return nil, err
		}
		all = append(all, begun...)
	}
	// All together, so that each session rests between its renewals, as it does in life.
	if o.laps > 1 { // 0 would be without an end
		if err := renew(all, o.laps-1); err != nil {
			return nil, err
		}
	}
	p.stop() // its connections end, and tell what they counted
	if err := w.counted(ctx, int64(2*each*r.Waves*o.laps)); err != nil {
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
