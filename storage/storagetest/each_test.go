package storagetest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
)

func TestEach_gives_an_empty_migrated_store(t *testing.T) {
	t.Parallel()
	// Twice, so that a shared database would show.
	for range 2 {
		storagetest.Each(t, func(t *testing.T, s *storage.Store) {
			require.NoError(t, s.CheckSchema(t.Context()))
			list, err := s.Clients(t.Context())
			require.NoError(t, err)
			require.Empty(t, list)
			require.NoError(t, s.CreateClient(t.Context(), clients.Client{ID: "c1", Name: "One"}))
		})
	}
}

func TestEachWith_opens_a_second_replica_on_the_same_database(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		second := e.Open()
		require.NoError(t, e.Store.CreateClient(t.Context(), clients.Client{ID: "c1", Name: "One"}))
		e.Tally.Reset()
		list, err := second.Clients(t.Context())
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.NotZero(t, e.Tally.Count(), "the tally hears every replica")
		require.Equal(t, e.Dialect, second.Dialect())
	})
}

func TestEachWith_leaves_the_schema_unmade(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{Empty: true}, func(t *testing.T, e *storagetest.Env) {
		is, err := e.Store.Schema(t.Context())
		require.NoError(t, err)
		require.Zero(t, is.Have)
		require.Positive(t, is.Want)
	})
}

func TestEachWith_gives_an_own_server(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{OwnServer: true}, func(t *testing.T, e *storagetest.Env) {
		if e.Dialect == "sqlite" {
			require.Nil(t, e.Server)
			return
		}
		e.Server.Stop()
		_, err := e.Store.Clients(t.Context())
		require.ErrorIs(t, err, storage.ErrUnavailable)
		e.Server.Start()
		_, err = e.Store.Clients(t.Context())
		require.NoError(t, err)
	})
}

func TestEach_writes_one_line_per_subtest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tally")
	t.Setenv("GRANTOR_TEST_TALLY", path)
	// Not Each itself: a test that sets the environment may have no parallel subtests.
	for _, dialect := range []string{"sqlite", "postgres", "sqlite"} {
		storagetest.Count(t, dialect)
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "sqlite\npostgres\nsqlite\n", string(text))
}
