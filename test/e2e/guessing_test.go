package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/storage/storagetest"
)

// The scene of BenchmarkWrongPasswords.
const (
	guesses     = 10_000
	guessers    = 16          // connections of the attacker
	guessesFrom = "127.0.0.2" // whose one address this is
	paced       = 1000        // guesses a second, where they are paced
	renewers    = 4           // sessions of others, each on a connection of its own
	renewPause  = 10 * time.Millisecond
	idleFor     = 5 * time.Second
)

// Ten thousand wrong passwords for one account from one address, at the login page, with
// hashing as it is by default. It reports
//
//	refused/attack    of the guesses, answered 429 without a look at the password
//	looked_at/attack  of them, hashed and found wrong
//	idle_p50-ms, idle_p99-ms      renewals of other people's sessions, before
//	attack_p50-ms, attack_p99-ms  and meanwhile
//	owner-ms, other-ms            the owner at a known browser, and somebody else, sign in meanwhile
//
// and fails when the owner or somebody else is kept out. "flat_out" is limited by this
// machine: the attacker takes processors from the server that is attacked.
func BenchmarkWrongPasswords(b *testing.B) {
	for _, dialect := range []string{"sqlite", "postgres"} {
		for _, pace := range []int{paced, 0} {
			name := fmt.Sprintf("%s/%d_a_second", dialect, pace)
			if pace == 0 {
				name = dialect + "/flat_out"
			}
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					attack(b, dialect, pace)
				}
			})
		}
	}
}

func attack(b *testing.B, dialect string, pace int) {
	b.Helper()
	database := "sqlite:" + b.TempDir() + "/grantor.db"
	if dialect == "postgres" {
		database = storagetest.Postgres(b)
	}
	w := newWorld(b, dialect, database, "PASSWORD_MEMORY=19456", "PASSWORD_TIME=2", "LOG_LEVEL=info")
	w.run("migrate", "up")
	p := w.serve()
	web := w.client("web", "--grant", "password", "--grant", "refresh_token")
	owner := newPerson(b, "alice", w.account("alice"), "127.0.0.3")
	other := newPerson(b, "bob", w.account("bob"), "127.0.0.4")
	carol := w.account("carol")
	require.Equal(b, http.StatusSeeOther, owner.signIn(p).status, "the browser is known from here on")

	idle := newRenewals(w, p, web, carol)
	ctx, stop := context.WithTimeout(b.Context(), idleFor)
	idle.run(ctx)
	stop()

	meanwhile := newRenewals(w, p, web, carol)
	ctx, stop = context.WithCancel(b.Context())
	var renewing sync.WaitGroup
	renewing.Go(func() { meanwhile.run(ctx) })
	g := &guesser{person: newPerson(b, "alice", "", guessesFrom), pace: pace}
	g.at, g.form = g.person.loginForm(p)
	var guessing sync.WaitGroup
	guessing.Go(func() { g.run(b.Context()) })

	// In the midst of it.
	require.Eventually(b, func() bool { return g.refused.Load() > guesses/10 }, patience, tick)
	forOwner, forOther := owner.signIn(p), other.signIn(p)
	require.Equal(b, http.StatusSeeOther, forOwner.status, "the owner is kept out of a known browser: %d", forOwner.status)
	require.Equal(b, http.StatusSeeOther, forOther.status, "another account is throttled: %d", forOther.status)
	require.Less(b, g.refused.Load()+g.lookedAt.Load(), int64(guesses), "it was meanwhile")
	guessing.Wait()
	stop()
	renewing.Wait()
	require.Zero(b, g.otherwise.Load(), "answers that were neither")
	require.EqualValues(b, guesses, g.refused.Load()+g.lookedAt.Load())

	b.ReportMetric(float64(g.refused.Load()), "refused/attack")
	b.ReportMetric(float64(g.lookedAt.Load()), "looked_at/attack")
	for name, r := range map[string]*renewals{"idle": idle, "attack": meanwhile} {
		b.ReportMetric(ms(r.quantile(0.50)), name+"_p50-ms")
		b.ReportMetric(ms(r.quantile(0.99)), name+"_p99-ms")
	}
	b.ReportMetric(ms(forOwner.took), "owner-ms")
	b.ReportMetric(ms(forOther.took), "other-ms")
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// signIn is the login page, from a browser that is signed out.
func (p *person) signIn(server *program) answer {
	p.t.Helper()
	if keeper, ok := p.browser.Jar.(*jar); ok {
		keeper.forget("session")
	}
	at, f := p.loginForm(server)
	return p.submit(at, f.fields)
}

// forget takes a cookie away, as when somebody else signed out.
func (j *jar) forget(what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for name := range j.cookies {
		if strings.Contains(name, what) {
			delete(j.cookies, name)
		}
	}
}

func (p *person) loginForm(server *program) (*url.URL, *form) {
	p.t.Helper()
	at, err := url.Parse(server.url + "/login")
	require.NoError(p.t, err)
	page := p.get(at)
	require.Equal(p.t, http.StatusOK, page.status, "%s", page)
	return at, p.press(page.body)
}

// guesser types wrong passwords.
type guesser struct {
	person *person
	at     *url.URL
	form   *form
	pace   int // a second; 0: as fast as they are answered

	refused, lookedAt, otherwise atomic.Int64
}

func (g *guesser) run(ctx context.Context) {
	turns := make(chan int)
	var working sync.WaitGroup
	for range guessers {
		working.Go(func() {
			for i := range turns {
				fields := url.Values{}
				for name, values := range g.form.fields {
					fields[name] = values
				}
				fields.Set("password", fmt.Sprintf("a wrong password %d", i))
				a, err := g.person.trySubmit(ctx, g.at, fields)
				switch {
				case err != nil:
					g.otherwise.Add(1)
				case a.status == http.StatusTooManyRequests && a.header.Get("Retry-After") != "":
					g.refused.Add(1)
				case a.status == http.StatusBadRequest:
					g.lookedAt.Add(1)
				default:
					g.otherwise.Add(1)
				}
			}
		})
	}
	began := time.Now()
	for i := range guesses {
		if g.pace > 0 {
			wait(ctx, time.Until(began.Add(time.Duration(i)*time.Second/time.Duration(g.pace))))
		}
		turns <- i
	}
	close(turns)
	working.Wait()
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// renewals are sessions of other people that are renewed all the time.
type renewals struct {
	world    *world
	program  *program
	client   credentials
	sessions []string // refresh tokens

	mu   sync.Mutex
	took []time.Duration
}

func newRenewals(w *world, p *program, as credentials, password string) *renewals {
	r := &renewals{world: w, program: p, client: as}
	for range renewers {
		r.sessions = append(r.sessions, w.login(p, as, "carol", password).refresh)
	}
	return r
}

func (r *renewals) run(ctx context.Context) {
	var working sync.WaitGroup
	for _, token := range r.sessions {
		working.Go(func() {
			for ctx.Err() == nil {
				// The session outlives the measurement, so its requests do too.
				a, err := submit(context.WithoutCancel(ctx), r.program.url+"/oauth2/token", r.client, refreshForm(token))
				if !assert.NoError(r.world.t, err) || !assert.Equal(r.world.t, http.StatusOK, a.status, "%s", a) {
					return
				}
				token = a.field("refresh_token")
				r.world.secret(token)
				r.mu.Lock()
				r.took = append(r.took, a.took)
				r.mu.Unlock()
				wait(ctx, renewPause)
			}
		})
	}
	working.Wait()
}

func (r *renewals) quantile(q float64) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.took)
	if len(r.took) == 0 {
		return 0
	}
	return r.took[int(q*float64(len(r.took)-1))]
}
