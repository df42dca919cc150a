// Command bench measures Grantor against what the machine can do at all, and writes
// the table in docs/performance.md. `make bench` runs it; it needs Linux (CPU time
// and memory come from /proc) and, for PostgreSQL, the server's programs.
//
// What is run:
//
//	main.go        the order of a run
//	flags.go       what can be chosen
//	build.go       the programs that are measured, and how long a first build takes
//	progress.go    what is being done, on standard error
//	rounds.go      operations in turns: Grantor, floor server, bare statement
//	replicas.go, mixed.go, vitals.go           several processes; logins beside other work; start, memory, size
//	growth.go, aged.go, housekeeping.go        millions of sessions; what renewals leave on disk; deleting beside renewing
//	profile.go     instead of all that: where the server's time goes
//
// What is asked:
//
//	world.go       one database with clients and users, and the programs on it
//	population.go  sessions and accounts, by the thousand and by the million
//	operations.go  the list; requests.go what one is made of
//	chains.go, once.go, shown.go               renewals; codes and revocations; access tokens that are shown
//	walk.go        sessions that are renewed in no order, among very many
//	bare.go        single statements without a server, and raw cryptography
//	floor.go       tells floor/, the program that Grantor is compared with, what to do
//	inside.go      statements and allocations, counted within this process
//
// With what, and what comes of it:
//
//	load.go        steps: many callers at once, as fast as they go or at a given rate
//	wire.go        HTTP/1.1 that costs the generator little
//	postgres.go, process*.go                   the programs that are started, and /proc
//	samples.go     medians, ratios
//	targets.go     goals, and which of them are met
//	report.go      all that was measured; markdown.go the table
//
// Every operation is measured in rounds. In each, Grantor, the floor server and the bare
// statement take turns, and who begins changes, so that what else the machine does
// falls upon all of them. A ratio is the median of the rounds' ratios. An answer that
// is not what it must be ends the run: speed of wrong answers is not measured.
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
	"runtime/debug"
	"slices"
	"syscall"
	"time"
)

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
	b := &benchmark{o: o, dir: dir, r: newReport(ctx, o)}
	if err := b.build(ctx); err != nil {
		return err
	}
	if o.profile != "" {
		return b.profile(ctx)
	}
	err = b.all(ctx)
	if err != nil {
		b.r.EndedEarly = firstLine(err.Error())
	}
	return errors.Join(err, b.save(), b.r.tell(os.Stdout))
}

// benchmark is one run.
type benchmark struct {
	o             options
	r             *report
	dir           string
	binary, floor string // the programs
}

// all does every part that was chosen, the operations first, and saves after each.
func (b *benchmark) all(ctx context.Context) error {
	for _, kind := range b.o.databases {
		if !b.o.asks(kind) {
			continue
		}
		if err := b.onDatabase(ctx, kind); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	var parts []func(context.Context) error
	if len(b.o.list()) > 0 {
		parts = append(parts, b.cryptography)
	}
	if slices.Contains(b.o.databases, postgres) && b.o.plays(growthScenario) {
		parts = append(parts, b.growth)
	}
	if b.o.firstBuild {
		parts = append(parts, b.firstBuild)
	}
	for _, part := range parts {
		if err := part(ctx); err != nil {
			return err
		}
		if err := b.save(); err != nil {
			return err
		}
	}
	return nil
}

func (b *benchmark) save() error {
	b.r.Machine.LoadAfter, b.r.Seconds = loadAverage(), time.Since(b.r.Date).Seconds()
	return b.r.save(b.o)
}

// onDatabase does all that is done on either database.
func (b *benchmark) onDatabase(ctx context.Context, kind string) error {
	progress("%s: preparing", kind)
	d := &databaseReport{Kind: kind, Version: "SQLite (modernc.org/sqlite), synchronous=FULL"}
	at := site{dir: b.dir, binary: b.binary, name: "on_" + kind}
	if kind == postgres {
		var err error
		if at.cluster, err = startCluster(ctx, b.dir, "cluster"); err != nil {
			return err
		}
		defer at.cluster.stop()
		d.Version = "PostgreSQL " + at.cluster.version
	}
	w, err := newWorld(ctx, b.o, at)
	if err != nil {
		return err
	}
	defer w.close()
	b.r.Databases = append(b.r.Databases, d)
	parts := []func() error{func() error { return b.operations(ctx, w, d) }}
	if kind == postgres && b.o.plays(replicasScenario) {
		parts = append(parts, func() (err error) { d.Replicas, err = b.replicas(ctx, w); return err })
	}
	if kind == postgres && b.o.plays(mixedScenario) {
		parts = append(parts, func() (err error) { d.Mixed, err = b.mixed(ctx, w); return err })
	}
	if b.o.plays(vitalsScenario) {
		parts = append(parts, func() (err error) { d.Vitals, err = w.vitals(ctx, b.o); return err })
	}
	for _, part := range parts {
		if err := part(); err != nil {
			return err
		}
		if err := b.save(); err != nil {
			return err
		}
	}
	return nil
}
