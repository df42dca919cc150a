package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/storage/storagetest"
)

// R-17, F-02: the program dies when its answer is on the way, and the client never
// gets it. The same refresh token leads to the very token that was lost.
func TestCrash_with_the_answer_on_the_way(t *testing.T) {
	t.Parallel()
	each(t, storagetest.Setup{}, []string{"ISSUER=" + issuer, "RETRY_WINDOW=60s"}, func(t *testing.T, w *world) {
		p := w.serve()
		web := w.client("web", "--grant", "password", "--grant", "refresh_token")
		first := w.login(p, web, "alice", w.user("alice"))

		lost := w.loseAnswer(p, "/oauth2/token", web, refreshForm(first.refresh))
		p.kill(t)
		q := w.serve()

		retried := w.renew(q, web, first.refresh)
		require.Equal(t, w.tokensOf(lost).refresh, retried.refresh, "the same successor")
		require.Equal(t, retried.refresh, w.renew(q, web, first.refresh).refresh, "and again")
		require.True(t, w.active(q, web, retried.access))
		next := w.renew(q, web, retried.refresh)
		require.NotEqual(t, retried.refresh, next.refresh)

		// The successor was used, so the client got it: now the first one is stolen goods.
		refused(t, w.refresh(q, web, first.refresh), "invalid_grant")
		refused(t, w.refresh(q, web, next.refresh), "invalid_grant")
	})
}

// INV3: what was acknowledged as revoked, or only revoked, stays so.
func TestCrash_brings_nothing_back(t *testing.T) {
	t.Parallel()
	each(t, storagetest.Setup{}, []string{"ISSUER=" + issuer, "RETRY_WINDOW=0s"}, func(t *testing.T, w *world) {
		p := w.serve()
		web := w.client("web", "--grant", "password", "--grant", "refresh_token")
		password := w.user("alice")

		told := w.login(p, web, "alice", password)
		require.Equal(t, http.StatusOK, post(t, p.url+"/oauth2/revoke", web, tokenForm(told.refresh)).status)
		access := w.login(p, web, "alice", password)
		require.Equal(t, http.StatusOK, post(t, p.url+"/oauth2/revoke", web, tokenForm(access.access)).status)
		stolen := w.login(p, web, "alice", password)
		successor := w.renew(p, web, stolen.refresh)
		refused(t, w.refresh(p, web, stolen.refresh), "invalid_grant")
		untold := w.login(p, web, "alice", password)
		require.Equal(t, http.StatusOK, w.loseAnswer(p, "/oauth2/revoke", web, tokenForm(untold.refresh)).status)
		p.kill(t)

		q := w.serve()
		for name, dead := range map[string]tokens{
			"revoked": told, "revoked without an answer": untold, "reused": stolen, "successor of the reused": successor,
		} {
			refused(t, w.refresh(q, web, dead.refresh), "invalid_grant")
			require.False(t, w.active(q, web, dead.access), name)
			require.False(t, w.active(q, web, dead.refresh), name)
		}
		require.False(t, w.active(q, web, access.access), "one access token was revoked")
		w.renew(q, web, access.refresh) // and not its session
	})
}

// loseAnswer sends a form through a network that lets the request pass and holds
// the answer back. It answers what the client did not get, when the server has
// sent it.
func (w *world) loseAnswer(p *program, path string, as credentials, form url.Values) answer {
	t := w.t
	t.Helper()
	network := newProxy(t, p.url)
	network.holdAnswers(func([]byte) bool { return true })
	failed := make(chan error, 1)
	go func() {
		_, err := submit(context.WithoutCancel(t.Context()), network.address+path, as, form)
		failed <- err
	}()
	var raw []byte
	select {
	case raw = <-network.held:
	case <-time.After(patience):
		t.Fatalf("no answer to hold back\n%s", p.log.tail())
	}
	network.cut()
	require.Error(t, <-failed, "the client got nothing")
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	a, err := whole(response)
	require.NoError(t, err)
	return a
}

// The same one step earlier: PostgreSQL has committed, and the program does not know.
// R-17 when it dies there; R-15 and F-06 when only the connection does.
func TestCrash_between_the_commit_and_its_news(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"program killed", "connection cut"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			database := storagetest.Postgres(t)
			network := newProxy(t, database)
			w := newWorld(t, "postgres", database, "ISSUER="+issuer, "RETRY_WINDOW=60s")
			w.run("migrate", "up")
			web := w.client("web", "--grant", "password", "--grant", "refresh_token")
			password := w.user("alice")
			w.env = append(w.env, "GRANTOR_DATABASE="+network.address)
			p := w.serve()
			first := w.login(p, web, "alice", password)

			// The statement is prepared with its text, and executed in the message after it:
			// from there on the connection is silent.
			prepared := false
			network.holdAnswers(func(toTarget []byte) bool {
				if bytes.Contains(toTarget, []byte("UPDATE grants SET generation")) {
					prepared = true
					return false
				}
				return prepared && bytes.HasPrefix(toTarget, []byte{'B'}) // Bind
			})
			type outcome struct {
				answer
				err error
			}
			ended := make(chan outcome, 1)
			go func() {
				a, err := submit(context.WithoutCancel(t.Context()), p.url+"/oauth2/token", web, refreshForm(first.refresh))
				ended <- outcome{a, err}
			}()
			select {
			case <-network.held:
			case <-time.After(patience):
				t.Fatalf("the commit was not seen\n%s", p.log.tail())
			}
			require.EqualValues(t, 2, generation(t, database), "it is committed")
			require.Empty(t, ended, "and nobody was told")

			network.holdAnswers(nil)
			if end == "program killed" {
				p.kill(t)
				require.Error(t, (<-ended).err)
				p = w.serve()
			} else {
				network.cut()
				got := <-ended
				require.NoError(t, got.err)
				unavailable(t, got.answer)
			}

			// Other connections of the program were cut too. Until it has noticed, it says so.
			var a answer
			require.Eventually(t, func() bool {
				if a = w.refresh(p, web, first.refresh); a.status != http.StatusOK {
					unavailable(t, a)
				}
				return a.status == http.StatusOK
			}, 10*time.Second, tick)
			retried := w.tokensOf(a)
			require.Equal(t, retried.refresh, w.renew(p, web, first.refresh).refresh)
			require.EqualValues(t, 2, generation(t, database), "rotated once")
			require.True(t, w.active(p, web, retried.access))
			w.renew(p, web, retried.refresh)
		})
	}
}

// generation reads the only session's, past the program.
func generation(t testing.TB, database string) (n int64) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT generation FROM grants").Scan(&n))
	return n
}

// A stop and a start keep everything, whether the stop was gentle or not.
func TestRestart_keeps_clients_users_sessions_and_keys(t *testing.T) {
	t.Parallel()
	each(t, storagetest.Setup{}, []string{"ISSUER=" + issuer}, func(t *testing.T, w *world) {
		p := w.serve()
		web := w.client("web", "--grant", "password", "--grant", "refresh_token", "--grant", "client_credentials")
		sealed := w.client("sealed", "--grant", "password", "--grant", "refresh_token", "--access-token", "opaque")
		password := w.user("alice")
		jwt, opaque := w.login(p, web, "alice", password), w.login(p, sealed, "alice", password)
		inventory := func() string {
			return strings.Join([]string{
				w.run("client", "list", "--json"), w.run("user", "list", "--json"), w.run("session", "list", "--json"), w.run("key", "list", "--json"),
				string(get(t, p.url+"/.well-known/jwks.json").body),
			}, "\n")
		}
		// One that was used a moment ago is written down at the stop; nothing else may change.
		before := withoutUses(inventory())
		for _, gentle := range []bool{true, false} {
			if gentle {
				p.terminate(t)
				require.Zero(t, p.await(t), "exit 0\n%s", p.log.tail())
			} else {
				p.kill(t)
			}
			p = w.serve()
			require.Equal(t, before, withoutUses(inventory()))
			require.True(t, w.active(p, web, jwt.access))
			require.True(t, w.active(p, sealed, opaque.access))
		}
		jwt, opaque = w.renew(p, web, jwt.refresh), w.renew(p, sealed, opaque.refresh)
		require.True(t, w.active(p, web, jwt.access))
		require.True(t, w.active(p, sealed, opaque.access))
		w.login(p, web, "alice", password)
		w.tokensOf(post(t, p.url+"/oauth2/token", web, clientForm()))
	})
}

func withoutUses(inventory string) string {
	lines := strings.SplitAfter(inventory, "\n")
	kept := lines[:0]
	for _, line := range lines {
		if !strings.Contains(line, `"last_used_at"`) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}
