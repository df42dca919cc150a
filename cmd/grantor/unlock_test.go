package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// What is counted when sign-ins fail is what unlock forgets: the account's and the
// address's apart.
func TestUnlock(t *testing.T) {
	database := "sqlite:" + filepath.Join(t.TempDir(), "grantor.db")
	env := environ(database)
	command(t, env, "user", "create", "alice")

	c, cfg := testCLI(), config.Default()
	cfg.Database, cfg.PasswordMemory, cfg.PasswordTime = config.Database(database), 64, 1
	store, err := c.open(t.Context(), cfg, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	passwords, err := c.passwords(cfg)
	require.NoError(t, err)
	fail := func(address string) {
		_, err := store.SignIn(t.Context(), passwords, storage.Attempt{Login: "alice", Password: "wrong", Address: address}, c.now())
		require.ErrorIs(t, err, users.ErrWrongPassword)
	}

	fail("2001:db8::7")
	require.Equal(t, "user alice unlocked\n", command(t, env, "user", "unlock", "alice"))
	require.Equal(t, "user alice has no failed sign-ins\n", command(t, env, "user", "unlock", "alice"))
	require.Equal(t, "address 2001:db8::/64 unlocked\n", command(t, env, "user", "unlock", "--address", "2001:db8::8"), "the neighbour's failures too")
	require.Equal(t, "address 2001:db8::/64 has no failed sign-ins\n", command(t, env, "user", "unlock", "--address", "2001:db8::7"))

	fail("192.0.2.7")
	require.Equal(t, "user alice unlocked\naddress 192.0.2.7 unlocked\n", command(t, env, "user", "unlock", "alice", "--address", "::ffff:192.0.2.7"))
}
