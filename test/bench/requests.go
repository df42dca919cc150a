package main

import (
	"bytes"
	"fmt"
	"net/http"
)

func post(path, authorization, body string) []byte {
	return []byte("POST " + path + " HTTP/1.1\r\nHost: as.example.com\r\nAuthorization: " + authorization +
		"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body)
}

// repeated asks the same few requests in turn.
type repeated struct {
	requests [][]byte
	at       int
	want     []string // each must be in the body
	whole    string   // if set, the body is this
}

func (r *repeated) next() []byte {
	r.at = (r.at + 1) % len(r.requests)
	return r.requests[r.at]
}

func (r *repeated) check(status int, body []byte) error {
	if status != http.StatusOK {
		return unexpected(status, body)
	}
	if r.whole != "" && string(body) != r.whole {
		return unexpected(status, body)
	}
	for _, want := range r.want {
		if !bytes.Contains(body, []byte(want)) {
			return unexpected(status, body)
		}
	}
	return nil
}

func unexpected(status int, body []byte) error {
	return fmt.Errorf("unexpected answer: %d %.300q", status, body)
}

func repeat(requests [][]byte, clients int, whole string, want ...string) []worker {
	list := make([]worker, clients)
	for i := range list {
		list[i] = &repeated{requests: requests, at: i * len(requests) / clients, want: want, whole: whole}
	}
	return list
}

// spending asks each request once.
type spending struct {
	requests [][]byte
	judge    func(status int, body []byte) error
}

func (s *spending) next() (request []byte) {
	if len(s.requests) == 0 {
		return nil
	}
	request, s.requests = s.requests[0], s.requests[1:]
	return request
}

func (s *spending) check(status int, body []byte) error { return s.judge(status, body) }

func spend(requests [][]byte, clients int, judge func(int, []byte) error) []worker {
	list := make([]worker, clients)
	for i := range list {
		list[i] = &spending{requests: requests[i*len(requests)/clients : (i+1)*len(requests)/clients], judge: judge}
	}
	return list
}

// member is a text member of a JSON object that has no escapes.
func member(body []byte, name string) []byte {
	at := bytes.Index(body, []byte(`"`+name+`":"`))
	if at < 0 {
		return nil
	}
	rest := body[at+len(name)+4:]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return nil
	}
	return rest[:end]
}
