package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/users"
)

// hashWorker is the command with which serve starts itself once more, to hash passwords
// at the lowest priority (docs/decisions/0018). It is on no list: it speaks no language
// that a person could.
const hashWorker = "hash-worker"

func (c *cli) hashWorkerCommand() *cobra.Command {
	cmd := &cobra.Command{Use: hashWorker, Short: "Hash passwords for grantor serve, which starts this itself", Args: cobra.NoArgs, Hidden: true}
	cmd.RunE = func(*cobra.Command, []string) error {
		if f, ok := c.stdin.(*os.File); ok && !isPipe(f) {
			return &usageError{message: hashWorker + " is started by grantor serve, never by hand", hint: "grantor serve"}
		}
		// Ctrl-C and a service manager tell everybody to stop. The server first finishes
		// the sign-ins in flight; then it ends our input, and so does its death.
		signal.Ignore(os.Interrupt, syscall.SIGTERM)
		lowerPriority()
		shrink()
		if err := users.ServeWorker(c.stdin, c.stdout); err != nil {
			return withHint(err, "%s is started by grantor serve, never by hand", hashWorker)
		}
		return nil
	}
	return cmd
}

func isPipe(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeNamedPipe != 0
}

// servingPasswords hash in processes of their own, so that sign-ins slow down nothing
// else. The other commands hash one password and are done.
func (c *cli) servingPasswords(cfg config.Config, log *slog.Logger) (*users.Passwords, error) {
	options := c.passwordOptions(cfg)
	options.Worker = &users.WorkerOptions{
		Start: func() (users.WorkerProcess, error) { return startHashWorker(options) },
		Log:   log,
	}
	return users.NewPasswords(options)
}

// startHashWorker starts this program once more, as `grantor hash-worker`.
func startHashWorker(o users.PasswordOptions) (users.WorkerProcess, error) {
	path, err := ownPath()
	if err != nil {
		return nil, err
	}
	p := &hashProcess{cmd: exec.Command(path)} //nolint:gosec,noctx // this program; its end is that of its input
	p.cmd.Args = []string{"grantor", hashWorker}
	p.cmd.Env = hashWorkerEnviron(o)
	p.cmd.SysProcAttr = ownGroup()
	if p.WriteCloser, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if p.Reader, err = p.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	// What it writes on standard error would break a log of JSON lines.
	return p, p.cmd.Start()
}

// hashWorkerEnviron is nothing of ours, which holds secrets, but what Go's runtime wants
// to know: the processors that one hash can use, that the worker collects garbage itself,
// and the memory up to which freed pieces need not be pushed together.
func hashWorkerEnviron(o users.PasswordOptions) []string {
	const base = 12 << 10 // KiB
	return []string{
		fmt.Sprint("GOMAXPROCS=", min(runtime.GOMAXPROCS(0), int(o.Threads))),
		"GOGC=off",
		fmt.Sprint("GOMEMLIMIT=", o.Memory+o.Memory/16+base, "KiB"), // a sixteenth, because Go holds 5 % of it free
	}
}

// ownPath is this program, also where an upgrade has put another one in its place.
func ownPath() (string, error) {
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); runtime.GOOS == "linux" && err == nil {
		return self, nil
	}
	return os.Executable()
}

// hashProcess is a users.WorkerProcess.
type hashProcess struct {
	io.WriteCloser
	io.Reader
	cmd *exec.Cmd
}

func (p *hashProcess) Kill()       { _ = p.cmd.Process.Kill() }
func (p *hashProcess) Wait() error { return p.cmd.Wait() }
