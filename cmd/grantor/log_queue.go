package main

import (
	"bytes"
	"context"
	"io"
	"sync"

	"github.com/grantorhq/grantor/config"
)

// logRoom bounds what waits to be written, in bytes: some thousand lines.
const logRoom = 1 << 20

// logKept is how much of that memory is kept for the next lines.
const logKept = 64 << 10

// logQueue lets no request wait for the log. Lines go out in order, as many at once as
// have come while the last ones were written. When nobody reads them (a full pipe, a full
// disk), what does not fit is counted and left out: a server that stops because its log
// does would be the worse failure.
type logQueue struct {
	out  io.Writer
	lost func(lines int) []byte // the line that tells of lines left out

	mu      sync.Mutex
	lines   []byte
	written []byte // the memory of the last ones, for the next
	dropped int
	lostAll uint64        // dropped since the start
	writing chan struct{} // open while somebody writes; nil: nobody does
}

// Write never blocks and never fails.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.lines)+len(line) > logRoom {
		q.dropped++
		q.lostAll++
		return len(line), nil
	}
	q.lines = append(q.lines, line...)
	if q.writing == nil {
		q.writing = make(chan struct{})
		go q.write(q.writing)
	}
	return len(line), nil
}

func (q *logQueue) write(done chan struct{}) {
	defer close(done)
	for {
		q.mu.Lock()
		if len(q.lines) == 0 {
			q.writing = nil
			q.mu.Unlock()
			return
		}
		lines, dropped := q.lines, q.dropped
		q.lines, q.dropped = q.written[:0], 0
		q.mu.Unlock()
		if dropped > 0 {
			lines = append(lines, q.lost(dropped)...)
		}
		_, _ = q.out.Write(lines) // there is nobody to tell
		if q.written = lines; cap(lines) > logKept {
			q.written = nil
		}
	}
}

// droppedLines counts since the start.
func (q *logQueue) droppedLines() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lostAll
}

// newLogQueue tells of lines that were left out in the words of the log itself.
func newLogQueue(out io.Writer, cfg config.Config) *logQueue {
	return &logQueue{out: out, lost: func(lines int) []byte {
		var line bytes.Buffer
		newLog(&line, cfg).Error("lines of the log were left out: nobody took them", "lines", lines)
		return line.Bytes()
	}}
}

// Flush waits until everything is written, or ctx ends.
func (q *logQueue) Flush(ctx context.Context) {
	q.mu.Lock()
	writing := q.writing
	q.mu.Unlock()
	if writing == nil {
		return
	}
	select {
	case <-writing:
	case <-ctx.Done():
	}
}
