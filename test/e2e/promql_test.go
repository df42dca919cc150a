package e2e_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// query is what a PromQL expression asks for. Prometheus' own parser brings hundreds of
// modules; what dashboards and alerts say needs a page of grammar.
type query struct {
	selectors []selector
	grouped   []grouping
}

// selector is a metric with its matchers.
type selector struct {
	metric   string
	matchers []matcher
	ranged   bool
}

type matcher struct{ label, op, value string }

// grouping is a list of labels, and where in selectors those stand that must have them.
type grouping struct {
	labels   []string
	from, to int
}

var promTokens = regexp.MustCompile(`^(?:\s+|("(?:[^"\\]|\\.)*")|((?:\d+(?:ms|[smhdwy]))+)|(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|([a-zA-Z_:][a-zA-Z0-9_:]*)|(==|!=|=~|!~|>=|<=|[-+*/%^<>=(){}\[\],]))`)

type promToken struct{ kind, text string } // kind: string, duration, number, name, op

type promParser struct {
	tokens []promToken
	query
}

// The functions by how many arguments they take; those of rangeFunctions want a range first.
var (
	promFunctions  = map[string]int{"rate": 1, "increase": 1, "histogram_quantile": 2, "time": 0, "absent": 1, "label_values": 2}
	rangeFunctions = []string{"rate", "increase"}
	promAggregates = []string{"sum", "min", "max", "avg", "count"}
)

// precedence: a later list binds more strongly.
var precedence = [][]string{{"or"}, {"and", "unless"}, {"==", "!=", ">", "<", ">=", "<="}, {"+", "-"}, {"*", "/", "%"}, {"^"}}

type promError string

func parsePromQL(text string) (q query, err error) {
	defer func() {
		if problem, ok := recover().(promError); ok {
			err = fmt.Errorf("%s: %s", text, problem)
		}
	}()
	p := &promParser{}
	for rest := text; rest != ""; {
		found := promTokens.FindStringSubmatch(rest)
		if found == nil {
			return q, fmt.Errorf("%s: unreadable at %q", text, rest)
		}
		for i, kind := range []string{"string", "duration", "number", "name", "op"} {
			if found[i+1] != "" {
				p.tokens = append(p.tokens, promToken{kind, found[i+1]})
			}
		}
		rest = rest[len(found[0]):]
	}
	if ranged := p.binary(0); ranged {
		p.fail("a range is no answer")
	}
	if len(p.tokens) > 0 {
		p.fail("goes on with %q", p.tokens[0].text)
	}
	return p.query, nil
}

func (p *promParser) fail(format string, args ...any) { panic(promError(fmt.Sprintf(format, args...))) }

func (p *promParser) peek() promToken {
	if len(p.tokens) == 0 {
		return promToken{}
	}
	return p.tokens[0]
}

func (p *promParser) next() promToken {
	t := p.peek()
	if t.kind == "" {
		p.fail("ends too early")
	}
	p.tokens = p.tokens[1:]
	return t
}

func (p *promParser) take(text string) bool {
	if p.peek().text != text || p.peek().kind == "string" {
		return false
	}
	p.next()
	return true
}

func (p *promParser) want(text string) {
	if !p.take(text) {
		p.fail("%q is missing before %q", text, p.peek().text)
	}
}

// binary reports whether what it read is a range.
func (p *promParser) binary(level int) (ranged bool) {
	if level == len(precedence) {
		return p.unary()
	}
	start := len(p.selectors)
	ranged = p.binary(level + 1)
	for slices.Contains(precedence[level], p.peek().text) && p.peek().kind != "string" {
		p.next()
		for _, word := range []string{"on", "ignoring"} {
			if p.take(word) {
				p.grouped = append(p.grouped, grouping{p.names(), start, len(p.selectors)})
			}
		}
		if other := p.binary(level + 1); ranged || other {
			p.fail("a range can not be compared")
		}
	}
	return ranged
}

func (p *promParser) unary() bool {
	for p.take("-") || p.take("+") {
	}
	switch t := p.next(); {
	case t.kind == "number", t.kind == "string":
		return false
	case t.text == "(":
		ranged := p.binary(0)
		p.want(")")
		return ranged
	case t.kind != "name":
		p.fail("%q begins nothing", t.text)
	case slices.Contains(promAggregates, t.text):
		p.aggregate()
		return false
	case p.peek().text == "(":
		p.function(t.text)
		return false
	default:
		return p.selector(t.text)
	}
	return false
}

func (p *promParser) aggregate() {
	var labels []string
	by := func() {
		for _, word := range []string{"by", "without"} {
			if p.take(word) {
				labels = append(labels, p.names()...)
			}
		}
	}
	by()
	start := len(p.selectors)
	p.want("(")
	if p.binary(0) {
		p.fail("an aggregate of a range")
	}
	p.want(")")
	by()
	p.grouped = append(p.grouped, grouping{labels, start, len(p.selectors)})
}

func (p *promParser) names() (list []string) {
	p.want("(")
	for !p.take(")") {
		t := p.next()
		if t.kind != "name" {
			p.fail("%q is no label", t.text)
		}
		list = append(list, t.text)
		if !p.take(",") && p.peek().text != ")" {
			p.fail("%q in a list of labels", p.peek().text)
		}
	}
	return list
}

func (p *promParser) function(name string) {
	arguments, known := promFunctions[name]
	if !known {
		p.fail("no function %q", name)
	}
	p.want("(")
	for i := range arguments {
		if i > 0 {
			p.want(",")
		}
		if ranged := p.binary(0); ranged != slices.Contains(rangeFunctions, name) {
			p.fail("%s: a range where there should be none, or the other way round", name)
		}
	}
	p.want(")")
}

func (p *promParser) selector(metric string) bool {
	s := selector{metric: metric}
	if p.take("{") {
		for !p.take("}") {
			m := matcher{label: p.next().text, op: p.next().text}
			value := p.next()
			if value.kind != "string" || !slices.Contains([]string{"=", "!=", "=~", "!~"}, m.op) {
				p.fail("%s %s %s is no matcher", m.label, m.op, value.text)
			}
			m.value = strings.Trim(value.text, `"`)
			s.matchers = append(s.matchers, m)
			if !p.take(",") && p.peek().text != "}" {
				p.fail("%q in the matchers of %s", p.peek().text, metric)
			}
		}
	}
	if p.take("[") {
		if t := p.next(); t.kind != "duration" {
			p.fail("%q is no span of time", t.text)
		}
		p.want("]")
		s.ranged = true
	}
	p.selectors = append(p.selectors, s)
	return s.ranged
}

// A checker that takes everything would check nothing.
func TestPromQL_is_read(t *testing.T) {
	t.Parallel()
	q, err := parsePromQL(`sum by (route) (rate(a_total{status="503",route!~"/x|/y"}[5m])) / sum(b) > 2 * 3600 or absent(c)`)
	require.NoError(t, err)
	require.Equal(t, []selector{
		{"a_total", []matcher{{"status", "=", "503"}, {"route", "!~", "/x|/y"}}, true}, {"b", nil, false}, {"c", nil, false},
	}, q.selectors)
	require.Equal(t, grouping{[]string{"route"}, 0, 1}, q.grouped[0])
	for _, wrong := range []string{
		"", "sum(a", "sum(a))", "rate(a)", "sum(a[5m])", "a[5m]", "a{b=c}", `a{b="c"`, `a{b=>"c"}`, "a +", "a b", "unknown(a)", "rate(a[5m], b)", "a[x]", "histogram_quantile(a)", "sum by route (a)", "a $ b",
	} {
		_, err := parsePromQL(wrong)
		require.Error(t, err, wrong)
	}
}
