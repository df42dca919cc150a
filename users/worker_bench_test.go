package users_test

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"

	"github.com/grantorhq/grantor/users"
)

// TestMain makes this program a worker where it is asked to be one.
func TestMain(m *testing.M) {
	if os.Getenv("GRANTOR_TEST_WORKER") == "" {
		os.Exit(m.Run())
	}
	if users.ServeWorker(os.Stdin, os.Stdout) != nil {
		os.Exit(1)
	}
}

// testWorker is this program as a process of its own.
type testWorker struct {
	io.WriteCloser
	io.Reader
	*exec.Cmd
}

func (w testWorker) Kill() { _ = w.Process.Kill() }

func startTestWorker() (users.WorkerProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &testWorker{Cmd: exec.Command(self)}
	w.Env = []string{"GRANTOR_TEST_WORKER=1", "GOGC=off", "GOMAXPROCS=1", "GOMEMLIMIT=32MiB"}
	if w.WriteCloser, err = w.StdinPipe(); err != nil {
		return nil, err
	}
	if w.Reader, err = w.StdoutPipe(); err != nil {
		return nil, err
	}
	return w, w.Start()
}

// BenchmarkHashing is what all processors do in argon2id, with nothing around it and
// through a worker. The second may take a twentieth more.
func BenchmarkHashing(b *testing.B) {
	b.Run("raw", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			salt := make([]byte, 16)
			for pb.Next() {
				argon2.IDKey([]byte(known), salt, 2, 19456, 1, 32)
			}
		})
	})
	b.Run("worker", func(b *testing.B) {
		p := newPasswords(b, users.PasswordOptions{Rand: rand.Reader, Worker: &users.WorkerOptions{
			Start: startTestWorker, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		}})
		defer p.Close(context.Background())
		hash, err := p.Hash(context.Background(), known)
		require.NoError(b, err)
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if ok, _, err := p.Verify(context.Background(), hash, known); err != nil || !ok {
					b.Error(ok, err)
				}
			}
		})
	})
}
