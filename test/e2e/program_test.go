package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds every wait for something that must come. Reaching it is a failure.
const patience = 60 * time.Second

// tick is how often a condition is looked at.
const tick = 20 * time.Millisecond

var buildFolder = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "grantor-e2e-") })

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := buildFolder(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// The programs, each built once in a test process.
var (
	grantor        = sync.OnceValues(func() (string, error) { return build("./cmd/grantor") })
	resourceServer = sync.OnceValues(func() (string, error) { return build("./examples/resource-server") })
)

func build(pkg string) (string, error) {
	root := filepath.Join("..", "..")
	if err := readSources(root); err != nil {
		return "", err
	}
	dir, err := buildFolder()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	path := filepath.Join(dir, filepath.Base(pkg))
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build"}, buildFlags...), "-o", path, pkg)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return path, nil
}

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

// program is one process that serves.
type program struct {
	url   string // where it listens
	ready string // its first line
	log   *log
	cmd   *exec.Cmd
	done  chan struct{} // closed when it has ended
}

var (
	readyLine = regexp.MustCompile(`^grantor is ready: (\S+) \((?:listening on ([^ ,]+), )?`)
	apiLine   = regexp.MustCompile(`^resource server: (\S+) `)
)

// launch starts a binary and waits for the first line that it prints. It may be
// called from any goroutine.
func launch(t testing.TB, binary, dir string, env []string, args ...string) (*program, error) {
	p := &program{log: new(log), done: make(chan struct{})}
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), binary, args...)
	p.cmd.Env, p.cmd.Dir, p.cmd.Stderr, p.cmd.SysProcAttr = env, dir, p.log, dieWithUs()
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	first := make(chan string, 1)
	go func() {
		defer close(p.done)
		reader := bufio.NewReader(out)
		line, _ := reader.ReadString('\n')
		first <- line
		_, _ = reader.WriteTo(p.log)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() { p.kill(t) })
	select {
	case p.ready = <-first:
		return p, nil
	case <-time.After(patience):
		return nil, fmt.Errorf("no first line from %s %v\n%s", binary, args, p.log)
	}
}

// serving reads where the server listens out of its ready line.
func (p *program) serving(t testing.TB) *program {
	t.Helper()
	match := readyLine.FindStringSubmatch(p.ready)
	require.NotNil(t, match, "no ready line but %q\n%s", p.ready, p.log)
	p.url = match[1]
	if match[2] != "" {
		p.url = "http://" + match[2]
	}
	return p
}

// kill is kill -9. It comes back when the process is gone.
func (p *program) kill(t testing.TB) {
	t.Helper()
	_ = p.cmd.Process.Kill()
	p.await(t)
}

// terminate asks the program to stop.
func (p *program) terminate(t testing.TB) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
}

// await answers the exit code, -1 when a signal ended the program.
func (p *program) await(t testing.TB) int {
	t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		t.Fatalf("did not end\n%s", p.log)
		return -1
	}
}

func (p *program) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// log is written by a program while the test reads it.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// tail is enough of the log for a failure's message.
func (l *log) tail() string {
	lines := strings.SplitAfter(l.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "")
}
