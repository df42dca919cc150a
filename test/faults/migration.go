//go:build linux

package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"os/exec"
	"time"
)

// migrateAtOnce lets three processes bring an empty database to the schema at once, kills
// one of them somewhere in its middle, and then runs it again. What comes out is the same
// schema, whoever did what.
func migrateAtOnce(ctx context.Context, st *stage) error {
	admin := st.primary()
	name := fmt.Sprintf("%s_migrated_%d", st.schema(), st.rounds.Add(1))
	if err := admin.CreateDatabase(ctx, name, "template0"); err != nil {
		return err
	}
	defer func() { _ = admin.DropDatabase(context.WithoutCancel(ctx), name) }()
	env := st.world.environment(admin.URL(name))
	st.injected.Add(1)
	var migrators []*exec.Cmd
	for range 3 {
		cmd := exec.CommandContext(ctx, st.world.binary, "migrate", "up") //nolint:gosec // our own program
		cmd.Env, cmd.Dir = env, st.dir
		if err := cmd.Start(); err != nil {
			return err
		}
		migrators = append(migrators, cmd)
	}
	pause(ctx, st.chance.between(0, 400*time.Millisecond))
	_ = migrators[0].Process.Kill() // it may have ended
	for i, cmd := range migrators {
		if err := cmd.Wait(); err != nil && i > 0 && ctx.Err() == nil {
			st.note(opRemains, "migrate up beside others: %s", err)
		}
	}
	if st.control != nil && st.control.onSchema != "" {
		if err := execAt(ctx, admin.URL(name), st.control.onSchema); err != nil {
			return err
		}
	}
	if _, err := run(ctx, st.dir, env, st.world.binary, "migrate", "up"); err != nil && ctx.Err() == nil {
		st.note(opRemains, "migrate up once more: %s", err)
	}
	want, err := textAt(ctx, admin.URL(st.schema()), describe)
	if err != nil {
		return err
	}
	got, err := textAt(ctx, admin.URL(name), describe)
	if err != nil {
		return err
	}
	if got != want {
		st.note(opRemains, "another schema came out: %s instead of %s", got, want)
	}
	return nil
}

// upgrade is the schema of a later version, as far as this one can see it, and then new
// starts of all replicas, which are of the version before.
func upgrade(ctx context.Context, st *stage) error {
	n := 9000 + st.rounds.Add(1)
	st.begins("migrate to version %d", n)
	declared := ""
	if st.control != nil {
		declared = st.control.onSchema
	}
	if err := st.exec(ctx, fmt.Sprintf(`DO $$ BEGIN
  ALTER TABLE grants ADD COLUMN later_%d text NOT NULL DEFAULT 'later';
  CREATE INDEX later_state_%d ON grants (state) WHERE state <> 'live';
  CREATE TABLE later_%d (id bigint PRIMARY KEY);
  INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, true);
  %s
END $$`, n, n, n, n, declared)); err != nil {
		return err
	}
	for _, r := range st.replicas {
		if status := st.statusOf(ctx, "http://"+r.where()+"/readyz"); status != http.StatusOK {
			st.note(opDrain, "%s: /readyz said %d after a later version's migration", r.name, status)
		}
	}
	st.lifted("migrated", st.replicas...)
	if st.control != nil {
		return nil // it would not start
	}
	return restartAll(ctx, st)
}

func execAt(ctx context.Context, address, statement string) error {
	db, err := sql.Open("pgx", address)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, statement)
	return err
}

func textAt(ctx context.Context, address, question string) (text string, err error) {
	db, err := sql.Open("pgx", address)
	if err != nil {
		return "", err
	}
	defer db.Close()
	return text, db.QueryRowContext(ctx, question).Scan(&text)
}

// describe is a fingerprint of all that a schema consists of.
const describe = `SELECT md5(string_agg(line, E'\n' ORDER BY line)) FROM (
 SELECT format('column %s.%s %s %s %s', table_name, column_name, data_type, is_nullable, column_default) FROM information_schema.columns WHERE table_schema = 'public' UNION ALL
 SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public' UNION ALL
 SELECT format('constraint %s %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace = 'public'::regnamespace UNION ALL
 SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal UNION ALL
 SELECT format('version %s %s', version_id, is_applied) FROM goose_db_version) AS lines (line)`

var barred = &control{
	name: "barred", about: "the later version says that this one can not run on its schema", expects: []invariant{honest},
	onSchema: "UPDATE compatibility SET least = 9000;",
}

var halfDone = &control{
	name: "half-done", about: "SQL takes an index away that a migration had made", expects: []invariant{noOrphans},
	onSchema: `DO $$ BEGIN EXECUTE (SELECT 'DROP INDEX ' || indexname FROM pg_indexes i WHERE schemaname = 'public'
		AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conname = i.indexname) LIMIT 1); END $$`,
}
