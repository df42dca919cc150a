package oauth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/storage"
)

// patience is for what other goroutines do.
const patience = 20 * time.Second

// receiver is the back channel of clients: what they are told, and what they answer.
type receiver struct {
	*httptest.Server
	told chan notice

	mu     sync.Mutex
	answer http.HandlerFunc
}

// notice is a request that came.
type notice struct {
	path, kind string
	form       url.Values
}

func receive(t *testing.T) *receiver {
	t.Helper()
	l := &receiver{told: make(chan notice, 100)}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		l.mu.Lock()
		answer := l.answer
		l.mu.Unlock()
		if answer != nil {
			answer(w, r)
		}
		l.told <- notice{r.Method + " " + r.URL.Path, r.Header.Get("Content-Type"), r.PostForm}
	}))
	t.Cleanup(l.Close)
	return l
}

// answers changes what the clients say from now on; nil: that all is well.
func (l *receiver) answers(f http.HandlerFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer = f
}

func (l *receiver) next(t *testing.T) notice {
	t.Helper()
	select {
	case n := <-l.told:
		return n
	case <-time.After(patience):
		require.Fail(t, "no client was told")
		return notice{}
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func toLoopback(c *config.Config) {
	c.LogoutNetworks = config.Networks{netip.MustParsePrefix("127.0.0.0/8")}
}

// told is a client of the receiver.
func (l *receiver) client(w *servertest.World, id string, change ...func(*clients.Client)) {
	rp(w, append([]func(*clients.Client){func(c *clients.Client) {
		c.ID, c.BackchannelLogoutURI = id, l.URL+"/"+id
	}}, change...)...)
}

// runs does what a replica does beside requests, until stop is called.
func runs(t *testing.T, w *servertest.World) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.Server.Run(ctx)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(stop)
	return stop
}

// delivered waits until that many notices are done with.
func delivered(t *testing.T, w *servertest.World, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		done := 0
		for _, sql := range w.Tally.Statements() {
			if strings.HasPrefix(sql, "DELETE FROM logout_notices WHERE id") {
				done++
			}
		}
		return done >= n
	}, patience, time.Millisecond)
}

// settled waits for a line of the log.
func settled(t *testing.T, w *servertest.World, log string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(w.Log.Text(), log) }, patience, time.Millisecond, log)
}

// waiting are the notices that are due now. They are claimed by it, for a lease.
func waiting(t *testing.T, w *servertest.World, lease time.Duration) int {
	t.Helper()
	list, err := w.Store.ClaimLogoutNotices(t.Context(), 100, lease)
	require.NoError(t, err)
	return len(list)
}

// verified is the logout token, proven as a client would: OpenID Connect Back-Channel Logout section 2.6.
func verified(t *testing.T, w *servertest.World, n notice, clientID, algorithm string) map[string]any {
	t.Helper()
	require.Equal(t, "POST /"+clientID, n.path)
	require.Equal(t, "application/x-www-form-urlencoded", n.kind)
	require.Len(t, n.form, 1)
	token := n.form.Get("logout_token")
	require.Equal(t, "logout+jwt", headerOf(t, token)["typ"])
	require.Equal(t, algorithm, headerOf(t, token)["alg"])
	verifier := oidc.NewVerifier(servertest.Issuer, oidc.NewRemoteKeySet(t.Context(), w.URL+"/.well-known/jwks.json"), &oidc.Config{
		ClientID: clientID, Now: w.Clock.Now, SupportedSigningAlgs: []string{algorithm},
	})
	proven, err := verifier.Verify(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, []string{clientID}, proven.Audience)
	require.Empty(t, proven.Nonce)
	var claims map[string]any
	require.NoError(t, proven.Claims(&claims))
	require.Equal(t, map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}, claims["events"])
	require.NotContains(t, claims, "nonce", "so that it is no ID token")
	require.NotEmpty(t, claims["jti"])
	require.InDelta(t, w.Clock.Now().Unix(), claims["iat"], 0)
	require.InDelta(t, w.Clock.Now().Add(2*time.Minute).Unix(), claims["exp"], 0)
	return claims
}

func TestBackchannel_tells_every_client_of_the_sign_in(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{Config: toLoopback}, func(t *testing.T, w *servertest.World) {
		l := receive(t)
		l.client(w, "one")
		l.client(w, "second", func(c *clients.Client) { c.IDTokenAlg = "ES256" })
		l.client(w, "elsewhere")
		l.client(w, "unredeemed")
		rp(w) // has no back channel
		b := w.Browser()
		id := servertest.Claims(t, tokensAt(w, b, "one").Text("id_token"))
		tokensAt(w, b, "second")
		tokensAt(w, b, "second") // twice is one sign-in
		tokensAt(w, b, "rp")
		b.Authorize("unredeemed").Code()
		tokensAt(w, w.Browser(), "elsewhere")
		stop := runs(t, w)
		b.Get("/account").Submit("decision", "signout").Require(http.StatusOK)

		algorithms := map[string]string{"one": "RS256", "second": "ES256"}
		jtis := map[any]bool{}
		for range 2 {
			n := l.next(t)
			_, client, _ := strings.Cut(n.path, "/")
			algorithm := algorithms[client]
			delete(algorithms, client)
			claims := verified(t, w, n, client, algorithm)
			require.Equal(t, id["sub"], claims["sub"])
			require.Equal(t, id["sid"], claims["sid"])
			jtis[claims["jti"]] = true
			w.Introspect("rs", n.form.Get("logout_token")).Require(200)
			require.False(t, w.Active(n.form.Get("logout_token")))
			w.Userinfo(n.form.Get("logout_token")).Require(401)
		}
		require.Empty(t, algorithms)
		require.Len(t, jtis, 2)
		delivered(t, w, 2)
		stop()
		w.Clock.Advance(time.Hour)
		require.Zero(t, waiting(t, w, 0))
		require.Empty(t, l.told, "nobody else is told, and nobody twice")
	})
}

// Whatever ends a sign-in, or a client's session of it, is told.
func TestBackchannel_whatever_ended_it(t *testing.T) {
	t.Parallel()
	press := func(b *servertest.Browser, pairs ...string) {
		b.Post("/account", append([]string{"csrf_token", b.Get("/account").Form("csrf_token").Fields.Get("csrf_token")}, pairs...)...).Require(http.StatusSeeOther)
	}
	password := servertest.Password("alice")
	type scene struct {
		w         *servertest.World
		b, other  *servertest.Browser // two of alice's
		token     string              // the ID token that a client got at b
		sid, user string
	}
	for name, end := range map[string]func(s scene){
		"RP-initiated":    func(s scene) { signOut(s.b, "id_token_hint", s.token).Require(http.StatusOK) },
		"from elsewhere":  func(s scene) { signOut(s.w.Browser(), "id_token_hint", s.token).Require(http.StatusOK) },
		"this browser":    func(s scene) { press(s.b, "action", "end_browser", "id", s.sid) },
		"another browser": func(s scene) { press(s.other, "action", "end_browser", "id", s.sid) },
		"all others":      func(s scene) { press(s.other, "action", "end_others") },
		"one session": func(s scene) {
			list, err := s.w.Store.Sessions(t.Context(), storage.SessionFilter{UserID: s.user})
			require.NoError(t, err)
			press(s.other, "action", "end_session", "id", list[0].ID.String())
		},
		"consent": func(s scene) { press(s.b, "action", "withdraw", "client_id", "one") },
		"a new password": func(s scene) {
			press(s.other, "action", "change_password", "current_password", password, "new_password", "another password", "repeat_password", "another password")
		},
		"somebody else": func(s scene) { s.b.Authorize("one", "prompt", "login").Through("bob").Code() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := servertest.New(t, servertest.Setup{Config: toLoopback})
			l := receive(t)
			l.client(w, "one")
			runs(t, w)
			s := scene{w: w, b: w.Browser(), other: w.Browser()}
			s.token = tokensAt(w, s.b, "one").Text("id_token")
			s.sid, s.user = fmt.Sprint(servertest.Claims(t, s.token)["sid"]), fmt.Sprint(servertest.Claims(t, s.token)["sub"])
			s.other.SignIn("alice")
			end(s)
			claims := verified(t, w, l.next(t), "one", "RS256")
			require.Equal(t, s.user, claims["sub"])
			require.Equal(t, s.sid, claims["sid"])
		})
	}
}

// A client that is down is told later, after longer and longer waits, and given up at last.
func TestBackchannel_tries_again(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{Config: toLoopback}, func(t *testing.T, w *servertest.World) {
		l := receive(t)
		l.client(w, "one")
		b := w.Browser()
		tokensAt(w, b, "one")
		b.Get("/account").Submit("decision", "signout").Require(http.StatusOK)
		elsewhere := receive(t)
		faults := []http.HandlerFunc{
			status(500), status(400), status(404), status(503),
			func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
			},
			func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
			status(304), status(500), status(500), status(500),
		}
		var jti any
		wait := 15 * time.Second
		for i, fault := range faults {
			l.answers(fault)
			stop := runs(t, w)
			claims := verified(t, w, l.next(t), "one", "RS256")
			if jti == nil {
				jti = claims["jti"]
			}
			require.Equal(t, jti, claims["jti"], "the client can tell that it is the same")
			if i == len(faults)-1 {
				settled(t, w, "given up")
				stop()
				break
			}
			settled(t, w, fmt.Sprintf(`"tries":%d,"next":%d`, i+1, wait))
			stop()
			w.Clock.Advance(wait - time.Microsecond)
			require.Zero(t, waiting(t, w, time.Minute), "not before %s", wait)
			w.Clock.Advance(time.Microsecond)
			wait *= 2
		}
		w.Clock.Advance(24 * time.Hour)
		require.Zero(t, waiting(t, w, time.Minute), "given up is forgotten")
		require.Empty(t, elsewhere.told, "a redirect is not followed")
		require.Contains(t, w.Log.Text(), `"client":"one"`)
	})
}

func TestBackchannel_succeeds_at_the_second_try(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{Config: toLoopback})
	l := receive(t)
	l.client(w, "one")
	b := w.Browser()
	tokensAt(w, b, "one")
	l.answers(status(500))
	stop := runs(t, w)
	b.Get("/account").Submit("decision", "signout").Require(http.StatusOK)
	l.next(t)
	settled(t, w, "not told to a client yet")
	stop()
	l.answers(status(204))
	w.Clock.Advance(15 * time.Second)
	other := w.Replica() // after a restart, or another one
	stop = runs(t, other)
	verified(t, w, l.next(t), "one", "RS256")
	delivered(t, w, 1)
	stop()
	w.Clock.Advance(time.Hour)
	require.Zero(t, waiting(t, w, 0))
	require.Empty(t, l.told)
}

// G-12: the address is decided when it is connected to. Nothing of ours is called by default.
func TestBackchannel_never_calls_inside_G12(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	l := receive(t)
	l.client(w, "one")
	port := l.URL[strings.LastIndexByte(l.URL, ':')+1:]
	rp(w, func(c *clients.Client) { c.ID, c.BackchannelLogoutURI = "second", "https://localhost:"+port+"/x" })
	rp(w, func(c *clients.Client) {
		c.ID, c.BackchannelLogoutURI = "third", "https://169.254.169.254/latest/meta-data"
	})
	b := w.Browser()
	for _, id := range []string{"one", "second", "third"} {
		tokensAt(w, b, id)
	}
	runs(t, w)
	b.Get("/account").Submit("decision", "signout").Require(http.StatusOK)
	require.Eventually(t, func() bool { return strings.Count(w.Log.Text(), "the address is not a public one") == 3 }, patience, time.Millisecond)
	require.Empty(t, l.told)
}

// A client that does not answer holds up neither the others nor the end of the process,
// and another replica takes over after the lease.
func TestBackchannel_a_slow_client(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{Config: toLoopback})
	l := receive(t)
	l.client(w, "slow")
	l.client(w, "quick")
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	letGo := sync.OnceFunc(func() { close(release) })
	t.Cleanup(letGo) // before the server is closed
	l.answers(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			arrived <- struct{}{}
			<-release
		}
	})
	b := w.Browser()
	tokensAt(w, b, "slow")
	tokensAt(w, b, "quick")
	stop := runs(t, w)
	b.Get("/account").Submit("decision", "signout").Require(http.StatusOK)
	require.Equal(t, "POST /quick", l.next(t).path)
	<-arrived
	delivered(t, w, 1)
	stop()
	require.NotContains(t, w.Log.Text(), "given up")
	letGo()
	require.Equal(t, "POST /slow", l.next(t).path, "the request that the process left")

	l.answers(nil)
	w.Clock.Advance(time.Minute - time.Microsecond)
	require.Zero(t, waiting(t, w, 0), "the lease of the one that ended")
	w.Clock.Advance(time.Microsecond)
	runs(t, w.Replica())
	require.Equal(t, "POST /slow", l.next(t).path)
}

// Two replicas look at once: each client is told once.
func TestBackchannel_Concurrent_replicas(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{Config: toLoopback}, func(t *testing.T, w *servertest.World) {
		l := receive(t)
		b := w.Browser()
		const many = 30 // more than one look takes
		want := map[string]bool{}
		for i := range many {
			id := fmt.Sprintf("client-%d", i)
			l.client(w, id)
			tokensAt(w, b, id)
			want["POST /"+id] = true
		}
		b.Get("/account").Submit("decision", "signout").Require(http.StatusOK)
		stops := []func(){runs(t, w), runs(t, w.Replica()), runs(t, w.Replica())}
		for range many {
			n := l.next(t)
			require.True(t, want[n.path], "%s: told twice", n.path)
			delete(want, n.path)
		}
		delivered(t, w, many)
		for _, stop := range stops {
			stop()
		}
		w.Clock.Advance(time.Hour)
		require.Zero(t, waiting(t, w, 0))
		require.Empty(t, l.told)
	})
}

// Nobody is told when nobody is there any more to be told.
func TestBackchannel_of_a_client_that_changed(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{Config: toLoopback})
	l := receive(t)
	for _, id := range []string{"gone", "silent", "last"} {
		l.client(w, id)
	}
	b := w.Browser()
	for _, id := range []string{"gone", "silent", "last"} {
		tokensAt(w, b, id)
	}
	b.Get("/account").Submit("decision", "signout").Require(http.StatusOK)
	_, err := w.Store.DeleteClient(t.Context(), "gone")
	require.NoError(t, err)
	w.UpdateClient("silent", func(c *clients.Client) { c.BackchannelLogoutURI = "" })
	stop := runs(t, w)
	require.Equal(t, "POST /last", l.next(t).path)
	delivered(t, w, 2) // of the deleted client there is none any more
	stop()
	w.Clock.Advance(time.Hour)
	require.Zero(t, waiting(t, w, 0))
	require.Empty(t, l.told)
	require.NotContains(t, w.Log.Text(), "not told")
}

// While the database is away nothing is lost, and delivery goes on by itself.
func TestBackchannel_while_the_database_is_down(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{Config: toLoopback})
	l := receive(t)
	l.client(w, "one")
	b := w.Browser()
	tokensAt(w, b, "one")
	b.Get("/account").Submit("decision", "signout").Require(http.StatusOK)
	mend := w.Break(everything)
	stop := runs(t, w)
	settled(t, w, "logout notices were not read")
	stop()
	mend()
	runs(t, w)
	verified(t, w, l.next(t), "one", "RS256")
}
