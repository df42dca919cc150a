package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
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

	mixedDuration   time.Duration
	mixedShare      float64
	mixedRefresh    float64
	mixedIntrospect float64
	logins          float64

	growth  []int
	aged    int
	laps    int
	expired int
}

// The scenarios, by the names of -scenarios.
const (
	replicasScenario = "replicas"
	mixedScenario    = "mixed"
	vitalsScenario   = "vitals"
	growthScenario   = "growth"
)

func parseFlags(args []string) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	databases := f.String("databases", "postgres,sqlite", "which `DATABASES`")
	chosen := f.String("operations", "", "only operations whose name begins with one of these `PREFIXES`, parted by commas; none: none of them")
	scenarios := f.String("scenarios", "replicas,mixed,vitals,growth", "which of these, parted by commas; all but vitals need PostgreSQL; none: none of them")
	f.IntVar(&o.rounds, "rounds", 5, "rounds of every operation and scenario")
	f.DurationVar(&o.duration, "duration", 2*time.Second, "of every step")
	f.IntVar(&o.concurrency, "concurrency", 16, "connections that ask at once")
	f.IntVar(&o.slices, "slices", 4, "parts of a step, between which the targets take turns")
	f.IntVar(&o.grants, "grants", 20000, "live sessions in the database, among which those that are renewed lie scattered")
	f.IntVar(&o.chains, "chains", 2048, "sessions that are renewed in turn, for each operation and target; at most an eighth of -grants")
	f.IntVar(&o.users, "users", 1000, "accounts that sessions are spread over")
	f.DurationVar(&o.settle, "settle", 60*time.Second, "how long after the load memory is looked at again")
	f.StringVar(&o.json, "json", "", "write all samples into `FILE`")
	f.StringVar(&o.table, "table", "", "write the table between the markers in `FILE`, after every part of the run")
	f.StringVar(&o.dir, "dir", "", "where databases are made, a `FOLDER` on the disk to measure (default the temporary one)")
	f.StringVar(&o.profile, "profile", "", "write CPU profiles of the server into `FOLDER`, one an operation, and measure nothing else")
	f.StringVar(&o.logLevel, "log-level", "info", "of the server; info is its default")
	set := f.String("set", "", "more environment of the server, such as GOGC=200,GRANTOR_DATABASE_CONNECTIONS=8, to try what it does")
	f.BoolVar(&o.quick, "quick", false, "one short round of little, to see that everything works: its numbers mean little. What other flags say stays")
	f.BoolVar(&o.firstBuild, "first-build", true, "at the end, time a build on an empty build cache, which takes minutes")
	f.DurationVar(&o.mixedDuration, "mixed-duration", 10*time.Second, "of each step of mixed load")
	f.Float64Var(&o.mixedShare, "mixed-share", 0.3, "of what renewing and introspecting do at most when both run at once: what is offered in mixed load")
	f.Float64Var(&o.mixedRefresh, "mixed-refresh", 0, "renewals/s offered in mixed load, instead of a share")
	f.Float64Var(&o.mixedIntrospect, "mixed-introspect", 0, "introspections/s offered in mixed load, instead of a share")
	f.Float64Var(&o.logins, "logins", 200, "logins/s offered in mixed load")
	growth := f.String("growth", "10000,1000000,10000000", "live sessions to compare, `SIZES` that grow; what does not fit into memory and disk is left out")
	f.IntVar(&o.aged, "aged", 20000, "sessions that are renewed -laps times each, to see what they leave on disk")
	f.IntVar(&o.laps, "laps", 100, "see -aged")
	f.IntVar(&o.expired, "expired", 1000000, "ended sessions that the server's housekeeping deletes while renewals go on")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected %q", f.Args())
	}
	if o.quick {
		if err := setUnlessGiven(f, map[string]string{
			"rounds": "1", "slices": "1", "duration": "150ms", "settle": "1s", "first-build": "false", "mixed-duration": "1s",
			"growth": "1000,4000", "aged": "200", "laps": "20", "expired": "5000",
		}); err != nil {
			return o, err
		}
	}
	o.databases, o.scenarios = strings.Split(*databases, ","), strings.Split(*scenarios, ",")
	if *set != "" {
		o.set = strings.Split(*set, ",")
	}
	if *chosen != "" {
		o.operations = strings.Split(*chosen, ",")
	}
	if o.profile != "" {
		o.slices = 1
	}
	// Enough for each backend to have prepared the statement.
	o.warm = max(o.duration/20, 50*time.Millisecond)
	o.chains = min(o.chains, o.grants/8)
	if o.growth, err = sizes(*growth); err != nil {
		return o, err
	}
	return o, o.check()
}

func setUnlessGiven(f *flag.FlagSet, values map[string]string) error {
	given := map[string]bool{}
	f.Visit(func(g *flag.Flag) { given[g.Name] = true })
	for name, value := range values {
		if given[name] {
			continue
		}
		if err := f.Set(name, value); err != nil {
			return err
		}
	}
	return nil
}

func sizes(text string) (list []int, err error) {
	for _, one := range strings.Split(text, ",") {
		n, err := strconv.Atoi(one)
		if err != nil || n < 1000 || n > 100_000_000 || len(list) > 0 && n <= list[len(list)-1] {
			return nil, fmt.Errorf("-growth %q: sizes are numbers from 1000 to 100000000 that grow", text)
		}
		list = append(list, n)
	}
	return list, nil
}

func (o options) check() error {
	for _, d := range o.databases {
		if d != postgres && d != sqlite {
			return fmt.Errorf("unknown database %q", d)
		}
	}
	for _, s := range o.scenarios {
		if !slices.Contains([]string{replicasScenario, mixedScenario, vitalsScenario, growthScenario, "none"}, s) {
			return fmt.Errorf("unknown scenario %q", s)
		}
	}
	switch {
	case o.rounds < 1 || o.rounds > 100 || o.slices < 1 || o.slices > 20:
		return errors.New("rounds are 1 to 100, slices 1 to 20")
	case o.concurrency < 1 || o.concurrency > 40:
		return errors.New("concurrency is 1 to 40: four replicas must not exceed PostgreSQL's connections")
	case o.duration < 50*time.Millisecond || o.duration > time.Minute || o.mixedDuration < 50*time.Millisecond || o.mixedDuration > 10*time.Minute:
		return errors.New("a duration is 50ms to 1m, that of mixed load at most 10m")
	case o.users < 1 || o.grants < 8*o.concurrency || o.chains < loadedClients:
		return errors.New("users are at least 1, grants at least 8 times concurrency, chains at least 64")
	case o.mixedShare <= 0 || o.mixedShare > 1 || o.mixedRefresh < 0 || o.mixedIntrospect < 0 || o.logins < 1 || o.logins > 1000:
		return errors.New("the share of mixed load is above 0 and at most 1, its rates are not negative, logins 1 to 1000")
	case o.aged < 2*o.concurrency || o.laps < 1 || o.expired < 1:
		return errors.New("aged is at least twice concurrency, laps and expired at least 1")
	}
	return nil
}

// list is the operations that were chosen.
func (o options) list() (list []*operation) {
	for _, op := range operations() {
		if o.chosen(op.name) {
			list = append(list, op)
		}
	}
	return list
}

// asks is false when there is nothing to do on a database, except to grow.
func (o options) asks(kind string) bool {
	return len(o.list()) > 0 || o.plays(vitalsScenario) || kind == postgres && (o.plays(replicasScenario) || o.plays(mixedScenario))
}

func (o options) chosen(name string) bool {
	return len(o.operations) == 0 || slices.ContainsFunc(o.operations, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

func (o options) plays(scenario string) bool { return slices.Contains(o.scenarios, scenario) }

// share is an n-th of -duration, for what is done several times.
func (o options) share(n int) time.Duration { return o.duration / time.Duration(n) }
