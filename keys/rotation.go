package keys

import (
	"fmt"
	"io"
	"time"
)

// Bootstrap makes the first keys: for every algorithm one that signs at once, and
// the next one, so that the first rotation finds it published already.
func Bootstrap(rand io.Reader, now time.Time) ([]Key, error) {
	var out []Key
	for _, algorithm := range Algorithms() {
		for ordinal := int64(1); ordinal <= 2; ordinal++ {
			k, err := Generate(rand, algorithm, ordinal, now)
			if err != nil {
				return nil, err
			}
			if ordinal == 1 {
				k.ActivateAt = now
			}
			out = append(out, k)
		}
	}
	return out, nil
}

// Plan is what one rotation writes: the key named Activate signs from At on, and
// New takes its place as the next one. Storage writes both only while no key with
// New's ordinal exists, so two rotations at once are one.
type Plan struct {
	Activate string
	At       time.Time
	New      Key
}

// PlanRotation plans the next rotation of an algorithm. At lies in the future while
// the next key has not been published long enough, and never before a rotation
// that is planned already. It answers ErrNoKey when there is no next key.
func (s *Set) PlanRotation(rand io.Reader, algorithm string, now time.Time) (Plan, error) {
	var next *entry
	at, last := now, int64(0)
	for _, e := range s.keys {
		if e.Algorithm != algorithm {
			continue
		}
		last = max(last, e.Ordinal)
		at = latest(at, e.from)
		if e.from.IsZero() && next == nil {
			next = e
		}
	}
	if next == nil {
		return Plan{}, fmt.Errorf("%w: none waits to be next for %q", ErrNoKey, algorithm)
	}
	k, err := Generate(rand, algorithm, last+1, now)
	if err != nil {
		return Plan{}, err
	}
	return Plan{Activate: next.ID, At: latest(at, next.CreatedAt.Add(Publish)), New: k}, nil
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
