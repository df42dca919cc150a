package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
)

func TestSessions_that_were_not_renewed_in_time_are_idle(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		for id, idle := range map[string]time.Duration{"patient": 0, "hasty": time.Minute} {
			c := clients.Client{ID: id, Grants: []string{clients.GrantPassword, clients.GrantRefreshToken}, RefreshTokenLifetime: idle}
			c.SetDefaults()
			require.NoError(t, e.Store.CreateClient(t.Context(), c))
		}
		now := e.Clock.Now()
		session := func(client string, age time.Duration, dead string) storage.Session {
			return storage.Session{Grant: grants.Grant{ClientID: client, RotatedAt: now.Add(-age)}, Dead: dead}
		}
		d := desk{Store: e.Store, config: config.Config{RefreshTokenLifetime: time.Hour}}
		list, err := d.markIdle(t.Context(), []storage.Session{
			session("patient", time.Minute, ""), session("patient", time.Hour, ""), session("hasty", time.Second, ""),
			session("hasty", time.Minute, ""), session("hasty", time.Hour, "admin"), session("gone", time.Hour, ""),
		}, now)
		require.NoError(t, err)
		var dead []string
		for _, s := range list {
			dead = append(dead, s.Dead)
		}
		require.Equal(t, []string{"", "idle", "", "idle", "admin", ""}, dead)
	})
}
