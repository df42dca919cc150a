package main

import (
	"bytes"
	"crypto/rand"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/config"
)

func testCLI() *cli { return &cli{process: process{now: time.Now, rand: rand.Reader}} }

func sqliteConfig(dir string) config.Config {
	cfg := config.Default()
	cfg.Database = config.Database("sqlite:" + filepath.Join(dir, "grantor.db"))
	return cfg
}

// Replicas that start at once on one folder must agree, and see no half file.
func TestServerSecretsAreMadeOnceByMany(t *testing.T) {
	dir := t.TempDir()
	const starters = 32
	ids := make([][4]byte, starters)
	var logs bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logs, nil))
	var wait sync.WaitGroup
	start := make(chan struct{})
	for i := range starters {
		wait.Go(func() {
			<-start
			secrets, err := testCLI().serverSecrets(sqliteConfig(dir), log)
			if err == nil {
				ids[i] = secrets.Derive("test")[0].ID
			}
		})
	}
	close(start)
	wait.Wait()
	require.NotZero(t, ids[0])
	for _, id := range ids {
		require.Equal(t, ids[0], id, "every starter uses the same secret")
	}
	require.Equal(t, 1, strings.Count(logs.String(), "generated server secrets"), "one made it, and says so")
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1, "no temporary file stays")
	info, err := files[0].Info()
	require.NoError(t, err)
	require.Equal(t, "grantor.db.secrets", info.Name())
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	text, err := os.ReadFile(filepath.Join(dir, "grantor.db.secrets"))
	require.NoError(t, err)
	require.NotContains(t, logs.String(), strings.TrimSpace(string(text)))
}

func TestServerSecretsOfTheSettingsMakeNoFile(t *testing.T) {
	dir := t.TempDir()
	cfg := sqliteConfig(dir)
	cfg.Secrets = "0123456789abcdef0123456789abcdef"
	_, err := testCLI().serverSecrets(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, files)
}

func TestPrivateFilesAreRefusedWhenTheyAreNot(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secrets")
	require.NoError(t, createPrivate(path, []byte("one")))
	require.ErrorIs(t, createPrivate(path, []byte("two")), fs.ErrExist)
	text, err := readPrivate(path)
	require.NoError(t, err)
	require.Equal(t, "one", string(text), "the loser changes nothing")

	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())

	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o644, 0o601} {
		require.NoError(t, os.Chmod(path, mode))
		_, err := readPrivate(path)
		require.ErrorContains(t, err, "can be read by others")
		require.Contains(t, hintOf(err), "chmod 600 "+path)
	}
	_, err = readPrivate(dir)
	require.ErrorContains(t, err, "is not a plain file")
	_, err = readPrivate(filepath.Join(dir, "nothing"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}
