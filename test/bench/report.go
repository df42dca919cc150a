package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// report is all that was measured; -json writes it as it is.
type report struct {
	Date           time.Time         `json:"date"`
	Seconds        float64           `json:"seconds"` // that the run took
	EndedEarly     string            `json:"ended_early,omitempty"`
	Quick          bool              `json:"quick,omitempty"`
	Machine        machine           `json:"machine"`
	Rounds         int               `json:"rounds"`
	StepSeconds    float64           `json:"seconds_per_step"`
	Slices         int               `json:"slices_per_step"`
	Concurrency    int               `json:"concurrency"`
	Grants         int               `json:"grants"`
	LogLevel       string            `json:"log_level"`
	Set            []string          `json:"set,omitempty"` // more environment of the server
	Goals          []verdict         `json:"goals"`
	Databases      []*databaseReport `json:"databases"`
	Growth         *growthResult     `json:"growth,omitempty"`
	Raw            []*rawResult      `json:"raw"`
	FirstBuildSecs float64           `json:"first_build_s,omitempty"`
}

type machine struct {
	Processor  string  `json:"processor"`
	Processors int     `json:"processors"`
	MemoryGiB  float64 `json:"memory_available_gib"`
	Kernel     string  `json:"kernel"`
	Go         string  `json:"go"`
	Commit     string  `json:"commit"`
	LoadBefore string  `json:"load_before"`
	LoadAfter  string  `json:"load_after"`
}

type databaseReport struct {
	Kind     string           `json:"kind"`
	Version  string           `json:"version"`
	Results  []*result        `json:"results"`
	Replicas []*replicaResult `json:"replicas,omitempty"`
	Mixed    *mixedResult     `json:"mixed,omitempty"`
	Vitals   *vitals          `json:"vitals,omitempty"`
}

// result is one operation on one database, a sample a round.
type result struct {
	Operation   string   `json:"operation"`
	State       string   `json:"state,omitempty"`
	Counts      counts   `json:"counts"`
	Grantor     []sample `json:"grantor,omitempty"`
	Floor       []sample `json:"floor,omitempty"`
	Bare        []sample `json:"bare,omitempty"`
	Raw         []sample `json:"raw,omitempty"`
	HalfGrantor []sample `json:"half_grantor,omitempty"`
	HalfFloor   []sample `json:"half_floor,omitempty"`
}

type rawResult struct {
	Name    string   `json:"name"`
	Samples []sample `json:"samples"`
}

func newReport(ctx context.Context, o options) *report {
	r := &report{
		Date: time.Now().UTC(), Rounds: o.rounds, StepSeconds: o.duration.Seconds(), Slices: o.slices, Concurrency: o.concurrency,
		Grants: o.grants, LogLevel: o.logLevel, Set: o.set, Quick: o.quick,
	}
	r.Machine = machine{
		Processor: processorName(), Processors: runtime.NumCPU(), MemoryGiB: float64(availableBytes()) / (1 << 30), Kernel: kernel(), Go: runtime.Version(),
		LoadBefore: loadAverage(),
	}
	if out, err := run(ctx, ".", os.Environ(), "git", "--no-optional-locks", "describe", "--always", "--dirty"); err == nil {
		r.Machine.Commit = strings.TrimSpace(out)
	}
	return r
}

// save writes what is there so far, where -json and -table say.
func (r *report) save(o options) error {
	r.Goals = r.verdicts()
	if o.json != "" {
		text, err := json.MarshalIndent(r, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.json, append(text, '\n'), 0o644); err != nil { //nolint:gosec // measurements are for everybody
			return err
		}
	}
	if o.table != "" {
		return replaceTable(o.table, r.markdown())
	}
	return nil
}

func (r *report) tell(out io.Writer) error {
	endProgress()
	_, err := io.WriteString(out, r.markdown())
	return err
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

// firstLine is as much of an error as a table can take.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line[:min(len(line), 200)]
}
