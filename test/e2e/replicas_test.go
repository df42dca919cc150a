package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/storage/storagetest"
)

// session is what `grantor session` prints.
type session struct {
	ID       string
	User     string
	Renewals int
	Ended    string
}

// eight requests with the same refresh token, on two replicas, get
// one and the same successor. After the retry window that token is stolen goods.
func TestReplicas_answer_Concurrent_refreshes_with_one_successor(t *testing.T) {
	t.Parallel()
	const logins, requests = 50, 8
	w := newWorld(t, "postgres", storagetest.Postgres(t), "ISSUER="+issuer, "RETRY_WINDOW=20s")
	w.run("migrate", "up")
	replicas := []*program{w.serve(), w.serve()}
	web := w.client("web", "--grant", "password", "--grant", "refresh_token", "--scope", "orders")
	api := w.client("api", "--resource-server")
	password := w.user("alice")

	first := make([]tokens, logins)
	for i := range first {
		first[i] = w.login(replicas[i%2], web, "alice", password)
	}
	answers := make([][requests]answer, logins)
	var start, done sync.WaitGroup
	start.Add(1)
	for i := range logins {
		for j := range requests {
			done.Go(func() {
				start.Wait()
				a, err := submit(t.Context(), replicas[j%2].url+"/oauth2/token", web, refreshForm(first[i].refresh))
				assert.NoError(t, err)
				answers[i][j] = a
			})
		}
	}
	start.Done()
	done.Wait()

	second := make([][]tokens, logins)
	distinct := map[string]bool{}
	for i := range answers {
		for _, a := range answers[i] {
			got := w.tokensOf(a)
			second[i] = append(second[i], got)
			require.Equal(t, second[i][0].refresh, got.refresh, "one successor for all who raced")
			require.NotEqual(t, first[i].refresh, got.refresh)
		}
		distinct[second[i][0].refresh] = true
	}
	require.Len(t, distinct, logins, "every session has a successor of its own")
	for _, p := range replicas {
		require.True(t, w.active(p, api, first[0].access))
		require.True(t, w.active(p, api, second[0][0].access), "the access token of a retry works like any other")
	}

	// The window ends. Until then the same token gets the same successor.
	var last answer
	require.Eventually(t, func() bool {
		last = w.refresh(replicas[0], web, first[0].refresh)
		if last.status == http.StatusOK {
			assert.Equal(t, second[0][0].refresh, w.tokensOf(last).refresh)
		}
		return last.status != http.StatusOK
	}, patience, 100*time.Millisecond)
	for i := range logins {
		a := last
		if i > 0 { // their windows ended with the first one's or before
			require.Eventually(t, func() bool {
				a = w.refresh(replicas[i%2], web, first[i].refresh)
				return a.status != http.StatusOK
			}, patience, 100*time.Millisecond)
		}
		refused(t, a, "invalid_grant")
		for _, p := range replicas {
			refused(t, w.refresh(p, web, second[i][0].refresh), "invalid_grant")
		}
	}
	for i := range logins {
		p := replicas[i%2]
		require.False(t, w.active(p, api, first[i].access), "login %d", i)
		for j, got := range second[i] {
			require.False(t, w.active(replicas[j%2], api, got.access), "login %d, answer %d", i, j)
		}
	}
	var list []session
	w.read(&list, "session", "list", "--ended")
	require.Len(t, list, logins, "no session more than there were logins")
	for _, s := range list {
		require.Equal(t, "refresh_reuse", s.Ended)
		require.Equal(t, 1, s.Renewals)
	}
	var shown session
	w.read(&shown, "session", "show", list[0].ID)
	require.Equal(t, "refresh_reuse", shown.Ended)
	require.Contains(t, w.run("session", "show", list[0].ID), "ended: refresh_reuse")
}

// What an administrator changes counts everywhere: users and sessions in the next
// request, clients within two seconds.
func TestReplicas_obey_the_command_line(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "postgres", storagetest.Postgres(t), "ISSUER="+issuer)
	w.run("migrate", "up")
	replicas := []*program{w.serve(), w.serve()}
	web := w.client("web", "--grant", "password", "--grant", "refresh_token", "--grant", "client_credentials", "--scope", "orders")
	api := w.client("api", "--resource-server")
	alice, bob := w.user("alice"), w.user("bob")

	t.Run("session revoke", func(t *testing.T) {
		one := w.login(replicas[0], web, "alice", alice)
		other := w.login(replicas[0], web, "alice", alice)
		var list []session
		w.read(&list, "session", "list", "--user", "alice")
		require.Len(t, list, 2)
		w.run("session", "revoke", list[1].ID) // the newest comes first, so this is the first login
		for _, p := range replicas {
			refused(t, w.refresh(p, web, one.refresh), "invalid_grant")
			require.False(t, w.active(p, api, one.access))
			require.True(t, w.active(p, api, other.access), "the other session goes on")
		}
		w.run("session", "revoke", "--user", "alice")
		for _, p := range replicas {
			refused(t, w.refresh(p, web, other.refresh), "invalid_grant")
			require.False(t, w.active(p, api, other.access))
		}
	})

	t.Run("user disable", func(t *testing.T) {
		got := w.login(replicas[0], web, "bob", bob)
		w.run("user", "disable", "bob")
		for _, p := range replicas {
			refused(t, w.refresh(p, web, got.refresh), "invalid_grant")
			require.False(t, w.active(p, api, got.access))
			refused(t, post(t, p.url+"/oauth2/token", web, passwordForm("bob", bob)), "invalid_grant")
		}
	})

	// within runs a command and waits for both replicas to be changed by it.
	within := func(t *testing.T, limit time.Duration, changed func(answer) bool, form url.Values, args ...string) {
		t.Helper()
		for _, p := range replicas { // so that both have the client in memory
			require.False(t, changed(post(t, p.url+"/oauth2/token", web, form)))
		}
		w.run(args...)
		began := time.Now()
		for i, p := range replicas {
			require.Eventually(t, func() bool { return changed(post(t, p.url+"/oauth2/token", web, form)) }, limit-time.Since(began), tick, "replica %d", i)
		}
	}
	t.Run("client update", func(t *testing.T) {
		within(t, 2*time.Second, func(a answer) bool { return a.field("expires_in") == "300" }, clientForm(),
			"client", "update", "web", "--access-token-lifetime", "5m")
		w.run("client", "update", "web", "--grant", "password", "--grant", "refresh_token", "--grant", "client_credentials", "--scope", "orders stock")
	})
	t.Run("client rotate-secret", func(t *testing.T) {
		old := web
		var made struct {
			ClientSecret string `json:"client_secret"`
		}
		for _, p := range replicas {
			w.tokensOf(post(t, p.url+"/oauth2/token", old, clientForm()))
		}
		w.read(&made, "client", "rotate-secret", "web")
		w.secret(made.ClientSecret)
		web.Secret = made.ClientSecret
		began := time.Now()
		for _, p := range replicas {
			require.Eventually(t, func() bool {
				return post(t, p.url+"/oauth2/token", old, clientForm()).status == http.StatusUnauthorized &&
					post(t, p.url+"/oauth2/token", web, clientForm()).status == http.StatusOK
			}, 2*time.Second-time.Since(began), tick)
		}
	})
	t.Run("client disable", func(t *testing.T) {
		got := w.login(replicas[0], web, "alice", alice)
		within(t, 2*time.Second, func(a answer) bool { return a.status == http.StatusUnauthorized }, clientForm(), "client", "disable", "web")
		for _, p := range replicas {
			refused(t, post(t, p.url+"/oauth2/token", web, clientForm()), "invalid_client")
			require.False(t, w.active(p, api, got.access), "its tokens end with it")
		}
	})
}

// W-05: the first start of five replicas at once makes one set of keys. Those that
// migrate too take turns at that, so only those that find the tables really race for the keys.
func TestReplicas_that_start_Concurrent_share_one_set_of_keys(t *testing.T) {
	t.Parallel()
	t.Run("empty tables", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "postgres", storagetest.Postgres(t), "ISSUER="+issuer)
		w.run("migrate", "up")
		w.shareKeys(w.serveAll(5))
	})
	t.Run("no tables", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "postgres", storagetest.Postgres(t), "ISSUER="+issuer)
		w.shareKeys(w.serveAll(3, "--migrate"))
	})
}

func (w *world) shareKeys(replicas []*program) {
	t := w.t
	t.Helper()
	first := get(t, replicas[0].url+"/.well-known/jwks.json")
	require.Equal(t, http.StatusOK, first.status)
	for _, p := range replicas {
		require.Equal(t, string(first.body), string(get(t, p.url+"/.well-known/jwks.json").body))
		require.Equal(t, http.StatusOK, get(t, p.url+"/readyz").status)
	}
	var keys []struct{ Alg, State string }
	w.read(&keys, "key", "list")
	require.Len(t, keys, 4, "one active and one next, for two algorithms: %v", keys)

	// A token of each is good at each.
	job := w.client("job", "--grant", "client_credentials")
	for i, p := range replicas {
		got := w.tokensOf(post(t, p.url+"/oauth2/token", job, clientForm()))
		for j, q := range replicas {
			require.True(t, w.active(q, job, got.access), "token of replica %d at replica %d", i, j)
		}
	}
}

// W-05 on the other database: one file, two programs.
func TestPrograms_that_start_Concurrent_on_one_file_share_one_set_of_keys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite", "sqlite:"+t.TempDir()+"/grantor.db", "ISSUER="+issuer)
	programs := w.serveAll(2)
	require.Equal(t,
		string(get(t, programs[0].url+"/.well-known/jwks.json").body),
		string(get(t, programs[1].url+"/.well-known/jwks.json").body))
	web := w.client("web", "--grant", "password", "--grant", "refresh_token")
	password := w.user("alice")
	got := w.login(programs[0], web, "alice", password)
	for i := range 10 {
		got = w.renew(programs[i%2], web, got.refresh)
	}
	w.run("client", "disable", "web")
	for _, p := range programs {
		require.Eventually(t, func() bool { return w.refresh(p, web, got.refresh).status == http.StatusUnauthorized },
			2*time.Second, tick, "a program on the same file hears of it too")
	}
}

// F-22: a replica that stood still reads an old request when it wakes up. Its client has
// given up and renewed elsewhere meanwhile: that is no theft, and the session goes on.
func TestReplicas_that_wake_up_end_no_session(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "postgres", storagetest.Postgres(t), "ISSUER="+issuer)
	w.run("migrate", "up")
	frozen, other := w.serve(), w.serve()
	web := w.client("web", "--grant", "password", "--grant", "refresh_token", "--scope", "orders")
	first := w.login(frozen, web, "alice", w.user("alice"))

	pid := frozen.cmd.Process.Pid
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	var status syscall.WaitStatus
	_, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil) // kill answers before the process stands
	require.NoError(t, err)
	require.True(t, status.Stopped())
	for range 20 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(frozen.url, "http://"))
		require.NoError(t, err)
		form := refreshForm(first.refresh)
		form.Set("client_id", web.ID)
		form.Set("client_secret", web.Secret)
		_, err = fmt.Fprintf(conn, "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", len(form.Encode()), form.Encode())
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
	newest := w.renew(other, web, first.refresh)
	for range 3 {
		newest = w.renew(other, web, newest.refresh)
	}
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	require.Eventually(t, func() bool { return strings.Count(frozen.log.String(), "token: overtaken") == 20 }, patience, 20*time.Millisecond)
	newest = w.renew(frozen, web, newest.refresh)

	refused(t, w.refresh(frozen, web, first.refresh), "invalid_grant") // who is there, and asks that, is a thief
	refused(t, w.refresh(other, web, newest.refresh), "invalid_grant")
}
