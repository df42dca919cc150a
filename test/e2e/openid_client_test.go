package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/storage/storagetest"
)

// oldestNode is the first major version that openid-client runs on.
const oldestNode = 20

// People sign in through npm's openid-client, which is certified as a relying party.
// flow.mjs is what an application does with it; the person at the browser is here.
func TestOpenIDClient(t *testing.T) {
	t.Parallel()
	folder := openIDClient(t)
	each(t, storagetest.Setup{}, nil, func(t *testing.T, w *world) {
		p := w.serve()
		password := w.account("alice")
		base := []string{
			"--grant", "authorization_code", "--grant", "refresh_token", "--scope", "openid profile email",
			"--redirect-uri", shopCallback, "--post-logout-redirect-uri", shopSignedOut,
		}
		for _, c := range []struct {
			id, auth, mode string
			flags          []string
			metadata       map[string]string
		}{
			{id: "basic", auth: "basic"},
			{id: "post", auth: "post", mode: "form_post"},
			{id: "public", auth: "none", flags: []string{"--public"}},
			{
				id: "signed", auth: "basic", flags: []string{"--id-token-alg", "ES256", "--userinfo-alg", "RS256"},
				metadata: map[string]string{"id_token_signed_response_alg": "ES256", "userinfo_signed_response_alg": "RS256"},
			},
		} {
			made := w.client(c.id, append(slices.Clone(base), c.flags...)...)
			sub := w.application(folder, newPerson(t, "alice", password, ""), map[string]any{
				"issuer": p.url, "client_id": made.ID, "client_secret": made.Secret, "auth": c.auth, "response_mode": c.mode,
				"redirect_uri": shopCallback, "post_logout_redirect_uri": shopSignedOut, "metadata": c.metadata,
			})
			require.NotEmpty(t, sub)
			t.Log("openid-client is content as", c.id)
		}
	})
}

// application runs flow.mjs, and is its browser. It answers who signed in.
func (w *world) application(folder string, visitor *person, app map[string]any) (sub string) {
	t := w.t
	t.Helper()
	argument, err := json.Marshal(app)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "flow.mjs", string(argument))
	var errout bytes.Buffer
	cmd.Dir, cmd.Stderr, cmd.SysProcAttr = folder, &errout, dieWithUs()
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	said := bufio.NewScanner(out)
	for said.Scan() {
		var line struct{ Go, Done string }
		require.NoError(t, json.Unmarshal(said.Bytes(), &line), "%s", said.Bytes())
		if line.Go == "" {
			sub = line.Done
			continue
		}
		came := visitor.visit(line.Go)
		answer := map[string]any{"at": came.at.String()}
		if came.form != nil {
			fields := map[string]string{}
			for name := range came.form {
				fields[name] = came.form.Get(name)
			}
			answer["form"] = fields
		}
		text, err := json.Marshal(answer)
		require.NoError(t, err)
		_, err = in.Write(append(text, '\n'))
		require.NoError(t, err)
	}
	require.NoError(t, cmd.Wait(), "%s", errout.String())
	return sub
}

// openIDClient installs what openid-client/package-lock.json names into a folder of the
// test. Where there is no Node.js, or no way to a registry, the test is skipped, but
// fails with "node" in GRANTOR_TEST_REQUIRE.
func openIDClient(t *testing.T) (folder string) {
	t.Helper()
	absent := t.Skipf
	if strings.Contains(os.Getenv("GRANTOR_TEST_REQUIRE"), "node") {
		absent = t.Fatalf
	}
	out, err := exec.CommandContext(t.Context(), "node", "--version").Output()
	if err != nil {
		absent("no Node.js: %v", err)
	}
	version := strings.TrimSpace(string(out))
	if major, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), "."); number(major) < oldestNode {
		absent("Node.js %s is too old: openid-client needs %d", version, oldestNode)
	}
	folder = t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "flow.mjs"} {
		text, err := os.ReadFile(filepath.Join("openid-client", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), text, 0o600))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error")
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		absent("npm can not install openid-client: %v\n%s", err, out)
	}
	return folder
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}
