package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

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
	require.True(t, strings.HasSuffix(strings.TrimSpace(block), "go run ./examples/resource-server"))
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
	require.Equal(t, 1, strings.Count(command(t, env, "client", "list", "--json"), `"client_id"`))
	require.Contains(t, command(t, env, "session", "list"), "alice", "sessions survive")
	require.NotEmpty(t, answers)
	require.Zero(t, p.stop(t))

	// The file is lost, the rows are there: new credentials, which work, and no session ends.
	require.NoError(t, os.Remove(filepath.Join(dir, "grantor.db.dev.json")))
	p, third := serve()
	require.NotEqual(t, first, third)
	require.Contains(t, command(t, env, "session", "list"), "alice")
	requireCircle(t, paste(t, "sh", printedTour(t, p)))
	require.Zero(t, p.stop(t))

	// The file is there, the rows are lost.
	for _, file := range []string{"grantor.db", "grantor.db-wal", "grantor.db-shm"} {
		_ = os.Remove(filepath.Join(dir, file))
	}
	p, fourth := serve()
	require.NotEqual(t, third, fourth)
	requireCircle(t, paste(t, "sh", printedTour(t, p)))
	require.Zero(t, p.stop(t))
	require.NotContains(t, p.log.String(), between(fourth, "client=demo:", " "), "no secret in the log")
	require.NotContains(t, p.log.String(), between(fourth, "password=", "\n"), "no password in the log")
}

func TestADemoFileThatOthersReadIsRefused(t *testing.T) {
	dir := t.TempDir()
	env := environ("sqlite:" + filepath.Join(dir, "grantor.db"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "grantor.db.dev.json"), []byte("{}"), 0o644))
	var log strings.Builder
	code := run(t.Context(), []string{"serve", "--dev", "--address", "127.0.0.1:0"}, process{environ: env, stdout: &log, stderr: &log, now: testCLI().now, rand: testCLI().rand})
	require.Equal(t, exitFailed, code)
	require.Contains(t, log.String(), "can be read by others")
	require.Contains(t, log.String(), "hint: chmod 600 ")
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
