//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// op is what was asked, or what a mark stands for.
type op string

const (
	opLogin      op = "login"
	opRefresh    op = "refresh"
	opIntrospect op = "introspect"
	opRevoke     op = "revoke"
	opReplay     op = "replay"    // a spent token, shown on purpose: it must be refused and end the grant
	opVerify     op = "verify"    // an access token against a replica's JWKS
	opAuthorize  op = "authorize" // a page on the way to a code; the last one brings it
	opTry        op = "try"       // a login that any refusal may answer
	opRedeem     op = "redeem"    // a code

	markInject op = "inject"
	markLift   op = "lift" // the cause is gone; By names who must serve again

	// What the tool saw and should not have.
	opSettle  op = "settle"
	opMeasure op = "measure"
	opDrain   op = "drain"
	opProbe   op = "probe"
	opReturn  op = "return"
	opRemains op = "remains"
)

// class is what is known after an answer. Only ok and refused are facts.
type class string

const (
	ok      class = "ok"
	refused class = "refused" // a 4xx
	unknown class = "unknown" // 5xx, time-out, reset: it may have happened, or may happen yet
)

// event is one line of the journal. It holds no token.
type event struct {
	Line   int    `json:"line"`
	Begin  int64  `json:"begin"` // microseconds since the journal began
	End    int64  `json:"end"`
	Op     op     `json:"op"`
	Class  class  `json:"class,omitempty"`
	Grant  string `json:"grant,omitempty"`
	Shown  int64  `json:"shown,omitempty"` // generation of the refresh token that was shown
	Got    int64  `json:"got,omitempty"`   // generation of the one that was answered
	Token  string `json:"token,omitempty"` // fingerprint of the one that was answered
	Active bool   `json:"active,omitempty"`
	Doomed bool   `json:"doomed,omitempty"` // whoever asks is being ended: any refusal is right
	Status int    `json:"status,omitempty"`
	Error  string `json:"error,omitempty"` // of the OAuth answer
	Retry  bool   `json:"retry_after,omitempty"`
	Cause  string `json:"cause,omitempty"` // why there is no answer
	Wrong  string `json:"wrong,omitempty"` // what in an answer does not belong to its request
	By     string `json:"by,omitempty"`    // the replica that answered; those of a mark, parted by blanks
	Note   string `json:"note,omitempty"`

	stepped bool // a clock was set amid it
}

func (e event) took() time.Duration { return time.Duration(e.End-e.Begin) * time.Microsecond }

// journal is written by all clients at once.
type journal struct {
	began time.Time
	mu    sync.Mutex
	file  *os.File
	out   *bufio.Writer
	lines int
	err   error
	count struct{ refreshed, answered, missed int }
}

func newJournal(path string) (*journal, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &journal{began: time.Now(), file: file, out: bufio.NewWriter(file)}, nil
}

// now is the time of the journal.
func (j *journal) now() int64 { return time.Since(j.began).Microseconds() }

func (j *journal) write(e event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines++
	e.Line = j.lines
	switch {
	case e.Class == ok && e.Op == opRefresh:
		j.count.refreshed++
		fallthrough
	case e.Class == ok || e.Class == refused:
		j.count.answered++
	case e.Class == unknown:
		j.count.missed++
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = j.out.Write(append(line, '\n'))
	}
	j.err = errors.Join(j.err, err)
}

// refreshed counts the renewals that were acknowledged so far, answered all facts, missed
// what was answered with none.
func (j *journal) refreshed() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.count.refreshed
}

func (j *journal) missed() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.count.missed
}

func (j *journal) answered() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.count.answered
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(j.err, j.out.Flush(), j.file.Close())
}

func readJournal(path string) (list []event, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := json.NewDecoder(bufio.NewReader(file))
	for {
		var e event
		if err := lines.Decode(&e); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
}
