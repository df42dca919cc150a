package e2e_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/storage/storagetest"
)

// outage is a server whose database is about to fail, and one request of each kind.
type outage struct {
	*world
	program  *program
	web      credentials
	password string
	session  tokens // must outlive the outage
}

func newOutage(t *testing.T, settings ...string) outage {
	t.Helper()
	database := storagetest.StartPostgres(t, settings...)
	// The deadline is the default one here.
	o := outage{world: newWorld(t, "postgres", database.URL(), "ISSUER="+issuer, "DATABASE_TIMEOUT=1500ms")}
	o.database = database
	o.run("migrate", "up")
	o.web = o.client("web", "--grant", "password", "--grant", "refresh_token", "--grant", "client_credentials", "--scope", "openid")
	o.password = o.user("alice")
	o.program = o.serve()
	o.session = o.login(o.program, o.web, "alice", o.password)
	return o
}

// requests are all that need the database.
func (o *outage) requests() map[string]func(context.Context) (answer, error) {
	form := func(path string, form url.Values) func(context.Context) (answer, error) {
		return func(ctx context.Context) (answer, error) { return submit(ctx, o.program.url+path, o.web, form) }
	}
	return map[string]func(context.Context) (answer, error){
		"password":               form("/oauth2/token", passwordForm("alice", o.password)),
		"wrong password":         form("/oauth2/token", passwordForm("alice", "wrong "+o.password)),
		"refresh":                form("/oauth2/token", refreshForm(o.session.refresh)),
		"client_credentials":     form("/oauth2/token", clientForm()),
		"introspect":             form("/oauth2/introspect", tokenForm(o.session.access)),
		"introspect a refresh":   form("/oauth2/introspect", tokenForm(o.session.refresh)),
		"revoke":                 form("/oauth2/revoke", tokenForm(o.session.refresh)),
		"revoke an access token": form("/oauth2/revoke", tokenForm(o.session.access)),
		"client of another name": func(ctx context.Context) (answer, error) {
			return submit(ctx, o.program.url+"/oauth2/token", credentials{"nobody", "x"}, clientForm())
		},
		"client, with bad secret": func(ctx context.Context) (answer, error) {
			return submit(ctx, o.program.url+"/oauth2/token", credentials{"web", "x"}, clientForm())
		},
		"userinfo": func(ctx context.Context) (answer, error) {
			return fetch(ctx, o.program.url+"/userinfo", o.session.access)
		},
	}
}

// forgotten waits until the client is not answered for from memory any more: it may
// be, for two seconds.
func (o *outage) forgotten() {
	o.t.Helper()
	require.Eventually(o.t, func() bool {
		a, err := submit(o.t.Context(), o.program.url+"/oauth2/token", o.web, clientForm())
		return err == nil && a.status == http.StatusServiceUnavailable
	}, 5*time.Second, tick)
}

// fails sends everything at once. Each gets 503 within the limit, and what needs no
// database is answered.
func (o *outage) fails(limit time.Duration) {
	t := o.t
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]answer{}
	for name, request := range o.requests() {
		all.Go(func() {
			a, err := request(t.Context())
			assert.NoError(t, err, name)
			mu.Lock()
			defer mu.Unlock()
			answers[name] = a
		})
	}
	all.Wait()
	for name, a := range answers {
		t.Logf("%s: %d after %s", name, a.status, a.took.Round(time.Millisecond))
		require.Equal(t, http.StatusServiceUnavailable, a.status, "%s: %s", name, a)
		unavailable(t, a)
		require.Less(t, a.took, limit, name)
	}
	for path, status := range map[string]int{
		"/.well-known/openid-configuration": http.StatusOK, "/.well-known/oauth-authorization-server": http.StatusOK,
		"/.well-known/jwks.json": http.StatusOK, "/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable,
	} {
		a := get(t, o.program.url+path)
		require.Equal(t, status, a.status, path)
		require.Less(t, a.took, limit, path)
	}
}

// recovers wants everything to work again, in the same process, without anybody's help.
func (o *outage) recovers() {
	t := o.t
	t.Helper()
	began := time.Now()
	require.Eventually(t, func() bool { return get(t, o.program.url+"/readyz").status == http.StatusOK }, 10*time.Second, tick)
	o.session = o.tokensOf(o.soon("refresh", began))
	require.True(t, o.active(o.program, o.web, o.session.access))
	for _, name := range []string{"password", "client_credentials", "introspect", "userinfo"} {
		require.Equal(t, http.StatusOK, o.soon(name, began).status, name)
	}
	refused(t, o.soon("wrong password", began), "invalid_grant")
	t.Logf("all works %s after the database does", time.Since(began).Round(time.Millisecond))
	require.True(t, o.program.running(), "it was the same process all along")
}

// soon repeats a request while it is answered with 503.
func (o *outage) soon(name string, began time.Time) (a answer) {
	o.t.Helper()
	request := o.requests()[name]
	require.Eventually(o.t, func() bool {
		var err error
		a, err = request(o.t.Context())
		return err == nil && a.status != http.StatusServiceUnavailable
	}, 10*time.Second-time.Since(began), tick, name)
	return a
}

// F-04, F-07: PostgreSQL is stopped, for as long as it takes, and started again.
func TestOutage_stopped(t *testing.T) {
	t.Parallel()
	o := newOutage(t)
	o.database.Stop()
	o.forgotten()
	o.fails(2 * time.Second)
	o.database.Start()
	o.recovers()

	// A revocation that was refused with 503 did not happen; asked again, it does.
	require.Equal(t, http.StatusOK, post(t, o.program.url+"/oauth2/revoke", o.web, tokenForm(o.session.refresh)).status)
	require.False(t, o.active(o.program, o.web, o.session.access))
	refused(t, o.refresh(o.program, o.web, o.session.refresh), "invalid_grant")
}

// F-08: connections stay open, and nobody answers.
func TestOutage_black_hole(t *testing.T) {
	t.Parallel()
	o := newOutage(t)
	o.database.Pause()
	o.forgotten()
	o.fails(5 * time.Second)
	o.database.Resume()
	o.recovers()
}

// F-03: PostgreSQL dies as by a power cut. With its default settings it keeps what
// the program acknowledged, and the program does not have to be told that it may
// lose some.
func TestOutage_killed(t *testing.T) {
	t.Parallel()
	o := newOutage(t, storagetest.Durable...)
	o.env = slices.DeleteFunc(o.env, func(v string) bool { return strings.HasPrefix(v, "GRANTOR_UNSAFE_DATABASE=") })
	o.program.kill(t)
	o.program = o.serve()
	ended := o.login(o.program, o.web, "alice", o.password)
	require.Equal(t, http.StatusOK, post(t, o.program.url+"/oauth2/revoke", o.web, tokenForm(ended.refresh)).status)
	o.session = o.renew(o.program, o.web, o.session.refresh)

	o.database.Kill()
	o.forgotten()
	o.fails(2 * time.Second)
	o.database.Start()
	o.recovers()
	refused(t, o.refresh(o.program, o.web, ended.refresh), "invalid_grant")
	require.False(t, o.active(o.program, o.web, ended.access))
}

// A server that may lose commits is refused unless its danger is accepted by name.
func TestOutage_is_not_invited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "postgres", storagetest.Postgres(t), "UNSAFE_DATABASE=fsync")
	w.run("migrate", "up")
	r, err := w.try("", "serve", "--address", "127.0.0.1:0")
	require.NoError(t, err)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.errout, "grantor: database may lose what it acknowledged: synchronous_commit is off\nhint: ")
}
