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
	"strings"
	"syscall"
	"time"

	pgserver "github.com/grantorhq/grantor/test/postgres"
)

// patience bounds every wait for something that must come.
const patience = 60 * time.Second

// process is a program that we started and that prints one line when it is ready.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	line string
	log  string
}

// start runs a program with its standard error in a file, and waits for its first line.
func start(ctx context.Context, logFile, stdin string, env []string, name string, args ...string) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), name, args...) //nolint:gosec // our own programs
	cmd.Env, cmd.Stderr, cmd.Dir, cmd.Stdin = env, log, filepath.Dir(logFile), strings.NewReader(stdin)
	cmd.SysProcAttr = pgserver.Child(syscall.SIGKILL)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{}), log: logFile}
	first := make(chan string, 1)
	go func() {
		defer close(p.done)
		reader := bufio.NewReader(out)
		line, _ := reader.ReadString('\n')
		first <- line
		_, _ = io.Copy(io.Discard, reader)
		_ = cmd.Wait()
	}()
	select {
	case p.line = <-first:
	case <-time.After(patience):
	}
	if p.line == "" {
		p.stop()
		return nil, fmt.Errorf("%s printed nothing\n%s", filepath.Base(name), tail(logFile))
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop is gentle at first.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// run is a command that must succeed. It answers what it printed.
func run(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // our own programs
	cmd.Env, cmd.Dir = env, dir
	out, err := cmd.Output()
	if failed := new(exec.ExitError); errors.As(err, &failed) {
		return "", fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, failed.Stderr)
	}
	return string(out), err
}

// tail is enough of a log for an error.
func tail(file string) string {
	text, _ := os.ReadFile(file)
	lines := strings.SplitAfter(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "")
}
