package main

import (
	"fmt"
	"strings"
)

// goal is what an operation on PostgreSQL must reach, as a ratio to the floor server
// (database: to the bare statement). 0 = none.
type goal struct {
	rate     float64 // at least
	cpu      float64 // at most
	database float64 // at most
}

// goalOf is by database and operation.
func goalOf(kind, operation string) goal {
	switch {
	case kind == sqlite && strings.HasPrefix(operation, "refresh/"):
		return goal{rate: sqliteRefreshGoal}
	case operation == "password" && kind == postgres:
		return goal{rate: 0.95} // of raw argon2id
	case kind == sqlite:
		return goal{}
	case operation == "client_credentials/jwt":
		return goal{rate: 0.75, cpu: 1.4}
	case operation == "client_credentials/opaque":
		return goal{rate: 0.60, cpu: 1.8}
	case operation == "refresh/jwt":
		return goal{rate: 0.70, cpu: 1.6, database: 1.15}
	case operation == "refresh/opaque":
		return goal{rate: 0.60, cpu: 1.8, database: 1.15}
	case strings.HasPrefix(operation, "code/"):
		return goal{rate: 0.65, cpu: 1.7, database: 1.2}
	case strings.HasPrefix(operation, "introspect/") && strings.HasSuffix(operation, "/garbage"):
		return goal{rate: 0.65, cpu: 1.6} // no statement
	case strings.HasPrefix(operation, "introspect/"), strings.HasPrefix(operation, "revoke/"):
		return goal{rate: 0.65, cpu: 1.6, database: 1.2}
	case operation == "discovery", operation == "jwks":
		return goal{rate: 0.85, cpu: 1.2}
	}
	return goal{}
}

const (
	// p99Goal is for every operation at half of its highest rate, to the floor server's.
	p99Goal = 3
	// On SQLite a refresh is held against bare commits of one row on the same file.
	sqliteRefreshGoal = 0.6
	replicasGoal      = 1.1  // of the CPU time of one replica, at four
	mixedGoal         = 2    // of p99 without logins
	turnedAwayGoal    = 100  // ms, 99 of 100: our reading of "quickly"
	growthGoal        = 0.85 // of the rate with the fewest sessions
	bytesGoal         = 450  // a session on disk, its indexes included
	hotGoal           = 0.99 // of updates
	housekeepingGoal  = 2    // of p99 without housekeeping
	housekeepingShare = 0.3  // of the renewals that go at most: what is offered beside housekeeping
)

// What vitals must reach, on either database.
const (
	binaryGoal  = 30  // MiB
	readyGoal   = 60  // ms
	idleGoal    = 32  // MiB
	loadedGoal  = 100 // MiB
	settledGoal = 48  // MiB
)

// verdict is one goal of the project, and what was measured.
type verdict struct {
	Goal     string  `json:"goal"`
	Wanted   float64 `json:"wanted"`
	AtLeast  bool    `json:"at_least"` // else at most
	Measured float64 `json:"measured"`
	Met      bool    `json:"met"`
}

// verdictList leaves out what was not measured.
type verdictList []verdict

func (l *verdictList) add(atLeast bool, measured, wanted float64, format string, args ...any) {
	if measured == 0 || wanted == 0 {
		return
	}
	*l = append(*l, verdict{fmt.Sprintf(format, args...), wanted, atLeast, measured, (measured >= wanted) == atLeast || measured == wanted})
}

func (l *verdictList) atLeast(measured, wanted float64, format string, args ...any) {
	l.add(true, measured, wanted, format, args...)
}

func (l *verdictList) atMost(measured, wanted float64, format string, args ...any) {
	l.add(false, measured, wanted, format, args...)
}

// verdicts are all goals of which something was measured.
func (r *report) verdicts() (l verdictList) {
	for _, d := range r.Databases {
		for _, res := range d.Results {
			q, g := ratiosOf(d.Kind, res), goalOf(d.Kind, res.Operation)
			l.atLeast(q.rate, g.rate, "%s, %s: requests/s ÷ %s", d.Kind, res.Operation, against(d.Kind, res))
			l.atMost(q.cpu, g.cpu, "%s, %s: server CPU ÷ floor", d.Kind, res.Operation)
			l.atMost(q.database, g.database, "%s, %s: database CPU ÷ bare statement", d.Kind, res.Operation)
			l.atMost(q.p99, p99Goal, "%s, %s: p99 at half the rate ÷ floor", d.Kind, res.Operation)
		}
		for _, one := range d.Replicas {
			if one.Replicas == mostReplicas {
				l.atMost(ratio(one.Samples, d.Replicas[0].Samples, allOf), replicasGoal, "%s, %d replicas, %d clients: CPU ÷ one replica", d.Kind, one.Replicas, one.Clients)
			}
		}
		if m := d.Mixed; m != nil {
			for _, base := range m.Base {
				l.atMost(ratio(base.With, base.Without, p99Of), mixedGoal, "%s, mixed load: p99 of %s with logins ÷ without", d.Kind, base.Operation)
			}
			l.atMost(m.storm(func(s stormSample) float64 { return s.TurnedP99 })/1000, turnedAwayGoal, "%s, mixed load: 99 %% of what is turned away within, ms", d.Kind)
		}
		if v := d.Vitals; v != nil {
			for _, row := range v.rows() {
				l.atMost(row.measured, row.goal, "%s, %s, %s", d.Kind, row.name, row.unit)
			}
		}
	}
	if r.Growth != nil {
		r.Growth.verdicts(&l)
	}
	return l
}

func (g *growthResult) verdicts(l *verdictList) {
	for _, s := range g.Sizes {
		if s == g.Sizes[0] {
			continue
		}
		l.atLeast(ratio(s.Refresh, g.Sizes[0].Refresh, rateOf), growthGoal, "growth to %d sessions: renewals/s ÷ at %d", s.Grants, g.Sizes[0].Grants)
		l.atLeast(ratio(s.Introspect, g.Sizes[0].Introspect, rateOf), growthGoal, "growth to %d sessions: introspections/s ÷ at %d", s.Grants, g.Sizes[0].Grants)
	}
	if a := g.Aged; a != nil {
		l.atMost(a.Table.perRow(a.Table.Table+a.Table.indexes()), bytesGoal, "bytes of a session after %d renewals", a.Laps)
		l.atLeast(a.Table.hotShare(), hotGoal, "share of HOT updates after %d renewals", a.Laps)
	}
	if h := g.Housekeeping; h != nil {
		l.atMost(h.ratio(), housekeepingGoal, "p99 of renewals while %d sessions are deleted ÷ without", h.Expired)
	}
}

// ratio is of medians: steps beside housekeeping have no partner without.
func (h *housekeepingResult) ratio() float64 {
	without := median(h.Without, p99Of)
	if without == 0 {
		return 0
	}
	return median(h.With, p99Of) / without
}

// storm is the median of the storms.
func (m *mixedResult) storm(of func(stormSample) float64) float64 {
	values := make([]float64, len(m.Storms))
	for i, s := range m.Storms {
		values[i] = of(s)
	}
	return middle(values)
}

// ratios are those that the goals speak of; 0 = not measured.
type ratios struct{ rate, cpu, database, p99 float64 }

func ratiosOf(kind string, res *result) ratios {
	q := ratios{
		rate: ratio(res.Grantor, res.Floor, rateOf), cpu: ratio(res.Grantor, res.Floor, serverOf),
		database: ratio(res.Grantor, res.Bare, databaseOf), p99: ratio(res.HalfGrantor, res.HalfFloor, p99Of),
	}
	switch {
	case len(res.Raw) > 0:
		q.rate, q.database = ratio(res.Grantor, res.Raw, rateOf), 0 // its second statement has no match
	case kind == sqlite:
		q.rate = ratio(res.Grantor, res.Bare, rateOf)
	}
	return q
}

// against says what the rate of an operation is held against.
func against(kind string, res *result) string {
	switch {
	case len(res.Raw) > 0:
		return "raw argon2id"
	case kind == sqlite:
		return "bare commits"
	}
	return "floor"
}
