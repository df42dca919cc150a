package users

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// WorkerOptions move hashing into a process of its own, which the system can give less
// of the processors and which takes its memory along when it ends. The process starts
// with the first password, and ends when no one came for a while.
type WorkerOptions struct {
	// Start begins a process that does nothing but ServeWorker.
	Start func() (WorkerProcess, error)
	Log   *slog.Logger

	Idle    time.Duration // without work, until it is ended; 0 = 15 s
	Silence time.Duration // without a sign of life, until it is killed; 0 = 10 s
	Again   time.Duration // after it could not be started, until that is tried again; 0 = 1 min
}

// WorkerProcess is a running worker: questions are written, answers are read, and
// closing it is the end of its questions, at which it ends.
type WorkerProcess interface {
	io.ReadWriteCloser
	Kill()
	Wait() error // once, after reading has ended
}

const (
	defaultIdle    = 15 * time.Second
	defaultSilence = 10 * time.Second
	defaultAgain   = time.Minute
)

// errNoWorker: hash in this process.
var errNoWorker = errors.New("no worker for password hashing")

var (
	errWorkerDied   = errors.New("the worker ended by itself")
	errWorkerSilent = errors.New("the worker gave no sign of life")
)

// worker is the process, whichever it is at the moment, or the lack of one.
type worker struct {
	start                func() (WorkerProcess, error)
	log                  *slog.Logger
	idle, silence, again time.Duration

	mu      sync.Mutex
	current *workerRun  // nil: the next password starts one
	pause   *time.Timer // not nil: one could not be started, and until this fires none is tried
	failing bool        // the last try failed, and that was said
	closed  bool
	alive   map[WorkerProcess]struct{}
	runs    sync.WaitGroup
}

func newWorker(o WorkerOptions) (*worker, error) {
	if o.Start == nil || o.Log == nil {
		return nil, errors.New("password hashing: a worker needs a start and a log")
	}
	return &worker{
		start: o.Start, log: o.Log,
		idle: or(o.Idle, defaultIdle), silence: or(o.Silence, defaultSilence), again: or(o.Again, defaultAgain),
		alive: make(map[WorkerProcess]struct{}),
	}, nil
}

// workerRun is one process from its start to its end. The fields below ready belong to
// the worker's mu.
type workerRun struct {
	heard   atomic.Bool // something, since somebody last looked
	silent  atomic.Bool // killed for that
	writing sync.Mutex

	ready   chan struct{} // closed: it said hello, or unusable is true
	process WorkerProcess // nil until then
	unused  *time.Timer   // until it is ended for lack of work

	unusable bool // it never said hello
	ended    bool
	leaving  bool // it was told to end
	users    int  // who is about to ask, or waits for an answer
	last     uint64
	waiting  map[uint64]chan<- frame // closed without an answer at the end
}

// verify answers ErrBusy, ErrUnknownHash and errNoWorker.
func (w *worker) verify(hash, password string) (bool, error) {
	answer, err := w.ask(frameVerify, verifyBody(hash, password))
	if err != nil {
		return false, err
	}
	switch answer.kind {
	case frameRight, frameWrong:
		return answer.kind == frameRight, nil
	}
	return false, ErrUnknownHash
}

// make answers ErrBusy and errNoWorker.
func (w *worker) make(m making, password string) ([]byte, error) {
	answer, err := w.ask(frameMake, makeBody(m, password))
	if err != nil {
		return nil, err
	}
	if answer.kind != frameMade || len(answer.body) != keyLength {
		return nil, fmt.Errorf("hash password: %w", errFrame)
	}
	return answer.body, nil
}

// ask tries a second process when the first one dies, which may have been another
// password's doing. It never guesses: no answer is ErrBusy, not "wrong".
func (w *worker) ask(kind byte, body []byte) (frame, error) {
	defer clear(body)
	for range 2 {
		run, err := w.take()
		if err != nil {
			return frame{}, err
		}
		answer, err := w.askRun(run, kind, body)
		w.release(run)
		if err == nil {
			return answer, nil
		}
		if errors.Is(err, errWorkerSilent) {
			break // it has cost the asker enough time
		}
	}
	return frame{}, ErrBusy
}

// take answers a process that has said hello. It wants a release.
func (w *worker) take() (*workerRun, error) {
	w.mu.Lock()
	switch {
	case w.closed:
		w.mu.Unlock()
		return nil, ErrBusy
	case w.current == nil && w.pause != nil:
		w.mu.Unlock()
		return nil, errNoWorker
	case w.current == nil:
		w.current = &workerRun{ready: make(chan struct{}), waiting: make(map[uint64]chan<- frame)}
		run := w.current
		w.runs.Go(func() { w.live(run) })
	}
	run := w.current
	run.users++
	w.mu.Unlock()

	<-run.ready
	if run.unusable {
		w.release(run)
		return nil, errNoWorker
	}
	return run, nil
}

func (w *worker) release(run *workerRun) {
	w.mu.Lock()
	defer w.mu.Unlock()
	run.users--
	if run.users > 0 || run != w.current {
		return
	}
	if run.unused == nil {
		run.unused = time.AfterFunc(w.idle, func() { w.retire(run) })
	} else {
		run.unused.Reset(w.idle)
	}
}

// retire ends a process that nobody needs. Who came meanwhile has made it needed again.
func (w *worker) retire(run *workerRun) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if run.users == 0 && run == w.current {
		w.dismiss(run)
	}
}

// dismiss is called with mu held. The process may not have begun yet: live looks.
func (w *worker) dismiss(run *workerRun) {
	w.current = nil
	run.leaving = true
	if run.process != nil {
		_ = run.process.Close() // live sees how it ends
	}
}

func (w *worker) askRun(run *workerRun, kind byte, body []byte) (frame, error) {
	answered := make(chan frame, 1)
	w.mu.Lock()
	if run.ended {
		w.mu.Unlock()
		return frame{}, run.fault()
	}
	run.last++
	question := run.last
	run.waiting[question] = answered
	w.mu.Unlock()

	run.writing.Lock()
	err := frame{kind: kind, question: question, body: body}.write(run.process)
	run.writing.Unlock()
	if err != nil {
		run.process.Kill() // who can not be asked can not be left waiting either
	}
	answer, ok := <-answered
	if !ok {
		return frame{}, run.fault()
	}
	return answer, nil
}

func (r *workerRun) fault() error {
	if r.silent.Load() {
		return errWorkerSilent
	}
	return errWorkerDied
}

// live is a process's life: start, hello, answers, end.
func (w *worker) live(run *workerRun) {
	process, err := w.start()
	if err != nil {
		w.unusable(run, err)
		return
	}
	ended := make(chan struct{})
	defer close(ended)
	go run.watch(process, w.silence/2, ended)
	w.keep(process)
	defer w.forget(process)

	answers := bufio.NewReader(process)
	if err := run.hello(answers); err != nil {
		process.Kill()
		w.unusable(run, because(err, process.Wait()))
		return
	}
	w.usable(run, process)
	err = w.listen(run, answers)
	process.Kill() // it has ended, as a rule
	w.end(run, because(err, process.Wait()))
}

// because prefers how a process ended to what was seen of that in its answers.
func because(seen, status error) error {
	if status != nil && (errors.Is(seen, io.EOF) || errors.Is(seen, io.ErrUnexpectedEOF)) {
		return status
	}
	return seen
}

func (w *worker) keep(process WorkerProcess) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alive[process] = struct{}{}
}

func (w *worker) forget(process WorkerProcess) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.alive, process)
}

// watch kills a process that is silent for two periods on end: after one alone it may
// be this process that did not run.
func (r *workerRun) watch(process WorkerProcess, period time.Duration, ended <-chan struct{}) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for silent := 0; silent < 2; {
		select {
		case <-ended:
			return
		case <-ticker.C:
		}
		silent++
		if r.heard.Swap(false) {
			silent = 0
		}
	}
	r.silent.Store(true)
	process.Kill()
}

func (r *workerRun) hello(answers *bufio.Reader) error {
	f, err := readFrame(answers)
	if err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	if f.kind != frameHello || string(f.body) != workerVersion {
		return errFrame
	}
	r.heard.Store(true)
	return nil
}

// unusable makes passwords be hashed in this process for a while. It is said once, not
// each time that it is tried again.
func (w *worker) unusable(run *workerRun, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	run.unusable, run.ended = true, true
	close(run.ready)
	if run != w.current {
		return // it was told to end before it had begun
	}
	w.current = nil
	w.pause = time.AfterFunc(w.again, w.resume)
	if !w.failing {
		w.failing = true
		w.log.Warn("no process for password hashing could be started: sign-ins slow down everything else", "error", err, "again_in", w.again.String())
	}
}

func (w *worker) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pause = nil
}

func (w *worker) usable(run *workerRun, process WorkerProcess) {
	w.mu.Lock()
	defer w.mu.Unlock()
	run.process = process
	close(run.ready)
	if run.leaving {
		_ = process.Close()
		return
	}
	if w.failing {
		w.failing = false
		w.log.Info("password hashing has a process of its own again")
	}
}

// listen hands answers out until the process ends or says something wrong.
func (w *worker) listen(run *workerRun, answers *bufio.Reader) error {
	for {
		f, err := readFrame(answers)
		if err != nil {
			return err
		}
		run.heard.Store(true)
		if f.kind == frameTick {
			continue
		}
		w.mu.Lock()
		asker := run.waiting[f.question]
		delete(run.waiting, f.question)
		w.mu.Unlock()
		if asker == nil {
			return fmt.Errorf("%w: an answer that nobody waits for", errFrame)
		}
		asker <- f
	}
}

func (w *worker) end(run *workerRun, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if run == w.current {
		w.current = nil
	}
	if run.unused != nil {
		run.unused.Stop()
	}
	if !run.leaving {
		w.log.Warn("lost the password hashing process, and start another for the next password", "error", fmt.Errorf("%w: %w", run.fault(), err), "at_work_on", len(run.waiting))
	}
	run.ended = true
	for _, asker := range run.waiting {
		close(asker)
	}
	clear(run.waiting)
}

// close ends the process and waits until it is gone, or ctx is: then it is killed.
func (w *worker) close(ctx context.Context) {
	w.mu.Lock()
	w.closed = true
	if w.current != nil {
		w.dismiss(w.current)
	}
	if w.pause != nil {
		w.pause.Stop()
	}
	w.mu.Unlock()

	gone := make(chan struct{})
	go func() {
		w.runs.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for process := range w.alive {
		process.Kill()
	}
}
