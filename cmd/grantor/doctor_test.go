package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/doctor"
	"github.com/grantorhq/grantor/storage/storagetest"
)

// examined runs the command and answers what it printed, and its exit code.
func examined(t *testing.T, env []string, args ...string) (code int, out, log string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), append([]string{"doctor"}, args...), process{
		environ: env, stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, now: time.Now, rand: rand.Reader,
	})
	return code, stdout.String(), stderr.String()
}

// graded maps checks to their worst grade.
func graded(t *testing.T, out string) map[string]doctor.Grade {
	t.Helper()
	var found []doctor.Finding
	require.NoError(t, json.Unmarshal([]byte(out), &found), out)
	order := map[doctor.Grade]int{doctor.Skip: 0, doctor.OK: 1, doctor.Warn: 2, doctor.Fail: 3}
	grades := map[string]doctor.Grade{}
	for _, f := range found {
		if before, seen := grades[f.Check]; !seen || order[f.Grade] > order[before] {
			grades[f.Check] = f.Grade
		}
	}
	require.Len(t, grades, len(doctor.Checks()))
	return grades
}

func bad(grades map[string]doctor.Grade) (list []string) {
	for check, grade := range grades {
		if grade == doctor.Warn || grade == doctor.Fail {
			list = append(list, check)
		}
	}
	return list
}

func TestDoctorFindsAHealthyServerHealthy(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{"sqlite", "postgres"} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			database := "sqlite:" + filepath.Join(t.TempDir(), "grantor.db")
			env := environ(database)
			if dialect == "postgres" {
				server := storagetest.StartPostgres(t, storagetest.Durable...)
				env = environ(server.URL(), "GRANTOR_SECRETS=nT8fQ2vYx0LrKc5uJ7bGqWm3HdZsE1aP9oViXtRyUeA")
			}
			// Cheap hashes are a warning, and rightly so.
			env = append(env, "GRANTOR_PASSWORD_MEMORY=19456", "GRANTOR_PASSWORD_TIME=2")
			p := startInside(t, env, "serve", "--migrate", "--address", "127.0.0.1:0")
			code, out, log := examined(t, env, "--json", "--issuer", p.issuer)
			require.Zero(t, code, out+log)
			require.Empty(t, bad(graded(t, out)), out)
			require.Equal(t, doctor.OK, graded(t, out)["attack-refresh-reuse"])

			code, out, log = examined(t, env, "--issuer", p.issuer, "--no-attack")
			require.Zero(t, code, out+log)
			require.Contains(t, out, "\n  ok    issuer-equal ")
			require.Contains(t, out, " 0 warnings, 0 failed, ")
			require.NotContains(t, command(t, env, "client", "list"), "grantor-doctor-")
			require.NotContains(t, command(t, env, "user", "list"), "grantor-doctor-")
			require.Zero(t, p.stop(t))
		})
	}
}

// The settings of another deployment: another database, with other keys.
func TestDoctorAttacksNobodyElse(t *testing.T) {
	t.Parallel()
	theirs := environ("sqlite:" + filepath.Join(t.TempDir(), "grantor.db"))
	p := startInside(t, theirs, "serve", "--address", "127.0.0.1:0")
	ours := environ("sqlite:" + filepath.Join(t.TempDir(), "grantor.db"))
	command(t, ours, "migrate", "up")
	command(t, ours, "key", "list") // makes keys, as a first start does
	code, out, log := examined(t, ours, "--json", "--issuer", p.issuer)
	require.Equal(t, 1, code)
	require.Contains(t, log, "docs/doctor.md")
	grades := graded(t, out)
	require.Equal(t, doctor.Fail, grades["jwks"])
	require.Equal(t, doctor.Skip, grades["attack-setup"])
	require.Zero(t, p.stop(t))
}

func TestDoctorMakesNothing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, args := range [][]string{{"--json"}, {"--json", "--no-attack"}} {
		code, out, _ := examined(t, environ("sqlite:"+filepath.Join(folder, "grantor.db"), "GRANTOR_ADDRESS=127.0.0.1:1"), args...)
		require.Equal(t, 1, code)
		grades := graded(t, out)
		require.Equal(t, doctor.Fail, grades["database-reachable"])
		require.Equal(t, doctor.Fail, grades["issuer-reachable"])
		left, err := os.ReadDir(folder)
		require.NoError(t, err)
		require.Empty(t, left, "neither a database nor secrets")
	}
}

func TestDoctorReadsWhatOthersMayRead(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	secrets := filepath.Join(folder, "secrets")
	require.NoError(t, os.WriteFile(secrets, []byte("nT8fQ2vYx0LrKc5uJ7bGqWm3HdZsE1aP9oViXtRyUeA\n"), 0o600))
	env := environ("sqlite:"+filepath.Join(folder, "grantor.db"), "GRANTOR_SECRETS_FILE="+secrets, "GRANTOR_PASSWORD_MEMORY=19456", "GRANTOR_PASSWORD_TIME=2")
	p := startInside(t, env, "serve", "--address", "127.0.0.1:0")
	require.NoError(t, os.Chmod(secrets, 0o644))
	code, out, _ := examined(t, env, "--json", "--no-attack", "--issuer", p.issuer)
	require.Equal(t, 1, code)
	require.Equal(t, []string{"secret-files"}, bad(graded(t, out)), out)

	// One that is made of one letter: the settings can not be used, all else is looked at.
	weak := environ("sqlite:"+filepath.Join(folder, "grantor.db"), "GRANTOR_SECRETS="+strings.Repeat("a", 40))
	code, out, log := examined(t, weak, "--json", "--no-attack", "--issuer", p.issuer)
	require.Equal(t, 1, code)
	grades := graded(t, out)
	require.Equal(t, doctor.Fail, grades["secret-strength"])
	require.Equal(t, doctor.OK, grades["jwks"])
	require.NotContains(t, out+log, "aaaaaaaa")
	require.Zero(t, p.stop(t))
}

func TestDoctorIsCalledWrongly(t *testing.T) {
	t.Parallel()
	env := environ("sqlite:" + filepath.Join(t.TempDir(), "grantor.db"))
	for _, args := range [][]string{{"--gently"}, {"please"}} {
		code, _, log := examined(t, env, args...)
		require.Equal(t, 2, code, log)
	}
	code, out, _ := examined(t, append(env, "GRANTOR_ISSUER=http://example.com"), "--json")
	require.Equal(t, 1, code, "settings that can not be used are found, not a mistake of the call")
	require.Equal(t, doctor.Fail, graded(t, out)["settings"])
	require.Equal(t, doctor.Skip, graded(t, out)["database-reachable"])
}
