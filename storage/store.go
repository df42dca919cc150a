// Package storage remembers everything: clients, users, grants, keys. It is the
// only user of gorm, and the only place with SQL.
//
// Store speaks in nouns (storage.Store.Client, Session, SigningKeys) to the server
// and the command line. Tokens (tokens.go, tokens_*.go) is what fosite calls at the
// token endpoint: each grant does its work in one statement, through a Unit that
// the endpoint puts into the context, and answers fosite's other questions from
// memory.
//
// It promises: a change of state is one compare-and-set statement that counts its
// rows; every statement has a deadline; serialization failures are tried again as
// a whole; whatever else the database does wrong is ErrUnavailable and is never
// mistaken for an answer. Rows never leave this package. Both databases run the
// same SQL: what differs between them is in this file, errors.go and migrations.
package storage

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/schema"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/grantorhq/grantor/audit"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/migrations"
)

// The databases.
const (
	SQLite   = "sqlite"
	Postgres = "postgres"
)

// Options say which database, and how patient to be with it.
type Options struct {
	Database       string        // sqlite:PATH or postgres://…
	Timeout        time.Duration // of every statement; 0 = 1.5 s
	Connections    int           // of PostgreSQL, at most; 0 = 16
	UnsafeDatabase []string      // durability settings of PostgreSQL that may be off
	Actor          string        // who the audit log says that writes here; "" = grantor
	Inspect        bool          // SQLite: the file as it is; nothing is made, changed or written
	Now            func() time.Time
	Rand           io.Reader
	Log            *slog.Logger
	// Wrap goes around the driver, and WrapGroup around the groups that go past
	// database/sql: tests count and break statements there.
	Wrap      func(driver.Connector) driver.Connector
	WrapGroup func(statements []string, run func() error) error
	// Trace is told of each unit of work, under a fixed name, before and after. nil: nobody asks.
	Trace func(ctx context.Context, doing string) (context.Context, func(error))
	Count bool // what every request would have to count: see Stats
}

// Store is one database. It is safe for concurrent use.
type Store struct {
	dialect string
	path    string // SQLite's file
	write   *gorm.DB
	read    *gorm.DB // SQLite: readers never wait for the one writer; PostgreSQL: the same pool
	pools   []*sql.DB
	pgx     *pgxpool.Pool
	writes  groups
	reads   groups // PostgreSQL

	timeout time.Duration
	unsafe  []string
	now     func() time.Time
	rand    io.Reader
	log     *slog.Logger
	actor   string

	auditMu   sync.Mutex
	auditHead audit.Seal // the newest that was seen

	clients clientCache
	uses    secretUses
	reached atomic.Pointer[grants.ID] // by the housekeeping, which looks for ended sessions after it
	guesses guesses
	trace   func(ctx context.Context, doing string) (context.Context, func(error))

	failures         atomic.Uint64
	refreshes, codes verdicts
	signIns          struct{ page, grant outcomes }

	suspect chan struct{} // wakes Watch
}

// Open connects. It does not look at the schema: see Migrate and CheckSchema.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{timeout: o.Timeout, unsafe: o.UnsafeDatabase, now: o.Now, rand: o.Rand, log: o.Log, actor: o.Actor, trace: o.Trace, suspect: make(chan struct{}, 1)}
	if s.timeout == 0 {
		s.timeout = 1500 * time.Millisecond
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.actor == "" {
		s.actor = server
	}
	if o.Connections == 0 {
		o.Connections = 16
	}
	if o.Wrap == nil {
		o.Wrap = func(c driver.Connector) driver.Connector { return c }
	}
	if s.clients.count = o.Count; o.Count {
		s.refreshes = countVerdicts(grants.Rotated, grants.Retried, grants.Reused, grants.Overtaken, grants.Idle, grants.Exceeds, grants.Astray, grants.Dead)
		s.codes = countVerdicts(grants.Redeemed, grants.Replayed, grants.Dead)
	}
	if err := s.clients.init(); err != nil {
		return nil, fmt.Errorf("make client cache: %w", err)
	}
	s.writes.timeout, s.reads.timeout = s.timeout, s.timeout

	var err error
	if path, ok := strings.CutPrefix(o.Database, "sqlite:"); ok {
		err = s.openSQLite(path, o)
	} else {
		err = s.openPostgres(ctx, o)
	}
	if err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("open database: %w", err)
	}
	return s, nil
}

func (s *Store) openSQLite(path string, o Options) error {
	if path == "" || strings.HasPrefix(path, ":memory:") {
		return errors.New("sqlite: needs the path of a file")
	}
	s.dialect, s.path = SQLite, path
	flags, pragmas := os.O_CREATE|os.O_RDWR, "&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)&_pragma=synchronous(FULL)&_txlock=immediate"
	if o.Inspect {
		flags, pragmas = os.O_RDONLY, "&_pragma=query_only(1)"
	}
	// The file holds password hashes and sealed keys: nobody else reads it.
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	// busy_timeout comes first: the pragmas after it may have to wait already.
	// FULL, because NORMAL may lose the last commits at power loss, and a revoked token with them.
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() +
		fmt.Sprintf("?_pragma=busy_timeout(%d)", s.timeout.Milliseconds()) + pragmas

	unopened, err := sql.Open("sqlite", "")
	if err != nil {
		return err
	}
	drv := unopened.Driver()
	_ = unopened.Close() // it was never open, but has a goroutine
	writer := sql.OpenDB(o.Wrap(connector{drv, dsn, nameActor(s.actor)}))
	writer.SetMaxOpenConns(1)
	reader := sql.OpenDB(o.Wrap(connector{drv, dsn + "&_pragma=query_only(1)", ""}))
	reader.SetMaxOpenConns(4)
	reader.SetMaxIdleConns(4)
	s.pools = []*sql.DB{writer, reader}
	s.writes.free, s.writes.run = 1, s.groupSQLite
	if s.write, err = gorm.Open(&sqliteDialector{writer}, s.gormConfig()); err != nil {
		return err
	}
	s.read, err = gorm.Open(&sqliteDialector{reader}, s.gormConfig())
	return err
}

func (s *Store) openPostgres(ctx context.Context, o Options) error {
	s.dialect = Postgres
	config, err := pgxpool.ParseConfig(o.Database)
	if err != nil {
		// pgx's error may quote the URL, and the URL holds a password.
		return errors.New("postgres: the URL can not be read")
	}
	config.ConnConfig.ConnectTimeout = s.timeout
	config.MaxConns = int32(o.Connections)
	// The audit log says who wrote by this. A server may have a name in its URL.
	if params := config.ConnConfig.RuntimeParams; s.actor != server || params["application_name"] == "" {
		params["application_name"] = s.actor
	}
	// A session that may only read, of a standby or of a database that was locked for a
	// while, stays so for as long as it lives: another one may be able to write.
	usual := config.ConnConfig.OnPgError
	config.ConnConfig.OnPgError = func(c *pgconn.PgConn, err *pgconn.PgError) bool {
		return err.Code != "25006" && usual(c, err)
	}
	new(timelines).guard(config)
	config.AfterConnect = nameArguments
	if s.pgx, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return err
	}
	for _, g := range []*groups{&s.writes, &s.reads} {
		g.free = max(1, min(lanes, o.Connections/8))
		g.spare = o.Connections / 8 // with the free ones of both, half of the pool is left to everything else, if it is not a tiny one
		g.run = s.groupPostgres
		if o.WrapGroup != nil {
			g.run = s.wrapped(o.WrapGroup)
		}
	}
	db := sql.OpenDB(o.Wrap(stdlib.GetPoolConnector(s.pgx)))
	db.SetMaxIdleConns(0) // the pgx pool below keeps them, and LISTEN takes from it too
	s.pools = []*sql.DB{db}
	s.write, err = gorm.Open(postgres.New(postgres.Config{Conn: db}), s.gormConfig())
	s.read = s.write
	return err
}

// nameArguments says what the arguments of statements are where the database is not asked
// (default_query_exec_mode=exec, for some poolers). pgx knows that by itself, with some
// hundred other types; releases are built without those (docs/decisions/0021).
func nameArguments(_ context.Context, c *pgx.Conn) error {
	for _, known := range []struct {
		name           string
		value, pointer any
	}{
		{"int8", int64(0), new(int64)}, {"int8", int(0), new(int)}, {"bool", false, new(bool)}, {"text", "", new(string)}, {"bytea", []byte{}, new([]byte)},
	} {
		c.TypeMap().RegisterDefaultPgType(known.value, known.name)
		c.TypeMap().RegisterDefaultPgType(known.pointer, known.name)
	}
	return nil
}

// The lanes are how many groups run at once on PostgreSQL when none is slow. With more of
// them groups would be smaller: waking one more backend costs the database as much as
// several more rows. With one, what stops it for a moment stops everybody.
const lanes = 2

// groupPostgres runs a group past database/sql, which has no word for it.
func (s *Store) groupPostgres(ctx context.Context, list []*member) error {
	if len(list) > 1 {
		return s.sendGroup(ctx, list)
	}
	rows, err := s.pgx.Query(ctx, list[0].query, list[0].args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	return list[0].read(rows)
}

// wrapped is groupPostgres for tests, which want to know the statements.
func (s *Store) wrapped(wrap func([]string, func() error) error) func(context.Context, []*member) error {
	return func(ctx context.Context, list []*member) error {
		texts := make([]string, len(list))
		for i, m := range list {
			texts[i] = m.query
		}
		return wrap(texts, func() error { return s.groupPostgres(ctx, list) })
	}
}

// impatient lets a group give up soon when one of its rows is locked, because all of it
// would wait. It ends by this before the database looks for a deadlock.
const impatient = `SELECT set_config('lock_timeout', '100ms', true)`

// sendGroup sends all in one go. Without a BEGIN that is one transaction, which is
// committed when the results were closed without an error.
func (s *Store) sendGroup(ctx context.Context, list []*member) (err error) {
	batch := &pgx.Batch{}
	batch.Queue(impatient)
	for _, m := range list {
		batch.Queue(m.query, m.args...)
	}
	results := s.pgx.SendBatch(ctx, batch)
	defer func() {
		if closed := results.Close(); err == nil {
			err = closed
		}
	}()
	if _, err := results.Exec(); err != nil {
		return err
	}
	for _, m := range list {
		rows, err := results.Query()
		if err != nil {
			return err
		}
		err = m.read(rows)
		rows.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// groupSQLite makes one transaction of a group, for which the file is synced once.
func (s *Store) groupSQLite(ctx context.Context, list []*member) error {
	pool := s.write.ConnPool.(*prepared)
	if len(list) == 1 {
		return list[0].ask(ctx, pool.QueryContext)
	}
	// Compiled before the transaction has the one connection that could do it.
	for _, m := range list {
		if err := pool.compile(ctx, m.query); err != nil {
			return fmt.Errorf("%w: %w", errUndone, err)
		}
	}
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", errUndone, err)
	}
	for _, m := range list {
		if err := m.ask(ctx, pool.within(tx)); err != nil {
			return fmt.Errorf("%w: %w", errUndone, errors.Join(err, tx.Rollback()))
		}
	}
	return tx.Commit()
}

func (s *Store) gormConfig() *gorm.Config {
	return &gorm.Config{
		SkipDefaultTransaction: true,  // one statement is one round trip
		PrepareStmt:            false, // pgx prepares by itself; for SQLite see prepared.go
		DisableAutomaticPing:   true,
		NowFunc:                s.now,
		Logger:                 logger.Discard, // gorm's would print values
	}
}

// Close ends all connections.
func (s *Store) Close() error {
	var errs []error
	for _, pool := range s.pools {
		errs = append(errs, pool.Close())
	}
	if s.pgx != nil {
		s.pgx.Close()
	}
	return errors.Join(errs...)
}

// Dialect is SQLite or Postgres.
func (s *Store) Dialect() string { return s.dialect }

// Migrate brings the schema to this program's version. Of several callers one works, the others wait.
func (s *Store) Migrate(ctx context.Context) (migrations.Report, error) {
	report, err := migrations.Up(ctx, s.pools[0], s.dialect, s.path+".lock")
	if err == nil && s.dialect == SQLite {
		_, err = s.pools[0].ExecContext(ctx, nameActor(s.actor)) // there was no log to sign when it connected
	}
	if errors.Is(err, migrations.ErrNewer) {
		return report, fmt.Errorf("migrate: %w: %w", ErrSchemaNew, err)
	}
	if err != nil {
		return report, fmt.Errorf("migrate: %w", err)
	}
	return report, nil
}

// Schema tells which versions the database and this program have of it.
func (s *Store) Schema(ctx context.Context) (migrations.Versions, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	v, err := migrations.Version(ctx, s.pools[0], s.dialect)
	if err != nil {
		return v, s.failed("read schema version", err)
	}
	return v, nil
}

// CheckSchema answers ErrSchemaOld or ErrSchemaNew when this program can not run on the schema.
func (s *Store) CheckSchema(ctx context.Context) error {
	v, err := s.Schema(ctx)
	switch {
	case err != nil:
		return err
	case v.Old():
		return fmt.Errorf("%w: it is at version %d, this program needs %d", ErrSchemaOld, v.Have, v.Want)
	case v.Foreign():
		return fmt.Errorf("%w: it is at version %d, this program knows %d", ErrSchemaNew, v.Have, v.Want)
	}
	return nil
}

// MaxClockSkew is how far this machine's clock may be from the database's. It must stay
// well inside the retry window, or an honest retry at another replica looks late. Replicas
// compare their own clocks with each other's writes.
const MaxClockSkew = 3 * time.Second

// CheckDatabase refuses a PostgreSQL that may lose acknowledged commits
// (ErrUnsafeDatabase, unless the setting was allowed by name), and one whose clock
// is far from this machine's (ErrClock). SQLite is opened safely to begin with.
func (s *Store) CheckDatabase(ctx context.Context) error {
	if s.dialect != Postgres {
		return nil
	}
	off, clock, err := s.durability(ctx)
	if err != nil {
		return err
	}
	for _, name := range off {
		if !slices.Contains(s.unsafe, name) {
			return fmt.Errorf("%w: %s is off", ErrUnsafeDatabase, name)
		}
	}
	if skew := s.now().Sub(clock); skew.Abs() > MaxClockSkew {
		return fmt.Errorf("%w: %s apart", ErrClock, skew.Abs().Round(time.Second))
	}
	return nil
}

// durability asks PostgreSQL which of the settings that keep commits are off, and its clock.
func (s *Store) durability(ctx context.Context) (off []string, clock time.Time, err error) {
	const ask = `SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes'),
	CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)`
	var set [3]string
	var now int64
	if _, err := s.one(ctx, s.read, "check database", ask, nil, &set[0], &set[1], &set[2], &now); err != nil {
		return nil, time.Time{}, err
	}
	for i, name := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		if set[i] == "off" {
			off = append(off, name)
		}
	}
	return off, fromMicros(now), nil
}

// withoutNonce is the column of details, less one member of its JSON that is never the first.
func (s *Store) withoutNonce() string {
	if s.dialect != Postgres {
		return `json_remove(details, '$.nonce')`
	}
	// As jsonb it would come back in another layout, and longer.
	return `regexp_replace(details, E',"nonce":"([^"\\\\]|\\\\.)*"', '')`
}

// share makes a statement wait for whoever changes these rows now, and them for it: on
// PostgreSQL it would go by what they were. SQLite has one writer.
func (s *Store) share(rows string) string {
	if s.dialect != Postgres {
		return ""
	}
	return " FOR SHARE OF " + rows
}

// lock makes a transaction wait likewise, and for those that share the rows too.
func (s *Store) lock(rows string) string {
	if s.dialect != Postgres {
		return ""
	}
	return " FOR UPDATE OF " + rows
}

// listen waits on PostgreSQL's word that somebody changed a watched noun, and
// calls told for each. It returns when the connection is lost, or at once where
// there is nothing to listen to.
func (s *Store) listen(ctx context.Context, told func()) error {
	if s.pgx == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	// A connection of its own: a listener must not take one of the pool for ever.
	conn, err := pgx.ConnectConfig(ctx, s.pgx.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "LISTEN grantor_revised"); err != nil {
		return err
	}
	told()
	for {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			// What broke this connection broke the idle ones: each would cost a request to find out.
			s.pgx.Reset()
			return err
		}
		told()
	}
}

// server is the actor when nobody else is named.
const server = "grantor"

// nameActor signs what the triggers of the audit log write, for as long as a connection of
// SQLite lives: it does not know who is connected.
func nameActor(actor string) string {
	return `CREATE TEMP TRIGGER IF NOT EXISTS audit_actor AFTER INSERT ON main.audit_events WHEN NEW.actor = '' BEGIN
 UPDATE audit_events SET actor = '` + strings.ReplaceAll(actor, `'`, `''`) + `' WHERE number = NEW.number; END`
}

type connector struct {
	drv   driver.Driver
	dsn   string
	actor string // a statement, see nameActor
}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.drv.Open(c.dsn)
	if err != nil || c.actor == "" {
		return conn, err
	}
	// It fails on a file without a log to sign. Migrate tries again.
	_, _ = conn.(driver.ExecerContext).ExecContext(ctx, c.actor, nil)
	return conn, nil
}

func (c connector) Driver() driver.Driver { return c.drv }

// sqliteDialector is gorm's view of modernc's SQLite (docs/decisions/0003). It has
// no migrator: package migrations owns the schema.
type sqliteDialector struct{ pool *sql.DB }

var _ gorm.Dialector = (*sqliteDialector)(nil)

func (*sqliteDialector) Name() string { return SQLite }

func (d *sqliteDialector) Initialize(db *gorm.DB) error {
	callbacks.RegisterDefaultCallbacks(db, &callbacks.Config{
		CreateClauses: []string{"INSERT", "VALUES", "ON CONFLICT", "RETURNING"},
		UpdateClauses: []string{"UPDATE", "SET", "FROM", "WHERE", "RETURNING"},
		DeleteClauses: []string{"DELETE", "FROM", "WHERE", "RETURNING"},
	})
	db.ConnPool = &prepared{DB: d.pool}
	return nil
}

func (*sqliteDialector) Migrator(*gorm.DB) gorm.Migrator { return nil }

func (*sqliteDialector) DataTypeOf(*schema.Field) string { return "" }

func (*sqliteDialector) DefaultValueOf(*schema.Field) clause.Expression {
	return clause.Expr{SQL: "NULL"}
}

func (*sqliteDialector) BindVarTo(writer clause.Writer, _ *gorm.Statement, _ any) {
	_ = writer.WriteByte('?')
}

func (*sqliteDialector) QuoteTo(writer clause.Writer, name string) {
	_, _ = writer.WriteString(`"` + strings.ReplaceAll(strings.ReplaceAll(name, `"`, ``), `.`, `"."`) + `"`)
}

// Explain never shows values: they are secrets.
func (*sqliteDialector) Explain(sql string, _ ...any) string { return sql }
