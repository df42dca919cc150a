package audit_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/grantorhq/grantor/audit"
)

var (
	born = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	key  = audit.Key{ID: "k1", Secret: []byte("the secret of this server")}
)

// history is a log that is written and sealed in some order.
type history struct {
	events map[int64]audit.Event // committed
	open   []int64               // numbers that are taken, and not committed
	next   int64
	seals  []audit.Seal
	now    time.Time
}

func newHistory() *history { return &history{events: map[int64]audit.Event{}, now: born, next: 1} }

func (h *history) commit(number int64) {
	h.events[number] = audit.Event{Number: number, At: h.now, Name: "session.begun", ClientID: "app", UserID: "alice", Session: []byte{1, 2}, Detail: "code: read"}
}

func (h *history) last() (last audit.Seal) {
	if n := len(h.seals); n > 0 {
		last = h.seals[n-1]
	}
	return last
}

// sorted are the events that choose says yes to, by number.
func (h *history) sorted(choose func(int64) bool) (list []audit.Event) {
	for n, e := range h.events {
		if choose(n) {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b audit.Event) int { return int(a.Number - b.Number) })
	return list
}

func (h *history) seal() {
	last := h.last()
	list := h.sorted(func(n int64) bool {
		return n > last.Reached || slices.ContainsFunc(last.Waiting, func(w audit.Wait) bool { return w.From <= n && n <= w.To })
	})
	if len(list) > 0 {
		h.seals = append(h.seals, audit.Next(last, list, h.now, key))
	}
}

func (h *history) verify(v audit.Verifier) audit.Report {
	if v.Keys == nil {
		v.Keys = []audit.Key{key}
	}
	reached := int64(0)
	for _, s := range h.seals {
		v.Seal(s, h.sorted(func(n int64) bool {
			return n > reached && n <= s.Reached || slices.ContainsFunc(s.Events, func(r audit.Range) bool { return r.From <= n && n <= r.To })
		}))
		reached = max(reached, s.Reached)
	}
	v.Unsealed(h.sorted(func(n int64) bool { return n > reached }))
	return v.End()
}

// draw writes some events, late ones and ones that never come, and seals now and then.
func draw(t *rapid.T) *history {
	h := newHistory()
	for range rapid.IntRange(5, 60).Draw(t, "steps") {
		switch rapid.IntRange(0, 5).Draw(t, "step") {
		case 0, 1:
			h.commit(h.next)
			h.next++
		case 2: // begins to be written
			h.open = append(h.open, h.next)
			h.next++
		case 3: // commits, within its deadline
			if len(h.open) > 0 {
				i := rapid.IntRange(0, len(h.open)-1).Draw(t, "which")
				h.commit(h.open[i])
				h.open = slices.Delete(h.open, i, i+1)
			}
		case 4:
			h.now = h.now.Add(time.Second)
			h.seal()
		case 5: // whatever is open was rolled back long ago
			h.open = nil
			h.now = h.now.Add(2 * audit.Patience)
		}
	}
	h.commit(h.next)
	h.seal()
	return h
}

func TestVerifier_accepts_what_was_sealed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := draw(t)
		report := h.verify(audit.Verifier{})
		require.Empty(t, report.Problems)
		require.EqualValues(t, len(h.events), report.Events, "each is in exactly one seal")
		require.Zero(t, report.Unsealed)
		require.Equal(t, h.last().Number, report.Head)

		some := h.seals[rapid.IntRange(0, len(h.seals)-1).Draw(t, "written down")]
		require.Empty(t, h.verify(audit.Verifier{Expect: some.Number, ExpectHash: some.Hash}).Problems)
		require.EqualValues(t, len(h.seals), h.verify(audit.Verifier{Keys: []audit.Key{}, Retired: []string{key.ID}}).Foreign)
		require.Empty(t, h.verify(audit.Verifier{Keys: []audit.Key{}, Retired: []string{key.ID}}).Problems)
		require.Len(t, h.verify(audit.Verifier{Keys: []audit.Key{}}).Problems, 1, "a key that nobody named")
	})
}

// Whatever is done to one event or one seal is a problem.
func TestVerifier_finds_every_change(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := draw(t)
		at := rapid.IntRange(0, len(h.seals)-1).Draw(t, "seal")
		s := &h.seals[at]
		number := s.Events[0].From
		expect := audit.Verifier{Expect: h.last().Number, ExpectHash: h.last().Hash}
		what := rapid.SampledFrom([]string{
			"removed", "client", "user", "session", "address", "detail", "actor", "name", "time", "moved", "put in", "seal removed", "seal time", "seal events", "seal waiting", "seal made again", "end cut off",
		}).Draw(t, "what")
		e := h.events[number]
		switch what {
		case "removed":
			delete(h.events, number)
		case "client":
			e.ClientID = "other"
		case "user":
			e.ClientID, e.UserID = e.ClientID+e.UserID[:1], e.UserID[1:] // the same text, cut elsewhere
		case "session":
			e.Session = nil
		case "address":
			e.Address = "10.0.0.1"
		case "detail":
			e.Detail += " "
		case "actor":
			e.Actor = "psql"
		case "name":
			e.Name = "session.ended"
		case "time":
			e.At = e.At.Add(time.Microsecond)
		case "moved":
			delete(h.events, number)
			e.Number = h.next + 1
			number = e.Number
		case "put in":
			gap := int64(0)
			for n := int64(1); n <= s.Reached; n++ {
				if _, ok := h.events[n]; !ok && !slices.ContainsFunc(h.last().Waiting, func(w audit.Wait) bool { return w.From <= n && n <= w.To }) {
					gap = n
				}
			}
			if gap == 0 {
				t.Skip("no number is free")
			}
			h.commit(gap)
		case "seal removed":
			h.seals = slices.Delete(h.seals, at, at+1)
		case "seal time":
			s.At = s.At.Add(time.Microsecond)
		case "seal events":
			s.Events = append(slices.Clone(s.Events), audit.Range{From: h.next + 5, To: h.next + 5})
		case "seal waiting":
			s.Waiting = append(slices.Clone(s.Waiting), audit.Wait{Range: audit.Range{From: 1, To: 1}})
		case "seal made again": // by who has the database alone
			e.Detail = "nothing"
			h.events[number] = e
			again := newHistory()
			again.events, again.seals = h.events, slices.Clone(h.seals[:at])
			for i, old := range h.seals[at:] {
				own := h.sorted(func(n int64) bool {
					return slices.ContainsFunc(old.Events, func(r audit.Range) bool { return r.From <= n && n <= r.To })
				})
				made := audit.Next(again.last(), own, old.At, audit.Key{ID: key.ID, Secret: []byte("a guess")})
				require.Equal(t, old.Number, made.Number, i)
				again.seals = append(again.seals, made)
			}
			h = again
			expect = audit.Verifier{}
		case "end cut off":
			h.seals = h.seals[:len(h.seals)-1]
		}
		if _, there := h.events[number]; there || what == "moved" {
			h.events[number] = e
		}
		require.NotEmpty(t, h.verify(expect).Problems, what)
	})
}

func TestVerifier_names_the_event_that_was_changed(t *testing.T) {
	t.Parallel()
	h := newHistory()
	for range 5 {
		h.commit(h.next)
		h.next++
	}
	h.seal()
	e := h.events[4]
	e.UserID = "mallory"
	h.events[4] = e
	require.Equal(t, []string{"event 4 was changed"}, h.verify(audit.Verifier{}).Problems)
	delete(h.events, 2)
	delete(h.events, 3)
	require.Contains(t, h.verify(audit.Verifier{}).Problems[0], "event 2 to 3 were removed")
}

// What is pruned is told by an event that only this server can write.
func TestVerifier_wants_to_be_told_of_pruning(t *testing.T) {
	t.Parallel()
	pruned := func(detail string) *history {
		h := newHistory()
		for range 6 {
			h.commit(h.next)
			h.next++
			h.seal()
		}
		h.commit(h.next)
		e := h.events[h.next]
		e.Name, e.Detail = audit.EventPruned, detail
		h.events[h.next] = e
		h.seal()
		for n := int64(1); n <= 3; n++ {
			delete(h.events, n)
		}
		h.seals = h.seals[3:]
		return h
	}
	full := newHistory()
	for range 3 {
		full.commit(full.next)
		full.next++
		full.seal()
	}
	told, err := audit.Prune(full.seals[2], key)
	require.NoError(t, err)
	require.Empty(t, pruned(told).verify(audit.Verifier{}).Problems)

	forged, err := audit.Prune(full.seals[2], audit.Key{ID: key.ID, Secret: []byte("a guess")})
	require.NoError(t, err)
	other, err := audit.Prune(full.seals[1], key)
	require.NoError(t, err)
	for _, detail := range []string{"", forged, other} {
		require.NotEmpty(t, pruned(detail).verify(audit.Verifier{}).Problems, detail)
	}
}

func TestVerifier_is_bounded_by_what_a_seal_may_hold(t *testing.T) {
	t.Parallel()
	h := newHistory()
	h.commit(1)
	h.seal()
	for _, r := range []audit.Range{{From: 1, To: 1 << 62}, {From: 9, To: 1}, {From: math.MaxInt64, To: math.MaxInt64}, {From: math.MinInt64, To: math.MaxInt64}, {From: 0, To: 1}} {
		h.seals[0].Events = []audit.Range{r}
		require.NotEmpty(t, h.verify(audit.Verifier{}).Problems)
	}
}

func TestParseHash(t *testing.T) {
	t.Parallel()
	want := audit.Hash{1, 2, 3}
	got, err := audit.ParseHash(want.String())
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, bad := range []string{"", "AAAA", want.String() + "A", "!"} {
		_, err := audit.ParseHash(bad)
		require.Error(t, err, bad)
	}
}
