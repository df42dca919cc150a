package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// wire is one keep-alive connection that speaks as much HTTP/1.1 as the answers here
// use. It allocates nothing per request: what the generator takes, the server lacks.
type wire struct {
	conn   net.Conn
	reader *bufio.Reader
	body   []byte
	closed bool // the server said so
}

func dial(ctx context.Context, address string, limit time.Duration) (*wire, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	return &wire{conn: conn, reader: bufio.NewReaderSize(conn, 16<<10), body: make([]byte, 0, 16<<10)}, nil
}

// do sends a whole request and reads the answer. The body is good until the next one.
func (w *wire) do(request []byte) (status int, body []byte, err error) {
	if w.closed {
		return 0, nil, errors.New("the server closed a connection that was in use")
	}
	if _, err := w.conn.Write(request); err != nil {
		return 0, nil, err
	}
	line, err := w.reader.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if len(line) < 14 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, nil, fmt.Errorf("not an HTTP/1.1 answer: %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, nil, err
	}
	length, chunked, retryAfter := -1, false, false
	for {
		line, err := w.reader.ReadSlice('\n')
		if err != nil {
			return 0, nil, err
		}
		if len(line) <= 2 {
			break
		}
		switch line[0] | 0x20 {
		case 'c':
			if value, ok := header(line, "content-length:"); ok {
				if length, err = strconv.Atoi(string(value)); err != nil {
					return 0, nil, err
				}
			} else if value, ok := header(line, "connection:"); ok && bytes.EqualFold(value, []byte("close")) {
				w.closed = true
			}
		case 'r':
			if _, ok := header(line, "retry-after:"); ok {
				retryAfter = true
			}
		case 't':
			if value, ok := header(line, "transfer-encoding:"); ok {
				chunked = bytes.EqualFold(value, []byte("chunked"))
			}
		}
	}
	if status == http.StatusServiceUnavailable && !retryAfter {
		return 0, nil, errors.New("503 without Retry-After")
	}
	w.body = w.body[:0]
	switch {
	case chunked:
		err = w.readChunks()
	case length >= 0:
		err = w.read(length)
	default:
		err = errors.New("an answer without a length")
	}
	return status, w.body, err
}

func (w *wire) readChunks() error {
	for {
		line, err := w.reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return err
		}
		if err := w.read(int(size)); err != nil {
			return err
		}
		if _, err := w.reader.Discard(2); err != nil || size == 0 {
			return err
		}
	}
}

func (w *wire) read(n int) error {
	have := len(w.body)
	if cap(w.body) < have+n {
		w.body = append(make([]byte, 0, 2*(have+n)), w.body...)
	}
	w.body = w.body[:have+n]
	_, err := io.ReadFull(w.reader, w.body[have:])
	return err
}

func (w *wire) close() { _ = w.conn.Close() }

func header(line []byte, name string) (value []byte, ok bool) {
	if len(line) < len(name) || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name):]), true
}
