// Package refusals is what is known of a request that was refused, and why it was.
//
//	refusals.go   a Refusal, and what the log says of it
//	causes.go     every cause there is, with its number
//	reference.go  a refusal sealed into the reference that the answer carries
//	explain.go    the sentences that an operator reads: grantor explain
//
// Nothing of a refusal is stored. The answer carries all of it, sealed under the server
// secrets: the client can neither read nor make one, and every reference has one length
// whatever it is about. Package server seals, cmd/grantor opens.
//
// The package is pure. It never reads a clock, a database or a request.
package refusals

import (
	"crypto/sha256"
	"strconv"
	"strings"
	"time"

	"github.com/grantorhq/grantor/grants"
)

// Refusal is one request that was refused.
type Refusal struct {
	At      time.Time
	Request string // the id of its line in the log
	Route   string // as the log names it
	Code    string // what the client was told; "": an answer without an error code
	Cause   Cause

	Client    string // the registered client that called; "": it was not known
	Cut       bool   // Client is only the beginning of its id
	GrantType string
	Address   string // of the caller

	Facts
}

// Facts are what was known where the request was refused, beyond its cause. All of
// them may be missing.
type Facts struct {
	Sent    string    // an id that a client claimed without being known by it
	Session grants.ID // that the token or code belongs to
	Shown   int64     // generation of the refresh token
	Row     *Row      // of that session

	Terms *Terms // what a code was shown with

	UserID string        // whose password it was not
	Wait   time.Duration // that a throttled caller was told
	Ended  time.Time     // when the access token expired
}

// Row is the session as it was when the token was judged.
type Row struct {
	Generation  int64
	RotatedAt   time.Time
	RotatedFrom string
	ExpiresAt   time.Time
}

// RowOf is the part of a grant that a refusal remembers, nil for no grant.
func RowOf(g grants.Grant) *Row {
	if g.ID == (grants.ID{}) {
		return nil
	}
	return &Row{Generation: g.Generation, RotatedAt: g.RotatedAt, RotatedFrom: g.RotatedFrom, ExpiresAt: g.ExpiresAt}
}

// Terms tell a redirect URI and the grants.Clue of a code challenge from others without holding them.
type Terms struct{ RedirectURI, Challenge Mark }

// Mark is enough of a text's hash to tell it from another one; zero: there was no text.
type Mark [4]byte

// MarkOf marks a text.
func MarkOf(text string) Mark {
	if text == "" {
		return Mark{}
	}
	sum := sha256.Sum256([]byte(text))
	m := Mark(sum[:len(Mark{})])
	m[0] |= 1 // never that of no text
	return m
}

// Reason is what the log says: our own words, ids and addresses, never what was sent.
func (r Refusal) Reason() string {
	text := string(r.Cause)
	switch {
	case r.Row != nil && r.Shown > 0:
		text += ": generation " + number(r.Shown) + " was shown, the session is at " + number(r.Row.Generation) + ", renewed " + r.ago(r.Row.RotatedAt) + " ago from " + r.Row.RotatedFrom
	case r.Row != nil:
		text += ": redeemed"
		if r.Row.Generation > 1 {
			text += ", and renewed"
		}
		text += " " + r.ago(r.Row.RotatedAt) + " ago from " + r.Row.RotatedFrom
	case !r.Ended.IsZero():
		text += " " + r.ago(r.Ended) + " ago"
	case r.Wait > 0:
		text += ": " + Span(r.Wait) + " to wait"
	case r.UserID != "":
		text += " of user " + r.UserID
	}
	return text
}

func (r Refusal) ago(t time.Time) string { return Span(r.At.Sub(t)) }

func number(n int64) string { return strconv.FormatInt(n, 10) }

// Span is a length of time as people say it: its two largest units.
func Span(d time.Duration) string {
	if d = d.Abs(); d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	const day = 24 * time.Hour
	var parts []string
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := d / u.unit; n > 0 && len(parts) < 2 {
			parts = append(parts, number(int64(n))+u.name)
			d %= u.unit
		} else if len(parts) > 0 {
			break // 2d 0h 5m is 2d
		}
	}
	return strings.Join(parts, " ")
}
