package keys

import (
	"fmt"
	"slices"
	"time"
)

// State is where a key stands. A key moves only forward through them.
type State string

// The states. All but Gone are published and verify; only Active signs.
const (
	Next    State = "next"    // made, published, waits for its turn
	Active  State = "active"  // signs
	Retired State = "retired" // superseded; what it signed still lives
	Gone    State = "gone"    // nothing that it signed can live any more
)

// Publish is how long a key is published before it signs: longer than anybody may
// keep the JWKS (its max-age is 5 s) plus the time until every replica has read it.
const Publish = 8 * time.Second

// Keep is how long a superseded key stays published: no token lives longer than a
// day, and clocks differ.
const Keep = 24*time.Hour + time.Minute

// Set is an immutable snapshot of all keys. Every question names the moment.
type Set struct {
	keys      []*entry          // algorithm, then order of activation, then ordinal
	headers   map[string]header // every header that this server writes
	documents []document        // in the order in which they are published
}

// entry is a key with all that can be known in advance.
type entry struct {
	Key
	signer *Signer
	jwk    string
	// from is when it begins to sign, until is its successor's from; zero: unknown.
	from, until time.Time
	first       bool
}

type header struct {
	entry *entry
	typ   string
}

// NewSet checks the keys and prepares them. It answers ErrKey for a key that does
// not fit its name, and when an id or an ordinal is there twice.
func NewSet(list []Key) (*Set, error) {
	s := &Set{headers: make(map[string]header)}
	for _, k := range list {
		e, err := newEntry(k)
		if err != nil {
			return nil, fmt.Errorf("signing key %s: %w", k.ID, err)
		}
		s.keys = append(s.keys, e)
	}
	slices.SortStableFunc(s.keys, compare)
	for i, e := range s.keys {
		for _, other := range s.keys[:i] {
			if other.ID == e.ID || other.Algorithm == e.Algorithm && other.Ordinal == e.Ordinal {
				return nil, fmt.Errorf("signing key %s: %w: it is there twice", e.ID, ErrKey)
			}
		}
		e.first = i == 0 || s.keys[i-1].Algorithm != e.Algorithm
		if !e.first {
			s.keys[i-1].until = e.from
		}
		for typ, text := range e.signer.headers {
			s.headers[text] = header{entry: e, typ: typ}
		}
	}
	s.publish()
	return s, nil
}

func newEntry(k Key) (*entry, error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	m, err := members(k.Private.Public())
	if err != nil {
		return nil, err
	}
	return &entry{Key: k, from: k.ActivateAt, signer: newSigner(k), jwk: jwk(k, m)}, nil
}

func compare(a, b *entry) int {
	switch {
	case a.Algorithm != b.Algorithm:
		return slices.Index(Algorithms(), a.Algorithm) - slices.Index(Algorithms(), b.Algorithm)
	case a.from.IsZero() != b.from.IsZero():
		if a.from.IsZero() {
			return 1
		}
		return -1
	case !a.from.Equal(b.from):
		return a.from.Compare(b.from)
	}
	return int(a.Ordinal - b.Ordinal)
}

func (e *entry) state(now time.Time) State {
	switch {
	case e.from.IsZero():
		return Next
	// The first key signs since ever: nobody knows an older one, and a replica whose
	// clock is behind the one that made the keys must not stand there without.
	case !e.first && e.from.After(now):
		return Next
	case e.until.IsZero() || e.until.After(now):
		return Active
	case e.until.Add(Keep).After(now):
		return Retired
	}
	return Gone
}

// Active gives the signer of that moment, or ErrNoKey.
func (s *Set) Active(algorithm string, now time.Time) (*Signer, error) {
	for _, e := range s.keys {
		if e.Algorithm == algorithm && e.state(now) == Active {
			return e.signer, nil
		}
	}
	return nil, fmt.Errorf("%w: none is active for %q", ErrNoKey, algorithm)
}

// State says where a key stands. A key that is not in the set is Gone.
func (s *Set) State(id string, now time.Time) State {
	for _, e := range s.keys {
		if e.ID == id {
			return e.state(now)
		}
	}
	return Gone
}

// Standing is where an algorithm's keys are in their rotation.
type Standing struct {
	Algorithm string
	Since     time.Time // when the key that signs began to
	Next      time.Time // when a planned rotation makes the next one sign; zero: none is planned
	Waiting   int       // published keys that wait for a rotation
}

// Standings tells of every algorithm.
func (s *Set) Standings(now time.Time) []Standing {
	list := make([]Standing, 0, len(Algorithms()))
	for _, algorithm := range Algorithms() {
		standing := Standing{Algorithm: algorithm}
		for _, e := range s.keys {
			switch {
			case e.Algorithm != algorithm:
			case e.state(now) == Active:
				standing.Since = e.from
			case e.from.IsZero():
				standing.Waiting++
			case e.state(now) == Next && (standing.Next.IsZero() || e.from.Before(standing.Next)):
				standing.Next = e.from
			}
		}
		list = append(list, standing)
	}
	return list
}

// List copies the keys, by algorithm and in the order in which they sign.
func (s *Set) List() []Key {
	out := make([]Key, len(s.keys))
	for i, e := range s.keys {
		out[i] = e.Key
	}
	return out
}
