// Command grantor is the whole program: the server, and the tools for whoever runs it.
//
// Each noun has one file: serve.go, migrate.go, client.go, user.go, session.go,
// key.go, audit.go, explain.go, config.go, doctor.go, version.go. A verb reads its flags and standard input, checks
// what can be checked without the database, calls the packages, prints. Rules live
// in those packages; here is only how they are asked for and how they are told.
//
// What a person sees follows three rules: an answer goes to standard output, in
// words or, with --json, as JSON; a failure is one line "grantor: …" on standard
// error and one line "hint: …" where there is a next step (errors.go); and text that
// somebody else chose never reaches a terminal with its control characters (print.go).
//
// This is the only package that touches the clock, the random source, the
// environment and the signals of the process.
package main

import (
	"context"
	"crypto/rand"
	"io"
	"os"
	"os/signal"
	"os/user"
	"syscall"
	"time"
)

func main() {
	ctx, end := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		// Before ctx ends: whoever has seen the program begin to stop can send a second
		// signal, which does what it does by default and ends the program at once.
		signal.Stop(signals)
		end()
	}()
	os.Exit(run(ctx, os.Args[1:], process{
		environ: os.Environ(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		now: clock(), rand: rand.Reader, operator: operator(),
		hangups: func(c chan<- os.Signal) {
			signal.Ignore(syscall.SIGPIPE) // a server goes on when who read its log does not
			signal.Notify(c, syscall.SIGHUP)
		},
	}))
}

// process is what the program sees of the world around it, so that a test can be that world.
type process struct {
	environ []string
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	now     func() time.Time
	rand    io.Reader
	// operator is who runs it, as user@host, for the audit log; "" = not known
	operator string
	hangups  func(chan<- os.Signal) // sends every SIGHUP there from now on; nil: there are none
}

func operator() string {
	who, err := user.Current()
	if err != nil {
		return ""
	}
	host, err := os.Hostname()
	if err != nil {
		return who.Username
	}
	return who.Username + "@" + host
}

// run is the program. It ends when the command is done, or soon after ctx is.
func run(ctx context.Context, args []string, p process) int {
	root := (&cli{process: p}).root()
	// Not nil, which cobra takes for the arguments of the real process.
	root.SetArgs(append([]string{}, args...))
	return report(p.stderr, root.ExecuteContext(ctx))
}
