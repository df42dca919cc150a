package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// report is all that was measured; -json writes it as it is.
type report struct {
	Date        time.Time        `json:"date"`
	Machine     machine          `json:"machine"`
	Rounds      int              `json:"rounds"`
	Seconds     float64          `json:"seconds_per_step"`
	Concurrency int              `json:"concurrency"`
	Grants      int              `json:"grants"`
	LogLevel    string           `json:"log_level"`
	Set         []string         `json:"set,omitempty"` // more environment of the server
	Databases   []databaseReport `json:"databases"`
	Raw         []*rawResult     `json:"raw"`
}

type machine struct {
	Processor  string `json:"processor"`
	Processors int    `json:"processors"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
	Commit     string `json:"commit"`
	LoadBefore string `json:"load_before"`
	LoadAfter  string `json:"load_after"`
}

func (m *machine) describe(ctx context.Context) {
	m.Processor, m.Processors, m.Kernel, m.Go = processorName(), runtime.NumCPU(), kernel(), runtime.Version()
	m.LoadBefore = loadAverage()
	if out, err := run(ctx, ".", os.Environ(), "git", "--no-optional-locks", "describe", "--always", "--dirty"); err == nil {
		m.Commit = strings.TrimSpace(out)
	}
}

type databaseReport struct {
	Kind    string    `json:"kind"`
	Version string    `json:"version"`
	Results []*result `json:"results"`
	Vitals  vitals    `json:"vitals"`
	Table   tableSize `json:"grants_table"`

	Replicas []replicaResult `json:"replicas,omitempty"`
	Mixed    *mixedResult    `json:"mixed,omitempty"`
}

// result is one operation on one database, a sample a round.
type result struct {
	Operation   string   `json:"operation"`
	State       string   `json:"state,omitempty"`
	Counts      counts   `json:"counts"`
	Grantor     []sample `json:"grantor,omitempty"`
	Floor       []sample `json:"floor,omitempty"`
	Bare        []sample `json:"bare,omitempty"`
	HalfGrantor []sample `json:"half_grantor,omitempty"`
	HalfFloor   []sample `json:"half_floor,omitempty"`
}

type rawResult struct {
	Name    string   `json:"name"`
	Samples []sample `json:"samples"`
}

// raw measures cryptography alone, at the end of the run.
func (r *report) raw(ctx context.Context, o options) error {
	all, err := rawOperations()
	if err != nil {
		return err
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	// argon2id takes 19 MiB at a time: collected as late as the generator's, most of its time would be fresh pages.
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	for _, name := range names {
		res := &rawResult{Name: name}
		for range o.rounds {
			progress("raw %s", name)
			m, err := rawStep(ctx, all[name], step{warm: o.warm, duration: o.duration})
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			m.summarize()
			res.Samples = append(res.Samples, m)
		}
		r.Raw = append(r.Raw, res)
	}
	return nil
}

func median(list []sample, of func(sample) float64) float64 {
	values := make([]float64, len(list))
	for i, m := range list {
		values[i] = of(m)
	}
	return middle(values)
}

// ratio is the median of the rounds' ratios: what disturbed a round disturbed both.
func ratio(over, under []sample, of func(sample) float64) float64 {
	var values []float64
	for i := range min(len(over), len(under)) {
		if d := of(under[i]); d > 0 {
			values = append(values, of(over[i])/d)
		}
	}
	return middle(values)
}

func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	if n := len(values); n%2 == 0 {
		return (values[n/2-1] + values[n/2]) / 2
	}
	return values[len(values)/2]
}

func rateOf(m sample) float64     { return m.Rate }
func p50Of(m sample) float64      { return m.P50 }
func p99Of(m sample) float64      { return m.P99 }
func serverOf(m sample) float64   { return m.Server }
func databaseOf(m sample) float64 { return m.Database }
func ownOf(m sample) float64      { return m.Own }

// ratios are those that the goals speak of; 0 = not measured.
type ratios struct{ rate, cpu, database, p99 float64 }

func (r *report) ratios(kind string, res *result) ratios {
	q := ratios{
		rate: ratio(res.Grantor, res.Floor, rateOf), cpu: ratio(res.Grantor, res.Floor, serverOf),
		database: ratio(res.Grantor, res.Bare, databaseOf), p99: ratio(res.HalfGrantor, res.HalfFloor, p99Of),
	}
	if len(res.Floor) > 0 {
		return q
	}
	if res.Operation == "password" {
		for _, raw := range r.Raw {
			if strings.HasPrefix(raw.Name, "argon2id") {
				q.rate = ratio(res.Grantor, raw.Samples, rateOf)
			}
		}
	} else if kind == sqlite {
		q.rate = ratio(res.Grantor, res.Bare, rateOf)
	}
	return q
}

func goalOf(kind, operation string) goal {
	if kind == postgres {
		return goals[operation]
	}
	if strings.HasPrefix(operation, "refresh/") {
		return goal{rate: sqliteRefreshGoal}
	}
	return goal{}
}

// markdown is the part of docs/performance.md that is generated.
func (r *report) markdown() string {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "%s, commit %s, %s on %d processors (%s), Linux %s. Load average before %s, after %s.\n",
		r.Date.Format("2006-01-02 15:04 MST"), m.Commit, m.Go, m.Processors, m.Processor, m.Kernel, m.LoadBefore, m.LoadAfter)
	fmt.Fprintf(&b, "Median of %d rounds of %g s, concurrency %d, %d live sessions, log level %s.\n", r.Rounds, r.Seconds, r.Concurrency, r.Grants, r.LogLevel)
	if len(r.Set) > 0 {
		fmt.Fprintf(&b, "The server ran with %s.\n", strings.Join(r.Set, ", "))
	}
	for _, d := range r.Databases {
		fmt.Fprintf(&b, "\n### %s\n\n", d.Version)
		b.WriteString("| operation | requests/s | p50 µs | p99 µs | server µs | database µs | statements | allocations | floor/s | floor µs | floor database µs | bare/s | bare database µs |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
		for _, res := range d.Results {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", res.Operation,
				whole(median(res.Grantor, rateOf)), whole(median(res.Grantor, p50Of)), whole(median(res.Grantor, p99Of)),
				whole(median(res.Grantor, serverOf)), whole(median(res.Grantor, databaseOf)), counted(res, res.Counts.Statements), counted(res, res.Counts.Allocations),
				whole(median(res.Floor, rateOf)), whole(median(res.Floor, serverOf)), whole(median(res.Floor, databaseOf)), whole(median(res.Bare, rateOf)), whole(median(res.Bare, databaseOf)))
		}
		against := "the floor server"
		if d.Kind == sqlite {
			against = "the floor server, or the bare statement where there is one"
		}
		fmt.Fprintf(&b, "\nHeld against %s (the goal in parentheses):\n\n", against)
		b.WriteString("| operation | requests/s ÷ | server CPU ÷ | database CPU ÷ bare | p99 at half the rate, µs | floor's | p99 ÷ |\n|---|---|---|---|---|---|---|\n")
		for _, res := range d.Results {
			if len(res.Grantor) == 0 {
				continue
			}
			q, g := r.ratios(d.Kind, res), goalOf(d.Kind, res.Operation)
			p99 := 0.0
			if d.Kind == postgres {
				p99 = p99Goal
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", res.Operation, atLeast(q.rate, g.rate), atMost(q.cpu, g.cpu), atMost(q.database, g.database),
				whole(median(res.HalfGrantor, p99Of)), whole(median(res.HalfFloor, p99Of)), atMost(q.p99, p99))
		}
		d.scenarios(&b)
		v := d.Vitals
		fmt.Fprintf(&b, "\n| program | measured | goal, at most |\n|---|---|---|\n| binary | %.1f MiB | %d |\n| start to ready, existing database | %.0f ms | %d |\n", v.BinaryMiB, binaryGoal, middle(slices.Clone(v.ReadyMs)), readyGoal)
		fmt.Fprintf(&b, "| memory, idle | %.0f MiB | %d |\n| memory, %d clients renewing and logging in | %.0f MiB | %d |\n| memory, %s later | %.0f MiB | %d |\n",
			v.IdleMiB, idleGoal, loadedClients, v.LoadedMiB, loadedGoal, v.SettledIn, v.SettledMiB, settledGoal)
		if v.BuildSecs > 0 {
			fmt.Fprintf(&b, "| first build on an empty cache | %.0f s | |\n", v.BuildSecs)
		}
		if t := d.Table; t.Rows > 0 {
			fmt.Fprintf(&b, "\nAt the end `grants` had %d rows of %.0f bytes (%.0f in the table, %.0f in its indexes). Of %d updates %.1f %% were HOT.\n",
				t.Rows, t.perRow(t.Heap+t.Indexes), t.perRow(t.Heap), t.perRow(t.Indexes), t.Updates, t.hotShare())
		}
	}
	b.WriteString("\n### Cryptography alone, all processors\n\n| | operations/s | CPU µs |\n|---|---|---|\n")
	for _, raw := range r.Raw {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", raw.Name, whole(median(raw.Samples, rateOf)), whole(median(raw.Samples, ownOf)))
	}
	return b.String()
}

func whole(v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", v)
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
		return fmt.Sprintf("%.2f", v)
	case met:
		return fmt.Sprintf("%.2f (%.2f)", v, goal)
	}
	return fmt.Sprintf("**%.2f** (%.2f)", v, goal)
}

// The table stands between these.
const (
	tableBegins = "<!-- bench: begin -->\n"
	tableEnds   = "<!-- bench: end -->\n"
)

func replaceTable(file, table string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), tableBegins)
	_, after, closed := strings.Cut(rest, tableEnds)
	if !ok || !closed {
		return fmt.Errorf("%s lacks the lines %q and %q", file, tableBegins, tableEnds)
	}
	return os.WriteFile(file, []byte(before+tableBegins+table+tableEnds+after), 0o644) //nolint:gosec // a page of the manual
}
