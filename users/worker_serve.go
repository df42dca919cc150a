package users

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/go-crypt/crypt"
)

// workerTick is how often a worker says that it runs. Work itself may take long where
// everything else on the machine goes before it.
const workerTick = time.Second

// ServeWorker is all that a worker process does: it answers the questions of r on w
// until r ends, and then returns at once, whatever it was at work on. An error is that
// somebody else than a server talks to it.
//
// It works on atOnce questions; one more may lie ready, so that no processor waits for
// the next to be asked. It collects the garbage itself, before it begins another: the
// memory of a hash is free for the next one. Start the process with GOGC=off.
func ServeWorker(r io.Reader, w io.Writer, atOnce int) error {
	decoder, err := newDecoder()
	if err != nil {
		return err
	}
	s := &workerServer{w: w, decoder: decoder, places: make(chan struct{}, atOnce)}
	if err := s.say(frame{kind: frameHello, body: []byte(workerVersion)}); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	ended := make(chan struct{})
	defer close(ended)
	go s.tick(ended)

	questions := bufio.NewReader(r)
	for {
		f, err := readFrame(questions)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case f.kind != frameVerify && f.kind != frameMake:
			return errFrame
		}
		go s.answer(f)
	}
}

type workerServer struct {
	decoder *crypt.Decoder
	places  chan struct{} // a place in it is the right to hash
	writing sync.Mutex
	w       io.Writer
}

func (s *workerServer) tick(ended <-chan struct{}) {
	ticker := time.NewTicker(workerTick)
	defer ticker.Stop()
	for {
		select {
		case <-ended:
			return
		case <-ticker.C:
			_ = s.say(frame{kind: frameTick}) // who can not hear it has other ways to know
		}
	}
}

func (s *workerServer) answer(question frame) {
	s.places <- struct{}{}
	kind, key := s.work(question)
	runtime.GC() // some 0.2 ms, against the 20 MiB that the next hash would add
	<-s.places
	_ = s.say(frame{kind: kind, question: question.question, body: key})
}

func (s *workerServer) work(question frame) (kind byte, key []byte) {
	if question.kind == frameMake {
		m, password, err := readMake(question.body)
		if err != nil {
			return frameRefuse, nil
		}
		return frameMade, m.key(password)
	}
	hash, password, err := readVerify(question.body)
	if err != nil {
		return frameRefuse, nil
	}
	digest, err := read(s.decoder, hash)
	if err != nil {
		return frameRefuse, nil
	}
	switch ok, err := digest.MatchAdvanced(password); {
	case err != nil:
		return frameRefuse, nil
	case ok:
		return frameRight, nil
	}
	return frameWrong, nil
}

func (s *workerServer) say(f frame) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return f.write(s.w)
}
