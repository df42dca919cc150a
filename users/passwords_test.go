package users_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/grantorhq/grantor/users"
)

// tiny parameters make a test's hash cheap.
func tiny() users.PasswordOptions {
	return users.PasswordOptions{Memory: 8, Time: 1, Rand: rand.Reader}
}

func newPasswords(t require.TestingT, o users.PasswordOptions) *users.Passwords {
	p, err := users.NewPasswords(o)
	require.NoError(t, err)
	return p
}

func TestHashVerify(t *testing.T) {
	p := newPasswords(t, tiny())
	rapid.Check(t, func(t *rapid.T) {
		password := rapid.StringMatching(`[^\x00]{0,40}`).Draw(t, "password")
		other := rapid.StringMatching(`[^\x00]{0,40}`).Draw(t, "other")
		hash, err := p.Hash(context.Background(), password)
		require.NoError(t, err)
		require.Regexp(t, `^\$argon2id\$v=19\$m=8,t=1,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`, hash)
		require.NoError(t, p.CheckHash(hash))

		ok, outdated, err := p.Verify(context.Background(), hash, password)
		require.NoError(t, err)
		require.True(t, ok)
		require.False(t, outdated)
		ok, outdated, err = p.Verify(context.Background(), hash, other)
		require.NoError(t, err)
		require.Equal(t, password == other, ok)
		require.False(t, outdated)

		again, err := p.Hash(context.Background(), password)
		require.NoError(t, err)
		require.NotEqual(t, hash, again, "each has its own salt")
	})
}

func TestVerifyNobody(t *testing.T) {
	p := newPasswords(t, tiny())
	for _, password := range []string{"", "wrong password"} {
		ok, outdated, err := p.Verify(context.Background(), "", password)
		require.NoError(t, err)
		require.False(t, ok)
		require.False(t, outdated)
	}
}

// An unknown user must cost what a wrong password costs: the same place in the
// queue, and the same allocation (which is argon2's memory).
func TestVerifyNobodyCostsTheSame(t *testing.T) {
	p := newPasswords(t, users.PasswordOptions{Memory: 4096, Time: 1, Rand: rand.Reader})
	hash, err := p.Hash(context.Background(), "right password")
	require.NoError(t, err)
	wrong := allocated(func() { _, _, _ = p.Verify(context.Background(), hash, "wrong password") })
	nobody := allocated(func() { _, _, _ = p.Verify(context.Background(), "", "wrong password") })
	require.Greater(t, wrong, uint64(4096<<10))
	require.InEpsilon(t, wrong, nobody, 0.05)
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestVerifyLongPassword(t *testing.T) {
	p := newPasswords(t, tiny())
	longest := strings.Repeat("x", users.MaxPassword)
	hash, err := p.Hash(context.Background(), longest)
	require.NoError(t, err)
	ok, _, err := p.Verify(context.Background(), hash, longest)
	require.NoError(t, err)
	require.True(t, ok)

	_, err = p.Hash(context.Background(), longest+"x")
	require.ErrorIs(t, err, users.ErrInvalid)
	// A context that has ended shows that it does not even queue.
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for name, password := range map[string]string{"too long": longest + "x", "10 MB": strings.Repeat("x", 10<<20), "NUL": "a\x00a"} {
		ok, _, err = p.Verify(ended, hash, password)
		require.NoError(t, err, name)
		require.False(t, ok, name)
	}
	_, _, err = p.Verify(ended, hash, longest)
	require.ErrorIs(t, err, context.Canceled)
}

// A NUL after each repetition of the password is how bcrypt fills its 72 bytes.
func TestVerifyNULIsNoTwinUnderBcrypt(t *testing.T) {
	const hash = "$2b$04$MOxmu7Afg8/pAcAghyL9oO1Pav6BLaR8cb.FZAHEMrL8xyUHfWQhW"
	p := newPasswords(t, tiny())
	ok, _, err := p.Verify(context.Background(), hash, known+"\x00"+known)
	require.NoError(t, err)
	require.False(t, ok)
}

func TestOutdatedParameters(t *testing.T) {
	current := newPasswords(t, users.PasswordOptions{Memory: 16, Time: 2, Threads: 1, Rand: rand.Reader})
	for name, o := range map[string]users.PasswordOptions{
		"less memory":   {Memory: 8, Time: 2, Threads: 1},
		"more memory":   {Memory: 32, Time: 2, Threads: 1},
		"fewer passes":  {Memory: 16, Time: 1, Threads: 1},
		"other threads": {Memory: 16, Time: 2, Threads: 2},
	} {
		t.Run(name, func(t *testing.T) {
			o.Rand = rand.Reader
			hash, err := newPasswords(t, o).Hash(context.Background(), known)
			require.NoError(t, err)
			ok, outdated, err := current.Verify(context.Background(), hash, known)
			require.NoError(t, err)
			require.True(t, ok)
			require.True(t, outdated)
			ok, outdated, err = current.Verify(context.Background(), hash, known+"!")
			require.NoError(t, err)
			require.False(t, ok)
			require.False(t, outdated, "a wrong password must not lead to a new hash")
		})
	}
}

func TestNewPasswordsRefuses(t *testing.T) {
	for name, o := range map[string]users.PasswordOptions{
		"no randomness":       {},
		"memory of 7 KiB":     {Memory: 7, Rand: rand.Reader},
		"memory of 4 GiB":     {Memory: math.MaxUint32, Rand: rand.Reader},
		"passes without end":  {Time: math.MaxUint32, Rand: rand.Reader},
		"255 threads":         {Memory: 65536, Threads: 255, Rand: rand.Reader},
		"negative concurrent": {Concurrent: -1, Rand: rand.Reader},
		"negative queue":      {Queue: -1, Rand: rand.Reader},
		"broken randomness":   {Rand: iotest.ErrReader(io.ErrUnexpectedEOF)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := users.NewPasswords(o)
			require.Error(t, err)
		})
	}
}

func TestDefaults(t *testing.T) {
	p := newPasswords(t, users.PasswordOptions{Rand: rand.Reader})
	hash, err := p.Hash(context.Background(), known)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$"), "design.md and the OWASP cheat sheet")
}

// gate is a source of randomness in which a hash waits until the test lets it go on:
// the salt is drawn by who holds the right to hash.
type gate struct {
	mu      sync.Mutex
	inside  int
	most    int
	entered int
	open    chan struct{}
	armed   bool
}

func (g *gate) Read(p []byte) (int, error) {
	g.mu.Lock()
	if !g.armed {
		g.mu.Unlock()
		return rand.Read(p)
	}
	g.inside++
	g.entered++
	g.most = max(g.most, g.inside)
	g.mu.Unlock()
	<-g.open
	g.mu.Lock()
	g.inside--
	g.mu.Unlock()
	return rand.Read(p)
}

func TestHashingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		p := newPasswords(t, users.PasswordOptions{Memory: 8, Time: 1, Concurrent: 2, Queue: 3, Rand: g})
		g.armed = true

		require.NoError(t, p.Busy())
		results := make(chan error, 5)
		for range 5 {
			go func() {
				_, err := p.Hash(context.Background(), known)
				results <- err
			}()
		}
		synctest.Wait()
		require.Equal(t, 2, g.inside, "two hash")
		require.Equal(t, 3, p.Waiting(), "three wait")

		require.ErrorIs(t, p.Busy(), users.ErrBusy)
		_, err := p.Hash(context.Background(), known)
		require.ErrorIs(t, err, users.ErrBusy, "a sixth is sent away at once")
		_, _, err = p.Verify(context.Background(), "", known)
		require.ErrorIs(t, err, users.ErrBusy, "checking shares the queue, also for nobody")
		require.Equal(t, 2, g.entered, "and nothing was hashed for them")
		require.Equal(t, 3, p.Waiting())

		g.open <- struct{}{}
		synctest.Wait()
		require.NoError(t, <-results)
		require.Equal(t, 2, g.inside, "one left, the next came in")
		require.Equal(t, 2, p.Waiting())

		close(g.open)
		for range 4 {
			require.NoError(t, <-results)
		}
		require.Equal(t, 2, g.most, "never more than two at once")
		require.Zero(t, p.Waiting())
		_, err = p.Hash(context.Background(), known)
		require.NoError(t, err, "all places are free again")
	})
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		p := newPasswords(t, users.PasswordOptions{Memory: 8, Time: 1, Concurrent: 1, Queue: 1, Rand: g})
		g.armed = true
		holder := make(chan error, 1)
		go func() {
			_, err := p.Hash(context.Background(), known)
			holder <- err
		}()
		synctest.Wait()

		ctx, cancel := context.WithCancel(context.Background())
		waiter := make(chan error, 1)
		go func() {
			_, _, err := p.Verify(ctx, "", known)
			waiter <- err
		}()
		synctest.Wait()
		require.Equal(t, 1, p.Waiting())
		cancel()
		require.ErrorIs(t, <-waiter, context.Canceled)
		require.Zero(t, p.Waiting(), "the place in the queue is free again")

		close(g.open)
		require.NoError(t, <-holder)
		ok, _, err := p.Verify(context.Background(), "", known)
		require.NoError(t, err, "and so is the right to hash")
		require.False(t, ok)
	})
}

// A failing source of randomness must not eat the places.
func TestPlacesComeBackAfterFaults(t *testing.T) {
	broken := errors.New("no randomness")
	source := &switchable{Reader: rand.Reader}
	p := newPasswords(t, users.PasswordOptions{Memory: 8, Time: 1, Concurrent: 1, Queue: 1, Rand: source})
	source.Reader = iotest.ErrReader(broken)
	for range 3 {
		_, err := p.Hash(context.Background(), known)
		require.ErrorIs(t, err, broken)
	}
	source.Reader = rand.Reader
	_, err := p.Hash(context.Background(), known)
	require.NoError(t, err)
}

type switchable struct{ io.Reader }

func BenchmarkVerify(b *testing.B) {
	p := newPasswords(b, users.PasswordOptions{Rand: rand.Reader})
	hash, err := p.Hash(context.Background(), known)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = p.Verify(context.Background(), hash, known)
	}
}

func BenchmarkNormalizeName(b *testing.B) {
	for _, name := range []string{"Alice@Example.com", "Amélie Straße"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				users.NormalizeName(name)
			}
		})
	}
}
