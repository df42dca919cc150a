package storage_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
	"github.com/grantorhq/grantor/users"
)

// design.md section 6: what an operation may cost, in round trips. Nothing may stand
// around a single statement: no BEGIN, no COMMIT, no PING.
func TestBudgets(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, s := deadline(t), e.Store
		ids := begin(t, e, 3)
		costs := func(want int, what string, run func()) {
			t.Helper()
			for range 2 { // the second time, what was prepared at the first is there
				e.Tally.Reset()
				run()
				statements := e.Tally.Statements()
				require.Len(t, statements, want, what)
				for _, statement := range statements {
					require.NotContains(t, []string{"BEGIN", "COMMIT", "ROLLBACK", "PING"}, statement, what)
				}
			}
		}

		_, err := s.RegisteredClient(ctx, "app")
		require.NoError(t, err)
		costs(0, "a client from the cache: all of client_credentials", func() {
			_, err := s.RegisteredClient(ctx, "app")
			require.NoError(t, err)
		})
		costs(2, "password: read the user, insert the grant", func() {
			user, err := s.UserByLogin(ctx, "alice")
			require.NoError(t, err)
			g := login(e.Clock.Now(), newID(t))
			g.UserID = user.ID
			begun, err := s.Begin(ctx, g, time.Time{})
			require.NoError(t, err)
			require.True(t, begun)
		})
		generation := int64(1)
		costs(1, "refresh", func() {
			_, verdict, err := s.Rotate(ctx, ids[0], grants.Showing{ClientID: "app", Generation: generation, Scope: []string{"read"}}, limits.At(e.Clock.Now()), "")
			require.NoError(t, err)
			require.Equal(t, grants.Rotated, verdict)
			generation++
		})
		costs(2, "refresh, a retry", func() {
			_, verdict, err := rotate(ctx, e, s, ids[0], generation-1)
			require.NoError(t, err)
			require.Equal(t, grants.Retried, verdict)
			require.True(t, strings.HasPrefix(e.Tally.Statements()[1], "SELECT"), "a retry changes nothing")
		})
		costs(1, "introspect", func() {
			access, err := s.Access(ctx, ids[0], "app", "jti", e.Clock.Now())
			require.NoError(t, err)
			require.NotNil(t, access.Grant)
		})
		costs(1, "revoke a refresh token", func() {
			found, own, err := s.Revoke(ctx, ids[1], "app", e.Clock.Now(), "")
			require.NoError(t, err)
			require.True(t, found && own)
		})
		costs(1, "revoke an access token", func() { require.NoError(t, s.Deny(ctx, "jti", "app", e.Clock.Now())) })

		browser := signIn(t, e, "alice")
		codes := make([]grants.Grant, 0, 2)
		costs(1, "authorization code, at the authorization endpoint", func() {
			g := code(e.Clock.Now(), newID(t))
			g.BrowserID = browser.ID
			begun, err := s.Begin(ctx, g, time.Time{})
			require.NoError(t, err)
			require.True(t, begun)
			codes = append(codes, g)
		})
		costs(1, "who is signed in, and what they allowed", func() {
			_, found, err := s.SignedIn(ctx, browser.ID, 1, "app", e.Clock.Now())
			require.NoError(t, err)
			require.True(t, found)
		})
		at := 0
		costs(1, "authorization code, redeemed", func() {
			_, _, verdict, err := s.Redeem(ctx, codes[at].ID, right, limits.At(e.Clock.Now()), "")
			require.NoError(t, err)
			require.Equal(t, grants.Redeemed, verdict)
			at++
		})
		costs(2, "a code that is not honoured", func() {
			_, _, verdict, err := s.Redeem(ctx, codes[0].ID, right, limits.At(e.Clock.Now()), "")
			require.NoError(t, err)
			require.Equal(t, grants.Dead, verdict)
		})
		costs(1, "sign in at a browser", func() { signIn(t, e, "alice") })
		costs(1, "sign in again", func() {
			var ok bool
			var err error
			browser.Generation, ok, err = s.RenewBrowser(ctx, browser, time.Time{})
			require.NoError(t, err)
			require.True(t, ok)
		})
		costs(1, "remember a consent", func() {
			require.NoError(t, s.RememberConsent(ctx, "id-alice", storage.Consent{ClientID: "app", GrantedAt: e.Clock.Now()}))
		})
		costs(1, "where a user is signed in", func() { require.NoError(t, second(s.Browsers(ctx, "id-alice"))) })
		costs(1, "claim notices", func() { require.NoError(t, second(s.ClaimLogoutNotices(ctx, 10, time.Minute))) })

		e.Clock.Advance(limits.Retry)
		e.Tally.Reset()
		_, verdict, err := rotate(ctx, e, s, ids[0], generation-1)
		require.NoError(t, err)
		require.Equal(t, grants.Reused, verdict)
		require.Equal(t, 3, e.Tally.Count(), "reuse: the rotation that found nothing, a look, and the end")
		costs(2, "a dead token", func() {
			_, verdict, err := rotate(ctx, e, s, ids[0], generation)
			require.NoError(t, err)
			require.Equal(t, grants.Dead, verdict)
		})
		costs(0, "text that is in no row", func() {
			_, err := s.RegisteredClient(ctx, "a\x00b")
			require.Error(t, err)
			_, err = s.UserByLogin(ctx, "\xff")
			require.Error(t, err)
		})
	})
}

// Neither redemption nor rotation touches an index: PostgreSQL rewrites the row in its page
// (HOT), where there is room for it.
func TestRedemption_and_rotations_are_heap_only(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		const rotations = 30 // as many as one page has room for: what is cleared of it also depends on other databases
		id := beginCode(t, e, nil).ID
		_, _, verdict, err := e.Store.Redeem(ctx, id, right, limits.At(e.Clock.Now()), "")
		require.NoError(t, err)
		require.Equal(t, grants.Redeemed, verdict)
		for generation := int64(1); generation <= rotations; generation++ {
			e.Clock.Advance(time.Second)
			_, verdict, err := rotate(ctx, e, e.Store, id, generation)
			require.NoError(t, err)
			require.Equal(t, grants.Rotated, verdict)
		}
		db := storagetest.Database(t, e.URL)
		require.EqualValues(t, 1, number(t, db, `SELECT count(*) FROM grants`))
		if e.Dialect != storage.Postgres {
			return
		}
		// A server process tells its counts when it is idle for a moment, or ends.
		require.NoError(t, e.Store.Close())
		require.Eventually(t, func() bool {
			return number(t, db, `SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'grants'`) == rotations+1
		}, 30*time.Second, 20*time.Millisecond)
		require.EqualValues(t, rotations+1, number(t, db, `SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'grants'`))
	})
}

// Every hot statement finds its row by the primary key, in a table that is large
// enough for a planner to care.
func TestHotStatements_use_the_primary_key(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, s := deadline(t), e.Store
		id := begin(t, e, 1)[0]
		db := storagetest.Database(t, e.URL)
		fill(t, e, db)

		e.Tally.Reset()
		_, _, err := rotate(ctx, e, s, id, 1)
		require.NoError(t, err)
		_, _, err = rotate(ctx, e, s, id, 1)
		require.NoError(t, err)
		_, err = s.Access(ctx, id, "app", "jti", e.Clock.Now())
		require.NoError(t, err)
		_, _, err = s.Revoke(ctx, id, "app", e.Clock.Now(), "")
		require.NoError(t, err)
		_, err = s.UserByLogin(ctx, "alice")
		require.NoError(t, err)
		_, err = s.Begin(ctx, login(e.Clock.Now(), newID(t)), time.Time{})
		require.NoError(t, err)
		require.NoError(t, s.Deny(ctx, "jti", "app", e.Clock.Now()))

		browser := signIn(t, e, "alice")
		g := code(e.Clock.Now(), newID(t))
		g.BrowserID = browser.ID
		require.NoError(t, second(s.Begin(ctx, g, time.Time{})))
		_, _, err = s.SignedIn(ctx, browser.ID, 1, "app", e.Clock.Now())
		require.NoError(t, err)
		for range 2 {
			_, _, _, err = s.Redeem(ctx, g.ID, right, limits.At(e.Clock.Now()), "")
			require.NoError(t, err)
		}
		_, _, err = s.RenewBrowser(ctx, browser, time.Time{})
		require.NoError(t, err)
		require.NoError(t, second(s.Browsers(ctx, "id-alice")))
		require.NoError(t, s.RememberConsent(ctx, "id-alice", storage.Consent{ClientID: "app"}))
		require.NoError(t, second(s.Consents(ctx, "id-alice")))
		require.NoError(t, second(s.ClaimLogoutNotices(ctx, 10, time.Minute)))
		_, err = s.SignIn(ctx, somePasswords(t), storage.Attempt{Login: "alice", Password: "wrong password", Address: "192.0.2.1", Device: "d", Known: []string{"u1"}}, e.Clock.Now())
		require.ErrorIs(t, err, users.ErrWrongPassword)

		hot := len(e.Tally.Statements())
		_, err = s.Clean(ctx, "me", time.Minute)
		require.NoError(t, err)

		for i, statement := range e.Tally.Statements() {
			if i >= hot && !strings.Contains(statement, "grants") {
				continue // of the housekeeping, only the walk along the sessions meets a large table
			}
			plan := explain(t, e, statement)
			if !strings.HasPrefix(statement, "INSERT INTO denied_tokens") && !strings.HasPrefix(statement, "INSERT INTO throttles") { // SQLite has nothing to say of it
				require.NotEmpty(t, plan, statement)
			}
			for _, line := range plan {
				require.NotContains(t, line, "Seq Scan", "%s\n%s", statement, strings.Join(plan, "\n"))
				if e.Dialect == storage.SQLite {
					require.False(t, strings.HasPrefix(line, "SCAN ") && !strings.HasPrefix(line, "SCAN one") && line != "SCAN CONSTANT ROW" && line != "SCAN 2-ROW VALUES CLAUSE", "%s\n%s", statement, strings.Join(plan, "\n"))
				}
			}
			if strings.HasPrefix(statement, "UPDATE grants") {
				key := "USING PRIMARY KEY (id=?)"
				if e.Dialect == storage.Postgres {
					key = "grants_pkey"
				}
				require.Contains(t, strings.Join(plan, "\n"), key)
			}
		}
	})
}

func fill(t *testing.T, e *storagetest.Env, db *sql.DB) {
	t.Helper()
	series, blob := "generate_series(1, 5000) AS s(i)", "decode(md5(i::text), 'hex')"
	if e.Dialect == storage.SQLite {
		series, blob = "(WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 5000) SELECT i FROM s) AS s", "randomblob(16)"
	}
	for _, statement := range []string{
		`INSERT INTO users (id, name, name_key, email, email_key, password_hash, profile, created_at, updated_at)
		 SELECT 'u' || i, 'n' || i, 'n' || i, 'e' || i, 'e' || i, '', '{"v":1}', 0, 0 FROM ` + series,
		`INSERT INTO clients (id, name, registration, version, created_at, updated_at) SELECT 'c' || i, '', '{"v":1}', 1, 0, 0 FROM ` + series,
		`INSERT INTO throttles (account, failures, tried_at) SELECT 'u' || i, 1, 0 FROM ` + series,
		`INSERT INTO browsers (id, generation, user_id, auth_time, amr, created_at, expires_at, user_agent, address)
		 SELECT ` + blob + `, 1, 'u' || i, 0, '', 0, i, '', '' FROM ` + series,
		`INSERT INTO consents (user_id, client_id, scope, audience, granted_at) SELECT 'u' || i, 'c' || i % 50, '', '', 0 FROM ` + series,
		`INSERT INTO logout_notices (id, client_id, user_id, sid, attempts, created_at, due_at)
		 SELECT ` + blob + `, 'c' || i % 50, 'u' || i, ` + blob + `, 0, i, i FROM ` + series,
		`INSERT INTO denied_tokens (jti, expires_at) SELECT 'j' || i, i FROM ` + series,
		`INSERT INTO grants (id, client_id, user_id, scope, audience, state, generation, redirect_uri, code_challenge, dpop_jkt, created_at, rotated_at, expires_at,
		 created_from, rotated_from, details)
		 SELECT ` + blob + `, 'c' || i % 50, 'u' || i, '', '', 'live', 1, '', '', '', 0, 0, i, '', '', '{"v":1}' FROM ` + series,
		`ANALYZE`,
	} {
		_, err := db.ExecContext(deadline(t), statement)
		require.NoError(t, err)
	}
}

// explain asks for the plan that is used for whatever the parameters are.
func explain(t *testing.T, e *storagetest.Env, statement string) (plan []string) {
	t.Helper()
	ctx := deadline(t)
	count := 0
	for strings.Contains(statement, fmt.Sprintf("$%d", count+1)) {
		count++
	}
	if e.Dialect == storage.SQLite {
		rows, err := storagetest.Database(t, e.URL).QueryContext(ctx, "EXPLAIN QUERY PLAN "+statement, make([]any, count)...)
		require.NoError(t, err)
		defer func() { require.NoError(t, rows.Close()) }()
		for rows.Next() {
			var id, parent, unused int
			var line string
			require.NoError(t, rows.Scan(&id, &parent, &unused, &line))
			plan = append(plan, line)
		}
		require.NoError(t, rows.Err())
		return plan
	}
	conn, err := pgx.Connect(ctx, e.URL)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(ctx)) }()
	for _, sql := range []string{"SET plan_cache_mode = force_generic_plan", "PREPARE hot AS " + statement} {
		_, err = conn.Exec(ctx, sql)
		require.NoError(t, err, statement)
	}
	nulls := strings.TrimSuffix(strings.Repeat("NULL, ", count), ", ")
	rows, err := conn.Query(ctx, "EXPLAIN EXECUTE hot ("+nulls+")", pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	plan, err = pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return plan
}
