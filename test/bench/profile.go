package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/grantorhq/grantor/storage"
)

// profile runs the operations on a server that writes down where its time goes.
func (b *benchmark) profile(ctx context.Context) error {
	if err := os.MkdirAll(b.o.profile, 0o755); err != nil { //nolint:gosec // chosen by whoever runs this
		return err
	}
	folder, err := filepath.Abs(b.o.profile)
	if err != nil {
		return err
	}
	for _, kind := range b.o.databases {
		if err := b.profileOn(ctx, kind, folder); err != nil {
			return err
		}
	}
	return nil
}

func (b *benchmark) profileOn(ctx context.Context, kind, folder string) (err error) {
	at := site{dir: b.dir, binary: b.binary, name: "on_" + kind}
	if kind == postgres {
		if at.cluster, err = startCluster(ctx, b.dir, "cluster"); err != nil {
			return err
		}
		defer at.cluster.stop()
	}
	w, err := newWorld(ctx, b.o, at)
	if err != nil {
		return err
	}
	defer w.close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, op := range operations() {
		if !b.o.chosen(op.name) {
			continue
		}
		file := filepath.Join(folder, kind+"-"+strings.ReplaceAll(op.name, "/", "-")+".pprof")
		p, err := start(ctx, filepath.Join(w.dir, "grantor.log"), "", w.env, self, "serve-profiled", w.url, file)
		if err != nil {
			return err
		}
		match := readyLine.FindStringSubmatch(p.line)
		if match == nil {
			p.stop()
			return fmt.Errorf("no ready line but %q", p.line)
		}
		t := &bencher{o: b.o, w: w, address: match[1], server: p}
		m, err := t.one(ctx, op, toGrantor, step{warm: b.o.warm, duration: b.o.duration})
		p.stop()
		if err != nil {
			return fmt.Errorf("%s: %w", op.name, err)
		}
		m.summarize()
		endProgress()
		fmt.Printf("%s: %.0f requests/s, %.0f µs of the server each; go tool pprof -top -cum %s\n", op.name, m.Rate, m.Server, file)
	}
	return nil
}

// serveProfiled is the server of -profile: what cmd/grantor serves, as a child of this
// program, with a CPU profile that it writes when it is told to stop.
func serveProfiled(ctx context.Context, database, file string) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	store, err := storage.Open(ctx, storage.Options{Database: database, Timeout: 10 * time.Second, Now: time.Now, Rand: rand.Reader})
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	s, err := newServer(ctx, store, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	web := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 15 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second}
	go func() { _ = s.Run(ctx) }()
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	fmt.Printf("ready: listening on %s, profiled\n", listener.Addr())
	<-ctx.Done()
	pprof.StopCPUProfile()
	return errors.Join(out.Close(), web.Close())
}
