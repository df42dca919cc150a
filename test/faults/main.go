//go:build linux

// Command faults breaks the machines under Grantor, and checks from outside that
// nothing was lost and nobody let in. `make faults` runs it; it needs Linux and
// PostgreSQL's server programs.
//
//	main.go      flags, and the order of a run
//	world.go     the program, PostgreSQL and the database that every stage begins with
//	stage.go     one fault, or one of its controls, on a database of its own
//	faults.go    what goes wrong: the table
//	on_*.go      a function for each fault, by what it happens to; races.go, accounts.go,
//	             disk.go, clock.go, housekeeping.go, migration.go and storm.go likewise
//	controls.go  programs that are wrong on purpose, which the checker must catch
//	client.go    honest clients: they renew, retry, revoke, and write down what they see
//	code.go      how they sign in with a browser
//	journal.go   what they write: a JSON line for every request with its answer
//	check.go     replays a journal grant by grant, and compares the database with it
//	aftermath.go what a stage leaves: rows, logs, descriptors
//	token.go     what anybody can read off a token; jwks.go: whether a key made it
//	front.go     the load balancer before the replicas
//	link.go      the network between the replicas and PostgreSQL; refusals.go: what it says in
//	             PostgreSQL's place
//	cluster.go, replicas.go, process_linux.go  programs that are started and ended in every way
//	report.go    the table in docs/reliability.md
//
// A request has one of three outcomes: ok, refused, or unknown, when no definite answer
// came. Only the first two are facts, and a client does with the third what clients do: it
// shows the same token again. The checker knows the promises (the invariants of
// check.go) and nothing of how the program keeps them; it imports none of our packages.
//
// Chance comes from -seed. Time does not, so the same seed tries the same things, not
// the same interleaving. Every violation names its line in a journal, which is kept.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	duration     time.Duration
	control      time.Duration
	seed         uint64
	faults       []*fault
	acknowledged int
	restarts     int
	requests     int
	binary       string
	race         bool
	slack        int
	controls     bool
	table, dir   string
	journal      string
}

func main() {
	// Children end with the thread that started them.
	runtime.LockOSThread()
	o, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := try(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func parseFlags(args []string) (o options, err error) {
	f := flag.NewFlagSet("faults", flag.ContinueOnError)
	chosen := f.String("faults", "", "only faults whose name begins with one of these `PREFIXES`, parted by commas")
	list := f.Bool("list", false, "list the faults and their controls, and do nothing")
	f.DurationVar(&o.duration, "duration", 18*time.Second, "of every fault, at least")
	f.DurationVar(&o.control, "control", 4*time.Second, "of every control, at least")
	f.Uint64Var(&o.seed, "seed", 1, "what chance begins with")
	f.IntVar(&o.acknowledged, "acknowledged", 100_000, "renewals under kill -9 and crashes of databases, at least")
	f.IntVar(&o.restarts, "restarts", 20, "rolling restarts, at least")
	f.IntVar(&o.requests, "requests", 100_000, "requests during rolling restarts, at least")
	f.StringVar(&o.binary, "binary", "", "the program to try, a `FILE` (default: built from this source)")
	f.IntVar(&o.slack, "slack", 1, "all limits of time are so many `TIMES` longer: other programs want this machine, too")
	f.BoolVar(&o.race, "race", false, "build the program with the race detector")
	f.BoolVar(&o.controls, "controls", true, "play the controls, too")
	f.StringVar(&o.table, "table", "", "write the table between the markers in `FILE`")
	f.StringVar(&o.dir, "dir", "", "a `FOLDER` for databases, journals and logs, which stays (default: a temporary one, which stays only after a violation)")
	f.StringVar(&o.journal, "check", "", "only check a journal, a `FILE`, of the one fault that -faults names")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected %q", f.Args())
	}
	if o.faults = choose(*chosen); len(o.faults) == 0 {
		return o, fmt.Errorf("no fault is called %q: see -list", *chosen)
	}
	if *list {
		for _, one := range o.faults {
			fmt.Printf("%-20s %s (%s)\n", one.name, one.about, one.ids)
			for _, c := range one.controls {
				fmt.Printf("    %-18s %s\n", c.name, c.about)
			}
		}
		return o, flag.ErrHelp
	}
	if o.journal != "" && len(o.faults) != 1 {
		return o, errors.New("-check wants one fault")
	}
	return o, nil
}

// choose answers the faults whose name begins with one of the prefixes.
func choose(prefixes string) (list []*fault) {
	for _, one := range faults() {
		if slices.ContainsFunc(strings.Split(prefixes, ","), func(p string) bool { return strings.HasPrefix(one.name, p) }) {
			list = append(list, one)
		}
	}
	return list
}

func try(ctx context.Context, o options) (err error) {
	if o.journal != "" {
		events, err := readJournal(o.journal)
		if err != nil {
			return err
		}
		r := &result{finding: check(events, o.faults[0].rules(max(1, o.slack))), fault: o.faults[0], journal: o.journal}
		r.tell(os.Stdout)
		return r.err()
	}
	dir := o.dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "grantor-faults-"); err != nil {
			return err
		}
		defer func() {
			if err == nil {
				err = os.RemoveAll(dir)
			} else {
				fmt.Fprintln(os.Stderr, "journals and logs are in", dir)
			}
		}()
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	w, err := newWorld(ctx, ".", dir, o.binary, max(1, o.slack), o.race)
	if err != nil {
		return err
	}
	defer w.close()
	rep := &report{began: time.Now().UTC(), seed: o.seed}
	for _, f := range o.faults {
		if err := rep.play(ctx, w, o, f); err != nil {
			return err
		}
	}
	if o.table != "" && !o.whole() {
		fmt.Println("the table in", o.table, "stays: this run was not whole")
	} else if o.table != "" {
		if err := rep.write(o.table); err != nil {
			return err
		}
	}
	return rep.err()
}

// whole says that nothing is left out of the run.
func (o options) whole() bool { return len(o.faults) == len(faults()) && o.controls }

// quantityOf shares out what a whole run must reach.
func (o options) quantityOf(f *fault) quantity {
	q := quantity{duration: o.duration, injections: 1}
	if f.counted {
		counted := 0
		for _, one := range o.faults {
			if one.counted {
				counted++
			}
		}
		q.refreshes = o.acknowledged / counted
	}
	if o.acknowledged > 0 { // a whole run
		q.injections = max(q.injections, f.rounds)
	}
	if f.planned {
		q.injections, q.requests = o.restarts, o.requests
	}
	return q
}
