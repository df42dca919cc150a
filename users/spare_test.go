package users

import (
	"crypto/rand"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What workers have no time for takes a quarter of one processor at most.
func TestHashingHereRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := NewPasswords(PasswordOptions{Memory: 8, Time: 1, Rand: rand.Reader, Worker: &WorkerOptions{
			Start: func() (WorkerProcess, error) { return nil, io.EOF }, Log: slog.New(slog.DiscardHandler),
		}})
		require.NoError(t, err)
		const hash = 25 * time.Millisecond
		began := time.Now()
		for range 5 {
			require.NoError(t, p.work(t.Context(), false,
				func(time.Duration) error { return errWorkerSlow },
				func() error { time.Sleep(hash); return nil }))
		}
		require.Equal(t, 5*hash+4*3*hash, time.Since(began))
	})
}

// Who waits for a worker hears at once that there will be none.
func TestNobodyWaitsForAWorkerThatDoesNotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan struct{})
		p, err := NewPasswords(PasswordOptions{Memory: 8, Time: 1, Concurrent: 1, Rand: rand.Reader, Worker: &WorkerOptions{
			Start: func() (WorkerProcess, error) { <-failed; return nil, io.EOF }, Log: slog.New(slog.DiscardHandler),
		}})
		require.NoError(t, err)
		began := time.Now()
		done := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := p.Hash(t.Context(), "correct horse battery staple")
				done <- err
			}()
		}
		synctest.Wait()
		close(failed)
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		require.Zero(t, time.Since(began))
		p.Close(t.Context())
	})
}

// Who waits to be hashed for here when the server ends hears that it is busy.
func TestCloseEndsWhoWaitsForHashingHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := NewPasswords(PasswordOptions{Memory: 8, Time: 1, Rand: rand.Reader, Worker: &WorkerOptions{
			Start: func() (WorkerProcess, error) { return nil, io.EOF }, Log: slog.New(slog.DiscardHandler),
		}})
		require.NoError(t, err)
		p.spare <- struct{}{}
		done := make(chan error, 1)
		go func() {
			done <- p.work(t.Context(), false, func(time.Duration) error { return errWorkerSlow }, func() error { return nil })
		}()
		synctest.Wait()
		p.Close(t.Context())
		require.ErrorIs(t, <-done, ErrBusy)
	})
}
