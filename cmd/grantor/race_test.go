package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/storage/storagetest"
)

// onEach runs a test in a world with an empty, migrated database of every kind.
func onEach(t *testing.T, test func(t *testing.T, env []string)) {
	t.Run("sqlite", func(t *testing.T) {
		env := environ("sqlite:" + filepath.Join(t.TempDir(), "grantor.db"))
		command(t, env, "migrate", "up")
		test(t, env)
	})
	t.Run("postgres", func(t *testing.T) {
		env := environ(storagetest.Postgres(t), "GRANTOR_UNSAFE_DATABASE=fsync,synchronous_commit,full_page_writes")
		command(t, env, "migrate", "up")
		test(t, env)
	})
}

// atOnce runs commands at the same moment and answers their exit codes and complaints.
func atOnce(t *testing.T, env []string, commands ...[]string) (codes []int, complaints []string) {
	t.Helper()
	codes, complaints = make([]int, len(commands)), make([]string, len(commands))
	var wait sync.WaitGroup
	start := make(chan struct{})
	for i, args := range commands {
		wait.Go(func() {
			var out, log bytes.Buffer
			p := testCLI().process
			p.environ, p.stdin, p.stdout, p.stderr = env, strings.NewReader(""), &out, &log
			<-start
			codes[i], complaints[i] = run(t.Context(), args, p), log.String()
		})
	}
	close(start)
	wait.Wait()
	return codes, complaints
}

// G-05: of many who register the same id one wins, the others hear of it.
func TestTheSameIDAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, env []string) {
		var commands [][]string
		for i := range 8 {
			commands = append(commands, []string{"client", "create", "--id", "same", "--name", fmt.Sprint("number ", i), "--grant", "client_credentials"})
		}
		codes, complaints := atOnce(t, env, commands...)
		won := -1
		for i, code := range codes {
			if code == exitGood {
				require.Equal(t, -1, won, "only one wins")
				won = i
				continue
			}
			require.Equal(t, exitFailed, code)
			require.Contains(t, complaints[i], "client already exists")
		}
		require.NotEqual(t, -1, won, "one wins: %v", complaints)
		shown := showClient(t, env, "same")
		require.Equal(t, fmt.Sprint("number ", won), shown.ClientName, "the stored one is whole")
		require.Len(t, shown.Secrets, 1)
	})
}

// G-10: of many who change one client nobody undoes what another was told is done.
func TestManyChangesOfOneClientAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, env []string) {
		command(t, env, "client", "create", "--id", "c", "--grant", "client_credentials")
		update := func(args ...string) []string { return append([]string{"client", "update", "c"}, args...) }
		codes, complaints := atOnce(t, env,
			update("--name", "new"), update("--scope", "a b"), update("--audience", "https://api.test"), update("--access-token", "opaque"),
			update("--access-token-lifetime", "5m"), update("--resource-server"), []string{"client", "disable", "c"}, []string{"client", "rotate-secret", "c"},
		)
		shown, done := showClient(t, env, "c"), 0
		changed := []bool{
			shown.ClientName == "new", shown.Scope == "a b", len(shown.Audience) == 1, shown.AccessTokenFormat == string(clients.Opaque),
			shown.AccessTokenLifetime == 300, shown.ResourceServer, shown.Disabled,
		}
		for i, code := range codes {
			if code != exitGood {
				require.Contains(t, complaints[i], "client was changed by somebody else: c\nhint: ")
			} else {
				done++
			}
			if i < len(changed) {
				require.Equal(t, code == exitGood, changed[i], "command %d exited %d", i, code)
			}
		}
		require.Positive(t, done)
		require.Equal(t, int64(1+done), shown.Version)
	})
}

func showClient(t *testing.T, env []string, id string) (shown clients.Metadata) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(command(t, env, "client", "show", id, "--json")), &shown))
	return shown
}
