//go:build linux

package main

import (
	"context"
	"database/sql"
	"errors"
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
