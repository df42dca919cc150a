package e2e_test

import (
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/storage/storagetest"
)

// F-20: of five that migrate at once, one does it and the others wait for it.
func TestMigrations_that_run_Concurrent(t *testing.T) {
	t.Parallel()
	each(t, storagetest.Setup{Empty: true}, nil, func(t *testing.T, w *world) {
		results, errs := make([]result, 5), make([]error, 5)
		var running sync.WaitGroup
		for i := range results {
			running.Go(func() { results[i], errs[i] = w.try("", "migrate", "up") })
		}
		running.Wait()
		moved := 0
		for i, r := range results {
			require.NoError(t, errs[i])
			require.Zero(t, r.code, r.errout)
			require.Empty(t, r.errout)
			switch {
			case strings.HasPrefix(r.out, "the schema went from version 0 to "):
				moved++
			default:
				require.Regexp(t, `^the schema is at version \d+ already\n$`, r.out)
			}
		}
		require.Equal(t, 1, moved)
		w.run("migrate", "status")
		require.Equal(t, http.StatusOK, get(t, w.serve().url+"/readyz").status)
	})
}

// The schema of a PostgreSQL is changed by nobody but who says so.
func TestServe_refuses_a_schema_that_nobody_made(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "postgres", storagetest.Postgres(t))
	r, err := w.try("", "serve", "--address", "127.0.0.1:0")
	require.NoError(t, err)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.errout, "grantor: database schema is older than this program: it is at version 0")
	require.Contains(t, r.errout, "hint: grantor migrate up, or serve with --migrate\n")
	require.Empty(t, r.out)

	p := w.serve("--migrate")
	require.Equal(t, http.StatusOK, get(t, p.url+"/readyz").status)
	p.kill(t)
	w.serve() // and then without
}

// A newer program has used this database. That it runs on is the older one's right while
// replicas are replaced, until the newer one says that it would misread the database.
func TestServe_refuses_a_newer_schema(t *testing.T) {
	t.Parallel()
	each(t, storagetest.Setup{}, nil, func(t *testing.T, w *world) {
		running := w.serve()
		db := storagetest.Database(w.t, w.url)
		_, err := db.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9000, true)")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, get(t, running.url+"/readyz").status)
		w.run("user", "list")
		w.run("migrate", "up")
		require.Contains(t, w.run("migrate", "status", "--json"), `"usable": true`)
		beside := w.serve()
		require.Equal(t, http.StatusOK, get(t, beside.url+"/readyz").status)
		beside.kill(t)

		_, err = db.ExecContext(t.Context(), "UPDATE compatibility SET least = 9000")
		require.NoError(t, err)

		for _, args := range [][]string{{"serve", "--address", "127.0.0.1:0"}, {"serve", "--migrate", "--address", "127.0.0.1:0"}, {"user", "list"}} {
			r, err := w.try("", args...)
			require.NoError(t, err)
			require.Equal(t, 1, r.code, args)
			require.Empty(t, r.out)
			lines := regexp.MustCompile(`(?m)^(grantor|hint): .*$`).FindAllString(r.errout, -1)
			require.Len(t, lines, 2, r.errout)
			require.Regexp(t, `^grantor: .*database schema is newer than this program: .*9000`, lines[0], args)
			require.Equal(t, "hint: a newer grantor has used this database: run that version", lines[1])
		}
		// Who was there before is told apart by the load balancer.
		require.Equal(t, http.StatusServiceUnavailable, get(t, running.url+"/readyz").status)
	})
}
