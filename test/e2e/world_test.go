package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/storage/storagetest"
)

// world is one database, the programs on it, and who they know.
type world struct {
	t        testing.TB
	dialect  string
	url      string              // of the database
	database *storagetest.Server // with Setup.OwnServer on PostgreSQL
	env      []string
	dir      string

	mu      sync.Mutex
	secrets map[string]bool // what must never be in a log, nor at rest
	logs    []*log
}

// each runs fn on both databases, each migrated unless the setup says otherwise.
// Settings are GRANTOR_ variables without the prefix.
func each(t *testing.T, setup storagetest.Setup, settings []string, fn func(t *testing.T, w *world)) {
	t.Helper()
	storagetest.EachWith(t, setup, func(t *testing.T, e *storagetest.Env) {
		// Nobody but the program has the database open: an idle reader would keep
		// SQLite's shared memory alive through a crash.
		require.NoError(t, e.Store.Close())
		w := newWorld(t, e.Dialect, e.URL, settings...)
		w.database = e.Server
		fn(t, w)
	})
}

const serverSecret = "e2e-server-secret-0123456789-abcdefghijklm"

func newWorld(t testing.TB, dialect, url string, settings ...string) *world {
	t.Helper()
	w := &world{t: t, dialect: dialect, url: url, dir: t.TempDir(), secrets: map[string]bool{}}
	w.env = []string{
		"PATH=" + os.Getenv("PATH"),
		"GRANTOR_DATABASE=" + url,
		"GRANTOR_SECRETS=" + serverSecret,
		"GRANTOR_LOG_LEVEL=debug",
		// Hashing is not what is tried here.
		"GRANTOR_PASSWORD_MEMORY=64", "GRANTOR_PASSWORD_TIME=1",
		// Other packages' tests share the machine, and a slow one is no fault. Tests of outages set the default again.
		"GRANTOR_DATABASE_TIMEOUT=10s",
		"GRANTOR_DRAIN_TIMEOUT=2s",
		// The throw-away server has them off.
		"GRANTOR_UNSAFE_DATABASE=fsync,synchronous_commit,full_page_writes",
	}
	for _, s := range settings {
		w.env = append(w.env, "GRANTOR_"+s)
	}
	w.secret(serverSecret)
	// Before the programs are ended, because cleanups run backwards: the last line counts too.
	t.Cleanup(w.searchLogs)
	return w
}

// issuer is a name that stays the same for programs on different ports, and through restarts.
const issuer = "https://issuer.example.com"

// serve starts a replica on a free port, and waits until it is ready.
func (w *world) serve(args ...string) *program {
	w.t.Helper()
	p, err := w.start(args...)
	require.NoError(w.t, err)
	return p.serving(w.t)
}

// serveAll starts several at once.
func (w *world) serveAll(count int, args ...string) []*program {
	w.t.Helper()
	programs, errs := make([]*program, count), make([]error, count)
	var starting sync.WaitGroup
	for i := range programs {
		starting.Go(func() { programs[i], errs[i] = w.start(args...) })
	}
	starting.Wait()
	require.NoError(w.t, errors.Join(errs...))
	for _, p := range programs {
		p.serving(w.t)
	}
	return programs
}

// start does not ask whether the program got ready.
func (w *world) start(args ...string) (*program, error) {
	binary, err := grantor()
	if err != nil {
		return nil, err
	}
	p, err := launch(w.t, binary, w.dir, w.env, append([]string{"serve", "--address", "127.0.0.1:0"}, args...)...)
	if err == nil {
		w.watch(p.log)
	}
	return p, err
}

func (w *world) watch(l *log) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logs = append(w.logs, l)
}

// result is how a command ended.
type result struct {
	code        int
	out, errout string
}

// try runs a command of the program, as an administrator does beside the server.
func (w *world) try(stdin string, args ...string) (result, error) {
	binary, err := grantor()
	if err != nil {
		return result{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, errout bytes.Buffer
	cmd.Env, cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = w.env, w.dir, strings.NewReader(stdin), &out, &errout
	err = cmd.Run()
	if cmd.ProcessState == nil {
		return result{}, err
	}
	return result{code: cmd.ProcessState.ExitCode(), out: out.String(), errout: errout.String()}, nil
}

// run is a command that must succeed.
func (w *world) run(args ...string) string {
	w.t.Helper()
	r, err := w.try("", args...)
	require.NoError(w.t, err)
	require.Zero(w.t, r.code, "grantor %v: %s", args, r.errout)
	return r.out
}

// read decodes what a command prints with --json.
func (w *world) read(into any, args ...string) {
	w.t.Helper()
	require.NoError(w.t, json.Unmarshal([]byte(w.run(append(args, "--json")...)), into))
}

// credentials are a client's.
type credentials struct{ ID, Secret string }

// client registers one.
func (w *world) client(id string, flags ...string) credentials {
	w.t.Helper()
	var made struct {
		ClientSecret string `json:"client_secret"`
	}
	w.read(&made, append([]string{"client", "create", "--id", id}, flags...)...)
	w.secret(made.ClientSecret)
	return credentials{id, made.ClientSecret}
}

// user makes an account, and answers its password.
func (w *world) user(name string) (password string) {
	w.t.Helper()
	var made struct{ Password string }
	w.read(&made, "user", "create", name)
	require.NotEmpty(w.t, made.Password)
	w.secret(made.Password)
	return made.Password
}

// secret notes what may be shown to nobody else.
func (w *world) secret(values ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range values {
		if v != "" {
			w.secrets[v] = true
		}
	}
}

// drawn is the ids of requests, users, and sessions and clients: they may by chance hold any word.
var drawn = regexp.MustCompile(`\b(?:[a-z2-7]{16}|[a-z2-7]{18}|[a-z2-7]{26})\b`)

// wordPattern is what any secret here is made of.
var wordPattern = regexp.MustCompile(`[A-Za-z0-9._~-]{16,}`)

func (w *world) searchLogs() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.logs {
		text := l.String()
		if w.t.Failed() {
			w.t.Logf("the end of a program's log:\n%s", l.tail())
		}
		for _, word := range wordPattern.FindAllString(text, -1) {
			if w.secrets[word] {
				w.t.Errorf("a secret is in the log: %q", word)
			}
		}
		told := drawn.ReplaceAllString(text, "")
		for _, sign := range []string{"WARNING: DATA RACE", "panic"} {
			if strings.Contains(told, sign) {
				w.t.Errorf("%q in the log:\n%s", sign, l.tail())
			}
		}
	}
}
