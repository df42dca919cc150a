package users

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// WorkerOptions move hashing into processes of their own, which the system can give less
// of the processors and which take their memory along when they end. Each works on one
// password while another lies ready in its pipe, so that it never has to be woken for the
// next (docs/decisions/0018). One starts when a password comes that no other has time for,
// and ends when none came for a while.
type WorkerOptions struct {
	// Start begins a process that does nothing but ServeWorker.
	Start func() (WorkerProcess, error)
	Log   *slog.Logger
}

// WorkerProcess is a running worker: questions are written, and answers are read.
type WorkerProcess interface {
	io.ReadWriter
	Kill()
	Wait() error // once, after reading has ended
}

const (
	workerIdle  = 15 * time.Second // without work, until it is ended
	workerHangs = time.Minute      // after the last it heard or said, until it is killed for not answering: who asked has long been helped
	workerAgain = time.Minute      // after one could not be started, until that is tried again
)

var (
	// errNoWorker: none can be started. Hash in this process.
	errNoWorker = errors.New("no worker for password hashing")
	// errWorkerSlow: where everything else goes first, nothing may be left for a worker.
	errWorkerSlow = errors.New("no worker has answered in time")

	errWorkerDied = errors.New("the worker ended")
)

// workers are the processes that hash, and the lack of them.
type workers struct {
	start func() (WorkerProcess, error)
	log   *slog.Logger
	most  int

	questions chan *question  // whichever process has nothing to do takes the next
	ready     chan *question  // whichever is at work on one, and has no other
	life      context.Context //nolint:containedctx // until close
	endLife   context.CancelFunc
	ended     sync.WaitGroup

	mu      sync.Mutex
	running int
	open    int           // questions without an answer, those that no process has yet included
	changed chan struct{} // closed when fewer run, or none can be started
	pause   *time.Timer   // not nil: one could not be started, and until this fires none is tried
	failing bool          // the last try failed, and that was said
}

func newWorkers(o WorkerOptions, most int) (*workers, error) {
	if o.Start == nil || o.Log == nil {
		return nil, errors.New("password hashing: a worker needs a start and a log")
	}
	w := &workers{start: o.Start, log: o.Log, most: most, questions: make(chan *question), ready: make(chan *question), changed: make(chan struct{})}
	w.life, w.endLife = context.WithCancel(context.Background())
	return w, nil
}

// question is one password for one process.
type question struct {
	ctx    context.Context //nolint:containedctx // whether somebody still waits
	kind   byte
	body   func() []byte
	answer chan answer // holds one
}

type answer struct {
	frame
	err error
}

// verify answers ErrBusy, ErrUnknownHash, errNoWorker, the context's error, and after slow
// errWorkerSlow.
func (w *workers) verify(ctx context.Context, slow time.Duration, hash, password string) (bool, error) {
	answer, err := w.ask(ctx, slow, frameVerify, func() []byte { return verifyBody(hash, password) })
	if err != nil {
		return false, err
	}
	switch answer.kind {
	case frameRight, frameWrong:
		return answer.kind == frameRight, nil
	}
	return false, ErrUnknownHash
}

// make answers ErrBusy, errNoWorker, the context's error, and after slow errWorkerSlow.
func (w *workers) make(ctx context.Context, slow time.Duration, m making, password string) ([]byte, error) {
	answer, err := w.ask(ctx, slow, frameMake, func() []byte { return makeBody(m, password) })
	if err != nil {
		return nil, err
	}
	if answer.kind != frameMade { // a key of another length is no answer: see answers
		return nil, fmt.Errorf("hash password: %w", errFrame)
	}
	return answer.body, nil
}

// ask tries a second process when the first one dies, which may have been another
// password's doing. It never guesses: no answer is ErrBusy, not "wrong".
func (w *workers) ask(ctx context.Context, slow time.Duration, kind byte, body func() []byte) (frame, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, slow, errWorkerSlow)
	defer cancel()
	for range 2 {
		q := &question{ctx: ctx, kind: kind, body: body, answer: make(chan answer, 1)}
		if err := w.assign(q); err != nil {
			return frame{}, err
		}
		select {
		case a := <-q.answer:
			if !errors.Is(a.err, errWorkerDied) {
				return a.frame, a.err
			}
		case <-ctx.Done():
			return frame{}, context.Cause(ctx)
		}
	}
	return frame{}, ErrBusy
}

// assign gives a question to a process that has nothing to do, to a new one, or to the
// next that will have time.
func (w *workers) assign(q *question) error {
	w.count(1)
	for {
		ready, changed, err := w.begin(q)
		if err != nil {
			w.count(-1)
			return err
		}
		if changed == nil {
			return nil
		}
		select {
		case w.questions <- q:
			return nil
		case ready <- q:
			return nil
		case <-changed:
		case <-w.life.Done():
			w.count(-1)
			return ErrBusy
		case <-q.ctx.Done():
			w.count(-1)
			return context.Cause(q.ctx)
		}
	}
}

// begin starts a process for a question, if there are fewer than questions: that is counted,
// because one that has just given its answer does not take the next yet. Otherwise it
// answers where else the question may lie ready, and what is closed when all this may have
// changed.
func (w *workers) begin(q *question) (ready chan<- *question, changed <-chan struct{}, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.life.Err() != nil:
		return nil, nil, ErrBusy
	case w.open <= w.running:
		return nil, w.changed, nil
	case w.pause != nil && w.running == 0:
		return nil, nil, errNoWorker
	case w.pause != nil || w.running == w.most:
		return w.ready, w.changed, nil
	}
	w.running++
	w.ended.Go(func() { w.live(q) })
	return nil, nil, nil
}

func (w *workers) count(questions int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open += questions
}

// settle is called with mu held.
func (w *workers) settle(q *question, a answer) {
	w.open--
	q.answer <- a
}

// oneLess is called with mu held.
func (w *workers) oneLess() {
	w.running--
	close(w.changed)
	w.changed = make(chan struct{})
}

// live is a process's life: start, hello, answers, end.
func (w *workers) live(first *question) {
	process, err := w.start()
	if err != nil {
		w.unusable(first, err)
		return
	}
	stop := context.AfterFunc(w.life, process.Kill)
	defer stop()
	c := &conversation{process: process, heard: make(chan answer)}
	go c.listen()
	if err := c.hello(); err != nil {
		w.unusable(first, c.end(err))
		return
	}
	w.usable()
	err = w.put(c, first)
	for err == nil && !c.over {
		err = w.turn(c)
	}
	w.lost(c, c.end(err))
}

func (w *workers) lost(c *conversation, err error) {
	if err != nil && w.life.Err() == nil {
		w.log.Warn("lost a password hashing process, and start another when one is needed", "error", err, "at_work_on", len(c.asked))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.oneLess()
	for _, q := range c.asked { // and now another may begin for them
		w.settle(q, answer{err: errWorkerDied})
	}
}

// turn is one question or one answer.
func (w *workers) turn(c *conversation) error {
	var questions <-chan *question
	limit := workerHangs
	switch len(c.asked) {
	case 0:
		questions, limit = w.questions, workerIdle
	case 1:
		questions = w.ready
	}
	enough := time.NewTimer(limit)
	defer enough.Stop()
	select {
	case q := <-questions:
		return w.put(c, q)
	case a := <-c.heard:
		return w.hear(c, a)
	case <-enough.C:
		if len(c.asked) > 0 {
			return fmt.Errorf("%w: it gave no answer for %v", errWorkerDied, workerHangs)
		}
		c.over = true
		return nil
	}
}

func (w *workers) put(c *conversation, q *question) error {
	if q.ctx.Err() == nil {
		return c.ask(q)
	}
	w.count(-1) // nobody waits for it
	return nil
}

func (w *workers) hear(c *conversation, a answer) error {
	q, err := c.answered(a)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle(q, a)
	return nil
}

// unusable makes passwords be hashed in this process for a while. It is said once, not
// each time that it is tried again.
func (w *workers) unusable(q *question, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.oneLess()
	if w.life.Err() != nil {
		w.settle(q, answer{err: ErrBusy})
		return
	}
	defer func() { w.settle(q, answer{err: errNoWorker}) }()
	if w.pause == nil {
		w.pause = time.AfterFunc(workerAgain, w.resume)
	}
	if !w.failing {
		w.failing = true
		w.log.Warn("no process for password hashing could be started: sign-ins slow down everything else", "error", err, "again_in", workerAgain.String())
	}
}

func (w *workers) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pause = nil
}

func (w *workers) usable() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failing {
		w.failing = false
		w.log.Info("password hashing has processes of its own again")
	}
}

// close ends the processes, whatever they are at work on, and waits until they are gone,
// or ctx is.
func (w *workers) close(ctx context.Context) {
	w.mu.Lock()
	w.endLife()
	if w.pause != nil {
		w.pause.Stop()
	}
	w.mu.Unlock()

	gone := make(chan struct{})
	go func() {
		w.ended.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-ctx.Done():
	}
}

// conversation is what is said with one process.
type conversation struct {
	process WorkerProcess
	heard   chan answer
	asked   []*question // those without an answer
	number  uint64      // of the last that was asked
	over    bool
}

// listen hands on what a process says, until it ends or makes no sense.
func (c *conversation) listen() {
	defer close(c.heard)
	answers := bufio.NewReader(c.process)
	for {
		f, err := readFrame(answers)
		c.heard <- answer{frame: f, err: err}
		if err != nil {
			return
		}
	}
}

func (c *conversation) hello() error {
	hangs := time.AfterFunc(workerHangs, c.process.Kill)
	defer hangs.Stop()
	a := <-c.heard
	if a.err == nil && (a.kind != frameHello || string(a.body) != workerVersion) {
		return errFrame
	}
	return a.err
}

func (c *conversation) ask(q *question) error {
	c.asked = append(c.asked, q)
	c.number++
	body := q.body()
	defer clear(body)
	return frame{kind: q.kind, question: c.number, body: body}.write(c.process)
}

// answered says whose answer this is. Given to anybody else it could let them in.
func (c *conversation) answered(a answer) (*question, error) {
	switch {
	case a.err != nil:
		return nil, a.err
	case len(c.asked) == 0 || a.question != c.number-uint64(len(c.asked)-1):
		return nil, fmt.Errorf("%w: an answer that nobody waits for", errFrame)
	case !a.answers(c.asked[0].kind):
		return nil, fmt.Errorf("%w: an answer to something else", errFrame)
	}
	q := c.asked[0]
	c.asked = c.asked[1:]
	return q, nil
}

func (f frame) answers(question byte) bool {
	switch f.kind {
	case frameRight, frameWrong:
		return question == frameVerify
	case frameMade:
		return question == frameMake && len(f.body) == keyLength
	}
	return f.kind == frameRefuse
}

// end answers how the process ended where that says more than what was seen of it.
func (c *conversation) end(seen error) error {
	c.process.Kill()    // it has ended by itself, as a rule
	for range c.heard { // until it is closed
	}
	status := c.process.Wait()
	if status != nil && (errors.Is(seen, io.EOF) || errors.Is(seen, io.ErrUnexpectedEOF)) {
		return fmt.Errorf("%w: %w", errWorkerDied, status)
	}
	return seen
}
