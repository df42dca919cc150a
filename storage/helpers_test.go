package storage_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
	"github.com/grantorhq/grantor/users"
)

var limits = grants.Limits{Idle: 14 * 24 * time.Hour, Retry: 10 * time.Second}

const life = 90 * 24 * time.Hour

// deadline is for the whole of a test: what hangs fails instead.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newID(t require.TestingT) grants.ID {
	id, err := grants.NewID(rand.Reader)
	require.NoError(t, err)
	return id
}

func createClient(t *testing.T, s *storage.Store, id string) {
	t.Helper()
	c := clients.Client{ID: id, Name: id, Grants: []string{"password", "refresh_token"}, Scope: []string{"read", "write"}}
	c.SetDefaults()
	require.NoError(t, s.CreateClient(deadline(t), c))
}

func createUser(t *testing.T, s *storage.Store, id string) {
	t.Helper()
	require.NoError(t, s.CreateUser(deadline(t), users.User{ID: "id-" + id, Name: id, Email: id + "@app.test", PasswordHash: "hash of " + id}))
}

// login is what a password grant begins: alice at app, generation 1.
func login(now time.Time, id grants.ID) grants.Grant {
	return grants.Grant{
		ID: id, ClientID: "app", UserID: "id-alice", Scope: []string{"read", "write"}, State: grants.Live, Generation: 1,
		CreatedAt: now, RotatedAt: now, ExpiresAt: now.Add(life),
	}
}

// begin creates app and alice where they are missing, and n sessions.
func begin(t *testing.T, e *storagetest.Env, n int) []grants.ID {
	t.Helper()
	ctx := deadline(t)
	if _, err := e.Store.Client(ctx, "app"); err != nil {
		createClient(t, e.Store, "app")
		createUser(t, e.Store, "alice")
	}
	ids := make([]grants.ID, n)
	for i := range ids {
		ids[i] = newID(t)
		begun, err := e.Store.Begin(ctx, login(e.Clock.Now(), ids[i]), time.Time{})
		require.NoError(t, err)
		require.True(t, begun)
	}
	return ids
}

// signIn signs a user of createUser in at a browser of their own.
func signIn(t *testing.T, e *storagetest.Env, user string) storage.Browser {
	t.Helper()
	now := e.Clock.Now()
	b := storage.Browser{
		ID: newID(t), Generation: 1, UserID: "id-" + user, AuthTime: now, CreatedAt: now, ExpiresAt: now.Add(7 * 24 * time.Hour),
		AMR: []string{"pwd"}, UserAgent: "Firefox", Address: "192.0.2.7",
	}
	begun, err := e.Store.BeginBrowser(deadline(t), b, time.Time{})
	require.NoError(t, err)
	require.True(t, begun)
	return b
}

// rotate shows a token of that generation as its own client would, now.
func rotate(ctx context.Context, e *storagetest.Env, s *storage.Store, id grants.ID, generation int64) (grants.Grant, grants.Verdict, error) {
	return s.Rotate(ctx, id, grants.Showing{ClientID: "app", Generation: generation}, limits.At(e.Clock.Now()), "192.0.2.1")
}

// number is the answer of a query that counts.
func number(t *testing.T, db *sql.DB, query string, args ...any) (n int64) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(deadline(t), query, args...).Scan(&n))
	return n
}
