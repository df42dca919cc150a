// Command bench measures Grantor against what the machine can do at all, and writes
// the table in docs/performance.md. `make bench` runs it; it needs Linux (CPU time
// and memory come from /proc) and, for PostgreSQL, the server's programs.
//
//	main.go        flags, and the order of a run
//	world.go       one database with clients, users and grants in it; the programs on it
//	operations.go  what is asked, with what, and what the answer must be
//	load.go        steps: many callers at once, as fast as they go or at a given rate
//	wire.go        HTTP/1.1 that costs the generator little
//	floor.go       tells floor/, the program that Grantor is compared with, what to do
//	bare.go        single statements without a server, and raw cryptography
//	inside.go      statements and allocations, counted inside; the profiled server
//	scenarios.go   replicas, and logins beside other work
//	vitals.go      start, memory, size
//	postgres.go, process*.go  the programs that are started, and /proc
//	targets.go, report.go     medians, ratios, and how they are told
//
// Every operation is measured in rounds. In each, Grantor, the floor server and the bare
// statement take turns, and who begins changes, so that what else the machine does
// falls upon all of them. A ratio is the median of the rounds' ratios. An answer that
// is not what it must be ends the run: speed of wrong answers is not measured.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	rounds      int
	duration    time.Duration
	slices      int // of a step: the targets take turns within it
	warm        time.Duration
	concurrency int
	databases   []string
	operations  []string
	scenarios   []string
	grants      int
	chains      int
	users       int
	settle      time.Duration
	json, table string
	dir         string
	profile     string
	logLevel    string
	set         []string
	quick       bool
	firstBuild  bool
}

func main() {
	// Children end with the thread that started them.
	runtime.LockOSThread()
	if len(os.Args) == 4 && os.Args[1] == "serve-profiled" {
		exit(serveProfiled(context.Background(), os.Args[2], os.Args[3]))
	}
	o, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	exit(bench(ctx, o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parseFlags(args []string) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	databases := f.String("databases", "postgres,sqlite", "which `DATABASES`")
	chosen := f.String("operations", "", "only operations whose name begins with one of these `PREFIXES`, parted by commas")
	scenarios := f.String("scenarios", "mixed,replicas", "which of mixed and replicas, on PostgreSQL; none: nothing of them")
	f.IntVar(&o.rounds, "rounds", 5, "rounds of every operation")
	f.DurationVar(&o.duration, "duration", 2*time.Second, "of every step")
	f.IntVar(&o.concurrency, "concurrency", 16, "connections that ask at once")
	f.IntVar(&o.slices, "slices", 4, "parts of a step, between which the targets take turns")
	f.IntVar(&o.grants, "grants", 20000, "live sessions in the database, among which those that are renewed lie scattered")
	f.IntVar(&o.chains, "chains", 2048, "sessions that are renewed in turn, for each operation and target; at most an eighth of -grants")
	f.IntVar(&o.users, "users", 1000, "accounts that sessions are spread over")
	f.DurationVar(&o.settle, "settle", 60*time.Second, "how long after the load memory is looked at again")
	f.StringVar(&o.json, "json", "", "write all samples into `FILE`")
	f.StringVar(&o.table, "table", "", "write the table between the markers in `FILE`")
	f.StringVar(&o.dir, "dir", "", "where databases are made, a `FOLDER` on the disk to measure (default the temporary one)")
	f.StringVar(&o.profile, "profile", "", "write CPU profiles of the server into `FOLDER`, one an operation, and measure nothing else")
	f.StringVar(&o.logLevel, "log-level", "info", "of the server; info is its default")
	set := f.String("set", "", "more environment of the server, such as GOGC=200,GRANTOR_DATABASE_CONNECTIONS=8, to try what it does")
	f.BoolVar(&o.quick, "quick", false, "one short round, to see that everything works: its numbers mean little")
	f.BoolVar(&o.firstBuild, "first-build", false, "also time a build on an empty build cache, which takes minutes")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected %q", f.Args())
	}
	o.databases, o.scenarios = strings.Split(*databases, ","), strings.Split(*scenarios, ",")
	if *set != "" {
		o.set = strings.Split(*set, ",")
	}
	if *chosen != "" {
		o.operations = strings.Split(*chosen, ",")
	}
	if o.quick {
		o.rounds, o.slices, o.duration, o.settle = 1, 1, 150*time.Millisecond, time.Second
	}
	if o.profile != "" {
		o.slices = 1
	}
	// Enough for each backend to have prepared the statement.
	o.warm = max(o.duration/20, 50*time.Millisecond)
	o.chains = min(o.chains, o.grants/8)
	for _, d := range o.databases {
		if d != postgres && d != sqlite {
			return o, fmt.Errorf("unknown database %q", d)
		}
	}
	if o.rounds < 1 || o.rounds > 100 || o.slices < 1 || o.slices > 20 || o.concurrency < 1 || o.concurrency > 150 ||
		o.duration < 50*time.Millisecond || o.duration > time.Minute || o.users < 1 || o.grants < 8*o.concurrency || o.chains < loadedClients {
		return o, errors.New("rounds are 1 to 100, slices 1 to 20, concurrency 1 to 150, a duration 50ms to 1m, users at least 1, grants at least 8 times concurrency, chains at least 64")
	}
	return o, nil
}

func (o options) chosen(name string) bool {
	return len(o.operations) == 0 || slices.ContainsFunc(o.operations, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

func bench(ctx context.Context, o options) (err error) {
	debug.SetGCPercent(400) // the generator's own collection is not what is measured
	dir, err := os.MkdirTemp(o.dir, "grantor-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // PostgreSQL's user walks through it
		return err
	}
	r := &report{Date: time.Now().UTC(), Rounds: o.rounds, Seconds: o.duration.Seconds(), Concurrency: o.concurrency, Grants: o.grants, LogLevel: o.logLevel, Set: o.set}
	r.Machine.describe(ctx)
	binary, floor := filepath.Join(dir, "grantor"), filepath.Join(dir, "floor")
	took, err := buildRelease(ctx, o, dir, binary)
	if err != nil {
		return err
	}
	if out, err := run(ctx, ".", os.Environ(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", floor, "./test/bench/floor"); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	if o.profile != "" {
		return profile(ctx, o, dir, binary)
	}
	for _, kind := range o.databases {
		if err := measure(ctx, o, r, kind, dir, binary, floor); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	for i := range r.Databases {
		r.Databases[i].Vitals.BuildSecs = took
	}
	if err := r.raw(ctx, o); err != nil {
		return err
	}
	r.Machine.LoadAfter = loadAverage()
	return r.tell(o, os.Stdout)
}

// buildRelease is the build of `make build`. With -first-build it answers the seconds
// that one on an empty cache took.
func buildRelease(ctx context.Context, o options, dir, binary string) (seconds float64, err error) {
	env := append(os.Environ(), "CGO_ENABLED=0")
	if o.firstBuild {
		env = append(env, "GOCACHE="+filepath.Join(dir, "gocache"))
	}
	began := time.Now()
	if _, err := run(ctx, ".", env, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./cmd/grantor"); err != nil {
		return 0, err
	}
	if !o.firstBuild {
		return 0, nil
	}
	return time.Since(began).Seconds(), nil
}

// measure does everything on one database.
func measure(ctx context.Context, o options, r *report, kind, dir, binary, floorBinary string) error {
	progress(kind + ": preparing")
	w, err := newWorld(ctx, o, kind, dir, binary)
	if err != nil {
		return err
	}
	defer w.close()
	d := databaseReport{Kind: kind, Version: "modernc.org/sqlite"}
	if w.cluster != nil {
		d.Version = "PostgreSQL " + w.cluster.version
	}

	counted := map[string]counts{}
	for _, op := range operations() {
		if !o.chosen(op.name) && op.name != "client_credentials/jwt" { // the bare handler writes the same
			continue
		}
		progress("%s: counting %s", kind, op.name)
		list, err := op.workers(ctx, w, toInside, 1, 4*countRequests)
		if err != nil {
			return err
		}
		if counted[op.name], err = w.inside.count(ctx, list[0]); err != nil {
			return fmt.Errorf("%s: %w", op.name, err)
		}
	}
	p, address, err := w.serve(ctx)
	if err != nil {
		return err
	}
	defer p.stop()
	f, floorAddress, err := w.serveFloor(ctx, o, floorBinary, counted)
	if err != nil {
		return err
	}
	defer f.stop()

	b := &bencher{o: o, w: w, r: r, address: address, floorAddress: floorAddress, server: p, floor: f, counted: counted}
	results, err := b.rounds(ctx)
	if err != nil {
		return fmt.Errorf("%w\nthe server's log ends with\n%s\nthe floor's with\n%s", err, tail(p.log), tail(f.log))
	}
	d.Results = results
	if d.Table, err = w.tableSize(ctx); err != nil {
		return err
	}
	p.stop()
	f.stop()
	if kind == postgres {
		if slices.Contains(o.scenarios, "replicas") {
			if d.Replicas, err = w.replicas(ctx, o); err != nil {
				return err
			}
		}
		if slices.Contains(o.scenarios, "mixed") {
			m, err := w.mixed(ctx, o)
			if err != nil {
				return fmt.Errorf("mixed load: %w", err)
			}
			d.Mixed = &m
		}
	}
	progress("%s: start and memory", kind)
	if d.Vitals, err = w.vitals(ctx, o); err != nil {
		return err
	}
	r.Databases = append(r.Databases, d)
	return nil
}

// bencher takes the turns.
type bencher struct {
	o                     options
	w                     *world
	r                     *report
	address, floorAddress string
	server, floor         *process
	counted               map[string]counts
}

// most is how many requests a step on two processors can not exceed; what is spent is
// made for that many.
const most = 12000

func (b *bencher) rounds(ctx context.Context) ([]*result, error) {
	var results []*result
	byName := map[string]*result{}
	for _, op := range operations() {
		if b.o.chosen(op.name) {
			byName[op.name] = &result{Operation: op.name, State: op.state, Counts: b.counted[op.name]}
			results = append(results, byName[op.name])
		}
	}
	handler := &result{Operation: bareHandler}
	results = append(results, handler)
	for round := range b.o.rounds {
		for _, op := range operations() {
			res := byName[op.name]
			if res == nil {
				continue
			}
			progress("%s: round %d of %d, %s", b.w.kind, round+1, b.o.rounds, op.name)
			if err := b.turn(ctx, op, res, round, 0); err != nil {
				return nil, fmt.Errorf("%s: %w", op.name, err)
			}
		}
		m, err := b.bareHandler(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", bareHandler, err)
		}
		m.summarize()
		handler.Floor = append(handler.Floor, m)
	}
	// Half of what Grantor can do at most, offered to both.
	for round := range b.o.rounds {
		for _, op := range operations() {
			res := byName[op.name]
			if res == nil {
				continue
			}
			progress("%s: round %d of %d at half the rate, %s", b.w.kind, round+1, b.o.rounds, op.name)
			half := median(res.Grantor, func(m sample) float64 { return m.Rate }) / 2
			if err := b.turn(ctx, op, res, round, half); err != nil {
				return nil, fmt.Errorf("%s at half the rate: %w", op.name, err)
			}
		}
	}
	return results, nil
}

// turn measures one operation once at each target.
func (b *bencher) turn(ctx context.Context, op *operation, res *result, round int, rate float64) error {
	turns := []target{toGrantor}
	if op.hasFloor(b.w) {
		turns = append(turns, toFloor)
	}
	if op.bare && rate == 0 {
		turns = append(turns, toBare)
	}
	if round%2 == 1 {
		slices.Reverse(turns)
	}
	samples := map[target]*sample{toGrantor: {}, toFloor: {}, toBare: {}}
	for slice := range b.o.slices {
		if slice > 0 {
			slices.Reverse(turns)
		}
		for _, to := range turns {
			m, err := b.one(ctx, op, to, rate)
			if err != nil {
				return fmt.Errorf("%s: %w", to, err)
			}
			samples[to].join(m)
		}
	}
	for _, to := range turns {
		samples[to].summarize()
		list := map[target]*[]sample{toGrantor: &res.Grantor, toFloor: &res.Floor, toBare: &res.Bare}[to]
		if rate > 0 {
			list = map[target]*[]sample{toGrantor: &res.HalfGrantor, toFloor: &res.HalfFloor}[to]
		}
		*list = append(*list, *samples[to])
	}
	return nil
}

// one is a slice of a turn.
func (b *bencher) one(ctx context.Context, op *operation, to target, rate float64) (sample, error) {
	s := step{warm: b.o.warm, duration: b.o.duration / time.Duration(b.o.slices), rate: rate}
	perSecond := float64(most)
	if rate > 0 {
		perSecond = rate * 1.1
	}
	count := int(perSecond*(s.warm+s.duration).Seconds()) + b.o.concurrency
	if to == toBare {
		return b.w.bareStep(ctx, op, b.counted[op.name].sql, b.o.concurrency, count+count/2, s)
	}
	address, server := b.address, b.server
	if to == toFloor {
		address, server, count = b.floorAddress, b.floor, count+count/4
	}
	workers, err := op.workers(ctx, b.w, to, b.o.concurrency, count)
	if err != nil {
		return sample{}, err
	}
	s.meter = b.w.meterOf(server)
	return s.overHTTP(ctx, address, workers)
}

func (b *bencher) bareHandler(ctx context.Context) (sample, error) {
	workers := repeat([][]byte{post("/"+bareHandler, "Basic bm9ib2R5Og==", "grant_type=client_credentials")}, b.o.concurrency, "", `"access_token":"eyJ`)
	return step{warm: b.o.warm, duration: b.o.duration, meter: b.w.meterOf(b.floor)}.overHTTP(ctx, b.floorAddress, workers)
}

// profile runs the operations on a server that writes down where its time goes.
func profile(ctx context.Context, o options, dir, binary string) error {
	if err := os.MkdirAll(o.profile, 0o755); err != nil { //nolint:gosec // chosen by whoever runs this
		return err
	}
	folder, err := filepath.Abs(o.profile)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, kind := range o.databases {
		w, err := newWorld(ctx, o, kind, dir, binary)
		if err != nil {
			return err
		}
		defer w.close()
		for _, op := range operations() {
			if !o.chosen(op.name) {
				continue
			}
			file := filepath.Join(folder, kind+"-"+strings.ReplaceAll(op.name, "/", "-")+".pprof")
			p, err := start(ctx, filepath.Join(w.dir, "grantor.log"), "", w.env, self, "serve-profiled", w.url, file)
			if err != nil {
				return err
			}
			match := readyLine.FindStringSubmatch(p.line)
			if match == nil {
				p.stop()
				return fmt.Errorf("no ready line but %q", p.line)
			}
			b := &bencher{o: o, w: w, address: match[1], server: p}
			m, err := b.one(ctx, op, toGrantor, 0)
			p.stop()
			if err != nil {
				return fmt.Errorf("%s: %w", op.name, err)
			}
			m.summarize()
			fmt.Printf("%s: %.0f requests/s, %.0f µs of the server each; go tool pprof -top -cum %s\n", op.name, m.Rate, m.Server, file)
		}
	}
	return nil
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
}

func writeJSON(file string, r *report) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644) //nolint:gosec // measurements are for everybody
}

func (r *report) tell(o options, out io.Writer) error {
	fmt.Fprint(os.Stderr, "\r\033[K")
	text := r.markdown()
	fmt.Fprint(out, text)
	if o.json != "" {
		if err := writeJSON(o.json, r); err != nil {
			return err
		}
	}
	if o.table != "" {
		return replaceTable(o.table, text)
	}
	return nil
}
