package server_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/audit"
	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/storage"
)

var errBroken = errors.New("the test broke the database")

func TestHealth(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		alive := func() { w.Send(servertest.Get("/healthz")).Require(200) }
		ready := func(status int) { w.Send(servertest.Get("/readyz")).Require(status) }
		alive()
		ready(200)
		mend := w.Break(func(string) error { return errBroken })
		alive()
		ready(503)
		mend()
		ready(200)
		require.Zero(t, w.Statements(alive), "it asks nobody")

		// A drain is told first; what still comes is answered.
		w.Server.Drain()
		alive()
		ready(503)
		w.Login("c1", "alice")
		quiet := []any{"/healthz", "/readyz", "/.well-known/jwks.json", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"}
		for _, path := range quiet {
			w.Send(servertest.Get(path.(string)))
		}
		heard := map[any]bool{}
		for _, line := range w.Log.Requests(t) {
			heard[line["route"]] = true
			if slices.Contains(quiet, line["route"]) && line["level"] != "ERROR" {
				require.Equal(t, "DEBUG", line["level"], "they are asked for all the time: %s", line["route"])
			}
		}
		for _, path := range quiet {
			require.True(t, heard[path], path)
		}
	})
}

// Run does what no request waits for, on any database, and ends when it is told.
func TestRun(t *testing.T) {
	t.Parallel()
	quick := func(c *config.Config) { c.HousekeepingInterval, c.AuditRetention = 10*time.Millisecond, time.Hour }
	servertest.Each(t, servertest.Setup{Config: quick}, func(t *testing.T, w *servertest.World) {
		other := w.Replica()
		at := w.Login("once", "alice").Access() // a session of ten minutes
		w.Revoke("once", at).Require(200)
		other.Token("cc", "grant_type", "client_credentials").Require(200)
		require.NoError(t, w.Store.DisableClient(t.Context(), "cc"))
		_, err := w.Store.RotateKeys(t.Context(), w.Keyring, keys.ES256)
		require.NoError(t, err)
		auditKeys := storage.AuditKeys(w.Keyring)
		_, sealed, err := w.Store.SealAudit(t.Context(), auditKeys[0])
		require.NoError(t, err)
		w.Clock.Advance(2 * time.Hour)

		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- other.Server.Run(ctx) }()
		require.Eventually(t, func() bool {
			list, err := w.Store.Sessions(t.Context(), storage.SessionFilter{Ended: true})
			return err == nil && len(list) == 0
		}, 20*time.Second, 5*time.Millisecond, "what expired is deleted")
		require.Eventually(t, func() bool {
			return len(other.Send(servertest.Get("/.well-known/jwks.json")).JSON["keys"].([]any)) == 5
		}, 20*time.Second, 5*time.Millisecond, "keys that were rotated elsewhere are published")
		require.Eventually(t, func() bool {
			return other.Token("cc", "grant_type", "client_credentials").Status == 401
		}, 20*time.Second, 5*time.Millisecond, "a client that was disabled elsewhere")
		other.Login("c1", "alice")
		require.Eventually(t, func() bool {
			count := 0
			err := w.Store.AuditEvents(t.Context(), storage.AuditFilter{}, func(audit.Event) (bool, error) { count++; return true, nil })
			return err == nil && count < sealed
		}, 20*time.Second, 5*time.Millisecond, "audit_retention")
		other.Login("c1", "alice")
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		c, err := w.Store.Client(t.Context(), "c1")
		require.NoError(t, err)
		require.False(t, c.Secrets[0].LastUsedAt.IsZero(), "the last use is written before it ends")
		report, err := w.Store.VerifyAudit(t.Context(), &audit.Verifier{Keys: auditKeys})
		require.NoError(t, err)
		require.Empty(t, report.Problems)
		require.Positive(t, report.Events)
		require.Zero(t, report.Unsealed, "the last login is sealed before it ends")
		require.Zero(t, report.Foreign)
	})
}
