//go:build linux

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// stage is one fault, or one control, on a database of its own.
type stage struct {
	fault    *fault
	world    *world
	dir      string
	chance   *dice
	database string // past the link
	kind     string // driver of database/sql
	file     string // of SQLite
	env      []string
	link     *link
	unmount  func() // of the file system that it has for itself; nil: it has none
	replicas []*replica
	front    *front
	journal  *journal
	browser  *http.Client
	made     // who is registered
	quantity quantity
	injected atomic.Int64
	rounds   atomic.Int64 // of a fault that takes turns

	racer *application // see newcomer

	control *control

	mu      sync.Mutex
	cluster *cluster // of PostgreSQL, the primary; nil: SQLite
	secrets map[string]bool
	buried  []application // ended sessions, looked at again at the end
}

// quantity is how long a stage goes on: for the time, and until both counts are reached.
type quantity struct {
	duration   time.Duration
	refreshes  int // acknowledged
	injections int
	requests   int // answered
}

// result is what a stage showed.
type result struct {
	*finding
	fault    *fault
	control  string
	skipped  string // why it was not played; "": it was
	injected int
	journal  string
	took     time.Duration
}

// play runs one stage. What it answers as an error is a failure of the tool or of the
// machine; what the program did wrong is in the result.
func (w *world) play(ctx context.Context, f *fault, c *control, seed uint64, q quantity) (_ *result, err error) {
	w.stages++
	name := fmt.Sprintf("%02d-%s", w.stages, f.name)
	if c != nil {
		name += "-control"
	}
	began := time.Now()
	st := &stage{
		fault: f, control: c, world: w, chance: newDice(seed, stream(f.name)), made: w.made, quantity: q, secrets: map[string]bool{},
		browser: &http.Client{
			Transport:     &http.Transport{MaxIdleConnsPerHost: 500, DisableCompression: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	defer func() { st.browser.CloseIdleConnections() }()
	path := filepath.Join(w.dir, name+".jsonl")
	st.dir = filepath.Join(w.dir, name)
	if err := os.Mkdir(st.dir, 0o711); err != nil { //nolint:gosec // PostgreSQL's user may have a folder in it
		return nil, err
	}
	defer st.end()
	if err := st.prepare(ctx); err != nil {
		return nil, err
	}
	if f.before != nil {
		if err := f.before(ctx, st); err != nil {
			return nil, err
		}
	}
	if err := st.serve(ctx); err != nil {
		return nil, err
	}
	if st.front, err = newFront(ctx, st.replicas, c); err != nil {
		return nil, err
	}
	if st.journal, err = newJournal(path); err != nil {
		return nil, err
	}
	if err := st.load(ctx, seed, c); err != nil {
		return nil, errors.Join(fmt.Errorf("%s, seed %d: %w", name, seed, err), st.journal.close())
	}
	if err := st.journal.close(); err != nil {
		return nil, err
	}
	events, err := readJournal(path)
	if err != nil {
		return nil, err
	}
	r := &result{finding: check(events, f.rules(w.slack)), fault: f, injected: int(st.injected.Load()), journal: path}
	if c != nil {
		r.control = c.name
	}
	if err := st.afterwards(ctx, r.finding); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r.took = time.Since(began)
	if f.sqlite || f.own {
		return r, nil
	}
	// The cluster stays small, so that its recovery does not get longer with every stage.
	return r, w.cluster.DropDatabase(ctx, st.schema())
}

// patience is how long a client waits for an answer.
func (st *stage) patience() time.Duration {
	return max(answerLimit, st.fault.late+3*time.Second) * time.Duration(min(st.world.slack, 3))
}

// stream keeps chance the same for a fault, whatever else is played.
func stream(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // it never fails
	return h.Sum64()
}

// prepare makes the database.
func (st *stage) prepare(ctx context.Context) (err error) {
	w := st.world
	folder := st.dir
	if st.fault.room != "" {
		folder = filepath.Join(st.dir, "disk")
		if st.unmount, err = mount(folder, st.fault.room); err != nil {
			return err
		}
	}
	if st.fault.sqlite {
		file := filepath.Join(folder, "grantor.db")
		st.kind, st.file, st.database = "sqlite", file, "sqlite:"+file
		st.env = w.environment(st.database, st.fault.settings...)
		st.made, err = register(ctx, st.dir, st.env, w.binary)
		return err
	}
	st.kind, st.cluster = "pgx", w.cluster
	template := templateDatabase
	if st.fault.own {
		var flags, settings []string
		if st.fault.room != "" { // its log must not have any of its own
			flags, settings = []string{"--wal-segsize=1"}, []string{"min_wal_size=2MB", "max_wal_size=8MB"}
		}
		if st.cluster, err = newCluster(ctx, filepath.Join(folder, "postgres"), flags, settings...); err != nil {
			return err
		}
		template = "template0"
	}
	if err := st.cluster.CreateDatabase(ctx, st.schema(), template); err != nil {
		return err
	}
	if st.fault.own {
		if st.made, err = register(ctx, st.dir, w.environment(st.source()), w.binary); err != nil {
			return err
		}
	}
	st.database = st.source()
	if st.fault.linked {
		if st.link, err = newLink(ctx, st.cluster.Address(), st.chance); err != nil {
			return err
		}
		st.database = strings.Replace(st.database, st.cluster.Address(), st.link.address, 1)
	}
	st.env = w.environment(st.database, st.fault.settings...)
	return nil
}

// primary is the PostgreSQL that has the data. After a failover it is another one.
func (st *stage) primary() *cluster {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.cluster
}

func (st *stage) moved(to *cluster) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.cluster = to
}

// source is where database/sql finds it.
func (st *stage) source() string {
	if st.fault.sqlite {
		return "file:" + st.file + "?_pragma=busy_timeout(10000)"
	}
	return st.primary().URL(st.schema())
}

// schema is the name of the stage's database in PostgreSQL.
func (st *stage) schema() string { return fmt.Sprintf("stage_%d", st.world.stages) }

func (st *stage) serve(ctx context.Context) (err error) {
	for i := range st.fault.replicas {
		r := &replica{name: fmt.Sprintf("r%d", i+1), binary: st.world.binary, dir: st.dir, env: st.env}
		if st.fault.clocked {
			if r.binary, err = st.world.clocked(ctx); err != nil {
				return err
			}
			r.env = append(slices.Clone(st.env), "FAULTS_CLOCK="+r.clockFile())
		}
		if err := r.start(ctx); err != nil {
			return err
		}
		st.replicas = append(st.replicas, r)
	}
	return nil
}

// load lets the applications work, injects, and waits until all is known.
func (st *stage) load(ctx context.Context, seed uint64, c *control) error {
	working, stop := context.WithCancel(ctx)
	defer stop()
	apps := make([]*application, st.fault.applications)
	var all sync.WaitGroup
	for i := range apps {
		apps[i] = st.application(newDice(seed, uint64(1000+i)), st.users[i%len(st.users)])
		all.Go(func() { apps[i].work(working) })
	}
	defer all.Wait()
	defer stop()
	if err := st.until(ctx, patience, "the load to begin", func() bool { return st.journal.refreshed() >= len(apps) }); err != nil {
		return err
	}
	files := st.descriptors()
	var sabotaging sync.WaitGroup
	if c != nil && c.sabotage != nil {
		sabotaging.Go(func() { c.sabotage(working, st) })
	}
	if err := st.inject(ctx); err != nil {
		return err
	}
	stop()
	all.Wait()
	sabotaging.Wait()
	// Each replica answers, or is said not to.
	limit := st.fault.rules(st.world.slack).heal + 5*time.Second
	_ = st.until(ctx, limit, "all replicas to be ready", func() bool {
		for _, r := range st.replicas {
			if !st.front.healthy(r) {
				return false
			}
		}
		return true
	})
	lost := 0
	var settling sync.WaitGroup
	var mu sync.Mutex
	for _, a := range apps {
		settling.Go(func() {
			if !a.settle(limit) {
				mu.Lock()
				defer mu.Unlock()
				lost++
			}
		})
	}
	settling.Wait()
	for i := range st.buried {
		st.buried[i].introspect()
		st.buried[i].refresh()
	}
	if lost > 0 {
		st.note(opSettle, "%d clients got no answer for %s after the last fault", lost, limit)
	}
	return st.measure(ctx, files)
}

func (st *stage) application(chance *dice, user account) *application {
	return &application{st: st, user: user, chance: chance, browser: browser{cookies: map[string]string{}}}
}

// inject repeats the fault until the stage has lasted. A fault that has begun is
// brought to its end.
func (st *stage) inject(ctx context.Context) error {
	q := st.quantity
	end := time.Now().Add(q.duration)
	reached := func() bool {
		return st.journal.refreshed() >= q.refreshes && int(st.injected.Load()) >= q.injections && st.journal.answered() >= q.requests
	}
	for time.Now().Before(end) || !reached() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !pause(ctx, st.chance.between(st.fault.every[0], st.fault.every[1])) {
			return ctx.Err()
		}
		if err := st.fault.inject(ctx, st); err != nil {
			return err
		}
	}
	// The last fault needs its recovery, too.
	pause(ctx, 500*time.Millisecond)
	return nil
}

// begins notes that a fault is there, lifted that its cause is gone.
func (st *stage) begins(format string, args ...any) {
	st.injected.Add(1)
	now := st.journal.now()
	st.journal.write(event{Begin: now, End: now, Op: markInject, Note: fmt.Sprintf(format, args...)})
}

func (st *stage) lifted(note string, serve ...*replica) {
	st.liftedSince(st.journal.now(), note, serve...)
}

// liftedSince counts the recovery from an earlier moment.
func (st *stage) liftedSince(since int64, note string, serve ...*replica) {
	if len(serve) == 0 {
		serve = st.replicas
	}
	var names []string
	for _, r := range serve {
		names = append(names, r.name)
	}
	st.journal.write(event{Begin: since, End: st.journal.now(), Op: markLift, By: strings.Join(names, " "), Note: note})
}

// note writes down what the tool itself saw and should not have.
func (st *stage) note(what op, format string, args ...any) {
	now := st.journal.now()
	st.journal.write(event{Begin: now, End: now, Op: what, Note: fmt.Sprintf(format, args...)})
}

// calm says that the fault wants clients that pause between their requests.
func (st *stage) calm() bool { return st.fault.calm }

func (st *stage) others(but *replica) (list []*replica) {
	for _, r := range st.replicas {
		if r != but {
			list = append(list, r)
		}
	}
	return list
}

func (st *stage) any() *replica { return st.replicas[st.chance.below(len(st.replicas))] }

func (st *stage) secret(values ...string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, v := range values {
		if v != "" {
			st.secrets[v] = true
		}
	}
}

const remembered = 40

func (st *stage) remember(a *application) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.buried) < remembered {
		st.buried = append(st.buried, *a)
	}
}

func (st *stage) until(ctx context.Context, limit time.Duration, what string, done func() bool) error {
	deadline := time.Now().Add(limit)
	for !done() {
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %s for %s", limit, what)
		}
		if !pause(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}

// exec changes the database past the program: a fault or a control does.
func (st *stage) exec(ctx context.Context, statement string) error {
	db, err := sql.Open(st.kind, st.source())
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, statement)
	return err
}

func (st *stage) count(ctx context.Context, question string) (n int, err error) {
	db, err := sql.Open(st.kind, st.source())
	if err != nil {
		return 0, err
	}
	defer db.Close()
	return n, db.QueryRowContext(ctx, question).Scan(&n)
}

// end leaves nothing running.
func (st *stage) end() {
	if st.front != nil {
		st.front.close()
	}
	for _, r := range st.replicas {
		if r.where() != "" {
			_ = r.signal(syscall.SIGCONT)
			_ = r.kill()
		}
	}
	if st.link != nil {
		st.link.close()
	}
	if st.fault.own && st.cluster != nil {
		st.cluster.close()
	}
	if st.unmount != nil {
		st.unmount()
	}
}
