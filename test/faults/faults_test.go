//go:build linux

package main

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage/storagetest"
)

// The tool against the real program, for half a minute: everything at once, and two
// programs that are wrong on purpose.
func TestFaults(t *testing.T) {
	needPostgres(t)
	dir, err := os.MkdirTemp("", "grantor-faults-") //nolint:usetesting // t.TempDir is closed to PostgreSQL's user
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	w, err := newWorld(t.Context(), filepath.Join("..", ".."), dir, "", 5, false)
	require.NoError(t, err)
	t.Cleanup(w.close)
	const seed = 1
	chosen := choose("everything")
	require.Len(t, chosen, 1)
	f := chosen[0]
	r, err := w.play(t.Context(), f, nil, seed, quantity{duration: 6 * time.Second, injections: 4})
	require.NoError(t, err)
	r.tell(t.Output())
	for _, v := range r.violations {
		t.Errorf("%s grant %s, line %d: %s", v.Invariant, v.Grant, v.Line, v.Text)
	}
	require.Greater(t, r.acked, 100)
	if t.Failed() {
		keep(t, r.journal)
	}
	for _, c := range []*control{uncommit, falseRefusal, again} {
		// As many requests as an idle machine makes: a busy one makes few in the time, and not all are what a control spoils.
		r, err := w.play(t.Context(), f, c, seed, quantity{duration: 1500 * time.Millisecond, injections: 2, requests: 1500})
		require.NoError(t, err)
		r.tell(t.Output())
		require.NotZero(t, r.caught(c), "the checker did not notice %s", c.name)
	}
}

// keep leaves a journal where somebody can read it.
func keep(t *testing.T, journal string) {
	text, err := os.ReadFile(journal)
	require.NoError(t, err)
	file, err := os.CreateTemp("", "grantor-faults-*.jsonl") //nolint:usetesting // it stays
	require.NoError(t, err)
	_, err = file.Write(text)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	t.Logf("the journal is in %s", file.Name())
}

func needPostgres(t *testing.T) {
	t.Helper()
	storagetest.NeedPostgres(t)
	if testing.Short() {
		t.Skip("takes half a minute")
	}
}

// Every fault is there to be noticed.
func TestFaults_have_controls(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range faults() {
		require.False(t, seen[f.name], f.name)
		seen[f.name] = true
		require.NotEmpty(t, f.controls, f.name)
		require.NotEmpty(t, f.about, f.name)
		for _, c := range f.controls {
			require.NotEmpty(t, c.expects, c.name)
			require.True(t, c.blind || c.tamper != nil || c.sabotage != nil || c.onSchema != "", "%s does nothing", c.name)
		}
	}
}

// story is a journal in which one thing happens after the other, unless a line says
// how long it takes.
func story(events ...event) []event {
	for i := range events {
		e := &events[i]
		e.Line, e.Begin = i+1, int64(i)*1000+e.Begin
		e.End += e.Begin + 500
		if e.Grant == "" {
			e.Grant = "g"
		}
		if e.Got > 0 && e.Token == "" {
			e.Token = e.Grant + string(rune('a'+e.Got))
		}
		if e.Class != unknown && e.Status == 0 {
			e.Status = 200
			if e.Class == refused {
				e.Status = 400
				if e.Error == "" {
					e.Error = "invalid_grant"
				}
			}
		}
	}
	return events
}

var (
	begun   = event{Op: opLogin, Class: ok, Got: 1}
	second  = event{Op: opRefresh, Class: ok, Shown: 1, Got: 2}
	third   = event{Op: opRefresh, Class: ok, Shown: 2, Got: 3}
	lost    = event{Op: opRefresh, Class: unknown, Shown: 1, Cause: "connection lost"}
	denied  = event{Op: opRefresh, Class: refused, Shown: 1}
	revoked = event{Op: opRevoke, Class: ok}
	dead    = event{Op: opIntrospect, Class: ok}
	alive   = event{Op: opIntrospect, Class: ok, Active: true}

	redeemed  = event{Op: opRedeem, Class: ok, Got: 1}
	codeLost  = event{Op: opRedeem, Class: unknown, Cause: "connection lost"}
	codeSpent = event{Op: opRedeem, Class: refused}
)

func with(e event, change func(*event)) event {
	change(&e)
	return e
}

// What the checker must say, and must not say, of journals whose truth is plain.
func TestCheck(t *testing.T) {
	t.Parallel()
	long := func(e *event) { e.End = 4_000_000 }
	for name, tt := range map[string]struct {
		events []event
		rules  rules
		want   []invariant
	}{
		"a quiet life":                     {events: []event{begun, second, alive, third, revoked, dead, with(denied, func(e *event) { e.Shown = 3 })}},
		"a lost answer comes again":        {events: []event{begun, lost, second, third}},
		"two tabs":                         {events: []event{begun, second, second, third}},
		"a spent token ends it":            {events: []event{begun, second, third, {Op: opReplay, Class: refused, Shown: 1}, dead}},
		"an unknown revocation happened":   {events: []event{begun, {Op: opRevoke, Class: unknown}, dead}},
		"an unknown revocation did not":    {events: []event{begun, {Op: opRevoke, Class: unknown}, alive, second}},
		"refused while it is being ended":  {events: []event{begun, with(revoked, long), denied}},
		"renewed while it is being ended":  {events: []event{begun, with(revoked, long), second}},
		"two texts of a generation":        {[]event{begun, second, with(second, func(e *event) { e.Token = "other" })}, rules{}, []invariant{oneLive}},
		"a generation was left out":        {[]event{begun, with(second, func(e *event) { e.Got = 3 })}, rules{}, []invariant{oneLive}},
		"a spent token was honoured":       {[]event{begun, second, third, second}, rules{}, []invariant{oneLive}},
		"a thief was served":               {[]event{begun, second, third, {Op: opReplay, Class: ok, Shown: 1, Got: 2}}, rules{}, []invariant{oneLive}},
		"locked out":                       {[]event{begun, denied}, rules{}, []invariant{nothing}},
		"locked out after a lost answer":   {[]event{begun, lost, denied}, rules{}, []invariant{recovers}},
		"an unknown revocation came back":  {[]event{begun, {Op: opRevoke, Class: unknown}, dead, alive}, rules{}, []invariant{noReturn}},
		"revoked and renewed":              {[]event{begun, revoked, second}, rules{}, []invariant{noReturn}},
		"revoked and active":               {[]event{begun, revoked, alive}, rules{}, []invariant{noReturn}},
		"a thief's session goes on":        {[]event{begun, second, third, {Op: opReplay, Class: refused, Shown: 1}, {Op: opRefresh, Class: ok, Shown: 3, Got: 4}}, rules{}, []invariant{noReturn}},
		"inactive without reason":          {[]event{begun, dead}, rules{}, []invariant{honest}},
		"500":                              {[]event{begun, with(lost, func(e *event) { e.Status, e.Retry = 500, true })}, rules{}, []invariant{honest}},
		"503 without Retry-After":          {[]event{begun, with(lost, func(e *event) { e.Status = 503 })}, rules{}, []invariant{honest}},
		"503":                              {events: []event{begun, with(lost, func(e *event) { e.Status, e.Retry = 503, true })}},
		"invalid_client":                   {[]event{begun, with(denied, func(e *event) { e.Error, e.Status = "invalid_client", 401 }), second}, rules{}, []invariant{honest, nothing}},
		"a sign-in was refused":            {[]event{with(begun, func(e *event) { e.Class, e.Got = refused, 0 })}, rules{}, []invariant{honest}},
		"200 without tokens":               {[]event{begun, with(second, func(e *event) { e.Wrong, e.Got = "200 without tokens", 0 })}, rules{}, []invariant{oneLive, honest}},
		"somebody else's token":            {[]event{begun, with(second, func(e *event) { e.Wrong = "a token of another session" })}, rules{}, []invariant{noMixup}},
		"one token for two":                {[]event{begun, with(begun, func(e *event) { e.Grant, e.Token = "h", "gb" })}, rules{}, []invariant{noMixup}},
		"no answer":                        {[]event{begun, with(lost, func(e *event) { e.Cause = timedOut })}, rules{}, []invariant{honest}},
		"no answer from a stopped replica": {events: []event{begun, with(lost, func(e *event) { e.Cause = timedOut })}, rules: rules{stopped: true}},
		"a late answer":                    {[]event{begun, with(second, func(e *event) { e.End = 6_000_000 })}, rules{}, []invariant{honest}},
		"a failure in a planned restart":   {[]event{begun, lost}, rules{flawless: true}, []invariant{honest}},
		"a key that nobody knows":          {[]event{begun, {Op: opVerify, Class: ok, Wrong: "0 keys"}}, rules{}, []invariant{verifies}},
		"a code":                           {events: []event{redeemed, second}},
		"a code, shown twice at once":      {events: []event{with(redeemed, long), codeSpent, second}},
		"a lost answer to a code":          {events: []event{codeLost, codeSpent}},
		"a code honoured twice":            {[]event{redeemed, redeemed}, rules{}, []invariant{once}},
		"a code refused at once":           {[]event{codeSpent}, rules{}, []invariant{nothing}},
		"a code refused, clocks differ":    {events: []event{codeSpent}, rules: rules{skewed: true}},
		"a clock set amid a replay":        {events: []event{begun, second, third, {Op: markInject}, {Op: opReplay, Class: refused, Shown: 1}, {Op: opRefresh, Class: ok, Shown: 3, Got: 4}}, rules: rules{clocked: true}},
		"a page too old":                   {[]event{{Op: opAuthorize, Class: refused, Status: 400}}, rules{}, []invariant{honest}},
		"a page too old, clocks differ":    {events: []event{{Op: opAuthorize, Class: refused, Status: 400}}, rules: rules{skewed: true}},
		"asked to sign in again":           {[]event{{Op: opAuthorize, Class: refused, Error: "login_required"}}, rules{}, []invariant{honest}},
		"an account that is being ended":   {events: []event{{Op: opTry, Class: refused, Error: "invalid_client", Status: 401}}},
		"signed in after the end":          {[]event{{Op: opReturn}}, rules{}, []invariant{noReturn}},
		"a schema half done":               {[]event{{Op: opRemains}}, rules{}, []invariant{noOrphans}},
		"healthz":                          {[]event{{Op: opProbe}}, rules{}, []invariant{honest}},
		"never served again":               {[]event{begun, {Op: markLift, By: "r1"}}, rules{}, []invariant{selfHeals}},
		"served again":                     {events: []event{begun, {Op: markLift, By: "r1"}, with(second, func(e *event) { e.By = "r1" })}, rules: rules{heal: time.Second}},
		"served again too late":            {[]event{begun, {Op: markLift, By: "r1"}, with(second, func(e *event) { e.By = "r1"; e.Begin = 2_000_000 })}, rules{heal: time.Second}, []invariant{selfHeals}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.rules.window == 0 {
				tt.rules.window = 10 * time.Second
			}
			f := check(story(tt.events...), tt.rules)
			for _, i := range invariants {
				if !contains(tt.want, i) {
					require.Zero(t, f.of(i), "%+v", f.violations)
				} else {
					require.NotZero(t, f.of(i), "%s of %+v", i, f.violations)
				}
			}
		})
	}
}

func contains(list []invariant, one invariant) bool {
	for _, i := range list {
		if i == one {
			return true
		}
	}
	return false
}

// A session whose last answer was lost for longer than the window is ended as
// documented, and counted.
func TestCheck_knows_the_window(t *testing.T) {
	t.Parallel()
	f := check(story(begun, lost, with(denied, func(e *event) { e.Begin = 11_000_000 })), rules{window: 10 * time.Second})
	require.Empty(t, f.violations)
	require.Equal(t, 1, f.late)
}

func TestAudit(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		events []event
		rows   []row
		want   []invariant
	}{
		"as acknowledged":            {events: []event{begun, second}, rows: []row{{id: "g", generation: 2}}},
		"one ahead":                  {events: []event{begun, lost}, rows: []row{{id: "g", generation: 2}}},
		"two ahead":                  {[]event{begun, lost}, []row{{id: "g", generation: 3}}, []invariant{oneLive}},
		"behind":                     {[]event{begun, second}, []row{{id: "g", generation: 1}}, []invariant{nothing}},
		"gone":                       {[]event{begun}, nil, []invariant{nothing}},
		"ended":                      {events: []event{begun, revoked}, rows: []row{{id: "g", generation: 1, revoked: true}}},
		"ended by nobody":            {[]event{begun}, []row{{id: "g", generation: 1, revoked: true}}, []invariant{nothing}},
		"live although ended":        {[]event{begun, revoked}, []row{{id: "g", generation: 1}}, []invariant{noReturn}},
		"a login that got no answer": {events: []event{{Op: opLogin, Class: unknown, Grant: "?"}}, rows: []row{{id: "h", generation: 1}}},
		"a row of nobody":            {[]event{begun}, []row{{id: "g", generation: 1}, {id: "h", generation: 1}}, []invariant{noOrphans}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := check(story(tt.events...), rules{window: time.Second})
			f.audit(tt.rows)
			for _, i := range invariants {
				require.Equal(t, contains(tt.want, i), f.of(i) > 0, "%s: %+v", i, f.violations)
			}
		})
	}
}

// The checker reads tokens by itself, and as their maker does.
func TestReadRefresh(t *testing.T) {
	t.Parallel()
	codec, err := grants.NewCodec([]grants.Key{{ID: [4]byte{1}, Secret: bytes.Repeat([]byte{7}, 32)}})
	require.NoError(t, err)
	id, err := grants.NewID(rand.Reader)
	require.NoError(t, err)
	got, err := readRefresh(codec.Mint(grants.Refresh, id, 77))
	require.NoError(t, err)
	require.EqualValues(t, 77, got.generation)
	for _, wrong := range []string{"", codec.Mint(grants.Code, id, 1), got.text[1:]} {
		_, err := readRefresh(wrong)
		require.Error(t, err)
	}
}

// The table takes the place of the last one, and the rest of the page stays.
func TestReport(t *testing.T) {
	t.Parallel()
	f := faults()[0]
	good := &result{fault: f, injected: 3, finding: check(story(begun, second), rules{window: time.Second})}
	bad := &result{fault: f, control: "uncommit", finding: check(story(begun, denied), rules{window: time.Second})}
	page := filepath.Join(t.TempDir(), "page.md")
	require.NoError(t, os.WriteFile(page, []byte("before\n"+tableBegins+"old\n"+tableEnds+"after\n"), 0o600))
	r := &report{seed: 7, played: []*result{good, bad}}
	require.NoError(t, r.write(page))
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Contains(t, string(text), "before\n"+tableBegins+"| fault |")
	require.Contains(t, string(text), "| `"+f.name+"` |")
	require.Contains(t, string(text), "| uncommit: 1 (INV2 1) |")
	require.NotContains(t, string(text), "old")
	require.True(t, strings.HasSuffix(string(text), tableEnds+"after\n"))
	require.NoError(t, r.err(), "what a control finds is no fault of the program")
	r.missing = []string{"x"}
	require.Error(t, r.err())
	r.missing, good.violations = nil, bad.violations
	require.Error(t, r.err())
}

// A statement is refused only as a whole, and only where PostgreSQL waits for one.
func TestLink_refuses_whole_statements(t *testing.T) {
	t.Parallel()
	bind, execute, sync := "B\x00\x00\x00\x06ab", "E\x00\x00\x00\x09\x00\x00\x00\x00\x00", "S\x00\x00\x00\x04"
	for question, want := range map[string]bool{
		bind + execute + sync: true, bind + execute + bind + execute + sync: true,
		"": false, sync: false, bind + sync: false, bind + execute: false, execute + sync + execute + sync: false, (bind + execute + sync)[1:]: false, "Q\x00\x00\x00\x05\x00": false,
	} {
		require.Equal(t, want, executes([]byte(question)), "%q", question)
	}
	l := &link{chance: newDice(1, 1)}
	answer, _ := l.refuse([]byte(bind + execute + sync))
	require.Nil(t, answer)
	l.refuseOne.Store(1)
	for _, code := range []string{"57P01", "53100"} {
		l.codes.Store(&[]string{code})
		answer, ends := l.refuse([]byte(bind + execute + sync))
		require.Contains(t, string(answer), "C"+code+"\x00")
		require.Equal(t, code == "57P01", ends)
		require.Equal(t, !ends, endsIdle(answer))
	}
}

// A journal is read as it was written, and holds no token.
func TestJournal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	j, err := newJournal(path)
	require.NoError(t, err)
	want := story(begun, second, alive)
	for _, e := range want {
		j.write(e)
	}
	require.Equal(t, 1, j.refreshed())
	require.Equal(t, 3, j.answered())
	require.NoError(t, j.close())
	got, err := readJournal(path)
	require.NoError(t, err)
	require.Equal(t, want, got)
}
