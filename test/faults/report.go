//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// report is a whole run.
type report struct {
	began   time.Time
	seed    uint64
	played  []*result // faults, each followed by its controls
	missing []string  // controls that found nothing
}

// play is one fault with its controls.
func (r *report) play(ctx context.Context, w *world, o options, f *fault) error {
	one, err := w.play(ctx, f, nil, o.seed, o.quantityOf(f))
	if errors.Is(err, errSkipped) {
		fmt.Printf("%-40s %s\n", f.name, err)
		r.played = append(r.played, &result{finding: &finding{}, fault: f, skipped: err.Error()})
		return nil
	}
	if err != nil {
		return err
	}
	one.tell(os.Stdout)
	r.played = append(r.played, one)
	if !o.controls {
		return nil
	}
	for _, c := range f.controls {
		one, err := w.play(ctx, f, c, o.seed, quantity{duration: o.control, injections: 1})
		if err != nil {
			return err
		}
		one.tell(os.Stdout)
		r.played = append(r.played, one)
		if one.caught(c) == 0 {
			r.missing = append(r.missing, f.name+"/"+c.name)
		}
	}
	return nil
}

// caught counts what a control must violate.
func (r *result) caught(c *control) (count int) {
	for _, i := range c.expects {
		count += r.of(i)
	}
	return count
}

func (r *result) name() string {
	if r.control != "" {
		return r.fault.name + ", control " + r.control
	}
	return r.fault.name
}

// tell prints a result, with its first violations.
func (r *result) tell(out io.Writer) {
	fmt.Fprintf(out, "%-40s %4d injected %7d renewed %6d other facts %6d unknown %3d violations%s  %s\n",
		r.name(), r.injected, r.acked, r.counts[ok]+r.counts[refused]-r.acked, r.counts[unknown], len(r.violations), r.broken(), r.recovery())
	if r.late > 0 {
		fmt.Fprintf(out, "    %d renewals were refused because the retry window was over\n", r.late)
	}
	if r.remark != "" {
		fmt.Fprintf(out, "    %s\n", r.remark)
	}
	if r.control != "" {
		return
	}
	for _, v := range r.violations[:min(len(r.violations), 10)] {
		fmt.Fprintf(out, "    %s %s:%d grant %s: %s\n", v.Invariant, r.journal, v.Line, v.Grant, v.Text)
	}
}

// broken counts by invariant: " (INV1 3, INV6 1)".
func (r *result) broken() string {
	var parts []string
	for _, i := range invariants {
		if n := r.of(i); n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", i, n))
		}
	}
	if parts == nil {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// recovery is the median and the longest.
func (r *result) recovery() string {
	if len(r.recoveries) == 0 {
		return "–"
	}
	list := slices.Sorted(slices.Values(r.recoveries))
	return fmt.Sprintf("%s, %s", milliseconds(list[len(list)/2]), milliseconds(list[len(list)-1]))
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

func (r *result) err() error {
	if len(r.violations) > 0 {
		return fmt.Errorf("%s: %d violations%s", r.name(), len(r.violations), r.broken())
	}
	return nil
}

func (r *report) err() error {
	var errs []error
	for _, one := range r.played {
		if one.control == "" {
			errs = append(errs, one.err())
		}
	}
	for _, name := range r.missing {
		errs = append(errs, fmt.Errorf("control %s: the checker found nothing", name))
	}
	return errors.Join(errs...)
}

// The table stands between these.
const (
	tableBegins = "<!-- faults: begin -->\n"
	tableEnds   = "<!-- faults: end -->\n"
)

func (r *report) write(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), tableBegins)
	_, after, closed := strings.Cut(rest, tableEnds)
	if !found || !closed {
		return fmt.Errorf("%s lacks the lines %q and %q", file, tableBegins, tableEnds)
	}
	return os.WriteFile(file, []byte(before+tableBegins+r.table()+tableEnds+after), 0o644) //nolint:gosec // a page of the manual
}

func (r *report) table() string {
	var b strings.Builder
	renewed, counted, injected, violations := 0, 0, 0, 0
	byInvariant := map[invariant]int{}
	fmt.Fprintf(&b, "| fault | while | injected | renewals acknowledged | other facts | unknown | violations | serves again after: median, longest | controls: violations found |\n")
	fmt.Fprintf(&b, "|---|---|--:|--:|--:|--:|--:|--:|---|\n")
	for i, one := range r.played {
		if one.control != "" {
			continue
		}
		if one.skipped != "" {
			fmt.Fprintf(&b, "| `%s` | %s (%s) | %s | | | | | | |\n", one.fault.name, one.fault.about, one.fault.ids, one.skipped)
			continue
		}
		var caught []string
		for _, other := range r.played[i+1:] {
			if other.control == "" {
				break
			}
			caught = append(caught, fmt.Sprintf("%s: %d%s", other.control, len(other.violations), other.broken()))
		}
		late := ""
		if one.late > 0 {
			late = fmt.Sprintf("; %d refused past the retry window", one.late)
		}
		if one.remark != "" {
			late += "; " + one.remark
		}
		fmt.Fprintf(&b, "| `%s` | %s (%s) | %d | %d | %d | %d | %d%s%s | %s | %s |\n", one.fault.name, one.fault.about, one.fault.ids, one.injected, one.acked,
			one.counts[ok]+one.counts[refused]-one.acked, one.counts[unknown], len(one.violations), one.broken(), late, one.recovery(), strings.Join(caught, "; "))
		renewed += one.acked
		injected += one.injected
		violations += len(one.violations)
		if one.fault.counted {
			counted += one.acked
		}
		for _, i := range invariants {
			byInvariant[i] += one.of(i)
		}
	}
	var each []string
	for _, i := range invariants {
		each = append(each, fmt.Sprintf("%s %d", i, byInvariant[i]))
	}
	fmt.Fprintf(&b, "\n%s, seed %d: %d renewals acknowledged, %d of them under kill -9 and crashes of databases; %d faults; %d violations (%s); controls that found nothing: %d.\n",
		r.began.Format("2006-01-02"), r.seed, renewed, counted, injected, violations, strings.Join(each, ", "), len(r.missing))
	return b.String()
}
