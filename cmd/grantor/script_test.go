package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/grantorhq/grantor/storage/storagetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"grantor": main})
}

// TestScripts runs every script of testdata/script on every database.
func TestScripts(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		runScripts(t, "sqlite", func(e *testscript.Env) string { return "sqlite:" + filepath.Join(e.WorkDir, "grantor.db") })
	})
	t.Run("postgres", func(t *testing.T) {
		_ = storagetest.Postgres(t) // skips here where there is no server
		runScripts(t, "postgres", func(*testscript.Env) string { return storagetest.Postgres(t) })
	})
}

func runScripts(t *testing.T, dialect string, database func(*testscript.Env) string) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("GRANTOR_DATABASE", database(e))
			// The server of the tests is not durable, and hashing is not what the scripts are about.
			e.Setenv("GRANTOR_UNSAFE_DATABASE", "fsync,synchronous_commit,full_page_writes")
			e.Setenv("GRANTOR_PASSWORD_MEMORY", "64")
			e.Setenv("GRANTOR_PASSWORD_TIME", "1")
			// The watchers of this machine's load must not decide a test.
			e.Setenv("GRANTOR_DATABASE_TIMEOUT", "10s")
			return nil
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "sqlite", "postgres":
				return name == dialect, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "serve": serveCmd, "shutdown": shutdownCmd, "post": post, "field": field,
			"lines": lines, "printf": printf, "eventually": eventually, "oldest": oldest,
		},
	})
}

// exits CODE command…: like exec, and wants exactly that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE command args…")
	}
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("run %s: %v", args[1], err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// lines N FILE: the file (stdout, stderr, or a path) has exactly so many lines.
func lines(ts *testscript.TestScript, _ bool, args []string) {
	if have := strings.Count(ts.ReadFile(args[1]), "\n"); strconv.Itoa(have) != args[0] {
		ts.Fatalf("%s has %d lines, want %s", args[1], have, args[0])
	}
}

// printf TEXT FILE: writes bytes that a script can not hold, in Go's notation.
func printf(ts *testscript.TestScript, _ bool, args []string) {
	text, err := strconv.Unquote(`"` + strings.ReplaceAll(args[0], `"`, `\"`) + `"`)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

// field NAME KEY: sets a variable to a member of the JSON object, or of the first
// object of the array, that the last command printed.
func field(ts *testscript.TestScript, _ bool, args []string) {
	data := []byte(ts.ReadFile("stdout"))
	var list []map[string]any
	if json.Unmarshal(data, &list) != nil {
		object := map[string]any{}
		ts.Check(json.Unmarshal(data, &object))
		list = []map[string]any{object}
	}
	if len(list) == 0 || list[0][args[1]] == nil {
		ts.Fatalf("no member %q", args[1])
	}
	ts.Setenv(args[0], fmt.Sprint(list[0][args[1]]))
}

var readyPattern = regexp.MustCompile(`^grantor is ready: (\S+) \((?:listening on (\S+), )?database \S+\)\n$`)

// serve args…: starts the program on a free port, waits for its ready line, sets
// ISSUER and, to where it really listens, BASE. Its log is serve.log.
func serveCmd(ts *testscript.TestScript, _ bool, args []string) {
	log, err := os.Create(ts.MkAbs("serve.log"))
	ts.Check(err)
	cmd := exec.Command(program(ts), append([]string{"serve", "--address", "127.0.0.1:0"}, args...)...)
	cmd.Dir, cmd.Stderr = ts.MkAbs("."), log
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GOCOVERDIR", "GRANTOR_DATABASE", "GRANTOR_SECRETS", "GRANTOR_UNSAFE_DATABASE", "GRANTOR_PASSWORD_MEMORY", "GRANTOR_PASSWORD_TIME", "GRANTOR_DATABASE_TIMEOUT"} {
		if value := ts.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	match := readyPattern.FindStringSubmatch(line)
	if err != nil || match == nil {
		ts.Fatalf("no ready line but %q: %v\n%s", line, err, ts.ReadFile("serve.log"))
	}
	ts.Setenv("ISSUER", match[1])
	if match[2] == "" {
		ts.Setenv("BASE", match[1])
	} else {
		ts.Setenv("BASE", "http://"+match[2])
	}
	running.put(ts, cmd)
}

// shutdown: tells the started program to stop and wants exit code 0.
func shutdownCmd(ts *testscript.TestScript, _ bool, _ []string) {
	cmd := running.take(ts)
	ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	ts.Check(cmd.Wait())
}

// eventually STATUS ID:SECRET: a running server may take two seconds to see what
// became of a client. Ends when the token endpoint answers with that status.
func eventually(ts *testscript.TestScript, _ bool, args []string) {
	id, secret, _ := strings.Cut(args[1], ":")
	for end := time.Now().Add(10 * time.Second); ; {
		status, _ := send(ts, id, secret, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}})
		if strconv.Itoa(status) == args[0] {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("the answer stays %d", status)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// oldest NAME: sets a variable to the id of the first made secret of the client that
// was shown as JSON.
func oldest(ts *testscript.TestScript, _ bool, args []string) {
	var client struct {
		Secrets []struct {
			ID      string    `json:"secret_id"`
			Created time.Time `json:"created_at"`
		}
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &client))
	first := client.Secrets[0]
	for _, s := range client.Secrets {
		if s.Created.Before(first.Created) {
			first = s
		}
	}
	ts.Setenv(args[0], first.ID)
}

// post ID:SECRET PATH name=value…: prints the status and the body.
func post(ts *testscript.TestScript, _ bool, args []string) {
	form := url.Values{}
	for _, pair := range args[2:] {
		name, value, _ := strings.Cut(pair, "=")
		form.Set(name, value)
	}
	id, secret, _ := strings.Cut(args[0], ":")
	status, body := send(ts, id, secret, args[1], form)
	fmt.Fprintln(ts.Stderr(), status)
	_, _ = ts.Stdout().Write(body)
}

func send(ts *testscript.TestScript, id, secret, path string, form url.Values) (int, []byte) {
	request, err := http.NewRequest(http.MethodPost, ts.Getenv("BASE")+path, strings.NewReader(form.Encode()))
	ts.Check(err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("User-Agent", "script/1 \u202ereversed")
	request.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) // RFC 6749 section 2.3.1
	client := http.Client{Timeout: 20 * time.Second}
	answer, err := client.Do(request)
	ts.Check(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	ts.Check(err)
	return answer.StatusCode, body
}

func program(ts *testscript.TestScript) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path := filepath.Join(dir, "grantor"); isFile(path) {
			return path
		}
	}
	ts.Fatalf("grantor is not in the PATH")
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
