// Package audit proves that nobody took an event out of the log or changed one.
//
// The database writes an Event in the statement that it reports, by triggers
// (migrations/…/0004). Within about a second a replica adds a Seal: which events were
// there, their digests, and the hash of the seal before, under a server secret. Whoever
// can write to the database but does not have that secret can not make a seal. They can cut
// off the end of the chain, and what is left of the events there is sealed anew: a server
// that runs notices (it knows the last seal and goes on with no other), and so does whoever
// kept a seal's number and hash elsewhere (Verifier.Expect).
//
// Next makes a seal, Verifier reads the chain again. storage keeps the rows, the server
// calls it every second, `grantor audit` shows and verifies.
//
// The package is pure. It never reads a clock, a database or a setting.
package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Event is one thing that happened. Which there are is said in docs/audit.md.
type Event struct {
	Number   int64 // in the order in which they began to be written; a gap: something was rolled back
	At       time.Time
	Name     string // such as session.begun
	Actor    string // the program that wrote: "grantor" is the server
	ClientID string // "" = none, like all that follow
	UserID   string
	Session  []byte // id of the session or sign-in
	Address  string
	Detail   string // what it means depends on Name
}

// digest is over all of the event. Every field has its length before it, so that none can
// pass for a part of another.
func (e Event) digest() [32]byte {
	text := binary.BigEndian.AppendUint64(nil, uint64(e.Number))
	text = binary.BigEndian.AppendUint64(text, uint64(e.At.UnixMicro()))
	for _, field := range []string{e.Name, e.Actor, e.ClientID, e.UserID, string(e.Session), e.Address, e.Detail} {
		text = binary.BigEndian.AppendUint32(text, uint32(len(field)))
		text = append(text, field...)
	}
	return sha256.Sum256(text)
}

// Hash is of a seal.
type Hash [sha256.Size]byte

func (h Hash) String() string { return base64.RawURLEncoding.EncodeToString(h[:]) }

// ParseHash reads what String wrote.
func ParseHash(text string) (Hash, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) != len(Hash{}) {
		return Hash{}, errors.New("not the hash of a seal")
	}
	return Hash(raw), nil
}

// Range is numbers of events, both ends included.
type Range struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Wait is numbers that were not there when later ones were: still being written, or rolled
// back.
type Wait struct {
	Range
	Since int64 `json:"since"` // Unix microseconds
}

// Patience is how long a number is waited for. A statement has a deadline of seconds.
const Patience = time.Minute

// mostWaits bounds what a seal remembers.
const mostWaits = 100

// MostEvents is how many one seal holds at most.
const MostEvents = 1000

// shortDigest is enough to tell which event of a seal was changed; that none was is what
// the hash tells, which is over the whole digests.
const shortDigest = 8

// Seal is one link of the chain.
type Seal struct {
	Number   int64 // from 1, without gaps
	At       time.Time
	Reached  int64 // every event up to this number is in a seal, waited for, or absent
	Events   []Range
	Waiting  []Wait
	Digests  []byte // eight bytes for each event, in the order of their numbers
	Previous Hash
	Hash     Hash
	KeyID    string
	MAC      []byte // of the hash
}

// Key is one of the server's secrets, for this purpose.
type Key struct {
	ID     string
	Secret []byte
}

// Next seals events, in the order of their numbers: those that the last seal waited for, and
// those after what it reached.
func Next(last Seal, events []Event, at time.Time, key Key) Seal {
	s := Seal{Number: last.Number + 1, At: at, Reached: last.Reached, Previous: last.Hash, KeyID: key.ID}
	for _, w := range last.Waiting {
		if at.UnixMicro()-w.Since < Patience.Microseconds() {
			s.Waiting = append(s.Waiting, w)
		}
	}
	for _, e := range events {
		if e.Number > s.Reached+1 {
			s.Waiting = append(s.Waiting, Wait{Range{s.Reached + 1, e.Number - 1}, at.UnixMicro()})
		}
		s.Waiting = arrived(s.Waiting, e.Number)
		s.Reached = max(s.Reached, e.Number)
		s.Events = include(s.Events, e.Number)
	}
	if over := len(s.Waiting) - mostWaits; over > 0 {
		s.Waiting = slices.Delete(s.Waiting, 0, over)
	}
	s.Digests, s.Hash = s.sum(events)
	s.MAC = mac(key.Secret, s.Hash)
	return s
}

// sum is what a seal of these events has as digests and hash.
func (s Seal) sum(events []Event) ([]byte, Hash) {
	short := make([]byte, 0, shortDigest*len(events))
	h := sha256.New()
	h.Write([]byte("grantor audit seal 1\n"))
	for _, n := range []int64{s.Number, s.At.UnixMicro(), s.Reached} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
	}
	h.Write(s.Previous[:])
	owned, waiting := s.Lists()
	for _, list := range []string{owned, waiting} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(list))))
		h.Write([]byte(list))
	}
	for _, e := range events {
		d := e.digest()
		h.Write(d[:])
		short = append(short, d[:shortDigest]...)
	}
	return short, Hash(h.Sum(nil))
}

// Lists are the numbers of a seal as JSON, as the hash has them and a row keeps them.
func (s Seal) Lists() (events, waiting string) { return encode(s.Events), encode(s.Waiting) }

func encode[T any](list []T) string {
	if len(list) == 0 {
		return "[]"
	}
	text, _ := json.Marshal(list) // of numbers: always
	return string(text)
}

// By tells whether the seal was made with that key.
func (s Seal) By(key Key) bool {
	return s.KeyID == key.ID && hmac.Equal(s.MAC, mac(key.Secret, s.Hash))
}

// Size is how many events it has.
func (s Seal) Size() int { return len(s.Digests) / shortDigest }

func mac(secret []byte, over Hash) []byte {
	m := hmac.New(sha256.New, secret)
	m.Write(over[:])
	return m.Sum(nil)
}

func include(list []Range, number int64) []Range {
	if n := len(list); n > 0 && list[n-1].To == number-1 {
		list[n-1].To = number
		return list
	}
	return append(list, Range{number, number})
}

// arrived takes a number out of those that are waited for.
func arrived(list []Wait, number int64) []Wait {
	for i, w := range list {
		if number < w.From || number > w.To {
			continue
		}
		var left []Wait
		if w.From < number {
			left = append(left, Wait{Range{w.From, number - 1}, w.Since})
		}
		if number < w.To {
			left = append(left, Wait{Range{number + 1, w.To}, w.Since})
		}
		return slices.Replace(slices.Clone(list), i, i+1, left...)
	}
	return list
}

// Pruned is the detail of the event audit.pruned: the chain begins behind this seal.
type Pruned struct {
	Seal  int64  `json:"seal"`
	Hash  string `json:"hash"`
	KeyID string `json:"key_id"`
	MAC   []byte `json:"mac"`
}

// EventPruned reports that old events were deleted, as audit_retention wants it.
const EventPruned = "audit.pruned"

// Prune is the detail of the event that reports it.
func Prune(upTo Seal, key Key) (string, error) {
	p := Pruned{Seal: upTo.Number, Hash: upTo.Hash.String(), KeyID: key.ID}
	p.MAC = p.mac(key)
	text, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("encode pruning: %w", err)
	}
	return string(text), nil
}

func (p Pruned) mac(key Key) []byte {
	m := hmac.New(sha256.New, key.Secret)
	fmt.Fprintf(m, "grantor audit pruned 1\n%d %s", p.Seal, p.Hash)
	return m.Sum(nil)
}
