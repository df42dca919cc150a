package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds every wait of these tests. Reaching it is a failure.
const patience = 30 * time.Second

// environ is a world in which hashing is cheap.
func environ(database string, more ...string) []string {
	return append([]string{"GRANTOR_DATABASE=" + database, "GRANTOR_PASSWORD_MEMORY=64", "GRANTOR_PASSWORD_TIME=1", "GRANTOR_DATABASE_TIMEOUT=10s"}, more...)
}

// inside is the program, running in this process as main would run it.
type inside struct {
	issuer string
	out    *lockedBuffer
	log    *lockedBuffer
	cancel context.CancelFunc
	code   chan int
}

// startInside runs the program until it has printed its ready line and what belongs to it.
func startInside(t *testing.T, env []string, args ...string) *inside {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &inside{out: newLockedBuffer(), log: newLockedBuffer(), cancel: cancel, code: make(chan int, 1)}
	go func() {
		p.code <- run(ctx, args, process{environ: env, stdin: strings.NewReader(""), stdout: p.out, stderr: p.log, now: time.Now, rand: rand.Reader})
		p.out.close()
	}()
	select {
	case <-p.out.written:
	case <-time.After(patience):
		t.Fatalf("not ready: %s", p.log)
	}
	match := readyPattern.FindStringSubmatch(strings.SplitAfter(p.out.String(), "\n")[0])
	require.NotNil(t, match, "no ready line but %q\n%s", p.out, p.log)
	p.issuer = match[1]
	t.Cleanup(func() { cancel() })
	return p
}

func (p *inside) stop(t *testing.T) int {
	t.Helper()
	p.cancel()
	select {
	case code := <-p.code:
		return code
	case <-time.After(patience):
		t.Fatalf("did not stop: %s", p.log)
		return -1
	}
}

// command runs one command inside and wants it to succeed.
func command(t *testing.T, env []string, args ...string) string {
	t.Helper()
	var out, log bytes.Buffer
	code := run(t.Context(), args, process{environ: env, stdin: strings.NewReader(""), stdout: &out, stderr: &log, now: time.Now, rand: rand.Reader})
	require.Zero(t, code, "grantor %v: %s", args, log.String())
	return out.String()
}

// outside is the program as a process of its own, for signals.
type outside struct {
	*exec.Cmd
	issuer string
	log    *lockedBuffer
	done   chan error
}

func startOutside(t *testing.T, env []string, args ...string) *outside {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	p := &outside{Cmd: exec.Command(self), log: newLockedBuffer(), done: make(chan error, 1)}
	p.Args = append([]string{"grantor"}, args...) // the name by which TestMain knows that it is main
	p.Env, p.Dir, p.Stderr = append(env, "PATH="+os.Getenv("PATH")), t.TempDir(), p.log
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	match := readyPattern.FindStringSubmatch(line)
	require.NotNil(t, match, "no ready line but %q: %v\n%s", line, err, p.log)
	p.issuer = match[1]
	go func() { p.done <- p.Wait() }()
	return p
}

func (p *outside) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-p.done:
		return err
	case <-time.After(patience):
		t.Fatalf("did not end: %s", p.log)
		return nil
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := http.Client{Timeout: patience}
	answer, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(body)
}

// lockedBuffer is written by the program while the test reads it.
type lockedBuffer struct {
	mu      sync.Mutex
	text    bytes.Buffer
	once    sync.Once
	written chan struct{} // closed at the first write, or at the end
}

func newLockedBuffer() *lockedBuffer { return &lockedBuffer{written: make(chan struct{})} }

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.close()
	return b.text.Write(p)
}

func (b *lockedBuffer) close() { b.once.Do(func() { close(b.written) }) }

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
