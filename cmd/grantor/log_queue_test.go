package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/config"
)

// tap is a reader that takes lines only while it is open.
type tap struct {
	open chan struct{}
	mu   sync.Mutex
	got  strings.Builder
	rows int
}

func (p *tap) Write(lines []byte) (int, error) {
	<-p.open
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rows++
	return p.got.Write(lines)
}

func queueInto(p *tap) *logQueue {
	return newLogQueue(p, config.Config{LogFormat: "json", LogLevel: "info"})
}

// A log that nobody reads holds up nobody, and says afterwards what it left out.
func TestLogQueue_never_waits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &tap{open: make(chan struct{})}
		q := queueInto(p)
		line := []byte(strings.Repeat("x", 1023) + "\n")
		const lines = 2 * logRoom / 1024
		for range lines {
			n, err := q.Write(line)
			require.NoError(t, err)
			require.Len(t, line, n)
		}
		limit, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		q.Flush(limit)
		require.Error(t, limit.Err(), "there is nothing to wait for but the limit")
		close(p.open)
		q.Flush(t.Context())
		kept := strings.Count(p.got.String(), string(line))
		require.GreaterOrEqual(t, kept, logRoom/1024)
		require.Contains(t, p.got.String(), fmt.Sprintf(`"lines":%d`, lines-kept))
		require.Less(t, p.rows, 5, "what waits is written at once")
		require.LessOrEqual(t, cap(q.written), logKept, "the memory is given back")
	})
}

func TestLogQueue_keeps_the_order(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &tap{open: make(chan struct{})}
		close(p.open)
		q := queueInto(p)
		var want strings.Builder
		for i := range 1000 {
			line := fmt.Sprintf("%d\n", i)
			want.WriteString(line)
			_, _ = q.Write([]byte(line))
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		q.Flush(t.Context())
		require.Equal(t, want.String(), p.got.String())
	})
}
