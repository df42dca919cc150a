package doctor

import "fmt"

// Grade is how bad it is.
type Grade string

// The grades. Only Fail makes `grantor doctor` fail.
const (
	OK   Grade = "ok"
	Warn Grade = "warn" // safe as long as something else is, or weaker than it could be
	Fail Grade = "fail" // broken, or open to an attack
	Skip Grade = "skip" // not looked at; the finding says why
)

// Finding is what one check found, about one subject if there are several.
type Finding struct {
	Check   string `json:"check"`
	Grade   Grade  `json:"grade"`
	Finding string `json:"finding"`
	Hint    string `json:"hint,omitempty"`    // what to do
	Subject string `json:"subject,omitempty"` // a client, a file, a setting
}

// chart collects findings while the checks run in whatever order suits them.
type chart struct {
	found   map[string][]Finding
	reasons map[Group]string // why what is missing was not looked at
	subject string
}

func newChart() *chart { return &chart{found: map[string][]Finding{}, reasons: map[Group]string{}} }

// of is the same chart for findings about a subject.
func (c *chart) of(subject string) *chart {
	return &chart{found: c.found, reasons: c.reasons, subject: subject}
}

func (c *chart) add(check string, grade Grade, hint, format string, args ...any) {
	c.found[check] = append(c.found[check], Finding{Check: check, Grade: grade, Finding: fmt.Sprintf(format, args...), Hint: hint, Subject: c.subject})
}

func (c *chart) fail(check, hint, format string, args ...any) {
	c.add(check, Fail, hint, format, args...)
}

func (c *chart) warn(check, hint, format string, args ...any) {
	c.add(check, Warn, hint, format, args...)
}

func (c *chart) good(check, format string, args ...any) { c.add(check, OK, "", format, args...) }

func (c *chart) skip(check, format string, args ...any) { c.add(check, Skip, "", format, args...) }

// settle calls those checks good that found nothing: for who has looked at all there is.
func (c *chart) settle(checks ...string) {
	for _, check := range checks {
		if len(c.found[check]) > 0 {
			continue
		}
		for _, known := range Checks() {
			if known.Name == check {
				c.good(check, "%s", known.Good)
			}
		}
	}
}

func (c *chart) has(check string, grade Grade) bool {
	for _, f := range c.found[check] {
		if f.Grade == grade {
			return true
		}
	}
	return false
}

// stopGroup says why the rest of a group will not be looked at. The first reason stays.
func (c *chart) stopGroup(g Group, reason string) {
	if c.reasons[g] == "" {
		c.reasons[g] = reason
	}
}

func (c *chart) stop(reason string) {
	for _, g := range Groups() {
		c.stopGroup(g, reason)
	}
}

// stopDatabase is for all that the database would have told.
func (c *chart) stopDatabase(reason string) {
	for _, g := range []Group{Inside, Secrets, Clients} {
		c.stopGroup(g, reason)
	}
}

// findings are in the order of the catalogue. A check without a finding was not run.
func (c *chart) findings() []Finding {
	var list []Finding
	for _, check := range Checks() {
		found := c.found[check.Name]
		if len(found) == 0 {
			reason := c.reasons[check.Group]
			if reason == "" {
				reason = "it was not looked at"
			}
			found = []Finding{{Check: check.Name, Grade: Skip, Finding: reason}}
		}
		list = append(list, found...)
	}
	return list
}
