//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// invariant is one of attacks.md section 18.
type invariant string

const (
	oneLive   invariant = "INV1"  // one live refresh token a grant, one text a generation
	nothing   invariant = "INV2"  // nothing acknowledged is lost, nobody is locked out
	noReturn  invariant = "INV3"  // nothing ended lives again
	once      invariant = "INV4"  // a code is honoured at most once
	noMixup   invariant = "INV5"  // an answer belongs to its request
	honest    invariant = "INV6"  // 503 with Retry-After in time; nothing false
	selfHeals invariant = "INV7"  // serves again in time, by itself
	recovers  invariant = "INV8"  // a lost answer comes again within the retry window
	verifies  invariant = "INV9"  // every access token verifies with every replica's keys
	baseline  invariant = "INV10" // descriptors and connections return to where they were
	noOrphans invariant = "INV11" // no row without a login
	noSecrets invariant = "INV12" // no secret, no panic in a log
)

var invariants = []invariant{oneLive, nothing, noReturn, once, noMixup, honest, selfHeals, recovers, verifies, baseline, noOrphans, noSecrets}

// violation is one broken promise with the line of the journal that shows it.
type violation struct {
	Invariant invariant `json:"invariant"`
	Line      int       `json:"line,omitempty"`
	Grant     string    `json:"grant,omitempty"`
	Text      string    `json:"text"`
}

// rules are what the checker must know of a stage.
type rules struct {
	window   time.Duration // in which a lost answer comes again
	heal     time.Duration // in which replicas serve again after a fault
	late     time.Duration // an answer that takes longer is none; 0: tooLate
	stopped  bool          // the fault stops replicas, so some requests get no answer in time
	clocked  bool          // the fault sets clocks, also amid a request; see stepped
	skewed   bool          // clocks differ by more than codes live, and more than a token may come from the future
	flawless bool          // no request may go without a fact
	storm    time.Duration // more than this, and twice of what is usual, is too long a wait in a storm of sign-ins; 0: there is none
}

// finding is what a journal shows.
type finding struct {
	violations []violation
	grants     map[string]*history
	counts     map[class]int
	acked      int             // renewals
	logins     [2]int          // ok, unknown
	late       int             // renewals refused because the retry window was over: as documented
	remark     string          // what else was measured
	recoveries []time.Duration // from each lift until all that must serve do
}

// history is what is known of one grant.
type history struct {
	id     string
	events []event
	texts  map[int64]string // fingerprint of each generation
	first  map[int64]int64  // when each generation was first acknowledged

	shows     int           // of its code
	stays     bool          // its row may be live after the end
	codes     map[class]int // what became of showing its code
	newest    int64         // generation acknowledged
	shown     int64         // newest generation that anybody showed
	mayEnd    int64         // from then on it may have been ended by its own client; never: not at all
	ended     int64         // from then on it surely is
	lockedOut bool          // told once
}

const never = int64(1) << 62

// beforeStep is how long the journal may know of a clock's step before the replica does, in
// microseconds. A request amid a step seems to the replica to have taken that long, and so to
// have been held up, because the clock of this program built for faults makes durations wrong,
// too. A real step does not.
const beforeStep = 50_000

func (f *finding) violate(i invariant, e event, format string, args ...any) {
	f.violations = append(f.violations, violation{Invariant: i, Line: e.Line, Grant: e.Grant, Text: fmt.Sprintf(format, args...)})
}

// check replays a journal. It knows the promises, and nothing of how they are kept.
func check(events []event, r rules) *finding {
	f := &finding{grants: map[string]*history{}, counts: map[class]int{}}
	owners := map[string]string{} // grant of each fingerprint
	var steps []int64
	for _, e := range events {
		if r.clocked && (e.Op == markInject || e.Op == markLift) {
			steps = append(steps, e.Begin)
		}
	}
	for _, e := range events {
		f.plain(e, r)
		if e.Grant == "" {
			continue
		}
		e.stepped = slices.ContainsFunc(steps, func(at int64) bool { return e.Begin-beforeStep < at && at < e.End })
		h := f.grants[e.Grant]
		if h == nil {
			h = &history{id: e.Grant, codes: map[class]int{}, texts: map[int64]string{}, first: map[int64]int64{}, mayEnd: never, ended: never}
			f.grants[e.Grant] = h
		}
		h.events = append(h.events, e)
		if e.Token != "" {
			if owner, known := owners[e.Token]; known && owner != e.Grant {
				f.violate(noMixup, e, "one token for two sessions, the other is %s", owner)
			}
			owners[e.Token] = e.Grant
		}
	}
	for _, h := range f.grants {
		f.replay(h, r)
	}
	f.recovery(events, r)
	f.storms(events, r)
	slices.SortFunc(f.violations, func(a, b violation) int { return a.Line - b.Line })
	return f
}

// plain is what an answer must be, whatever came before.
func (f *finding) plain(e event, r rules) {
	switch e.Op {
	case markInject, markLift:
		return
	case opSettle:
		f.violate(selfHeals, e, "%s", e.Note)
		return
	case opMeasure:
		f.violate(baseline, e, "%s", e.Note)
		return
	case opReturn:
		f.violate(noReturn, e, "%s", e.Note)
		return
	case opRemains:
		f.violate(noOrphans, e, "%s", e.Note)
		return
	case opDrain, opProbe:
		f.violate(honest, e, "%s", e.Note)
		return
	}
	f.counts[e.Class]++
	switch {
	case e.Op == opRefresh && e.Class == ok:
		f.acked++
	case e.Op == opLogin && e.Class == ok:
		f.logins[0]++
	case (e.Op == opLogin || e.Op == opAuthorize) && e.Class == unknown:
		f.logins[1]++
	}
	switch {
	case e.Wrong != "" && e.Op == opVerify:
		f.violate(verifies, e, "an access token does not verify with the keys of %s: %s", e.By, e.Wrong)
	case strings.HasPrefix(e.Wrong, "200 without"):
		f.violate(honest, e, "%s: %s", e.Op, e.Wrong)
	case e.Wrong != "":
		f.violate(noMixup, e, "%s", e.Wrong)
	case e.Status >= 500 && (e.Status != 503 || !e.Retry):
		f.violate(honest, e, "%s: status %d, Retry-After: %t", e.Op, e.Status, e.Retry)
	case e.Class == refused && (e.Doomed || e.Op == opTry):
	case e.Op == opAuthorize && e.Class == refused && r.skewed: // the page to sign in was too old, or from the future
	case e.Class == refused && e.Op != opRefresh && e.Op != opReplay && e.Op != opRedeem:
		f.violate(honest, e, "%s: refused with %d %s", e.Op, e.Status, e.Error)
	case e.Class == refused && (e.Error != "invalid_grant" || e.Status != 400):
		f.violate(honest, e, "%s: refused with %d %s instead of invalid_grant", e.Op, e.Status, e.Error)
	case e.Class == unknown && r.flawless:
		f.violate(honest, e, "%s failed: %s", e.Op, e.Cause)
	case e.Cause == timedOut && !r.stopped:
		f.violate(honest, e, "%s: no answer in %s", e.Op, e.took().Round(time.Millisecond))
	case e.Status != 0 && e.took() > max(r.late, tooLate) && !r.stopped:
		f.violate(honest, e, "%s: the answer took %s", e.Op, e.took().Round(time.Millisecond))
	}
}

// replay is one grant's story. Requests overlap, so "before" means that one's answer
// was there when the other's question was asked.
func (f *finding) replay(h *history, r rules) {
	slices.SortStableFunc(h.events, func(a, b event) int {
		if a.Begin != b.Begin {
			return int(min(max(a.Begin-b.Begin, -1), 1))
		}
		return a.Line - b.Line
	})
	for _, e := range h.events {
		h.learn(e)
		if e.Got > 0 {
			if text, known := h.texts[e.Got]; known && text != e.Token {
				f.violate(oneLive, e, "two tokens for generation %d", e.Got)
			}
			h.texts[e.Got] = e.Token
		}
	}
	used := h.used()
	tried := map[int64]int64{} // when each generation was first shown without an answer
	oldest := never            // lowest generation that was ever shown without one
	for _, e := range h.events {
		switch e.Op {
		case opRefresh, opReplay:
			switch e.Class {
			case ok:
				f.renewed(h, e, used)
			case refused:
				f.denied(h, e, r, tried, oldest)
			default:
				if _, known := tried[e.Shown]; !known {
					tried[e.Shown] = e.Begin
				}
				oldest = min(oldest, e.Shown)
			}
		case opRedeem:
			f.redeemed(h, e, r)
		case opIntrospect:
			f.introspected(h, e, r)
		}
	}
}

// learn collects what counts for the grant's whole story.
func (h *history) learn(e event) {
	h.shown = max(h.shown, e.Shown)
	if e.Op == opRedeem {
		h.shows++
	}
	if e.Got > 0 {
		h.newest = max(h.newest, e.Got)
		if first, known := h.first[e.Got]; !known || e.End < first {
			h.first[e.Got] = e.End
		}
	}
	h.stays = h.stays || e.Op == opRevoke && e.Doomed
	if e.Op == opRevoke || e.Op == opReplay {
		h.mayEnd = min(h.mayEnd, e.Begin)
		if e.Op == opRevoke && e.Class == ok || e.Op == opReplay && e.Class == refused && !e.stepped {
			h.ended = min(h.ended, e.End)
		}
	}
	// Whoever saw it dead after it may have been ended has seen the end.
	dead := e.Op == opRefresh && e.Class == refused || e.Op == opIntrospect && e.Class == ok && !e.Active && e.Wrong == ""
	if dead && e.Begin > h.mayEnd {
		h.ended = min(h.ended, e.End)
	}
}

// used answers when it was first known that a generation had been used: a later one
// was acknowledged.
func (h *history) used() func(generation int64) int64 {
	list := make([]int64, 0, len(h.first))
	for generation := range h.first {
		list = append(list, generation)
	}
	slices.Sort(list)
	earliest := make([]int64, len(list)+1)
	earliest[len(list)] = never
	for i := len(list) - 1; i >= 0; i-- {
		earliest[i] = min(earliest[i+1], h.first[list[i]])
	}
	return func(generation int64) int64 {
		i, _ := slices.BinarySearch(list, generation+1)
		return earliest[i]
	}
}

// redeemed judges a code that is shown. That it was refused is right when it may have been
// honoured before, also if nobody got the answer.
func (f *finding) redeemed(h *history, e event, r rules) {
	h.codes[e.Class]++
	switch {
	case e.Class == ok && h.codes[ok] > 1:
		f.violate(once, e, "a code was honoured %d times", h.codes[ok])
	case e.Class == refused && h.codes[refused] == h.shows && !r.skewed:
		f.violate(nothing, e, "a code was refused that nobody had got anything for")
	}
}

func (f *finding) renewed(h *history, e event, used func(int64) int64) {
	switch {
	case e.Op == opReplay:
		f.violate(oneLive, e, "generation %d was honoured when %d was the newest", e.Shown, h.newest)
	case e.Got != e.Shown+1:
		f.violate(oneLive, e, "generation %d was answered with %d", e.Shown, e.Got)
	case e.Begin > used(e.Shown+1):
		f.violate(oneLive, e, "generation %d was honoured although its successor had been used", e.Shown)
	}
	if e.Begin > h.ended {
		f.violate(noReturn, e, "renewed after its end")
	}
}

// denied asks why an honest client was refused.
func (f *finding) denied(h *history, e event, r rules, tried map[int64]int64, oldest int64) {
	if e.Op == opReplay || h.mayEnd < e.End || h.lockedOut {
		return
	}
	h.lockedOut = true
	h.mayEnd = e.Begin // what follows from it is not told again
	since, lost := tried[e.Shown]
	if lost && time.Duration(e.End-since)*time.Microsecond > r.window {
		f.late++
		return
	}
	note := ""
	if oldest < e.Shown {
		note = fmt.Sprintf(" (generation %d was shown before, without an answer: that request may have come late)", oldest)
	}
	if lost {
		f.violate(recovers, e, "locked out: generation %d was refused, %s after the same got no answer%s", e.Shown, (time.Duration(e.Begin-since) * time.Microsecond).Round(time.Millisecond), note)
		return
	}
	f.violate(nothing, e, "locked out: generation %d was acknowledged, and is refused%s", e.Shown, note)
}

func (f *finding) introspected(h *history, e event, r rules) {
	switch {
	case e.Class != ok || e.Wrong != "":
	case e.Active && e.Begin > h.ended:
		f.violate(noReturn, e, "active after its end")
	case !e.Active && !(h.mayEnd < e.End) && !r.skewed:
		f.violate(honest, e, "inactive, and nobody ended it")
	}
}

// recovery measures from each lift until everybody that must serve has done so.
func (f *finding) recovery(events []event, r rules) {
	for i, mark := range events {
		if mark.Op != markLift {
			continue
		}
		waiting := map[string]bool{}
		for _, name := range strings.Fields(mark.By) {
			waiting[name] = true
		}
		if len(waiting) == 0 {
			continue
		}
		interrupted := false
		took := time.Duration(0)
		for _, e := range events[i+1:] {
			if e.Op == markInject {
				interrupted = true
				break
			}
			if e.Class == ok && waiting[e.By] && e.End > mark.Begin {
				delete(waiting, e.By)
				took = max(took, time.Duration(e.End-mark.Begin)*time.Microsecond)
			}
			if len(waiting) == 0 {
				break
			}
		}
		switch {
		case len(waiting) == 0:
			f.recoveries = append(f.recoveries, took)
			if took > r.heal {
				f.violate(selfHeals, mark, "%s: %s until all served again", mark.Note, took.Round(time.Millisecond))
			}
		case !interrupted:
			f.violate(selfHeals, mark, "%s: %s never served again", mark.Note, mark.By)
		}
	}
}

// row is a grant as it lies in the database.
type row struct {
	id         string
	generation int64
	revoked    bool
	reason     string
}

// audit compares the database with the journal, when everything has ended.
func (f *finding) audit(rows []row) {
	there := make(map[string]bool, len(rows))
	strangers := 0
	for _, row := range rows {
		there[row.id] = true
		h := f.grants[row.id]
		e := event{Grant: row.id}
		if h == nil {
			strangers++ // of a login whose answer was lost, or nobody's: they are counted below
			continue
		}
		switch {
		case row.generation < h.newest:
			f.violate(nothing, e, "the row is at generation %d, and %d was acknowledged", row.generation, h.newest)
		case row.generation > max(h.newest, h.shown+1):
			f.violate(oneLive, e, "the row is at generation %d, and nobody showed more than %d", row.generation, h.shown)
		}
		switch {
		case row.revoked && h.mayEnd == never:
			f.violate(nothing, e, "the row is ended (%s), and nobody ended it", row.reason)
		case !row.revoked && h.ended != never && !h.lockedOut && !h.stays:
			f.violate(noReturn, e, "the row is live, and its end was acknowledged")
		}
	}
	if strangers > f.logins[1] {
		f.violate(noOrphans, event{}, "%d rows that no answer told of, and only %d logins got none", strangers, f.logins[1])
	}
	for id, h := range f.grants {
		if !there[id] && h.newest > 0 {
			f.violate(nothing, event{Grant: id}, "the row is gone")
		}
	}
}

func (f *finding) of(i invariant) (count int) {
	for _, v := range f.violations {
		if v.Invariant == i {
			count++
		}
	}
	return count
}
