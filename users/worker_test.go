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
	"sync/atomic"
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
		serve = func(_ int, r io.Reader, w io.Writer) error { return users.ServeWorker(r, w) }
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
		return users.ServeWorker(tapped{r, func(size int) { mu.Lock(); asked = append(asked, size); mu.Unlock() }}, w)
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

// Who has just given an answer is about to be free, even if it does not listen yet.
func TestOneAfterTheOtherNeedsOneWorker(t *testing.T) {
	n := &nursery{serve: func(_ int, r io.Reader, w io.Writer) error {
		return hello(r, w, func() (err error) {
			for number := uint64(1); err == nil; number++ {
				if _, err = io.WriteString(w, sentence('w', number, "")); err == nil {
					_, err = r.Read(make([]byte, 4096))
				}
			}
			return err
		})
	}}
	bubble(t, n, users.PasswordOptions{Concurrent: 4}, func(t *testing.T, p *users.Passwords, _ *bytes.Buffer) {
		for range 20000 {
			_, _, err := p.Verify(t.Context(), "", known)
			require.NoError(t, err)
		}
		require.Equal(t, 1, n.starts())
	})
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
		return users.ServeWorker(r, w)
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
		"answer nobody":     func(w io.Writer) func() error { return saying(w, sentence('r', 77, "")) },
		"answer the next":   func(w io.Writer) func() error { return saying(w, sentence('r', 2, "")) },
		"answer for a hash": func(w io.Writer) func() error { return saying(w, sentence('m', 1, strings.Repeat("k", 31))) },
		"answer strangely":  func(w io.Writer) func() error { return saying(w, sentence('R', 1, "")) },
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
	if _, err := io.WriteString(w, sentence('H', 0, "grantor hashing 2")); err != nil {
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
			_, err = io.WriteString(w, "")
		}
		return err
	}
}

func sentence(kind byte, question uint64, body string) string {
	text := binary.BigEndian.AppendUint32(nil, uint32(9+len(body)))
	text = binary.BigEndian.AppendUint64(append(text, kind), question)
	return string(text) + body
}

// Where everything else goes before it, nothing may be left for a worker. Who waits for it
// is hashed for here, by one at a time, which rests: sign-ins go on, and so does the rest.
func TestWhoWaitsForASlowWorkerIsHashedForHere(t *testing.T) {
	n := &nursery{serve: func(_ int, r io.Reader, w io.Writer) error { return hello(r, w, untilKilled(r)) }}
	bubble(t, n, users.PasswordOptions{Concurrent: 2}, func(t *testing.T, p *users.Passwords, log *bytes.Buffer) {
		began := time.Now()
		check(t, p) // four of them, one after the other
		require.Equal(t, 4*time.Second, time.Since(began))
		var together sync.WaitGroup
		for range 16 {
			together.Go(func() {
				ok, _, err := p.Verify(t.Context(), "", known)
				require.NoError(t, err)
				require.False(t, ok)
			})
		}
		together.Wait()
		require.InDelta(t, 8.2, time.Since(began).Seconds(), 0.2, "four at once, with rests")
		require.Empty(t, log.String())
		require.Equal(t, 2, n.starts(), "none is started in place of one that may only be slow")
	})
}

// Who knows what a hash that was made elsewhere costs: its worker has longer.
func TestAForeignHashMayTakeLonger(t *testing.T) {
	n := &nursery{serve: func(_ int, r io.Reader, w io.Writer) error { return hello(r, w, untilKilled(r)) }}
	bubble(t, n, users.PasswordOptions{Concurrent: 1}, func(t *testing.T, p *users.Passwords, _ *bytes.Buffer) {
		began := time.Now()
		ok, _, err := p.Verify(t.Context(), "$2b$04$MOxmu7Afg8/pAcAghyL9oO1Pav6BLaR8cb.FZAHEMrL8xyUHfWQhW", known)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, 5*time.Second, time.Since(began))
	})
}

// What changed while somebody waited for a worker counts.
func TestWhoIsHashedForHereIsAskedAgain(t *testing.T) {
	n := &nursery{serve: func(_ int, r io.Reader, w io.Writer) error { return hello(r, w, untilKilled(r)) }}
	bubble(t, n, users.PasswordOptions{Concurrent: 1}, func(t *testing.T, p *users.Passwords, _ *bytes.Buffer) {
		throttled := errors.New("throttled")
		asked := 0
		_, _, err := p.VerifyIf(t.Context(), "", known, func() error {
			if asked++; asked > 1 {
				return throttled
			}
			return nil
		}, func(bool) { require.Fail(t, "nothing came of it") })
		require.ErrorIs(t, err, throttled)
	})
}

func TestWorkerThatHangsIsKilled(t *testing.T) {
	n := &nursery{serve: func(n int, r io.Reader, w io.Writer) error {
		if n > 1 {
			return users.ServeWorker(r, w)
		}
		return hello(r, w, untilKilled(r))
	}}
	bubble(t, n, users.PasswordOptions{Concurrent: 1}, func(t *testing.T, p *users.Passwords, log *bytes.Buffer) {
		_, _, err := p.Verify(t.Context(), "", known)
		require.NoError(t, err)
		time.Sleep(59 * time.Second)
		synctest.Wait()
		require.True(t, n.last().gone())
		require.Contains(t, log.String(), "no answer for 1m0s")
		began := time.Now()
		check(t, p)
		require.Equal(t, 2, n.starts())
		require.Zero(t, time.Since(began))
	})
}

// Nobody waits for longer than their client: who has had no turn in 10 s hears so, in time.
func TestNobodyWaitsForLong(t *testing.T) {
	n := &nursery{serve: func(_ int, r io.Reader, w io.Writer) error { return hello(r, w, untilKilled(r)) }}
	bubble(t, n, users.PasswordOptions{Concurrent: 1, Queue: 100}, func(t *testing.T, p *users.Passwords, _ *bytes.Buffer) {
		began := time.Now()
		var together sync.WaitGroup
		var turnedAway atomic.Int64
		for range 50 {
			together.Go(func() {
				if _, _, err := p.Verify(t.Context(), "", known); err != nil {
					require.ErrorIs(t, err, users.ErrBusy)
					turnedAway.Add(1)
				}
			})
		}
		together.Wait()
		require.Equal(t, 10*time.Second, time.Since(began))
		require.NotZero(t, turnedAway.Load())
		require.EqualValues(t, turnedAway.Load(), p.Stats().Refused)

		gone, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, _, err := p.Verify(gone, "", known)
		require.ErrorIs(t, err, context.DeadlineExceeded, "who has gone is not told that we are busy")
	})
}

// A worker that says "right" twice lets nobody in with the second.
func TestAnAnswerIsForOneQuestion(t *testing.T) {
	n := &nursery{}
	n.serve = func(n int, r io.Reader, w io.Writer) error {
		if n > 1 {
			return users.ServeWorker(r, w)
		}
		return hello(r, w, func() error {
			if _, err := r.Read(make([]byte, 4096)); err != nil { // the one that lies ready
				return err
			}
			return saying(w, sentence('r', 1, "")+sentence('r', 1, ""))()
		})
	}
	bubble(t, n, users.PasswordOptions{Concurrent: 1}, func(t *testing.T, p *users.Passwords, log *bytes.Buffer) {
		own := newPasswords(t, tiny())
		hash, err := own.Hash(t.Context(), known)
		require.NoError(t, err)
		var right atomic.Int64
		var together sync.WaitGroup
		for range 2 {
			together.Go(func() {
				ok, _, err := p.Verify(t.Context(), hash, "wrong")
				require.NoError(t, err)
				if ok {
					right.Add(1)
				}
			})
			synctest.Wait()
		}
		together.Wait()
		require.EqualValues(t, 1, right.Load())
		require.Contains(t, log.String(), "an answer that nobody waits for")
		require.Equal(t, 2, n.starts())
	})
}

func TestWorkerThatNeverSaysHello(t *testing.T) {
	n := &nursery{serve: func(_ int, r io.Reader, _ io.Writer) error { return untilKilled(r)() }}
	bubble(t, n, users.PasswordOptions{Concurrent: 1}, func(t *testing.T, p *users.Passwords, log *bytes.Buffer) {
		check(t, p)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.True(t, n.last().gone())
		require.Contains(t, log.String(), "could be started")
		began := time.Now()
		check(t, p)
		require.Zero(t, time.Since(began), "hashed here, without a wait")
		require.Equal(t, 1, n.starts())
	})
}

// untilKilled reads questions and answers none.
func untilKilled(r io.Reader) func() error {
	return func() error { _, err := io.Copy(io.Discard, r); return err }
}

func TestWithoutAWorkerHashingStaysHere(t *testing.T) {
	for name, n := range map[string]*nursery{
		"can not be started": {fail: errors.New("fork/exec: operation not permitted")},
		"dies at once":       {serve: func(int, io.Reader, io.Writer) error { return errors.New("exit status 2") }},
		"is another program": {serve: func(_ int, _ io.Reader, w io.Writer) error { return saying(w, sentence('H', 0, "grantor hashing 1"))() }},
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

// Each has one to work on before any has one that lies ready; the queue is the server's.
func TestWorkersHashSeveralAtOnce(t *testing.T) {
	n := &nursery{}
	bubble(t, n, users.PasswordOptions{Concurrent: 3, Queue: 2}, func(t *testing.T, p *users.Passwords, _ *bytes.Buffer) {
		var busy sync.WaitGroup
		var asked [3]atomic.Int64
		release := make(chan struct{})
		n.serve = func(n int, r io.Reader, w io.Writer) error {
			in, out := io.Pipe()
			held := make(chan []byte, 4)
			go func() {
				defer close(held)
				questions := bufio.NewReader(r)
				for {
					question, err := readSentence(questions)
					if err != nil {
						return
					}
					asked[n-1].Add(1)
					held <- question
				}
			}()
			go func() {
				<-release
				for question := range held {
					_, _ = out.Write(question)
				}
				_ = out.Close()
			}()
			return users.ServeWorker(in, w)
		}
		results := make(chan error, 8)
		ask := func() {
			busy.Go(func() {
				_, _, err := p.Verify(t.Context(), "", known)
				results <- err
			})
			synctest.Wait()
		}
		for range 3 {
			ask()
		}
		for i := range asked {
			require.EqualValues(t, 1, asked[i].Load())
		}
		for range 5 {
			ask()
		}
		for i := range asked {
			require.EqualValues(t, 2, asked[i].Load())
		}
		require.Equal(t, 2, p.Waiting())
		_, _, err := p.Verify(t.Context(), "", known)
		require.ErrorIs(t, err, users.ErrBusy)
		close(release)
		busy.Wait()
		for range 8 {
			require.NoError(t, <-results)
		}
		require.Equal(t, 3, n.starts())
	})
}

func readSentence(r *bufio.Reader) ([]byte, error) {
	size, err := r.Peek(4)
	if err != nil {
		return nil, err
	}
	text := make([]byte, 4+binary.BigEndian.Uint32(size))
	_, err = io.ReadFull(r, text)
	return text, err
}

// What is in flight when the server stops waiting for it hears that it may come again.
func TestCloseEndsAWorkerAtWork(t *testing.T) {
	n := &nursery{serve: func(_ int, r io.Reader, w io.Writer) error { return hello(r, w, untilKilled(r)) }}
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
		"a greeting":          sentence('H', 0, "grantor hashing 2"),
		"a fault after a job": sentence('V', 1, "\x00\x00"+known) + "?",
	} {
		t.Run(name, func(t *testing.T) {
			err := users.ServeWorker(strings.NewReader(text), io.Discard)
			require.Error(t, err)
			require.NotContains(t, err.Error(), known)
		})
	}
	require.NoError(t, users.ServeWorker(strings.NewReader(""), io.Discard), "nothing is no fault")
	require.Error(t, users.ServeWorker(iotest.ErrReader(io.ErrUnexpectedEOF), io.Discard))
	require.Error(t, users.ServeWorker(strings.NewReader(""), failing{}))
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
			go func() { done <- users.ServeWorker(questions, answer) }()
			reader := bufio.NewReader(answers)
			said, err := readSentence(reader)
			require.NoError(t, err)
			require.Equal(t, sentence('H', 0, "grantor hashing 2"), string(said))
			_, err = io.WriteString(ask, question)
			require.NoError(t, err)
			said, err = readSentence(reader)
			require.NoError(t, err)
			require.Equal(t, sentence('u', 5, ""), string(said))
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
