package oauth_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/storage"
)

// sessions are all, the ended ones too.
func sessions(t *testing.T, w *servertest.World) []storage.Session {
	t.Helper()
	list, err := w.Store.Sessions(t.Context(), storage.SessionFilter{Ended: true})
	require.NoError(t, err)
	return list
}

// session is the row that a refresh token belongs to.
func session(t *testing.T, w *servertest.World, refresh string) storage.Session {
	t.Helper()
	id, _, err := w.Codec.Parse(grants.Refresh, refresh)
	require.NoError(t, err)
	s, err := w.Store.Session(t.Context(), id)
	require.NoError(t, err)
	return s
}

func withBody(r *servertest.Request, body string) *servertest.Request {
	r.Body = body
	return r
}

var errBroken = errors.New("the test broke the database")

// everything is for World.Break: no statement works.
func everything(string) error { return errBroken }
