package users

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/go-crypt/crypt"
)

// ServeWorker is all that a worker process does: it answers the questions of r on w, in
// their order, until r ends. An error is that somebody else than a server talks to it.
//
// All of it is one goroutine: two would wake each other, which takes as long as Linux
// leaves somebody else on the processor. It collects the garbage itself, before it
// answers: the memory of a hash is free for the next one. Start the process with GOGC=off,
// and with one processor for each lane of a hash: to collect takes a sixth of a
// millisecond with one, and several with two that both hash, which stand still meanwhile.
func ServeWorker(r io.Reader, w io.Writer) error {
	decoder, err := newDecoder()
	if err != nil {
		return err
	}
	if err := (frame{kind: frameHello, body: []byte(workerVersion)}).write(w); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
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
		answer := hashFor(decoder, f)
		answer.question = f.question
		runtime.GC()
		if err := answer.write(w); err != nil {
			return nil //nolint:nilerr // who does not hear any more has ended r too
		}
	}
}

func hashFor(decoder *crypt.Decoder, question frame) frame {
	refusal := frame{kind: frameRefuse}
	if question.kind == frameMake {
		m, password, err := readMake(question.body)
		if err != nil {
			return refusal
		}
		return frame{kind: frameMade, body: m.key(password)}
	}
	hash, password, err := readVerify(question.body)
	if err != nil {
		return refusal
	}
	digest, err := read(decoder, hash)
	if err != nil {
		return refusal
	}
	switch ok, err := digest.MatchAdvanced(password); {
	case err != nil:
		return refusal
	case ok:
		return frame{kind: frameRight}
	}
	return frame{kind: frameWrong}
}
