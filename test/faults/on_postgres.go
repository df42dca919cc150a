//go:build linux

package main

import (
	"context"
	"database/sql"
	"syscall"
	"time"
)

func crashPostgres(ctx context.Context, st *stage) error {
	st.begins("kill postgres")
	if err := st.primary().Crash(); err != nil {
		return err
	}
	pause(ctx, st.chance.between(0, time.Second))
	if err := st.primary().Start(ctx); err != nil {
		return err
	}
	st.lifted("postgres answers")
	return nil
}

func restartPostgres(ctx context.Context, st *stage) error {
	mode := []struct {
		name   string
		signal syscall.Signal
	}{{"smart", syscall.SIGTERM}, {"fast", syscall.SIGINT}, {"immediate", syscall.SIGQUIT}}[st.chance.below(3)]
	st.begins("%s shutdown of postgres", mode.name)
	// A smart one waits for its clients, and pools do not go away: an operator loses patience.
	if err := st.primary().Shut(mode.signal, time.Second, syscall.SIGINT); err != nil {
		return err
	}
	pause(ctx, st.chance.between(0, time.Second))
	if err := st.primary().Start(ctx); err != nil {
		return err
	}
	st.lifted("postgres answers")
	return nil
}

func freezePostgres(ctx context.Context, st *stage) error {
	st.begins("stop postgres")
	if err := st.primary().Freeze(); err != nil {
		return err
	}
	pause(ctx, st.chance.between(500*time.Millisecond, 5*time.Second))
	if err := st.primary().Thaw(); err != nil {
		return err
	}
	st.lifted("postgres goes on")
	return nil
}

const throwOut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

func takeConnections(ctx context.Context, st *stage) error {
	// This one is in before all are taken.
	db, err := sql.Open(st.kind, st.source())
	if err != nil {
		return err
	}
	defer db.Close()
	inside, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = inside.Close() }()
	others, err := sql.Open(st.kind, st.primary().URL("postgres"))
	if err != nil {
		return err
	}
	defer others.Close()
	var taken []*sql.Conn
	defer func() {
		for _, conn := range taken {
			_ = conn.Close()
		}
	}()
	st.begins("take all connections")
	held := st.chance.between(500*time.Millisecond, 2*time.Second)
	for end := time.Now().Add(patience); time.Now().Before(end) && ctx.Err() == nil; {
		conn, err := others.Conn(ctx)
		if err == nil {
			taken = append(taken, conn)
			continue
		}
		// There are no more, so what the replicas lose now is lost.
		if time.Until(end) > held {
			end = time.Now().Add(held)
		}
		if _, err := inside.ExecContext(ctx, throwOut); err != nil {
			return err
		}
		pause(ctx, 10*time.Millisecond)
	}
	others.SetMaxIdleConns(0)
	for _, conn := range taken {
		_ = conn.Close()
	}
	st.lifted("connections are free")
	return nil
}

// forbidWrites is what a replica sees that is connected to a standby, or after an
// administrator has made the database read-only.
func forbidWrites(ctx context.Context, st *stage) error {
	name := st.schema()
	admin := func(statement string) error { return st.primary().Exec(ctx, statement) }
	st.begins("read-only")
	if err := admin("ALTER DATABASE " + name + " SET default_transaction_read_only = on"); err != nil {
		return err
	}
	if err := st.exec(ctx, throwOut); err != nil {
		return err
	}
	pause(ctx, st.chance.between(500*time.Millisecond, 2*time.Second))
	if err := admin("ALTER DATABASE " + name + " RESET default_transaction_read_only"); err != nil {
		return err
	}
	st.lifted("new sessions may write")
	return nil
}
