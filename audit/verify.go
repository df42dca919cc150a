package audit

import (
	"bytes"
	"crypto/hmac"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Verifier reads a chain from its first seal to its last: Seal for each, then Unsealed, then
// End.
type Verifier struct {
	Keys    []Key    // that may have made it
	Retired []string // ids of keys that are gone, and that were ours: of their seals only the chain is checked
	// Expect is a seal that was written down elsewhere, to be found again; zero: none.
	Expect     int64
	ExpectHash Hash

	last     Seal
	begun    bool
	start    Seal // what must have been pruned, if the chain does not begin with seal 1
	pruned   bool
	events   int64
	unsealed int64
	absent   int64              // numbers that were never seen
	waiting  map[int64]struct{} // numbers that were there before any seal had them
	foreign  int64              // seals of retired keys
	unknown  map[string]Range   // seals of other keys
	expected bool
	problems []string
}

// Report is what a chain looks like.
type Report struct {
	Seals    int64     `json:"seals"`
	Events   int64     `json:"events"`   // sealed
	Unsealed int64     `json:"unsealed"` // too new to be sealed, or there is no server to do it
	Absent   int64     `json:"absent"`   // numbers that were rolled back, or skipped when the database crashed
	Foreign  int64     `json:"foreign"`  // seals of retired keys: only their hashes were checked
	Head     int64     `json:"head"`     // number of the last seal, to be written down elsewhere
	Hash     string    `json:"hash"`
	At       time.Time `json:"at"`
	Problems []string  `json:"problems"` // none: nothing was removed or changed
}

// mostProblems bounds the report of a log that was destroyed.
const mostProblems = 100

func (v *Verifier) problem(format string, args ...any) {
	if len(v.problems) < mostProblems {
		v.problems = append(v.problems, fmt.Sprintf(format, args...))
	}
}

// Seal checks the next seal. events are those that are there now, in the order of their
// numbers: its own, and all above what the seal before reached up to what it reached.
func (v *Verifier) Seal(s Seal, events []Event) {
	if v.waiting == nil {
		v.waiting = make(map[int64]struct{})
	}
	switch {
	case !v.begun:
		v.start = Seal{Number: s.Number - 1, Hash: s.Previous}
	case s.Number != v.last.Number+1:
		v.problem("seal %s removed", span(v.last.Number+1, s.Number-1))
	case s.Previous != v.last.Hash:
		v.problem("seal %d does not follow from seal %d: one of them was replaced", s.Number, v.last.Number)
	}
	v.begun = true
	if s.Number == v.Expect {
		v.expected = true
		if s.Hash != v.ExpectHash {
			v.problem("seal %d is not the one that was written down: the log was made again", s.Number)
		}
	}
	own := v.own(s, events)
	v.whole(s, own)
	v.authentic(s)
	v.hear(events)
	v.events += int64(len(own))
	v.absent += forgotten(v.last, s)
	v.last = s
}

// own picks the seal's events and misses those that are gone.
func (v *Verifier) own(s Seal, events []Event) []Event {
	if s.size() > MostEvents {
		v.problem("seal %d was changed", s.Number)
		return nil
	}
	there := make(map[int64]Event, len(events))
	for _, e := range events {
		there[e.Number] = e
		if v.last.Number == 0 || e.Number > v.last.Reached {
			v.waiting[e.Number] = struct{}{}
		}
	}
	var own []Event
	for _, r := range s.Events {
		var gone []Range
		for n := r.From; n <= r.To; n++ {
			e, ok := there[n]
			if !ok {
				gone = include(gone, n)
				continue
			}
			own = append(own, e)
			delete(v.waiting, n)
		}
		for _, g := range gone {
			v.problem("event %s removed (seal %d of %s)", span(g.From, g.To), s.Number, s.At.UTC().Format(time.RFC3339))
		}
	}
	return own
}

// highest is more numbers than anybody has, and far from where they overflow.
const highest = 1 << 62

// size is how many events a seal has; more than any has when its ranges are not of this program.
func (s Seal) size() (n int64) {
	for _, r := range s.Events {
		if r.From < 1 || r.To > s.Reached || r.To > highest || r.To < r.From || r.To-r.From >= MostEvents {
			return MostEvents + 1
		}
		n += r.To - r.From + 1
	}
	return n
}

func span(from, to int64) string {
	if from == to {
		return fmt.Sprintf("%d was", from)
	}
	return fmt.Sprintf("%d to %d were", from, to)
}

// whole tells whether events and seal are as they were. A seal that misses an event has
// another hash for that alone.
func (v *Verifier) whole(s Seal, own []Event) {
	if s.size() != int64(len(own)) {
		return
	}
	digests, hash := s.sum(own)
	if hash == s.Hash {
		return
	}
	found := false
	for i := range own {
		if at := i * shortDigest; len(s.Digests) == len(digests) && !bytes.Equal(s.Digests[at:at+shortDigest], digests[at:at+shortDigest]) {
			v.problem("event %d was changed", own[i].Number)
			found = true
		}
	}
	if !found {
		v.problem("seal %d was changed", s.Number)
	}
}

func (v *Verifier) authentic(s Seal) {
	for _, key := range v.Keys {
		if key.ID != s.KeyID {
			continue
		}
		if !hmac.Equal(mac(key.Secret, s.Hash), s.MAC) {
			v.problem("seal %d is not by this server", s.Number)
		}
		return
	}
	if slices.Contains(v.Retired, s.KeyID) {
		v.foreign++
		return
	}
	if v.unknown == nil {
		v.unknown = make(map[string]Range)
	}
	seen, ok := v.unknown[s.KeyID]
	if !ok && len(v.unknown) == mostProblems {
		return
	}
	if !ok {
		seen.From = s.Number
	}
	seen.To = s.Number
	v.unknown[s.KeyID] = seen
}

// reported tells whether the event says that everything before the first seal was pruned.
func (v *Verifier) reported(e Event) bool {
	var p Pruned
	if json.Unmarshal([]byte(e.Detail), &p) != nil || p.Seal != v.start.Number || p.Hash != v.start.Hash.String() {
		return false
	}
	for _, key := range v.Keys {
		if key.ID == p.KeyID {
			return hmac.Equal(p.mac(key), p.MAC)
		}
	}
	return slices.Contains(v.Retired, p.KeyID)
}

// forgotten counts the numbers that the last seal waited for and this one gave up.
func forgotten(last, s Seal) (n int64) {
	for _, w := range last.Waiting {
		n += w.To - w.From + 1
	}
	for _, w := range s.Waiting {
		n -= max(0, min(w.To, last.Reached)-w.From+1)
	}
	for _, r := range s.Events {
		n -= max(0, min(r.To, last.Reached)-r.From+1)
	}
	return max(n, 0)
}

// hear looks for the report of pruning. It is believed before it is sealed, for it has a
// MAC of its own.
func (v *Verifier) hear(events []Event) {
	for _, e := range events {
		if e.Name == EventPruned && v.reported(e) {
			v.pruned = true
		}
	}
}

// Unsealed takes events above all that is sealed, in any order and number.
func (v *Verifier) Unsealed(events []Event) {
	v.hear(events)
	v.unsealed += int64(len(events))
}

// End is after the last seal and event.
func (v *Verifier) End() Report {
	if v.begun && v.start.Number > 0 && !v.pruned {
		v.problem("seal %s removed, and no event says that they were pruned", span(1, v.start.Number))
	}
	if v.begun && v.start.Number == 0 && v.start.Hash != (Hash{}) {
		v.problem("seal 1 was changed")
	}
	for id, r := range v.unknown {
		v.problem("seal %s made with the key %q, which is none of the server secrets that are known here", span(r.From, r.To), id)
	}
	switch {
	case v.Expect == 0 || v.expected:
	case v.begun && v.Expect == v.start.Number && v.ExpectHash == v.start.Hash: // the last one that was pruned
	case v.begun && v.Expect <= v.start.Number:
		v.problem("seal %d was written down, and the chain begins at %d: nothing can be said, write down a later one", v.Expect, v.start.Number+1)
	default:
		v.problem("seal %d was written down, but the chain ends at %d: its end was cut off", v.Expect, v.last.Number)
	}
	strays := int64(0)
	for number := range v.waiting {
		if !awaited(v.last.Waiting, number) {
			strays++
			v.problem("event %d was put in later: no seal has it", number)
		}
	}
	return Report{
		Seals: max(0, v.last.Number-v.start.Number), Events: v.events, Unsealed: v.unsealed + int64(len(v.waiting)) - strays,
		Absent: v.absent, Foreign: v.foreign, Head: v.last.Number, Hash: v.last.Hash.String(), At: v.last.At, Problems: v.problems,
	}
}

func awaited(list []Wait, number int64) bool {
	for _, w := range list {
		if w.From <= number && number <= w.To {
			return true
		}
	}
	return false
}
