//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/grantorhq/grantor/test/postgres"
)

// patience bounds every wait for something that must come.
const patience = 60 * time.Second

// replica is one place where the program runs, through all its deaths.
type replica struct {
	name   string
	binary string
	dir    string
	env    []string

	muted atomic.Bool // nobody reads its log for a while

	mu      sync.Mutex
	cmd     *exec.Cmd
	done    chan struct{}
	address string // where it listens now; "" while it is down
}

var readyLine = regexp.MustCompile(`^grantor is ready: \S+ \(listening on ([^ ,]+), `)

// start comes back when it serves.
func (r *replica) start(ctx context.Context) error {
	log, err := os.OpenFile(r.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), r.binary, "serve") //nolint:gosec // our own program
	cmd.Env, cmd.Dir, cmd.SysProcAttr = r.env, r.dir, postgres.Child(syscall.SIGKILL)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return errors.Join(err, log.Close())
	}
	said, err := cmd.StderrPipe()
	if err != nil {
		return errors.Join(err, log.Close())
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	var logging sync.WaitGroup
	logging.Go(func() { r.readLog(said, log) })
	first, done := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(done)
		reader := bufio.NewReader(out)
		line, _ := reader.ReadString('\n')
		first <- line
		_, _ = io.Copy(io.Discard, reader)
		logging.Wait()
		_ = cmd.Wait()
	}()
	var line string
	select {
	case line = <-first:
	case <-time.After(patience):
	}
	match := readyLine.FindStringSubmatch(line)
	if match == nil {
		_ = cmd.Process.Kill()
		<-done
		return fmt.Errorf("%s is not ready: %q\n%s", r.name, line, tail(r.log()))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cmd, r.done, r.address = cmd, done, match[1]
	return nil
}

// readLog goes on while it is not muted: a pipe that nobody reads is soon full.
func (r *replica) readLog(from io.Reader, into *os.File) {
	defer into.Close()
	buffer := make([]byte, 32<<10)
	for {
		for r.muted.Load() {
			time.Sleep(5 * time.Millisecond)
		}
		n, err := from.Read(buffer)
		_, _ = into.Write(buffer[:n])
		if err != nil {
			return
		}
	}
}

// revive starts it until it serves: what it needs may not be there yet.
func (r *replica) revive(ctx context.Context) error {
	for {
		err := r.start(ctx)
		if err == nil {
			return nil
		}
		if !pause(ctx, 100*time.Millisecond) {
			return err
		}
	}
}

// where answers "" while it is down.
func (r *replica) where() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.address
}

func (r *replica) log() string { return filepath.Join(r.dir, r.name+".log") }

func (r *replica) signal(s syscall.Signal) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd == nil {
		return errors.New(r.name + " was never started")
	}
	return r.cmd.Process.Signal(s)
}

// kill is kill -9.
func (r *replica) kill() error {
	err := r.signal(syscall.SIGKILL)
	r.await()
	return err
}

// stop asks it to end, and wants it to do so in order.
func (r *replica) stop() error {
	if r.where() == "" {
		return nil
	}
	if err := r.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if code := r.await(); code != 0 {
		return fmt.Errorf("%s ended with code %d\n%s", r.name, code, tail(r.log()))
	}
	return nil
}

// await answers the exit code, -1 when a signal ended it.
func (r *replica) await() int {
	r.mu.Lock()
	cmd, done := r.cmd, r.done
	r.mu.Unlock()
	select {
	case <-done:
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-done
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.address = ""
	return cmd.ProcessState.ExitCode()
}

func (r *replica) pid() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cmd.Process.Pid
}

// build makes the program that is tried.
func build(ctx context.Context, root, into string, flags ...string) error {
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-o", into}, flags, []string{"./cmd/grantor"})...) //nolint:gosec // our own source
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build grantor: %w\n%s", err, out)
	}
	return nil
}

// run is a command of the program that must succeed. It answers what it printed.
func run(ctx context.Context, dir string, env []string, binary string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, binary, args...) //nolint:gosec // our own program
	cmd.Env, cmd.Dir = env, dir
	out, err := cmd.Output()
	if failed := new(exec.ExitError); errors.As(err, &failed) {
		return nil, fmt.Errorf("grantor %s: %w\n%s", strings.Join(args, " "), err, failed.Stderr)
	}
	return out, err
}

// pause reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// tail is enough of a log for an error.
func tail(file string) string {
	text, _ := os.ReadFile(file)
	lines := strings.SplitAfter(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "")
}
