package users_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/users"
)

// fakeWorker is a worker without a process: ServeWorker, or what a test puts in its
// place, between two pipes.
type fakeWorker struct {
	io.Reader
	io.WriteCloser
	questions *io.PipeReader
	answers   *io.PipeWriter
	died      chan struct{}
	once      sync.Once
	status    error
}

func (f *fakeWorker) Kill() { f.end(errors.New("signal: killed")) }

func (f *fakeWorker) end(status error) {
	f.once.Do(func() {
		f.status = status
		_ = f.answers.CloseWithError(io.EOF)
		_ = f.questions.CloseWithError(io.ErrClosedPipe)
		close(f.died)
	})
}

func (f *fakeWorker) Wait() error { <-f.died; return f.status }

// nursery starts fake workers and remembers them.
type nursery struct {
	serve func(n int, r io.Reader, w io.Writer) error // nil: ServeWorker; n counts from 1
	fail  error                                       // of the next starts

	mu      sync.Mutex
	workers []*fakeWorker
	tried   int
	running sync.WaitGroup
}

func (n *nursery) start() (users.WorkerProcess, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tried++
	if n.fail != nil {
		return nil, n.fail
	}
	f := &fakeWorker{died: make(chan struct{})}
	f.questions, f.WriteCloser = io.Pipe()
	f.Reader, f.answers = io.Pipe()
	n.workers = append(n.workers, f)
	number := len(n.workers)
	serve := n.serve
	if serve == nil {
		serve = func(_ int, r io.Reader, w io.Writer) error { return users.ServeWorker(r, w, 2) }
	}
	n.running.Go(func() { f.end(serve(number, f.questions, f.answers)) })
	return f, nil
}

// heal makes the next workers good ones.
func (n *nursery) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fail, n.serve = nil, nil
}

func (n *nursery) starts() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tried
}

func (n *nursery) last() *fakeWorker {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.workers[len(n.workers)-1]
}

func (f *fakeWorker) gone() bool {
	select {
	case <-f.died:
		return true
	default:
		return false
	}
}

// bubble runs a test in a world with its own time, with passwords that a worker hashes.
func bubble(t *testing.T, n *nursery, o users.PasswordOptions, test func(t *testing.T, p *users.Passwords, log *bytes.Buffer)) {
	synctest.Test(t, func(t *testing.T) {
		log := new(bytes.Buffer)
		o.Memory, o.Time, o.Rand = 8, 1, rand.Reader
		o.Worker = &users.WorkerOptions{Start: n.start, Log: slog.New(slog.NewTextHandler(log, nil))}
		p := newPasswords(t, o)
		test(t, p, log)
		p.Close(t.Context())
		n.running.Wait()
		for _, f := range n.workers {
			require.True(t, f.gone(), "no worker outlives its server")
		}
	})
}

// check wants a right and a wrong password to be told apart.
func check(t *testing.T, p *users.Passwords) {
	t.Helper()
	hash, err := p.Hash(t.Context(), known)
	require.NoError(t, err)
	for password, want := range map[string]bool{known: true, known + "!": false} {
		ok, outdated, err := p.Verify(t.Context(), hash, password)
		require.NoError(t, err)
		require.Equal(t, want, ok)
		require.False(t, outdated)
	}
	ok, _, err := p.Verify(t.Context(), "", known)
	require.NoError(t, err)
	require.False(t, ok, "nobody")
}

func TestWorkerHashes(t *testing.T) {
	n := &nursery{}
	bubble(t, n, users.PasswordOptions{}, func(t *testing.T, p *users.Passwords, _ *bytes.Buffer) {
		synctest.Wait()
		require.Zero(t, n.starts(), "none before the first password")
		check(t, p)
		require.Equal(t, 1, n.starts())

		ok, outdated, err := p.Verify(t.Context(), "$2b$04$MOxmu7Afg8/pAcAghyL9oO1Pav6BLaR8cb.FZAHEMrL8xyUHfWQhW", known)
		require.NoError(t, err)
		require.True(t, ok, "a foreign hash")
		require.True(t, outdated)
		_, _, err = p.Verify(t.Context(), "$plaintext$"+known, known)
		require.ErrorIs(t, err, users.ErrUnknownHash)

		own := newPasswords(t, tiny())
		hash, err := p.Hash(t.Context(), known)
		require.NoError(t, err)
		ok, outdated, err = own.Verify(t.Context(), hash, known)
		require.NoError(t, err)
		require.True(t, ok, "the same hash as without a worker")
		require.False(t, outdated)

		longest := strings.Repeat("x", users.MaxPassword)
		hash, err = p.Hash(t.Context(), longest)
		require.NoError(t, err)
		ok, _, err = p.Verify(t.Context(), hash, longest)
		require.NoError(t, err)
		require.True(t, ok, "the longest password")
	})
}

// L-07: what a worker is asked about nobody is as long, and as much work, as what it is
// asked about somebody.
func TestWorkerIsAskedTheSameAboutNobody(t *testing.T) {
	var mu sync.Mutex
	var asked []int
	n := &nursery{serve: func(_ int, r io.Reader, w io.Writer) error {
		return users.ServeWorker(tapped{r, func(size int) { mu.Lock(); asked = append(asked, size); mu.Unlock() }}, w, 2)
	}}
	bubble(t, n, users.PasswordOptions{}, func(t *testing.T, p *users.Passwords, _ *bytes.Buffer) {
		hash, err := p.Hash(t.Context(), known)
		require.NoError(t, err)
		sizes := func(hash, password string) []int {
			asked = nil
			_, _, err := p.Verify(t.Context(), hash, password)
			require.NoError(t, err)
			synctest.Wait()
			return asked
		}
		right := sizes(hash, known)
		require.Len(t, right, 1)
		require.Equal(t, right, sizes(hash, strings.ToUpper(known)), "wrong")
		require.Equal(t, right, sizes("", known), "nobody")
	})
}

type tapped struct {
	io.Reader
	tap func(int)
}

func (t tapped) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	if n > 0 {
		t.tap(n)
	}
	return n, err
}

func TestWorkerEndsWhenNobodyNeedsIt(t *testing.T) {
	n := &nursery{}
	bubble(t, n, users.PasswordOptions{}, func(t *testing.T, p *users.Passwords, log *bytes.Buffer) {
		for range 3 {
			check(t, p)
			time.Sleep(14 * time.Second)
		}
		require.Equal(t, 1, n.starts(), "kept while it is used")
		require.False(t, n.last().gone())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.True(t, n.last().gone())
		require.NoError(t, n.last().Wait(), "told, not killed")
		check(t, p)
		require.Equal(t, 2, n.starts())
		require.Empty(t, log.String())
	})
}

func TestWorkerThatDiesIsReplaced(t *testing.T) {
	n := &nursery{serve: func(n int, r io.Reader, w io.Writer) error {
		if n == 1 {
			return hello(r, w, func() error { return errors.New("signal: killed") })
		}
		return users.ServeWorker(r, w, 2)
	}}
	bubble(t, n, users.PasswordOptions{}, func(t *testing.T, p *users.Passwords, log *bytes.Buffer) {
		check(t, p)
		require.Equal(t, 2, n.starts(), "the password that it took along was hashed by the next")
		require.Equal(t, 1, strings.Count(log.String(), "\n"))
		require.Contains(t, log.String(), "signal: killed")
	})
}

// Whatever goes wrong, the answer is never "wrong password".
func TestWorkersThatAlwaysDieAreBusy(t *testing.T) {
	for name, end := range map[string]func(w io.Writer) func() error{
		"die":               func(io.Writer) func() error { return func() error { return errors.New("signal: killed") } },
		"answer nobody":     func(w io.Writer) func() error { return saying(w, sentence('w', 77, "")) },
		"answer garbage":    func(w io.Writer) func() error { return saying(w, "password=wrong\n") },
		"answer too much":   func(w io.Writer) func() error { return saying(w, "\x7f\xff\xff\xff") },
		"answer too little": func(w io.Writer) func() error { return saying(w, "\x00\x00\x00\x01w") },
	} {
		t.Run(name, func(t *testing.T) {
			n := &nursery{serve: func(_ int, r io.Reader, w io.Writer) error { return hello(r, w, end(w)) }}
			bubble(t, n, users.PasswordOptions{}, func(t *testing.T, p *users.Passwords, log *bytes.Buffer) {
				_, _, err := p.Verify(t.Context(), "", known)
				require.ErrorIs(t, err, users.ErrBusy)
				require.Equal(t, 2, n.starts(), "once more, not for ever")
				_, err = p.Hash(t.Context(), known)
				require.ErrorIs(t, err, users.ErrBusy)
				require.NotContains(t, log.String(), known)
				n.heal()
				check(t, p)
			})
		})
	}
}

// hello says what a worker says first, waits for a question, and ends.
func hello(r io.Reader, w io.Writer, end func() error) error {
	if _, err := io.WriteString(w, sentence('H', 0, "grantor hashing 1")); err != nil {
		return err
	}
	if _, err := r.Read(make([]byte, 4096)); err != nil {
		return err
	}
	return end()
}

// saying says something and then waits to be killed: it is no language to end with.
func saying(w io.Writer, text string) func() error {
	return func() error {
		_, err := io.WriteString(w, text)
		for err == nil {
			time.Sleep(time.Second)
			_, err = io.WriteString(w, sentence('T', 0, ""))
		}
		return err
	}
}

func sentence(kind byte, question uint64, body string) string {
	text := binary.BigEndian.AppendUint32(nil, uint32(9+len(body)))
	text = binary.BigEndian.AppendUint64(append(text, kind), question)
	return string(text) + body
}

func TestWorkerThatHangsIsKilled(t *testing.T) {
	n := &nursery{serve: func(n int, r io.Reader, w io.Writer) error {
		if n > 1 {
			return users.ServeWorker(r, w, 2)
		}
		return hello(r, w, func() error { _, err := r.Read(make([]byte, 1)); return err }) // until it is killed
	}}
	bubble(t, n, users.PasswordOptions{}, func(t *testing.T, p *users.Passwords, log *bytes.Buffer) {
		began := time.Now()
		_, _, err := p.Verify(t.Context(), "", known)
		require.ErrorIs(t, err, users.ErrBusy)
		require.InDelta(t, 12.5, time.Since(began).Seconds(), 2.5, "between 10 and 15 s")
		require.Equal(t, 1, n.starts(), "who has waited so long is not made to wait again")
		require.Contains(t, log.String(), "no sign of life")
		check(t, p)
	})
}

// Where everything else goes before it, one password may take long. A worker that says
// that it runs is left to work.
func TestWorkerThatIsSlowIsNotKilled(t *testing.T) {
	n := &nursery{serve: func(_ int, r io.Reader, w io.Writer) error {
		return hello(r, w, func() error {
			for range 60 {
				time.Sleep(time.Second)
				if _, err := io.WriteString(w, sentence('T', 0, "")); err != nil {
					return err
				}
			}
			_, err := io.WriteString(w, sentence('w', 1, ""))
			_, _ = r.Read(make([]byte, 1))
			return err
		})
	}}
	bubble(t, n, users.PasswordOptions{}, func(t *testing.T, p *users.Passwords, log *bytes.Buffer) {
		began := time.Now()
		ok, _, err := p.Verify(t.Context(), "", known)
		require.NoError(t, err)
		require.False(t, ok)
		require.Equal(t, time.Minute, time.Since(began))
		require.Empty(t, log.String())
	})
}

func TestWithoutAWorkerHashingStaysHere(t *testing.T) {
	for name, n := range map[string]*nursery{
		"can not be started": {fail: errors.New("fork/exec: operation not permitted")},
		"dies at once":       {serve: func(int, io.Reader, io.Writer) error { return errors.New("exit status 2") }},
		"is another program": {serve: func(_ int, _ io.Reader, w io.Writer) error { return saying(w, sentence('H', 0, "grantor hashing 0"))() }},
		"says nothing":       {serve: func(_ int, r io.Reader, _ io.Writer) error { _, err := r.Read(make([]byte, 1)); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, n, users.PasswordOptions{}, func(t *testing.T, p *users.Passwords, log *bytes.Buffer) {
				check(t, p)
				check(t, p)
				require.Equal(t, 1, n.starts(), "not tried for each password")
				time.Sleep(61 * time.Second)
				check(t, p)
				require.Equal(t, 2, n.starts(), "but after a while")
				require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), "and said once: %s", log)

				time.Sleep(61 * time.Second)
				n.heal()
				check(t, p)
				check(t, p)
				require.Equal(t, 3, n.starts())
				require.Equal(t, 1, strings.Count(log.String(), "level=INFO"), "and that it is over")
			})
		})
	}
}

// As many are asked as there are slots, and one that lies ready; the queue is the server's.
func TestWorkerHashesSeveralAtOnce(t *testing.T) {
	n := &nursery{}
	bubble(t, n, users.PasswordOptions{Concurrent: 3, Queue: 2}, func(t *testing.T, p *users.Passwords, _ *bytes.Buffer) {
		var busy, asked sync.WaitGroup
		release := make(chan struct{})
		n.serve = func(_ int, r io.Reader, w io.Writer) error {
			in, out := io.Pipe()
			go func() { // holds the questions back until four are there
				questions := bufio.NewReader(r)
				var held []byte
				for range 4 {
					held = append(held, readSentence(questions)...)
					asked.Done()
				}
				<-release
				_, _ = out.Write(held)
				_, err := io.Copy(out, questions)
				_ = out.CloseWithError(err)
			}()
			return users.ServeWorker(in, w, 2)
		}
		asked.Add(4)
		results := make(chan error, 6)
		for range 6 {
			busy.Go(func() {
				_, _, err := p.Verify(t.Context(), "", known)
				results <- err
			})
		}
		synctest.Wait()
		asked.Wait()
		require.Equal(t, 2, p.Waiting())
		_, _, err := p.Verify(t.Context(), "", known)
		require.ErrorIs(t, err, users.ErrBusy)
		close(release)
		busy.Wait()
		for range 6 {
			require.NoError(t, <-results)
		}
		require.Equal(t, 1, n.starts())
	})
}

func readSentence(r *bufio.Reader) []byte {
	size, _ := r.Peek(4)
	text := make([]byte, 4+binary.BigEndian.Uint32(size))
	_, _ = io.ReadFull(r, text)
	return text
}

// What is in flight when the server stops waiting for it hears that it may come again.
func TestCloseEndsAWorkerAtWork(t *testing.T) {
	n := &nursery{serve: func(_ int, r io.Reader, w io.Writer) error {
		return hello(r, w, func() error { _, err := r.Read(make([]byte, 1)); return err })
	}}
	bubble(t, n, users.PasswordOptions{}, func(t *testing.T, p *users.Passwords, _ *bytes.Buffer) {
		result := make(chan error)
		go func() {
			_, _, err := p.Verify(t.Context(), "", known)
			result <- err
		}()
		synctest.Wait()
		p.Close(t.Context())
		require.ErrorIs(t, <-result, users.ErrBusy)
		_, err := p.Hash(t.Context(), known)
		require.ErrorIs(t, err, users.ErrBusy)
		require.Equal(t, 1, n.starts(), "and none is started any more")
	})
}

func TestCloseKillsAWorkerThatStays(t *testing.T) {
	n := &nursery{serve: func(_ int, r io.Reader, w io.Writer) error {
		err := users.ServeWorker(r, w, 2)
		for err == nil { // it does not hear that its questions have ended
			time.Sleep(time.Second)
			_, err = io.WriteString(w, sentence('T', 0, ""))
		}
		return err
	}}
	bubble(t, n, users.PasswordOptions{}, func(t *testing.T, p *users.Passwords, _ *bytes.Buffer) {
		check(t, p)
		limit, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		p.Close(limit)
		require.Equal(t, 3*time.Second, time.Since(began))
		require.ErrorContains(t, n.last().Wait(), "killed")
	})
}

func TestServeWorkerRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"text":                "hello\n",
		"too large":           "\x7f\xff\xff\xff",
		"just too large":      sentence('V', 1, strings.Repeat("x", 2+512+users.MaxPassword+1)),
		"too small":           "\x00\x00\x00\x08Vxxxxxxx",
		"cut in its length":   "\x00\x00",
		"cut in the middle":   sentence('V', 1, "\x00\x01x")[:10],
		"a kind of tomorrow":  sentence('X', 1, ""),
		"an answer":           sentence('w', 1, ""),
		"a greeting":          sentence('H', 0, "grantor hashing 1"),
		"a fault after a job": sentence('V', 1, "\x00\x00"+known) + "?",
	} {
		t.Run(name, func(t *testing.T) {
			err := users.ServeWorker(strings.NewReader(text), io.Discard, 2)
			require.Error(t, err)
			require.NotContains(t, err.Error(), known)
		})
	}
	require.NoError(t, users.ServeWorker(strings.NewReader(""), io.Discard, 2), "nothing is no fault")
	require.Error(t, users.ServeWorker(iotest.ErrReader(io.ErrUnexpectedEOF), io.Discard, 2))
	require.Error(t, users.ServeWorker(strings.NewReader(""), failing{}, 2))
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// A question that makes no sense is refused, and costs nothing.
func TestServeWorkerRefusesQuestions(t *testing.T) {
	for name, question := range map[string]string{
		"a length beyond the end": sentence('V', 5, "\xff\xffx"),
		"no length":               sentence('V', 5, "\x00"),
		"an unknown hash":         sentence('V', 5, "\x00\x0b$plaintext$x"),
		"4 TiB of memory":         sentence('M', 5, "\x00\x00\x00\x01\xff\xff\xff\xff\x01"+strings.Repeat("s", 16)+"x"),
		"no pass":                 sentence('M', 5, "\x00\x00\x00\x00\x00\x00\x00\x08\x01"+strings.Repeat("s", 16)+"x"),
		"no lane":                 sentence('M', 5, "\x00\x00\x00\x01\x00\x00\x00\x08\x00"+strings.Repeat("s", 16)+"x"),
		"no salt":                 sentence('M', 5, "\x00\x00\x00\x01\x00\x00\x00\x08\x01"),
	} {
		t.Run(name, func(t *testing.T) {
			questions, ask := io.Pipe()
			answers, answer := io.Pipe()
			done := make(chan error, 1)
			go func() { done <- users.ServeWorker(questions, answer, 2) }()
			reader := bufio.NewReader(answers)
			require.Equal(t, sentence('H', 0, "grantor hashing 1"), string(readSentence(reader)))
			_, err := io.WriteString(ask, question)
			require.NoError(t, err)
			require.Equal(t, sentence('u', 5, ""), string(readSentence(reader)))
			require.NoError(t, ask.Close())
			require.NoError(t, <-done)
		})
	}
}

func TestNewPasswordsRefusesHalfAWorker(t *testing.T) {
	o := tiny()
	o.Worker = &users.WorkerOptions{}
	_, err := users.NewPasswords(o)
	require.Error(t, err)
}
