package main

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// tableSize is what sessions take on disk, on PostgreSQL.
type tableSize struct {
	Rows    int64            `json:"rows"`
	Table   int64            `json:"table_bytes"` // with TOAST and maps
	Indexes map[string]int64 `json:"index_bytes"`
	Updates int64            `json:"updates"`
	HOT     int64            `json:"hot_updates"` // those that touched no index
}

func (t tableSize) indexes() (sum int64) {
	for _, bytes := range t.Indexes {
		sum += bytes
	}
	return sum
}

func (t tableSize) perRow(bytes int64) float64 { return float64(bytes) / float64(max(t.Rows, 1)) }

func (t tableSize) hotShare() float64 { return float64(t.HOT) / float64(max(t.Updates, 1)) }

func (w *world) tableSize(ctx context.Context) (t tableSize, err error) {
	if err := w.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM grants), pg_table_size('grants'),
 pg_stat_get_tuples_updated('grants'::regclass), pg_stat_get_tuples_hot_updated('grants'::regclass)`).
		Scan(&t.Rows, &t.Table, &t.Updates, &t.HOT); err != nil {
		return t, err
	}
	rows, err := w.pool.Query(ctx, `SELECT indexrelid::regclass::text, pg_relation_size(indexrelid) FROM pg_index WHERE indrelid = 'grants'::regclass`)
	if err != nil {
		return t, err
	}
	t.Indexes = map[string]int64{}
	var name string
	var bytes int64
	_, err = pgx.ForEachRow(rows, []any{&name, &bytes}, func() error { t.Indexes[name] = bytes; return nil })
	return t, err
}
