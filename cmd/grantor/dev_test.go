package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/storage/storagetest"
)

// The first minute: what `serve --dev` prints, pasted into a shell, walks the whole circle.
func TestTheTourCanBePasted(t *testing.T) {
	needCurl(t)
	env := environ("sqlite:" + filepath.Join(t.TempDir(), "grantor.db"))
	p := startInside(t, env, "serve", "--dev", "--address", "127.0.0.1:0")
	block := printedTour(t, p)
	for _, shell := range []string{"sh", "bash", "dash", "zsh"} {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skip("no " + shell + " on this machine")
			}
			requireCircle(t, paste(t, shell, block))
		})
	}
	require.Zero(t, p.stop(t))
}

func TestTheTourOnPostgreSQL(t *testing.T) {
	needCurl(t)
	env := environ(storagetest.Postgres(t), "GRANTOR_UNSAFE_DATABASE=fsync,synchronous_commit,full_page_writes")
	t.Chdir(t.TempDir()) // the secrets and the demo's credentials go to the working folder
	p := startInside(t, env, "serve", "--dev", "--migrate", "--address", "127.0.0.1:0")
	requireCircle(t, paste(t, "sh", printedTour(t, p)))
	require.Zero(t, p.stop(t))
	require.FileExists(t, "grantor.dev.json")
	require.FileExists(t, "grantor.secrets")
}

func TestTheTourIsPleasant(t *testing.T) {
	block := tourOf("http://127.0.0.1:8080", demo{ClientID: "demo", ClientSecret: "secret", User: "alice", Password: "password"})
	require.NotContains(t, block, "\n\n\n", "one blank line between blocks")
	require.NotContains(t, block, "jq")
	require.Contains(t, block, "go run ./examples/resource-server\n")
	require.Contains(t, block, "go run ./examples/spa\n")
	require.True(t, strings.HasSuffix(block, "http://127.0.0.1:8080/account\n"))
	require.Contains(t, tourOf("http://127.0.0.1:18080", demo{}), "go run ./examples/spa -issuer http://127.0.0.1:18080\n", "the examples are told where to look")
	before := ""
	for line := range strings.Lines(block) {
		line = strings.TrimSuffix(line, "\n")
		require.Equal(t, strings.TrimSpace(line), line)
		if strings.Contains(line, "curl ") {
			require.Equal(t, 1, strings.Count(line, "curl "))
			require.True(t, strings.HasPrefix(before, "# "), "a comment precedes %q", line)
		}
		if strings.HasPrefix(line, "#") {
			// An interactive zsh takes the line for a command: it may complain, it must not wait or expand.
			require.Regexp(t, `^# [A-Za-z0-9 ,.:/-]+$`, line)
			require.Less(t, len(line), 90)
		}
		before = line
	}
}

// What was printed once is printed again: stopping loses nothing.
func TestTheNextStartPrintsTheSame(t *testing.T) {
	needCurl(t)
	dir := t.TempDir()
	env := environ("sqlite:" + filepath.Join(dir, "grantor.db"))
	serve := func() (*inside, string) {
		p := startInside(t, env, "serve", "--dev", "--address", "127.0.0.1:0")
		return p, strings.ReplaceAll(printedTour(t, p), p.issuer, "ISSUER")
	}
	p, first := serve()
	answers := paste(t, "sh", logInOnly(printedTour(t, p)))
	require.Zero(t, p.stop(t))

	info, err := os.Stat(filepath.Join(dir, "grantor.db.dev.json"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	p, second := serve()
	require.Equal(t, first, second, "same client, secret, user and password")
	require.Equal(t, 2, strings.Count(command(t, env, "client", "list", "--json"), `"client_id"`), "the demo, and the page of examples/spa")
	require.Contains(t, command(t, env, "session", "list"), "alice", "sessions survive")
	require.NotEmpty(t, answers)
	require.Zero(t, p.stop(t))

	// The file is there, the rows are lost: they are made again, from the file.
	for _, file := range []string{"grantor.db", "grantor.db-wal", "grantor.db-shm"} {
		_ = os.Remove(filepath.Join(dir, file))
	}
	p, third := serve()
	require.Equal(t, first, third)
	requireCircle(t, paste(t, "sh", printedTour(t, p)))
	require.Zero(t, p.stop(t))
	command(t, env, "user", "delete", "alice")
	p, third = serve()
	require.Equal(t, first, third, "half of them too")
	requireCircle(t, paste(t, "sh", printedTour(t, p)))
	require.Zero(t, p.stop(t))

	// The demo is deleted: the next one is another.
	command(t, env, "user", "delete", "alice")
	command(t, env, "client", "delete", "demo")
	require.NoError(t, os.Remove(filepath.Join(dir, "grantor.db.dev.json")))
	p, fourth := serve()
	require.NotEqual(t, first, fourth)
	requireCircle(t, paste(t, "sh", printedTour(t, p)))
	require.Zero(t, p.stop(t))
	require.NotContains(t, p.log.String(), between(fourth, "client=demo:", " "), "no secret in the log")
	require.NotContains(t, p.log.String(), between(fourth, "password=", "\n"), "no password in the log")
}

// An alice or a demo that --dev did not make belongs to somebody: no start may give
// them another password or secret, nor add the other of the two.
func TestDevLeavesAloneWhatItDidNotMake(t *testing.T) {
	kept := `{"client_id": "demo", "client_secret": "` + strings.Repeat("s", 42) + `A", "user": "alice", "password": "` + strings.Repeat("p", 24) + `"}`
	createClient := []string{"client", "create", "--id", "demo", "--grant", "client_credentials"}
	for name, c := range map[string]struct {
		file  string // that another database left in this folder
		makes []string
		says  string
	}{
		"a user":                       {"", []string{"user", "create", "Alice"}, "the database has a user Alice"},
		"a client":                     {"", createClient, "the database has a client demo"},
		"a user, and somebody's file":  {kept, []string{"user", "create", "alice"}, "user alice has another password"},
		"a client, and somebody's":     {kept, createClient, "client demo has another secret"},
		"the address of alice":         {kept, []string{"user", "create", "bob", "--email", "Alice@example.com"}, "user bob has another password"},
		"the address, and no file":     {"", []string{"user", "create", "bob", "--email", "Alice@example.com"}, "the database has a user bob"},
		"a file of nothing":            {"{}", []string{"user", "create", "alice"}, "other credentials"},
		"a file that is no JSON":       {"alice", []string{"user", "create", "alice"}, "no demo credentials"},
		"a file with more than a name": {strings.ReplaceAll(kept, strings.Repeat("p", 24), "$(reboot)"), []string{"user", "create", "alice"}, "other credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			env := environ("sqlite:" + filepath.Join(dir, "grantor.db"))
			command(t, env, c.makes...)
			before := command(t, env, "user", "list", "--json") + command(t, env, "client", "list", "--json")
			if c.file != "" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, "grantor.db.dev.json"), []byte(c.file), 0o600))
			}
			code, log := refusedDev(t, env)
			require.Equal(t, exitFailed, code)
			require.Contains(t, log, c.says)
			require.Contains(t, log, "hint: ")
			require.NotContains(t, log, "sss", "no secret in an error")
			require.NotContains(t, log, "ppp")
			require.Equal(t, before, command(t, env, "user", "list", "--json")+command(t, env, "client", "list", "--json"))
			if c.file == "" {
				require.NoFileExists(t, filepath.Join(dir, "grantor.db.dev.json"))
			}
		})
	}
}

func TestDevStartedManyTimesAtOnce(t *testing.T) {
	c := testCLI()
	cfg := config.Default()
	cfg.Database = config.Database("sqlite:" + filepath.Join(t.TempDir(), "grantor.db"))
	cfg.DatabaseTimeout, cfg.PasswordMemory, cfg.PasswordTime = 10*time.Second, 64, 1
	passwords, err := c.passwords(cfg)
	require.NoError(t, err)
	store, err := c.open(t.Context(), cfg, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	require.NoError(t, ready(t.Context(), store))

	made, failed := make([]demo, 8), make([]error, 8)
	var wait sync.WaitGroup
	for i := range made {
		wait.Go(func() {
			made[i], failed[i] = c.prepareDemo(t.Context(), desk{Store: store, config: cfg}, passwords)
		})
	}
	wait.Wait()
	for i := range made {
		require.NoError(t, failed[i])
		require.Equal(t, made[0], made[i])
	}
}

func TestADemoFileThatOthersReadIsRefused(t *testing.T) {
	dir := t.TempDir()
	env := environ("sqlite:" + filepath.Join(dir, "grantor.db"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "grantor.db.dev.json"), []byte("{}"), 0o644))
	code, log := refusedDev(t, env)
	require.Equal(t, exitFailed, code)
	require.Contains(t, log, "can be read by others")
	require.Contains(t, log, "hint: chmod 600 ")
}

func refusedDev(t *testing.T, env []string) (code int, log string) {
	t.Helper()
	var text strings.Builder
	code = run(t.Context(), []string{"serve", "--dev", "--address", "127.0.0.1:0"}, process{environ: env, stdout: &text, stderr: &text, now: testCLI().now, rand: testCLI().rand})
	return code, text.String()
}

func needCurl(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl on this machine")
	}
}

// printedTour is all that was printed after the ready line.
func printedTour(t *testing.T, p *inside) string {
	t.Helper()
	_, block, ok := strings.Cut(p.out.String(), "\n")
	require.True(t, ok)
	return block
}

// logInOnly is the part of the tour that leaves a session behind.
func logInOnly(block string) string {
	before, _, _ := strings.Cut(block, "# Call an API")
	return before
}

// paste gives the lines to a shell and returns what it printed, without empty lines.
func paste(t *testing.T, shell, block string) []string {
	t.Helper()
	cmd := exec.Command(shell)
	cmd.Stdin = strings.NewReader(block)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	var lines []string
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// requireCircle: log in, call, renew, introspect, revoke, introspect, each as it must be.
func requireCircle(t *testing.T, lines []string) {
	t.Helper()
	require.Len(t, lines, 6, "%s", strings.Join(lines, "\n"))
	answer := func(i int) map[string]any {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(lines[i]), &m), lines[i])
		require.NotContains(t, m, "error", lines[i])
		return m
	}
	login, info, renewed, active, inactive := answer(0), answer(1), answer(2), answer(3), answer(5)
	require.NotEmpty(t, login["access_token"])
	require.NotEmpty(t, login["refresh_token"])
	require.NotEmpty(t, info["sub"])
	require.NotEqual(t, login["refresh_token"], renewed["refresh_token"])
	require.NotEqual(t, login["access_token"], renewed["access_token"])
	require.Equal(t, true, active["active"])
	require.Equal(t, info["sub"], active["sub"])
	require.Equal(t, "revoked, HTTP 200", lines[4])
	require.Equal(t, map[string]any{"active": false}, inactive)
}

func between(text, from, to string) string {
	match := regexp.MustCompile(regexp.QuoteMeta(from) + `(.*?)` + regexp.QuoteMeta(to)).FindStringSubmatch(text)
	if match == nil {
		return "nothing between"
	}
	return match[1]
}
