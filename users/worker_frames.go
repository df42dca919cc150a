package users

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// What server and worker say to each other: frames, each a length (4 bytes), the kind
// (1), the number of the question (8), and what belongs to the kind. Answers come in the
// order of the questions; their numbers prove it.
const (
	frameHello  = 'H' // the worker's first: workerVersion
	frameVerify = 'V' // length of the hash (2), hash, password
	frameMake   = 'M' // passes (4), KiB (4), lanes (1), salt, password
	frameRight  = 'r' // the answers: the password is the hash's,
	frameWrong  = 'w' // it is not,
	frameMade   = 'm' // the key,
	frameRefuse = 'u' // the hash is of no kind that is supported
)

// workerVersion changes with the frames. The program on disk may be a newer one than
// the one that runs.
const workerVersion = "grantor hashing 2"

const (
	frameHeader = 9
	makeHeader  = 9
	// maxFrame holds the longest hash that is read with the longest password.
	maxFrame = frameHeader + 2 + maxHash + MaxPassword
)

var errFrame = errors.New("this is not the language of the password hashing worker")

type frame struct {
	kind     byte
	question uint64
	body     []byte
}

func (f frame) write(w io.Writer) error {
	text := make([]byte, 0, 4+frameHeader+len(f.body))
	text = append(binary.BigEndian.AppendUint32(text, uint32(frameHeader+len(f.body))), f.kind)
	text = append(binary.BigEndian.AppendUint64(text, f.question), f.body...)
	_, err := w.Write(text)
	clear(text)
	return err
}

// readFrame answers io.EOF between two frames only. What it refuses is no part of the
// error: there may be a password in it.
func readFrame(r *bufio.Reader) (frame, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < frameHeader || n > maxFrame {
		return frame{}, fmt.Errorf("%w: a frame of %d bytes", errFrame, n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return frame{}, io.ErrUnexpectedEOF
	}
	return frame{kind: text[0], question: binary.BigEndian.Uint64(text[1:frameHeader]), body: text[frameHeader:]}, nil
}

func verifyBody(hash, password string) []byte {
	body := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(hash)+len(password)), uint16(len(hash)))
	return append(append(body, hash...), password...)
}

func readVerify(body []byte) (hash, password string, err error) {
	if len(body) < 2 {
		return "", "", errFrame
	}
	n := int(binary.BigEndian.Uint16(body))
	if len(body) < 2+n {
		return "", "", errFrame
	}
	return string(body[2 : 2+n]), string(body[2+n:]), nil
}

// making is what a new hash is made of, beside the password.
type making struct {
	time, memory uint32
	threads      uint8
	salt         [saltLen]byte
}

func makeBody(m making, password string) []byte {
	body := binary.BigEndian.AppendUint32(make([]byte, 0, makeHeader+saltLen+len(password)), m.time)
	body = append(binary.BigEndian.AppendUint32(body, m.memory), m.threads)
	return append(append(body, m.salt[:]...), password...)
}

func readMake(body []byte) (m making, password []byte, err error) {
	if len(body) < makeHeader+saltLen {
		return making{}, nil, errFrame
	}
	m.time, m.memory, m.threads = binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:]), body[8]
	copy(m.salt[:], body[makeHeader:])
	if !argon2Affordable(int(m.memory), int(m.time), int(m.threads)) {
		return making{}, nil, errFrame
	}
	return m, body[makeHeader+saltLen:], nil
}
