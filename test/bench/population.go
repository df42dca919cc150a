package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/grantorhq/grantor/grants"
)

// span is a run of grant numbers.
type span struct {
	first uint64
	count int
}

func (w *world) fillDenyList(ctx context.Context, count int) error {
	const statement = `INSERT INTO denied_tokens (jti, expires_at) VALUES ($1, $2)`
	ends := time.Now().Add(tokenLife).UnixMicro()
	if w.kind == sqlite {
		return w.inTransaction(ctx, statement, count, func(int) []any { return []any{rand.Text(), ends} })
	}
	list := make([]string, count)
	for i := range list {
		list[i] = rand.Text()
	}
	_, err := w.pool.Exec(ctx, `INSERT INTO denied_tokens (jti, expires_at) SELECT unnest($1::text[]), $2`, list, ends)
	return err
}

// grantID is the number's id: the same in every run, and as good as random to an index.
func grantID(number uint64) grants.ID {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("bench"), number))
	return grants.ID(sum[:16])
}

// copyGrants adds that many copies of a client's template, spread over the users.
func (w *world) copyGrants(ctx context.Context, client string, count int) ([]grants.ID, error) {
	ids := make([]grants.ID, count)
	for i := range ids {
		w.made++
		ids[i] = grantID(w.made)
	}
	from := w.template[client]
	if w.kind == sqlite {
		return ids, w.inTransaction(ctx, `INSERT INTO grants (id, user_id, `+w.columns+`) SELECT ?, ?, `+w.columns+` FROM grants WHERE id = ?`,
			count, func(i int) []any { return []any{ids[i][:], w.userIDs[i%len(w.userIDs)], from[:]} })
	}
	tell, err := w.hush(ctx)
	if err != nil {
		return nil, err
	}
	const batch = 10000
	for begin := 0; begin < count; begin += batch {
		part := ids[begin:min(begin+batch, count)]
		raw, owners := make([][]byte, len(part)), make([]string, len(part))
		for i := range part {
			raw[i], owners[i] = part[i][:], w.userIDs[(begin+i)%len(w.userIDs)]
		}
		// The template is one row; the rest of its columns are the copies'.
		if _, err := w.pool.Exec(ctx, `INSERT INTO grants (id, user_id, `+w.columns+`) SELECT n.id, n.owner, `+w.columns+`
 FROM (SELECT `+w.columns+` FROM grants WHERE id = $1) t, unnest($2::bytea[], $3::text[]) AS n (id, owner)`, from[:], raw, owners); err != nil {
			return nil, err
		}
	}
	return ids, tell()
}

// hush keeps copies out of the audit log until tell: nobody logged in.
func (w *world) hush(ctx context.Context) (tell func() error, err error) {
	if w.kind == sqlite {
		return func() error { return nil }, nil
	}
	do := func(what string) error {
		_, err := w.pool.Exec(ctx, `ALTER TABLE grants `+what+` TRIGGER USER; ALTER TABLE users `+what+` TRIGGER USER`)
		return err
	}
	return func() error { return do("ENABLE") }, do("DISABLE")
}

// generate makes as many live sessions as asked for, as copies of a client's template
// that end a millisecond after one another, the last at until. On PostgreSQL that is
// a hundred thousand in a second or so: the indexes are made afterwards, and no commit
// waits for the disk. The table is an ordinary one, durable with the next checkpoint.
func (w *world) generate(ctx context.Context, client string, count int, until time.Time) (span, error) {
	if w.kind == sqlite {
		made := span{w.made + 1, count}
		_, err := w.copyGrants(ctx, client, count)
		return made, err
	}
	restore, err := w.dropIndexes(ctx)
	if err != nil {
		return span{}, err
	}
	made, err := w.insert(ctx, client, count, until)
	if err != nil {
		return made, err
	}
	for _, definition := range restore {
		if _, err := w.pool.Exec(ctx, definition); err != nil {
			return made, err
		}
	}
	return made, nil
}

// insert is generate for PostgreSQL, without more.
func (w *world) insert(ctx context.Context, client string, count int, until time.Time) (span, error) {
	made := span{w.made + 1, count}
	tell, err := w.hush(ctx)
	if err != nil {
		return made, err
	}
	w.made += uint64(count)
	from := w.template[client]
	// The template alone: without an index it would be looked for in all of the table.
	for _, statement := range []string{
		`DROP TABLE IF EXISTS bench_template`,
		`CREATE TABLE bench_template AS SELECT * FROM grants WHERE id = decode('` + hex.EncodeToString(from[:]) + `', 'hex')`,
	} {
		if _, err := w.pool.Exec(ctx, statement); err != nil {
			return made, err
		}
	}
	statement := `INSERT INTO grants (id, user_id, ` + w.columns + `)
 SELECT ` + numberedID + `, ` + numberedOwner + `, ` +
		strings.Replace(w.columns, "expires_at", "$4::bigint - ($5::bigint - n) * 1000", 1) + `
 FROM bench_template, generate_series($1::bigint, $2::bigint) AS n, (SELECT $3::bigint, $6::text) AS p (copies, first)`
	const batch = 250_000
	last := int64(w.made)
	parts := make(chan int64, count/batch+1)
	for begin := int64(made.first); begin <= last; begin += batch {
		parts <- begin
	}
	close(parts)
	var all sync.WaitGroup
	errs := make([]error, 2)
	for i := range errs {
		all.Go(func() {
			errs[i] = w.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
				if _, err := c.Exec(ctx, "SET synchronous_commit = off"); err != nil {
					return err
				}
				for begin := range parts {
					if _, err := c.Exec(ctx, statement, begin, min(begin+batch-1, last), len(w.userIDs)-1, until.UnixMicro(), last, w.userIDs[0]); err != nil {
						return err
					}
				}
				_, err := c.Exec(ctx, "RESET synchronous_commit")
				return err
			})
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return made, err
	}
	if _, err := w.pool.Exec(ctx, "DROP TABLE bench_template"); err != nil {
		return made, err
	}
	return made, tell()
}

// What grantID and ownerOf are, in PostgreSQL's words.
const (
	numberedID    = `substring(sha256('bench'::bytea || int8send(n)) FOR 16)`
	numberedOwner = `coalesce('bench' || lpad((1 + n % nullif(p.copies, 0))::text, 13, '0'), p.first)`
)

// ownerOf is the account that insert gives the session of this number.
func (w *world) ownerOf(number uint64) string {
	copies := uint64(len(w.userIDs) - 1)
	if copies == 0 {
		return w.userIDs[0]
	}
	return fmt.Sprintf("bench%013d", 1+number%copies)
}

// dropIndexes answers what makes those of the grants again.
func (w *world) dropIndexes(ctx context.Context) (restore []string, err error) {
	rows, err := w.pool.Query(ctx, `SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), c.conname, pg_get_constraintdef(c.oid)
 FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid WHERE i.indrelid = 'grants'::regclass`)
	if err != nil {
		return nil, err
	}
	var drop []string
	var index, definition string
	var constraint, key *string
	if _, err := pgx.ForEachRow(rows, []any{&index, &definition, &constraint, &key}, func() error {
		if constraint != nil {
			drop, restore = append(drop, "ALTER TABLE grants DROP CONSTRAINT "+*constraint), append(restore, "ALTER TABLE grants ADD CONSTRAINT "+*constraint+" "+*key)
		} else {
			drop, restore = append(drop, "DROP INDEX "+index), append(restore, definition)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	for _, statement := range drop {
		if _, err := w.pool.Exec(ctx, statement); err != nil {
			return nil, err
		}
	}
	return restore, nil
}

// copyUsers makes as many users as there shall be, like the one that the program made.
func (w *world) copyUsers(ctx context.Context, count int) error {
	columns, err := w.columnsOf(ctx, "users", "id", "name", "name_key")
	if err != nil {
		return err
	}
	from := w.userIDs[0]
	for i := 1; i < count; i++ {
		w.userIDs = append(w.userIDs, fmt.Sprintf("bench%013d", i))
	}
	if w.kind == sqlite {
		return w.inTransaction(ctx, `INSERT INTO users (id, name, name_key, `+columns+`) SELECT ?, ?, ?, `+columns+` FROM users WHERE id = ?`,
			len(w.userIDs)-1, func(i int) []any { id := w.userIDs[i+1]; return []any{id, id, id, from} })
	}
	tell, err := w.hush(ctx)
	if err != nil {
		return err
	}
	_, err = w.pool.Exec(ctx, `INSERT INTO users (id, name, name_key, `+columns+`) SELECT n.id, n.id, n.id, `+columns+`
 FROM (SELECT `+columns+` FROM users WHERE id = $1) t, unnest($2::text[]) AS n (id)`, from, w.userIDs[1:])
	return errors.Join(err, tell())
}

func (w *world) inTransaction(ctx context.Context, statement string, count int, args func(int) []any) error {
	tx, err := w.file.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	prepared, err := tx.PrepareContext(ctx, statement)
	if err != nil {
		return err
	}
	defer func() { _ = prepared.Close() }()
	for i := range count {
		if _, err := prepared.ExecContext(ctx, args(i)...); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (w *world) columnsOf(ctx context.Context, table string, without ...string) (string, error) {
	var list string
	var err error
	if w.kind == sqlite {
		err = w.file.QueryRowContext(ctx, `SELECT group_concat(name, ',') FROM pragma_table_info(?)`, table).Scan(&list)
	} else {
		err = w.pool.QueryRow(ctx, `SELECT string_agg(column_name, ',') FROM information_schema.columns WHERE table_name = $1`, table).Scan(&list)
	}
	var kept []string
	for _, name := range strings.Split(list, ",") {
		if !strings.Contains(","+strings.Join(without, ",")+",", ","+name+",") {
			kept = append(kept, name)
		}
	}
	return strings.Join(kept, ", "), err
}

// analyze lets the planner know the tables, as autovacuum would soon.
func (w *world) analyze(ctx context.Context) error {
	if w.kind == sqlite {
		return nil
	}
	_, err := w.pool.Exec(ctx, "VACUUM ANALYZE")
	return err
}
