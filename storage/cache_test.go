package storage_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
)

// watch runs Watch until the test ends and comes back when it has read for the first
// time. The channel hears of each later change of the signing keys.
func watch(t *testing.T, s *storage.Store) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	changed := make(chan struct{}, 100)
	var done sync.WaitGroup
	done.Go(func() {
		s.Watch(ctx, func(context.Context) error {
			changed <- struct{}{}
			return nil
		})
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	<-changed
	return changed
}

// asked counts the statements that read clients.
func asked(e *storagetest.Env) (n int) {
	for _, statement := range e.Tally.Statements() {
		if strings.Contains(statement, `FROM "clients"`) {
			n++
		}
	}
	return n
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 20*time.Second, 5*time.Millisecond, what)
}

func TestRegisteredClient_is_two_seconds_old_at_most(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		createClient(t, e.Store, "app")
		get := func() error {
			t.Helper()
			_, err := e.Store.RegisteredClient(ctx, "app")
			return err
		}
		require.NoError(t, get())
		// Nobody watches, and another replica disables it.
		require.NoError(t, e.Open().DisableClient(ctx, "app"))
		e.Tally.Reset()
		e.Clock.Advance(2*time.Second - time.Microsecond)
		require.NoError(t, get())
		require.Zero(t, asked(e))
		e.Clock.Advance(time.Microsecond)
		require.ErrorIs(t, get(), clients.ErrNotFound)
		require.Equal(t, 1, asked(e))
		require.ErrorIs(t, get(), clients.ErrNotFound, "a refusal is not cached")
		require.Equal(t, 2, asked(e))

		// What this replica writes counts here at once.
		require.NoError(t, e.Store.EnableClient(ctx, "app"))
		require.NoError(t, get())
		require.NoError(t, e.Store.DisableClient(ctx, "app"))
		require.ErrorIs(t, get(), clients.ErrNotFound)
		require.NoError(t, e.Store.EnableClient(ctx, "app"))
		require.NoError(t, get())
		_, err := e.Store.DeleteClient(ctx, "app")
		require.NoError(t, err)
		require.ErrorIs(t, get(), clients.ErrNotFound)

		// A clock that was put back makes nothing young.
		createClient(t, e.Store, "app")
		require.NoError(t, get())
		e.Tally.Reset()
		e.Clock.Advance(-time.Hour)
		require.NoError(t, get())
		require.Equal(t, 1, asked(e))
	})
}

// Somebody reads the client while it is changed: what was read before the change may
// be the answer now, but not to the next question.
func TestRegisteredClient_read_during_a_change_is_not_kept(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		createClient(t, e.Store, "app")
		var once sync.Once
		e.Tally.FailAfter(func(sql string) (err error) {
			if strings.Contains(sql, "client_secrets") { // the client itself was read before
				once.Do(func() { err = e.Store.DisableClient(ctx, "app") })
			}
			return err
		})
		_, err := e.Store.RegisteredClient(ctx, "app")
		e.Tally.FailAfter(nil)
		require.NoError(t, err, "the change did not come in between")
		_, err = e.Store.RegisteredClient(ctx, "app")
		require.ErrorIs(t, err, clients.ErrNotFound)
	})
}

// The clock stands still, so the age of an entry is not what makes it go: the other
// replica's word is.
func TestWatch_obeys_other_writers(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, secrets := deadline(t), someSecrets(t)
		other := e.Open()
		createClient(t, other, "app")
		_, err := other.SigningKeys(ctx, secrets)
		require.NoError(t, err)
		_, err = e.Store.RegisteredClient(ctx, "app")
		require.NoError(t, err)
		keysChanged := watch(t, e.Store)

		require.NoError(t, other.DisableClient(ctx, "app"))
		eventually(t, "disabled elsewhere", func() bool {
			_, err := e.Store.RegisteredClient(ctx, "app")
			return errors.Is(err, clients.ErrNotFound)
		})
		require.NoError(t, other.EnableClient(ctx, "app"))
		read, err := e.Store.RegisteredClient(ctx, "app")
		require.NoError(t, err)
		require.Empty(t, read.Client.Secrets)
		require.NoError(t, other.ReplaceSecrets(ctx, "app", read.Client.Version, []clients.Secret{{ID: "s", Hash: "h"}}))
		eventually(t, "another secret", func() bool {
			read, err := e.Store.RegisteredClient(ctx, "app")
			return err == nil && len(read.Client.Secrets) == 1
		})
		// An administrator's own hand counts like a replica: a trigger tells.
		_, err = storagetest.Database(t, e.URL).ExecContext(ctx, `UPDATE clients SET name = 'by hand'`)
		require.NoError(t, err)
		eventually(t, "changed by hand", func() bool {
			read, err := e.Store.RegisteredClient(ctx, "app")
			return err == nil && read.Client.Name == "by hand"
		})

		require.Empty(t, keysChanged, "no key has changed yet")
		_, err = other.RotateKeys(ctx, secrets, keys.ES256)
		require.NoError(t, err)
		select {
		case <-keysChanged:
		case <-ctx.Done():
			t.Fatal("nobody told of the new key")
		}
	})
}

// While the watch hears from the database an entry may be hours old; when it does not,
// the entry ends within two seconds.
func TestWatch_confirms_the_cache_only_while_it_hears(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		createClient(t, e.Store, "app")
		watch(t, e.Store)
		// On PostgreSQL the watch asks once more when it listens. Then all is quiet.
		asks := func() (n int) {
			for _, statement := range e.Tally.Statements() {
				if strings.Contains(statement, "revisions") {
					n++
				}
			}
			return n
		}
		// The first may have looked at the clock before, and the last has no answer yet.
		hear := func() {
			now := asks()
			eventually(t, "the watch asks", func() bool { return asks() >= now+3 })
		}
		_, err := e.Store.RegisteredClient(ctx, "app")
		require.NoError(t, err)
		e.Clock.Advance(time.Hour)
		hear()
		before := asked(e)
		_, err = e.Store.RegisteredClient(ctx, "app")
		require.NoError(t, err)
		require.Equal(t, before, asked(e), "confirmed an hour later")

		e.Tally.Fail(func(string) error { return errCut })
		hear()
		_, err = e.Store.RegisteredClient(ctx, "app")
		require.NoError(t, err, "heard of a moment ago")
		e.Clock.Advance(2 * time.Second)
		_, err = e.Store.RegisteredClient(ctx, "app")
		require.ErrorIs(t, err, storage.ErrUnavailable, "not heard of for two seconds: ask, and admit that nobody answers")
		e.Tally.Fail(nil)
		_, err = e.Store.RegisteredClient(ctx, "app")
		require.NoError(t, err)
	})
}

func TestOriginAllowed_is_any_enabled_clients(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		require.NoError(t, e.Store.CreateClient(ctx, clients.Client{ID: "a", AllowedOrigins: []string{"https://a.test"}}))
		require.NoError(t, e.Store.CreateClient(ctx, clients.Client{ID: "b", AllowedOrigins: []string{"https://b.test", "https://a.test:8443"}}))
		allowed := func(origin string) bool {
			t.Helper()
			ok, err := e.Store.OriginAllowed(ctx, origin)
			require.NoError(t, err)
			return ok
		}
		require.True(t, allowed("https://a.test"))
		require.True(t, allowed("https://a.test:8443"))
		e.Tally.Reset()
		for _, origin := range []string{"", "null", "https://A.test", "https://a.test/", "http://a.test", "https://a.test:443"} {
			require.False(t, allowed(origin), origin)
		}
		require.Zero(t, e.Tally.Count(), "a preflight costs nothing")
		require.NoError(t, e.Store.DisableClient(ctx, "b"))
		require.False(t, allowed("https://b.test"))
		require.True(t, allowed("https://a.test"))
		require.NoError(t, e.Open().DisableClient(ctx, "a"))
		e.Clock.Advance(2 * time.Second)
		require.False(t, allowed("https://a.test"))
	})
}

// A change of any client makes every browser's next preflight ask again: all who ask at
// once share one statement, and nobody takes an answer from before a change they know of.
func TestConcurrent_preflights_read_once(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		require.NoError(t, e.Store.CreateClient(ctx, clients.Client{ID: "a", AllowedOrigins: []string{"https://a.test"}}))
		const browsers = 20
		var asked atomic.Int32
		all := make(chan struct{})
		e.Tally.Fail(func(string) error { // the one that reads waits until all ask
			<-all
			return nil
		})
		e.Tally.Reset()
		errs := make([]error, browsers)
		together(browsers, func(i int) {
			if asked.Add(1) == browsers {
				close(all)
			}
			var ok bool
			if ok, errs[i] = e.Store.OriginAllowed(ctx, "https://a.test"); errs[i] == nil && !ok {
				errs[i] = errors.New("not allowed")
			}
		})
		e.Tally.Fail(nil)
		for _, err := range errs {
			require.NoError(t, err)
		}
		require.Less(t, e.Tally.Count(), browsers/2)
		require.NoError(t, e.Store.DisableClient(ctx, "a"))
		ok, err := e.Store.OriginAllowed(ctx, "https://a.test")
		require.NoError(t, err)
		require.False(t, ok)
	})
}
