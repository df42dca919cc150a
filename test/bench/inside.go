package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/server"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
	"github.com/grantorhq/grantor/users"
)

// inside is the server within this process, for what can only be counted there: its
// statements, on storagetest's driver, and its allocations, without net/http's own.
type inside struct {
	tally           *storagetest.Tally
	counted, plain  http.Handler
	stores          []*storage.Store
	allocations     uint64
	requests        int
	countStatements bool
}

func newInside(ctx context.Context, w *world) (*inside, error) {
	in := &inside{tally: new(storagetest.Tally)}
	for _, handler := range []*http.Handler{&in.counted, &in.plain} {
		o := storage.Options{Database: w.url, Timeout: 10 * time.Second, Connections: 2, Now: time.Now, Rand: rand.Reader}
		if handler == &in.counted {
			o.Wrap, o.WrapGroup = in.tally.Wrap, in.tally.WrapGroup
		}
		store, err := storage.Open(ctx, o)
		if err != nil {
			in.close()
			return nil, err
		}
		in.stores = append(in.stores, store)
		s, err := newServer(ctx, store, slog.New(slog.DiscardHandler))
		if err != nil {
			in.close()
			return nil, err
		}
		*handler = s.Handler()
	}
	return in, nil
}

func newServer(ctx context.Context, store *storage.Store, log *slog.Logger) (*server.Server, error) {
	secrets, err := keys.ParseSecrets(serverSecret)
	if err != nil {
		return nil, err
	}
	passwords, err := users.NewPasswords(users.PasswordOptions{Rand: rand.Reader})
	if err != nil {
		return nil, err
	}
	settings := config.Default()
	settings.Issuer, settings.AccessTokenLifetime = issuer, tokenLife
	return server.New(ctx, server.Deps{
		Config: settings, Store: store, Secrets: secrets, Passwords: passwords, Now: time.Now, Rand: rand.Reader, Log: log, Version: "bench",
	})
}

func (in *inside) close() {
	for _, s := range in.stores {
		_ = s.Close()
	}
}

// answer keeps what a handler writes.
type answer struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// ask serves one request as it would come over the wire.
func (in *inside) ask(ctx context.Context, raw []byte) (*answer, error) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, err
	}
	r.RemoteAddr = "127.0.0.1:1"
	r = r.WithContext(ctx)
	a := &answer{header: http.Header{}}
	handler := in.plain
	if in.countStatements {
		handler = in.counted
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	handler.ServeHTTP(a, r)
	runtime.ReadMemStats(&after)
	in.allocations += after.Mallocs - before.Mallocs
	in.requests++
	a.WriteHeader(http.StatusOK)
	return a, nil
}

// counts is what one operation takes inside the server.
type counts struct {
	Statements  float64 `json:"statements"`
	Allocations float64 `json:"allocations"`

	sql    string // its statement, when it has one
	sample *answer
}

// countRequests is enough for an average: what is done now and then shows as a fraction.
const countRequests = 40

// count asks one worker's requests twice: for the statements, and for the allocations.
func (in *inside) count(ctx context.Context, who worker, state string) (c counts, err error) {
	for _, statements := range []bool{true, false} {
		in.countStatements = statements
		for i := range 2 * countRequests {
			if i == countRequests { // the first half warms up
				in.tally.Reset()
				in.allocations, in.requests = 0, 0
			}
			raw := who.next()
			if raw == nil {
				return c, errors.New("too few requests were made for the count")
			}
			a, err := in.ask(ctx, raw)
			if err != nil {
				return c, err
			}
			if err := who.check(a.status, a.body.Bytes()); err != nil {
				return c, fmt.Errorf("inside this process: %w", err)
			}
			c.sample = a
		}
		if statements {
			c.Statements = float64(in.tally.Count()) / countRequests
			c.sql = statementOf(state, in.tally.Statements())
		} else {
			c.Allocations = float64(in.allocations) / countRequests
		}
	}
	return c, nil
}

// statementOf is the one that an operation runs most. A login runs two as often: it
// looks the account up, too, and its commit is what there is to compare.
func statementOf(state string, list []string) (most string) {
	seen := map[string]int{}
	for _, text := range list {
		if state == "begin" && !strings.HasPrefix(text, "INSERT ") {
			continue
		}
		if seen[text]++; seen[text] > seen[most] {
			most = text
		}
	}
	return most
}
