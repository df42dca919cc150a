package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// markdown is the part of docs/performance.md that is generated.
func (r *report) markdown() string {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "%s, commit %s, %s on %d processors (%s), %.0f GiB of memory free, Linux %s. Load average before %s, after %s. The run took %s.\n",
		r.Date.Format("2006-01-02 15:04 MST"), m.Commit, m.Go, m.Processors, m.Processor, m.MemoryGiB, m.Kernel, m.LoadBefore, m.LoadAfter,
		(time.Duration(r.Seconds) * time.Second).String())
	fmt.Fprintf(&b, "Median of %d rounds of %g s in %d slices, concurrency %d, %d live sessions, log level %s.\n", r.Rounds, r.StepSeconds, r.Slices, r.Concurrency, r.Grants, r.LogLevel)
	if len(r.Set) > 0 {
		fmt.Fprintf(&b, "The server ran with %s.\n", strings.Join(r.Set, ", "))
	}
	if r.Quick {
		b.WriteString("\n**Made with `-quick`**: it shows that the tool works, not how fast Grantor is. In so short a step the heap has not grown and plans are still being made.\n")
	}
	if r.EndedEarly != "" {
		fmt.Fprintf(&b, "\n**The run ended early**, and what would have come is missing: %s.\n", r.EndedEarly)
	}
	writeVerdicts(&b, r.verdicts())
	for _, d := range r.Databases {
		d.markdown(&b)
	}
	if r.Growth != nil {
		r.Growth.markdown(&b)
	}
	r.cryptography(&b)
	if r.FirstBuildSecs > 0 {
		fmt.Fprintf(&b, "\n### First build\n\nOn an empty build cache, with the modules downloaded: %.0f s.\n", r.FirstBuildSecs)
	}
	return b.String()
}

// writeVerdicts lists what was missed; all goals stand beside their numbers below.
func writeVerdicts(b *strings.Builder, list []verdict) {
	var missed []verdict
	for _, v := range list {
		if !v.Met {
			missed = append(missed, v)
		}
	}
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%d of %d goals are met.\n", len(list)-len(missed), len(list))
	if len(missed) == 0 {
		return
	}
	b.WriteString("\n| missed | measured | goal |\n|---|---|---|\n")
	for _, v := range missed {
		word := "at most"
		if v.AtLeast {
			word = "at least"
		}
		fmt.Fprintf(b, "| %s | **%s** | %s %s |\n", v.Goal, number(v.Measured), word, number(v.Wanted))
	}
}

func (d *databaseReport) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n### %s\n", d.Version)
	if len(d.Results) > 0 {
		if d.Kind == sqlite {
			d.sqliteOperations(b)
		} else {
			d.operations(b)
		}
	}
	d.replicas(b)
	if d.Mixed != nil {
		d.Mixed.markdown(b)
	}
	if d.Vitals != nil {
		d.Vitals.markdown(b)
	}
}

func (d *databaseReport) operations(b *strings.Builder) {
	b.WriteString("\n| operation | requests/s | p50 µs | p99 µs | server µs | database µs | statements | allocations | floor/s | floor µs | floor database µs | bare/s | bare database µs |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, res := range d.Results {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", res.Operation,
			whole(median(res.Grantor, rateOf)), whole(median(res.Grantor, p50Of)), whole(median(res.Grantor, p99Of)),
			whole(median(res.Grantor, serverOf)), whole(median(res.Grantor, databaseOf)), counted(res, res.Counts.Statements), counted(res, res.Counts.Allocations),
			whole(median(res.Floor, rateOf)), whole(median(res.Floor, serverOf)), whole(median(res.Floor, databaseOf)), whole(median(res.Bare, rateOf)), whole(median(res.Bare, databaseOf)))
	}
	b.WriteString("\nHeld against the floor server (the goal in parentheses, bold when missed):\n\n")
	b.WriteString("| operation | requests/s ÷ | server CPU ÷ | database CPU ÷ bare | p99 at half the rate, µs | floor's | p99 ÷ |\n|---|---|---|---|---|---|---|\n")
	for _, res := range d.Results {
		if len(res.Grantor) == 0 {
			continue
		}
		q, g := ratiosOf(d.Kind, res), goalOf(d.Kind, res.Operation)
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s |\n", res.Operation, atLeast(q.rate, g.rate), atMost(q.cpu, g.cpu), atMost(q.database, g.database),
			whole(median(res.HalfGrantor, p99Of)), whole(median(res.HalfFloor, p99Of)), atMost(q.p99, p99Goal))
	}
	d.hashing(b)
}

// sqliteOperations has no columns of a database process, and no floor server.
func (d *databaseReport) sqliteOperations(b *strings.Builder) {
	b.WriteString("\n| operation | requests/s | p50 µs | p99 µs | server µs | statements | allocations | bare commits/s | requests/s ÷ bare |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, res := range d.Results {
		rate := ""
		if len(res.Raw) == 0 {
			rate = atLeast(ratiosOf(d.Kind, res).rate, goalOf(d.Kind, res.Operation).rate)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", res.Operation,
			whole(median(res.Grantor, rateOf)), whole(median(res.Grantor, p50Of)), whole(median(res.Grantor, p99Of)),
			whole(median(res.Grantor, serverOf)), counted(res, res.Counts.Statements), counted(res, res.Counts.Allocations), whole(median(res.Bare, rateOf)), rate)
	}
	d.hashing(b)
}

// hashing is about passwords: their floor is argon2id.
func (d *databaseReport) hashing(b *strings.Builder) {
	for _, res := range d.Results {
		if len(res.Raw) > 0 {
			fmt.Fprintf(b, "\n%s: %.1f/s, raw argon2id in turns with it %.1f/s at %.0f µs: %s.\n", res.Operation, median(res.Grantor, rateOf),
				median(res.Raw, rateOf), median(res.Raw, ownOf), atLeast(ratiosOf(d.Kind, res).rate, goalOf(d.Kind, res.Operation).rate))
		}
	}
}

func (d *databaseReport) replicas(b *strings.Builder) {
	if len(d.Replicas) == 0 || len(d.Replicas[0].Samples) == 0 {
		return
	}
	b.WriteString("\n| replicas, refresh/jwt | clients in all | requests/s | p99 µs | servers µs | database µs | all ÷ one replica | floor servers/s | µs | database µs | all ÷ one |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range d.Replicas {
		wanted := 0.0
		if r.Replicas == mostReplicas {
			wanted = replicasGoal
		}
		fmt.Fprintf(b, "| %d | %d | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", r.Replicas, r.Clients, whole(median(r.Samples, rateOf)), whole(median(r.Samples, p99Of)),
			whole(median(r.Samples, serverOf)), whole(median(r.Samples, databaseOf)), atMost(ratio(r.Samples, d.Replicas[0].Samples, allOf), wanted),
			whole(median(r.Floor, rateOf)), whole(median(r.Floor, serverOf)), whole(median(r.Floor, databaseOf)), atMost(ratio(r.Floor, d.Replicas[0].Floor, allOf), 0))
	}
}

func (m *mixedResult) markdown(b *strings.Builder) {
	if len(m.Storms) == 0 || len(m.Base) == 0 {
		return
	}
	b.WriteString("\n| mixed load | at most, both at once | offered/s | done/s | p99 µs without logins | p99 µs with | p99 ÷ | floor's p99 µs without | with | p99 ÷ |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, base := range m.Base {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", base.Operation, whole(base.AtMost), whole(median(base.With, func(s sample) float64 { return s.Offered })),
			whole(median(base.With, rateOf)), whole(median(base.Without, p99Of)), whole(median(base.With, p99Of)), atMost(ratio(base.With, base.Without, p99Of), mixedGoal),
			whole(median(base.FloorWithout, p99Of)), whole(median(base.FloorWith, p99Of)), atMost(ratio(base.FloorWith, base.FloorWithout, p99Of), 0))
	}
	ms := func(of func(stormSample) float64) float64 { return m.storm(of) / 1000 }
	fmt.Fprintf(b, "\nOf %.0f logins/s offered, %.0f/s were done (half within %.0f ms, 99 %% within %.0f ms) and %.0f/s turned away with 503 and Retry-After, half within %.1f ms, 99 %% within %s ms. The generator sent 99 %% within %.1f ms of their time, on %.0f connections.\n",
		m.storm(func(s stormSample) float64 { return s.Offered }), m.storm(func(s stormSample) float64 { return s.Done }),
		ms(func(s stormSample) float64 { return s.DoneP50 }), ms(func(s stormSample) float64 { return s.DoneP99 }), m.storm(func(s stormSample) float64 { return s.TurnedAway }),
		ms(func(s stormSample) float64 { return s.TurnedP50 }), atMost(ms(func(s stormSample) float64 { return s.TurnedP99 }), turnedAwayGoal),
		ms(func(s stormSample) float64 { return s.SentLateP99 }), m.storm(func(s stormSample) float64 { return float64(s.Connections) }))
	used := func(of func(mixedUsage) float64) float64 {
		values := make([]float64, len(m.Usage))
		for i, u := range m.Usage {
			values[i] = of(u)
		}
		return middle(values)
	}
	fmt.Fprintf(b, "With logins the server used %.2f processors, the database %.2f, the generator %.2f.\n",
		used(func(u mixedUsage) float64 { return u.Server }), used(func(u mixedUsage) float64 { return u.Database }), used(func(u mixedUsage) float64 { return u.Generator }))
}

type vitalRow struct {
	name, unit     string
	measured, goal float64
}

func (v *vitals) rows() []vitalRow {
	return []vitalRow{
		{"binary", "MiB", v.BinaryMiB, binaryGoal},
		{"start to ready, existing database", "ms", middle(v.ReadyMs), readyGoal},
		{"memory, idle", "MiB", v.IdleMiB, idleGoal},
		{fmt.Sprintf("memory, %d clients renewing and logging in", loadedClients), "MiB", v.LoadedMiB, loadedGoal},
		{"memory, " + v.SettledIn + " later", "MiB", v.SettledMiB, settledGoal},
	}
}

func (v *vitals) markdown(b *strings.Builder) {
	b.WriteString("\n| program, with its children | measured | goal, at most |\n|---|---|---|\n")
	for _, row := range v.rows() {
		if row.measured == 0 {
			continue
		}
		text := number(row.measured)
		if row.measured > row.goal {
			text = "**" + text + "**"
		}
		fmt.Fprintf(b, "| %s | %s %s | %s |\n", row.name, text, row.unit, number(row.goal))
	}
	if v.LoadedEachMiB > 0 {
		fmt.Fprintf(b, "\nA page that several of its processes share is counted once. Counted for each of them, as the sum of their resident sets, it was %s MiB under load.\n", number(v.LoadedEachMiB))
	}
}

func (g *growthResult) markdown(b *strings.Builder) {
	b.WriteString("\n### Growth, on PostgreSQL\n")
	if len(g.Sizes) > 0 && len(g.Sizes[0].Refresh) > 0 {
		pages := "ordinary pages"
		if g.HugePages {
			pages = "huge pages"
		}
		fmt.Fprintf(b, "\nAll sizes in one cluster at once, each with a server of its own, measured in turns; shared_buffers=%s, on %s, holds all of it.\n\n", g.SharedBuffers, pages)
		few := g.Sizes[0]
		columns := func(s *sizeResult, list, fewest []sample) string {
			wanted := growthGoal
			if s == few {
				wanted = 0
			}
			return fmt.Sprintf("%s | %s | %s | %s | %s | %s", whole(median(list, rateOf)), whole(median(list, p50Of)), whole(median(list, p99Of)), whole(median(list, serverOf)), whole(median(list, databaseOf)),
				atLeast(ratio(list, fewest, rateOf), wanted))
		}
		b.WriteString("| sessions | table MiB | indexes MiB | refresh/s | p50 µs | p99 µs | server µs | database µs | ÷ fewest | WAL bytes each | bare/s | bare ÷ fewest |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n")
		for _, s := range g.Sizes {
			fmt.Fprintf(b, "| %d | %.0f | %.0f | %s | %.0f | %s | %.2f |\n", s.Grants, s.TableMiB, s.IndexesMiB, columns(s, s.Refresh, few.Refresh), s.WALBytes,
				whole(median(s.Bare, rateOf)), ratio(s.Bare, few.Bare, rateOf))
		}
		b.WriteString("\n| sessions | introspect/s | p50 µs | p99 µs | server µs | database µs | ÷ fewest | 8 KiB blocks that the cache lacked, in all of it |\n|---|---|---|---|---|---|---|---|\n")
		for _, s := range g.Sizes {
			fmt.Fprintf(b, "| %d | %s | %d |\n", s.Grants, columns(s, s.Introspect, few.Introspect), s.BlocksRead)
		}
	}
	for _, n := range g.LeftOut {
		fmt.Fprintf(b, "\nThere was no room for %d sessions.\n", n)
	}
	if h := g.Housekeeping; h != nil {
		fmt.Fprintf(b, "\nHousekeeping deleted %d ended sessions beside %d live ones in %.1f s, while %.0f renewals/s were offered (%.0f %% of what goes at most): their p99 was %.0f µs, before and after it %.0f µs: %s. All that took the database %.1f s of CPU time.\n",
			h.Deleted, h.Live, h.Seconds, h.Rate, 100*housekeepingShare, median(h.With, p99Of), median(h.Without, p99Of), atMost(h.ratio(), housekeepingGoal), h.Database)
	}
	if a := g.Aged; a != nil {
		a.markdown(b)
	}
}

func (a *agedResult) markdown(b *strings.Builder) {
	t := a.Table
	fmt.Fprintf(b, "\n%d sessions began in %d waves, with a VACUUM after each, and were renewed %d times each (%.0f s, %d autovacuums meanwhile, one VACUUM at the end). Bytes for each:\n\n| part | bytes |\n|---|---|\n", t.Rows, a.Waves, a.Laps, a.Seconds, a.Vacuumed)
	fmt.Fprintf(b, "| table | %.0f |\n", t.perRow(t.Table))
	for _, name := range sorted(t.Indexes) {
		fmt.Fprintf(b, "| %s | %.0f |\n", name, t.perRow(t.Indexes[name]))
	}
	all := t.perRow(t.Table + t.indexes())
	text := fmt.Sprintf("%.0f (%d)", all, bytesGoal)
	if all > bytesGoal {
		text = fmt.Sprintf("**%.0f** (%d)", all, bytesGoal)
	}
	fmt.Fprintf(b, "| all | %s |\n\n", text)
	for _, client := range sorted(a.RowBytes) {
		began := "a password"
		if client == "web" {
			began = "a code"
		}
		fmt.Fprintf(b, "A row that began with %s has %.0f bytes. ", began, a.RowBytes[client])
	}
	fmt.Fprintf(b, "Of %d updates %s were HOT.\n", t.Updates, share(t.hotShare(), hotGoal))
}

func (r *report) cryptography(b *strings.Builder) {
	if len(r.Raw) == 0 {
		return
	}
	b.WriteString("\n### Cryptography alone, all processors\n\n| | operations/s | CPU µs |\n|---|---|---|\n")
	for _, raw := range r.Raw {
		fmt.Fprintf(b, "| %s | %s | %s |\n", raw.Name, whole(median(raw.Samples, rateOf)), whole(median(raw.Samples, ownOf)))
	}
}

func sorted[T any](m map[string]T) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func whole(v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", v)
}

// number has as many digits as mean something.
func number(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.2f", v)
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
}

func share(v, goal float64) string {
	text := fmt.Sprintf("%.2f %%", 100*v)
	if v < goal {
		text = "**" + text + "**"
	}
	return fmt.Sprintf("%s (%.0f %%)", text, 100*goal)
}

func counted(res *result, v float64) string {
	if len(res.Grantor) == 0 {
		return ""
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
}

func atLeast(v, goal float64) string { return judged(v, goal, v >= goal) }
func atMost(v, goal float64) string  { return judged(v, goal, v <= goal) }

// judged shows a missed goal in bold.
func judged(v, goal float64, met bool) string {
	switch {
	case v == 0:
		return ""
	case goal == 0:
		return number(v)
	case met:
		return number(v) + " (" + number(goal) + ")"
	}
	return "**" + number(v) + "** (" + number(goal) + ")"
}
