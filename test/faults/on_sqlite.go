//go:build linux

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

func lockFile(ctx context.Context, st *stage) (err error) {
	db, err := sql.Open(st.kind, st.source())
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	st.begins("lock the file")
	pause(ctx, st.chance.between(200*time.Millisecond, 2500*time.Millisecond))
	if _, err := conn.ExecContext(ctx, "ROLLBACK"); err != nil {
		return err
	}
	st.lifted("unlocked")
	return nil
}

// keepCompany lets other processes use the file, and one of those that serve from it die
// meanwhile.
func keepCompany(ctx context.Context, st *stage) error {
	company := []func() error{
		func() error {
			_, err := run(ctx, st.dir, st.env, st.world.binary, "user", "create", fmt.Sprintf("guest%d", st.rounds.Load()), "--json")
			return err
		},
		func() error {
			together(8, func() {
				for range 20 { // that some find it busy is the point
					_ = st.exec(ctx, "UPDATE grants SET created_from = created_from WHERE id IN (SELECT id FROM grants ORDER BY random() LIMIT 8)")
				}
			})
			return nil
		},
		func() error { return st.exec(ctx, "PRAGMA wal_checkpoint(TRUNCATE)") },
	}
	visit := company[int(st.rounds.Add(1))%len(company)]
	r := st.any()
	st.begins("others use the file, and %s is killed", r.name)
	var visiting sync.WaitGroup
	visiting.Go(func() {
		_ = visit() // it may give up on a busy file
	})
	pause(ctx, st.chance.between(0, 100*time.Millisecond))
	if err := r.kill(); err != nil {
		return err
	}
	visiting.Wait()
	if err := r.revive(ctx); err != nil {
		return err
	}
	st.lifted("started again")
	return nil
}
