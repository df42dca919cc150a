//go:build linux

package main

import (
	"context"
	"database/sql"
	"time"
)

// lockRows uses the one connection that its transaction lives on.
func lockRows(ctx context.Context, st *stage) (err error) {
	db, err := sql.Open(st.kind, st.source())
	if err != nil {
		return err
	}
	defer db.Close()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	statement := "SELECT id FROM grants WHERE revoked_at IS NULL ORDER BY random() LIMIT 8 FOR UPDATE"
	if st.chance.once(3) {
		statement = "LOCK TABLE grants IN ACCESS EXCLUSIVE MODE"
	}
	if _, err := tx.ExecContext(ctx, statement); err != nil {
		return err
	}
	st.begins("%s", statement)
	pause(ctx, st.chance.between(500*time.Millisecond, 3*time.Second))
	if err := tx.Rollback(); err != nil {
		return err
	}
	st.lifted("unlocked")
	return nil
}

func serializable(ctx context.Context, st *stage) error {
	return st.primary().Exec(ctx, "ALTER DATABASE "+st.schema()+" SET default_transaction_isolation = 'serializable'")
}

func touchRows(ctx context.Context, st *stage) error {
	st.injected.Add(1)
	// It may itself be rolled back by whom it disturbs.
	_ = st.exec(ctx, "UPDATE grants SET created_from = created_from WHERE id IN (SELECT id FROM grants ORDER BY random() LIMIT 8)")
	return nil
}

// poisonRows leaves what no program of ours would write, and no deadline bounds.
func poisonRows(ctx context.Context, st *stage) error {
	st.begins("poison three rows")
	err := st.exec(ctx, "UPDATE grants SET details = '{' || details WHERE id IN (SELECT id FROM grants WHERE revoked_at IS NULL ORDER BY rotated_at DESC LIMIT 3)")
	if err != nil {
		return err
	}
	pause(ctx, st.chance.between(200*time.Millisecond, time.Second))
	if err := st.exec(ctx, "UPDATE grants SET details = substr(details, 2) WHERE details LIKE '{{%'"); err != nil {
		return err
	}
	st.lifted("mended")
	return nil
}
