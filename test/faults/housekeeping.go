//go:build linux

package main

import (
	"context"
	"fmt"
	"time"
)

// expire leaves some thousand sessions that ended long ago, which all replicas want to
// clean away, and sometimes kills the one that has begun. All are gone in the end.
func expire(ctx context.Context, st *stage) error {
	const many = 3000
	// A session's row outlasts it by an hour and a minute.
	before := time.Now().Add(-2 * time.Hour).UnixMicro()
	st.begins("leave %d sessions that are long over", many)
	err := st.exec(ctx, fmt.Sprintf(`INSERT INTO grants SELECT (jsonb_populate_record(NULL::grants, to_jsonb(g) || jsonb_build_object(
		'id', '\x' || replace(gen_random_uuid()::text, '-', ''), 'created_at', %d, 'expires_at', %d))).*
		FROM (SELECT * FROM grants LIMIT 30) g, generate_series(1, 100) LIMIT %d`, before-1, before, many))
	if err != nil {
		return err
	}
	if st.rounds.Add(1)%2 == 0 {
		pause(ctx, st.chance.between(0, time.Second))
		r := st.any()
		if err := r.kill(); err != nil {
			return err
		}
		if err := r.revive(ctx); err != nil {
			return err
		}
	}
	left := -1
	err = st.until(ctx, 10*time.Second*time.Duration(st.world.slack), "the long ended sessions to be gone", func() bool {
		left, err = st.count(ctx, fmt.Sprintf("SELECT count(*) FROM grants WHERE expires_at <= %d", before))
		return err == nil && left == 0
	})
	if err != nil && ctx.Err() == nil {
		st.note(opRemains, "%d rows of sessions that are long over: %s", left, err)
	}
	return ctx.Err()
}

var kept = &control{
	name: "kept", about: "the database lets nobody delete a session's row", expects: []invariant{noOrphans},
	sabotage: repeatedly("CREATE OR REPLACE RULE kept AS ON DELETE TO grants DO INSTEAD NOTHING"),
}
