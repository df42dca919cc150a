package browser_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds every wait for something that must come. Reaching it is a failure.
const patience = 30 * time.Second

// tick is how often a condition is looked at.
const tick = 50 * time.Millisecond

var buildFolder = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "grantor-browser-") })

// The programs, built once in a test process.
const (
	grantor        = "grantor"
	resourceServer = "resource-server"
	spa            = "spa"
)

var programs = sync.OnceValues(func() (dir string, err error) {
	if dir, err = buildFolder(); err != nil {
		return "", err
	}
	if err := readSources(root); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	// Without tables for debuggers linking takes half the time.
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", dir, "./cmd/grantor", "./examples/resource-server", "./examples/spa")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return dir, nil
})

var root = filepath.Join("..", "..")

// readSources reads the folders of the sources, which the tests do not link: go test takes a
// result from its cache while nothing has changed that the test has looked at.
func readSources(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		if err == nil && d.IsDir() && (name == "artefacts" || name == "bin" || path != root && strings.HasPrefix(name, ".")) {
			return filepath.SkipDir
		}
		return err
	})
}

// launch starts a program, waits for its first line and answers it. The program ends
// with the test.
func launch(t *testing.T, program, dir string, env []string, args ...string) (ready string) {
	t.Helper()
	built, err := programs()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, filepath.Join(built, program), args...)
	l := new(output)
	cmd.Env, cmd.Dir, cmd.Stderr, cmd.SysProcAttr = env, dir, l, dieWithUs()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	first, done := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(done)
		reader := bufio.NewReader(out)
		line, _ := reader.ReadString('\n')
		first <- line
		_, _ = reader.WriteTo(l)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if t.Failed() {
			t.Logf("the end of the log of %s:\n%s", program, l.tail())
		}
	})
	select {
	case line := <-first:
		require.NotEmpty(t, line, "%s ended\n%s", program, l.tail())
		return line
	case <-time.After(patience):
		require.FailNow(t, "no first line", "%s %v\n%s", program, args, l.tail())
		return ""
	}
}

// output is written by a program while the test may read it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *output) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// tail is enough of the log for a failure's message.
func (l *output) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := strings.SplitAfter(l.text.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "")
}
