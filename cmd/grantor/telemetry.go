package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/telemetry"
)

// watch is what operators asked to see: metrics on a listener of their own, traces sent to
// a collector. What they did not ask for is nil.
type watch struct {
	metrics  *telemetry.Metrics
	traces   *telemetry.Traces
	listener net.Listener
	web      *http.Server
	log      *slog.Logger
}

const (
	// scrapers is how many connections /metrics has at once: a few that watch, a person who looks.
	scrapers = 16
	// lastSpans is how long the end of the program waits for what is still to be sent.
	lastSpans = 2 * time.Second
)

// openTelemetry takes the port before anything else is opened, so that one that is taken
// is said at once.
func (c *cli) openTelemetry(ctx context.Context, cfg config.Config, log *slog.Logger) (*watch, error) {
	w := &watch{log: log}
	if cfg.TelemetryAddress != "" {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.TelemetryAddress)
		if err != nil {
			err = fmt.Errorf("listen on telemetry.address %s: %w", cfg.TelemetryAddress, err)
			if errors.Is(err, syscall.EADDRINUSE) {
				err = withHint(err, "another program listens there: stop it, or set telemetry.address (GRANTOR_TELEMETRY_ADDRESS) to another port")
			}
			return nil, err
		}
		w.metrics, w.listener = telemetry.NewMetrics(), listener
	}
	wanted, problem := telemetry.Wanted(c.environ)
	if problem != "" {
		log.Warn("traces are not sent", "reason", problem)
	}
	if wanted {
		traces, err := telemetry.StartTraces(ctx, version(), log)
		if err != nil {
			log.Warn("traces are not sent", "reason", oneLine(err.Error()))
		}
		w.traces = traces
	}
	return w, nil
}

// options lets the store be watched.
func (w *watch) options(o *storage.Options) {
	o.Count = w.metrics != nil
	if w.traces != nil {
		system := "postgresql"
		if strings.HasPrefix(o.Database, "sqlite:") {
			system = "sqlite"
		}
		o.Trace = w.traces.Store(system)
	}
}

// serve begins to answer. It is called once.
func (w *watch) serve(sources telemetry.Sources) {
	if w.metrics == nil {
		return
	}
	w.metrics.Watch(sources)
	door := newGate(w.listener, scrapers)
	w.web = newWeb(context.Background(), w.metrics.Handler(w.log), w.log, usualLimits())
	w.web.ConnState = door.track
	go func() {
		if err := w.web.Serve(door); !errors.Is(err, http.ErrServerClosed) {
			w.log.Error("metrics are no longer served", "error", err)
		}
	}()
	w.log.Info("metrics are served", "address", w.listener.Addr().String())
}

// close comes after the drain, so that it can be watched.
func (w *watch) close() {
	limit, cancel := context.WithTimeout(context.Background(), lastSpans)
	defer cancel()
	if w.web != nil {
		_ = w.web.Shutdown(limit)
		_ = w.web.Close()
	} else if w.listener != nil {
		_ = w.listener.Close()
	}
	if w.traces != nil {
		if err := w.traces.Close(limit); err != nil {
			w.log.Warn("the last traces were not sent", "error", oneLine(err.Error()))
		}
	}
}
