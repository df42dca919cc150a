//go:build linux

package main

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

// fault is what goes wrong, while what runs, and how it is known that the checker
// would notice.
type fault struct {
	name  string
	ids   string // in attacks.md section 18
	about string // for docs/reliability.md

	replicas     int
	applications int
	habits       habits
	settings     []string // of the program: GRANTOR_ variables without the prefix
	linked       bool     // the replicas reach PostgreSQL through a link
	sqlite       bool
	calm         bool // clients pause between requests

	window   time.Duration // the retry window
	heal     time.Duration // in which all serve again
	stopped  bool          // replicas stop, so some requests get no answer in time
	flawless bool          // no request may fail at all
	counted  bool          // its renewals count for -acknowledged

	every    [2]time.Duration                    // the pause before each injection
	before   func(context.Context, *stage) error // the replicas start
	after    func(context.Context, *stage) error // they have ended
	inject   func(context.Context, *stage) error
	controls []*control
}

func (f *fault) rules(slack int) rules {
	return rules{window: f.window, heal: f.heal * time.Duration(slack), stopped: f.stopped, flawless: f.flawless}
}

// mixed is what most stages are loaded with.
var mixed = habits{introspect: 12, twice: 15, revoke: 120, replay: 150}

const (
	// An outage that lasts longer than the retry window ends the sessions whose last
	// answer it swallowed: the default of 10 s is for the short ones.
	defaultWindow = 10 * time.Second
	longWindow    = 60 * time.Second
)

// faults in the order in which they are played.
func faults() []*fault {
	list := []*fault{
		{
			name: "replica-killed", ids: "F-01", about: "kill -9 of a replica amid renewals, and a new start",
			replicas: 3, counted: true, heal: time.Second, every: [2]time.Duration{300 * time.Millisecond, 1500 * time.Millisecond},
			inject: killReplica, controls: []*control{uncommit, falseRefusal},
		},
		{
			name: "death-between", ids: "F-02", about: "kill -9 of a replica when its statements are on the way, or committed and their answers on the way: they are held until it is dead",
			replicas: 3, linked: true, counted: true, every: [2]time.Duration{500 * time.Millisecond, 1500 * time.Millisecond},
			inject: killBetween, controls: []*control{uncommit},
		},
		{
			name: "postgres-crash", ids: "F-03", about: "SIGKILL of PostgreSQL's whole process tree, and a new start after up to a second",
			counted: true, every: [2]time.Duration{1500 * time.Millisecond, 3 * time.Second},
			inject: crashPostgres, controls: []*control{uncommit, revive},
		},
		{
			name: "postgres-restart", ids: "F-04", about: "shutdown of PostgreSQL, smart, fast or immediate, and a new start",
			counted: true, every: [2]time.Duration{1500 * time.Millisecond, 3 * time.Second},
			inject: restartPostgres, controls: []*control{falseRefusal, plainError},
		},
		{
			name: "postgres-frozen", ids: "F-08", about: "SIGSTOP of PostgreSQL's whole process tree for 0.5 to 5 s: connections stay open, nobody answers",
			settings: []string{"RETRY_WINDOW=60s"}, window: longWindow, every: [2]time.Duration{time.Second, 2 * time.Second},
			inject: freezePostgres, controls: []*control{falseRefusal},
		},
		{
			name: "commit-unknown", ids: "F-06", about: "the network drops the answer to one write in four, whole or torn, and its connection, when PostgreSQL has committed",
			linked: true, every: [2]time.Duration{100 * time.Millisecond, 600 * time.Millisecond},
			inject: cutAnswers, controls: []*control{falseRefusal, stale},
		},
		{
			name: "network-slow", ids: "F-09", about: "every answer of PostgreSQL comes 2 or 0.5 s late, in turn, for 1 to 3 s",
			linked: true, settings: []string{"RETRY_WINDOW=60s"}, window: longWindow, every: [2]time.Duration{time.Second, 2 * time.Second},
			inject: delayAnswers, controls: []*control{falseSuccess},
		},
		{
			name: "rows-locked", ids: "F-09", about: "another transaction holds eight sessions' rows, or the whole table, for 0.5 to 3 s",
			settings: []string{"RETRY_WINDOW=60s"}, window: longWindow, every: [2]time.Duration{500 * time.Millisecond, 1500 * time.Millisecond},
			inject: lockRows, controls: []*control{plainError},
		},
		{
			name: "connections-taken", ids: "F-10", about: "all of PostgreSQL's connections are taken by others for 0.5 to 2 s, the replicas' too; their pools hold one",
			settings: []string{"DATABASE_CONNECTIONS=1"}, every: [2]time.Duration{time.Second, 2 * time.Second},
			inject: takeConnections, controls: []*control{falseRefusal},
		},
		{
			name: "database-read-only", ids: "F-13", about: "new sessions of the database are read-only, and the old ones are ended, for 0.5 to 2 s",
			every: [2]time.Duration{time.Second, 2 * time.Second}, inject: forbidWrites, controls: []*control{falseSuccess},
		},
		{
			name: "serializable", ids: "F-12", about: "every transaction is SERIALIZABLE, two tabs often share a token, and another program touches the same rows",
			habits: habits{introspect: 20, twice: 3, revoke: 120, replay: 150}, every: [2]time.Duration{20 * time.Millisecond, 60 * time.Millisecond},
			before: serializable, inject: touchRows, controls: []*control{forked},
		},
		{
			name: "races", ids: "F-14, F-16", about: "one session is renewed, introspected and revoked by six at once",
			applications: 8, every: [2]time.Duration{time.Millisecond, 5 * time.Millisecond},
			inject: race, controls: []*control{cached, revive},
		},
		{
			name: "key-rotation", ids: "F-19", about: "grantor key rotate every two seconds; each access token is held against the keys that some replica publishes",
			habits: habits{introspect: 12, verify: 3, revoke: 120}, every: [2]time.Duration{2 * time.Second, 2100 * time.Millisecond},
			inject: rotateKeys, controls: []*control{fewKeys},
		},
		{
			name: "rolling-restart", ids: "F-21", about: "SIGTERM to one replica after the other, each started again before the next; no request may fail",
			flawless: true, heal: 3 * time.Second, settings: []string{"DRAIN_TIMEOUT=10s"}, every: [2]time.Duration{time.Millisecond, 10 * time.Millisecond},
			inject: rollingRestart, controls: []*control{blindFront},
		},
		{
			name: "replica-frozen", ids: "F-22", about: "SIGSTOP of a replica for 3 to 15 s",
			replicas: 3, stopped: true, settings: []string{"RETRY_WINDOW=60s"}, window: longWindow, every: [2]time.Duration{time.Second, 2 * time.Second},
			inject: freezeReplica, controls: []*control{revive, uncommit},
		},
		{
			name: "hang-up", ids: "F-24", about: "clients go away at a random byte of the request or its answer, and ask again",
			habits: habits{introspect: 20, twice: 20, hangUp: 2}, every: [2]time.Duration{100 * time.Millisecond, 101 * time.Millisecond},
			inject: func(context.Context, *stage) error { return nil }, controls: []*control{stale},
		},
		{
			name: "failover", ids: "F-05", about: "SIGKILL of PostgreSQL's process tree for good, promotion of its synchronous standby, and a new standby in its place",
			counted: true, heal: 30 * time.Second, settings: []string{"RETRY_WINDOW=60s"}, window: longWindow, every: [2]time.Duration{time.Second, 2 * time.Second},
			before: addStandby, inject: failOver, after: dropStandby, controls: []*control{uncommit, revive},
		},
		{
			name: "log-blocked", ids: "F-25", about: "nobody reads a replica's log for 6 to 8 s, and its pipe is full",
			every: [2]time.Duration{time.Second, 2 * time.Second}, heal: time.Second, inject: blockLog, controls: []*control{cached, uncommit},
		},
		{
			name: "row-poisoned", ids: "F-13", about: "three sessions' rows can not be read for 0.2 to 1 s, and are then as they were",
			every: [2]time.Duration{200 * time.Millisecond, time.Second}, inject: poisonRows, controls: []*control{falseRefusal},
		},
		{
			name: "everything", ids: "F-01, F-03, F-04, F-06, F-09", about: "one after the other by chance: a replica killed, PostgreSQL crashed, shut down or slow, answers lost, rows locked",
			replicas: 3, linked: true, counted: true, settings: []string{"RETRY_WINDOW=60s"}, window: longWindow,
			every:  [2]time.Duration{300 * time.Millisecond, time.Second},
			inject: anyOf(killReplica, crashPostgres, restartPostgres, cutAnswers, cutAnswers, delayAnswers, lockRows), controls: []*control{uncommit, falseRefusal, stale},
		},
		{
			name: "sqlite-killed", ids: "F-26", about: "kill -9 of the one replica on a SQLite file, and a new start",
			sqlite: true, replicas: 1, applications: 16, counted: true, every: [2]time.Duration{300 * time.Millisecond, 1500 * time.Millisecond},
			inject: killReplica, controls: []*control{uncommit},
		},
		{
			name: "sqlite-busy", ids: "F-26", about: "two replicas on one SQLite file, and a third program that locks it for 0.2 to 2.5 s",
			sqlite: true, applications: 16, settings: []string{"RETRY_WINDOW=60s"}, window: longWindow, every: [2]time.Duration{100 * time.Millisecond, 500 * time.Millisecond},
			inject: lockFile, controls: []*control{falseRefusal},
		},
	}
	for _, f := range list {
		f.complete()
	}
	return list
}

func (f *fault) complete() {
	if f.replicas == 0 {
		f.replicas = 2
	}
	if f.applications == 0 {
		f.applications = 48
	}
	if f.habits == (habits{}) {
		f.habits = mixed
	}
	if f.window == 0 {
		f.window = defaultWindow
	}
	if f.heal == 0 {
		f.heal = 10 * time.Second
	}
}

// anyOf lets chance choose.
func anyOf(list ...func(context.Context, *stage) error) func(context.Context, *stage) error {
	return func(ctx context.Context, st *stage) error { return list[st.chance.below(len(list))](ctx, st) }
}

func killReplica(ctx context.Context, st *stage) error {
	r := st.any()
	st.begins("kill %s", r.name)
	if err := r.kill(); err != nil {
		return err
	}
	if others := st.others(r); len(others) > 0 {
		st.lifted("killed", others...)
	}
	pause(ctx, st.chance.between(0, 300*time.Millisecond))
	if err := r.revive(ctx); err != nil {
		return err
	}
	st.lifted("started again", r)
	return nil
}

// killBetween makes sure that the moment is the right one.
func killBetween(ctx context.Context, st *stage) error {
	r := st.any()
	held := &st.link.swallowAnswers
	if st.chance.once(2) {
		held = &st.link.swallowQuestions
	}
	before := st.link.swallowed.Load()
	st.begins("hold what is on the way, and kill %s", r.name)
	held.Store(true)
	err := st.until(ctx, time.Second, "something on the way", func() bool { return st.link.swallowed.Load() > before+6 })
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err := r.kill(); err != nil {
		return err
	}
	held.Store(false)
	st.link.reset() // what was swallowed never comes
	st.lifted("killed", st.others(r)...)
	pause(ctx, st.chance.between(0, 300*time.Millisecond))
	if err := r.revive(ctx); err != nil {
		return err
	}
	st.lifted("started again", r)
	return nil
}

func crashPostgres(ctx context.Context, st *stage) error {
	st.begins("kill postgres")
	if err := st.world.cluster.crash(); err != nil {
		return err
	}
	pause(ctx, st.chance.between(0, time.Second))
	if err := st.world.cluster.start(ctx); err != nil {
		return err
	}
	st.lifted("postgres answers")
	return nil
}

func restartPostgres(ctx context.Context, st *stage) error {
	modes := []struct {
		name   string
		signal syscall.Signal
	}{{"smart", syscall.SIGTERM}, {"fast", syscall.SIGINT}, {"immediate", syscall.SIGQUIT}}
	mode := modes[st.chance.below(len(modes))]
	st.begins("%s shutdown of postgres", mode.name)
	// A smart one waits for its clients, and pools do not go away: an operator loses patience.
	if err := st.world.cluster.shut(mode.signal, time.Second, syscall.SIGINT); err != nil {
		return err
	}
	pause(ctx, st.chance.between(0, time.Second))
	if err := st.world.cluster.start(ctx); err != nil {
		return err
	}
	st.lifted("postgres answers")
	return nil
}

func freezePostgres(ctx context.Context, st *stage) error {
	st.begins("stop postgres")
	if err := st.world.cluster.freeze(); err != nil {
		return err
	}
	pause(ctx, st.chance.between(500*time.Millisecond, 5*time.Second))
	if err := st.world.cluster.thaw(); err != nil {
		return err
	}
	st.lifted("postgres goes on")
	return nil
}

func cutAnswers(ctx context.Context, st *stage) error {
	before := st.link.cuts.Load()
	st.begins("lose answers")
	st.link.cut.Store(4)
	pause(ctx, st.chance.between(100*time.Millisecond, 400*time.Millisecond))
	st.link.cut.Store(0)
	st.lifted("answers pass")
	st.injected.Add(max(0, st.link.cuts.Load()-before-1)) // each is one
	return nil
}

func delayAnswers(ctx context.Context, st *stage) error {
	// Beyond the deadline of a statement, and within it, in turn.
	delay := []time.Duration{2 * time.Second, 500 * time.Millisecond}[st.injected.Load()%2]
	st.begins("delay answers by %s", delay)
	st.link.delay.Store(int64(delay))
	pause(ctx, st.chance.between(time.Second, 3*time.Second))
	st.link.delay.Store(0)
	st.lifted("answers are in time")
	return nil
}

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
	others, err := sql.Open(st.kind, st.world.cluster.url("postgres"))
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
	admin := func(statement string) error { return st.world.cluster.exec(ctx, statement) }
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

func serializable(ctx context.Context, st *stage) error {
	return st.world.cluster.exec(ctx, "ALTER DATABASE "+st.schema()+" SET default_transaction_isolation = 'serializable'")
}

func touchRows(ctx context.Context, st *stage) error {
	st.injected.Add(1)
	// It may itself be rolled back by whom it disturbs.
	_ = st.exec(ctx, "UPDATE grants SET created_from = created_from WHERE id IN (SELECT id FROM grants ORDER BY random() LIMIT 8)")
	return nil
}

// race is one session, and six who want it at once.
func race(ctx context.Context, st *stage) error {
	a := &application{st: st, user: st.users[st.chance.below(len(st.users))], chance: st.chance}
	if !a.login(ctx) {
		return ctx.Err()
	}
	st.injected.Add(1)
	var start, done sync.WaitGroup
	start.Add(1)
	var mu sync.Mutex
	var renewed []pair
	for range 2 {
		done.Go(func() {
			start.Wait()
			e, got := a.show(opRefresh, a.newest)
			st.journal.write(e)
			if e.Class == ok && e.Wrong == "" {
				mu.Lock()
				defer mu.Unlock()
				renewed = append(renewed, got)
			}
		})
	}
	for range 3 {
		done.Go(func() {
			start.Wait()
			a.introspect()
		})
	}
	done.Go(func() {
		start.Wait()
		e, _ := a.ask(opRevoke, "/oauth2/revoke", url.Values{"token": {a.newest.text}})
		e.Grant, e.Shown = a.newest.grant, a.newest.generation
		st.journal.write(e)
	})
	start.Done()
	done.Wait()
	// What was renewed in the race has ended with it.
	a.introspect()
	for _, got := range renewed {
		late := &application{st: st, user: a.user, chance: st.chance, newest: got.refresh, access: got.access}
		st.remember(late)
		late.introspect()
		late.refresh()
	}
	return nil
}

func rotateKeys(ctx context.Context, st *stage) error {
	st.begins("rotate keys")
	_, err := run(ctx, st.replicas[0].dir, st.env, st.world.binary, "key", "rotate")
	return err
}

// rollingRestart is what an upgrade does. The next replica has its turn when the
// balancer trusts the last one again.
func rollingRestart(ctx context.Context, st *stage) error {
	st.begins("restart all")
	for _, r := range st.replicas {
		if err := r.signal(syscall.SIGTERM); err != nil {
			return err
		}
		if status := st.readiness(ctx, r); status != http.StatusServiceUnavailable {
			st.note(opDrain, "%s: /readyz said %d after SIGTERM", r.name, status)
		}
		if code := r.await(); code != 0 {
			st.note(opDrain, "%s ended with code %d", r.name, code)
		}
		if err := r.start(ctx); err != nil {
			return err
		}
		if err := st.until(ctx, patience, r.name+" to be trusted", func() bool { return st.front.trusts(r) }); err != nil {
			return err
		}
	}
	st.lifted("all are new")
	return nil
}

// readiness is what /readyz says first, once the signal was noticed.
func (st *stage) readiness(ctx context.Context, r *replica) (status int) {
	address := "http://" + r.where() + "/readyz"
	for range 20 {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return 0
		}
		response, err := st.browser.Do(request)
		if err != nil {
			return 0
		}
		_ = response.Body.Close()
		if status = response.StatusCode; status != http.StatusOK || !pause(ctx, 10*time.Millisecond) {
			return status
		}
	}
	return status
}

func freezeReplica(ctx context.Context, st *stage) error {
	r := st.any()
	st.begins("stop %s", r.name)
	if err := r.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	st.lifted("stopped", st.others(r)...)
	pause(ctx, st.chance.between(3*time.Second, min(15*time.Second, max(st.quantity.duration, 4*time.Second))))
	if err := r.signal(syscall.SIGCONT); err != nil {
		return err
	}
	st.lifted("goes on", r)
	return nil
}

// addStandby gives the replicas both addresses: they look for the one that can write.
func addStandby(ctx context.Context, st *stage) error {
	primary := st.world.cluster
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	if err := primary.follow(ctx, port); err != nil {
		return err
	}
	hosts := primary.address() + "," + primary.standby.address()
	st.database = strings.Replace(st.database, primary.address(), hosts, 1) + "&target_session_attrs=read-write"
	st.env = st.world.environment(st.database, st.fault.settings...)
	return nil
}

func failOver(ctx context.Context, st *stage) error {
	old := st.world.cluster
	heir := old.standby
	st.begins("kill postgres for good")
	if err := old.crash(); err != nil {
		return err
	}
	pause(ctx, st.chance.between(0, 500*time.Millisecond)) // somebody must notice
	if err := heir.exec(ctx, "SELECT pg_promote()"); err != nil {
		return err
	}
	old.standby, st.world.cluster = nil, heir
	st.lifted("promoted")
	pause(ctx, 2*time.Second)
	return heir.follow(ctx, old.port)
}

func dropStandby(ctx context.Context, st *stage) error { return st.world.cluster.alone(ctx) }

func blockLog(ctx context.Context, st *stage) error {
	r := st.any()
	st.begins("nobody reads the log of %s", r.name)
	r.muted.Store(true)
	st.lifted("full", st.others(r)...)
	pause(ctx, st.chance.between(tooLate+time.Second, tooLate+3*time.Second))
	r.muted.Store(false)
	st.lifted("read again", r)
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
