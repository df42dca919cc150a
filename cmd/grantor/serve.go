package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/server"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/telemetry"
	"github.com/grantorhq/grantor/users"
)

func (c *cli) serveCommand() *cobra.Command {
	var dev, migrate bool
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the server until it is told to stop", Args: arguments,
		Long: `Run the server until it is told to stop.

SIGTERM or Ctrl-C stops it gently: /readyz says no, what is in flight is answered,
and it exits 0 within the setting drain_timeout. A second one stops it at once.

SIGHUP reads the certificate and log_level again; other settings need a restart.`,
	}
	config.AddFlags(cmd.Flags(), "issuer", "address")
	cmd.Flags().BoolVar(&dev, "dev", false, "Make a demo client and user and print lines to paste; loopback only")
	cmd.Flags().BoolVar(&migrate, "migrate", false, "Bring a PostgreSQL schema up to date first (SQLite's always is)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := c.load(cmd, true)
		if err != nil {
			return err
		}
		if dev && !cfg.Loopback() {
			return &usageError{message: "--dev gives its secrets away, so it serves on loopback only", hint: "leave out --dev, or the address and issuer beyond loopback"}
		}
		again := func() (config.Config, error) { return c.load(cmd, true) }
		return c.serve(cmd.Context(), cfg, again, migrate, dev)
	}
	return cmd
}

func (c *cli) serve(ctx context.Context, cfg config.Config, again func() (config.Config, error), migrate, dev bool) (err error) {
	hangup := make(chan os.Signal, 1)
	if c.hangups != nil && !dev { // a closed terminal ends a first look
		c.hangups(hangup) // first of all: before it a SIGHUP would end the process
	}
	picture, err := readLogo(cfg)
	if err != nil {
		return err
	}
	lines := newLogQueue(c.stderr, cfg)
	defer func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		lines.Flush(limit)
	}()
	log, level := newLevelledLog(lines, cfg)
	for _, warning := range cfg.Warnings() {
		log.Warn(warning)
	}
	shown, err := openCertificate(cfg, c.now, log)
	if err != nil {
		return err
	}
	watched, err := c.openTelemetry(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer watched.close()
	changes := &reloader{settings: cfg, load: again, certificate: shown, level: level, log: log}
	store, err := c.openServing(ctx, cfg, log, watched, migrate)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()

	secrets, err := c.serverSecrets(cfg, log)
	if err != nil {
		return err
	}
	passwords, err := c.servingPasswords(cfg, log)
	if err != nil {
		return err
	}
	defer closePasswords(passwords)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", cfg.Address, err)
	}
	defer listener.Close()
	if cfg.Issuer == "" {
		cfg.Issuer = own(cfg, listener.Addr().String())
	}
	handler, err := server.New(ctx, server.Deps{
		Config: cfg, Store: store, Secrets: secrets, Passwords: passwords,
		Now: c.now, Rand: c.rand, Log: log, Version: version(),
		Logo: picture.content, LogoType: picture.mediaType,
		Observer: telemetry.NewObserver(watched.metrics, watched.traces),
	})
	if err != nil {
		return err
	}
	ready := readyLine(cfg, listener.Addr().String())
	if dev {
		demo, err := c.prepareDemo(ctx, desk{Store: store, config: cfg}, passwords)
		if err != nil {
			return err
		}
		ready += tourOf(cfg.Issuer, demo)
	}
	s := &service{
		server: handler, listener: listener, log: log,
		connections: cfg.Connections, limits: usualLimits(), certificate: shown,
		drain: cfg.DrainTimeout, notice: cfg.DrainTimeout / 10,
		ready: func(door *gate) {
			watched.serve(telemetry.Sources{
				Now: c.now, Version: version(), Store: store.Stats, Server: handler.Stats, Passwords: passwords.Stats,
				Connections: door.stats, LogDropped: lines.droppedLines,
			})
			fmt.Fprint(c.stdout, ready)
			time.AfterFunc(time.Second, shrink) // by then whoever waited for it has had an answer
		},
	}
	if dev {
		s.notice = 0 // no load balancer is there to notice, only a person who waits
	}
	tick := time.NewTicker(certificateCheck)
	defer tick.Stop()
	watch, stopWatch := context.WithCancel(ctx)
	defer stopWatch()
	go changes.run(watch, hangup, tick.C)
	return s.run(ctx)
}

// closePasswords waits a moment for a process that has nothing left to do.
func closePasswords(passwords *users.Passwords) {
	limit, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	passwords.Close(limit)
}

// openServing is stricter than what the verbs do: a server promises durability.
func (c *cli) openServing(ctx context.Context, cfg config.Config, log *slog.Logger, watched *watch, migrate bool) (*storage.Store, error) {
	store, err := c.open(ctx, cfg, log, watched.options)
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, store, log, migrate); err != nil {
		return nil, errors.Join(hintDatabase(err), store.Close())
	}
	return store, nil
}

func prepare(ctx context.Context, store *storage.Store, log *slog.Logger, migrate bool) error {
	if migrate || store.Dialect() == storage.SQLite {
		report, err := store.Migrate(ctx)
		if err != nil {
			return err
		}
		if report.From != report.To {
			log.Info("migrated the database", "from", report.From, "to", report.To)
		}
	}
	if err := store.CheckSchema(ctx); errors.Is(err, storage.ErrSchemaOld) {
		return withHint(err, "grantor migrate up, or serve with --migrate")
	} else if err != nil {
		return err
	}
	return store.CheckDatabase(ctx)
}

// own is the URL of the server where nothing is in front of it.
func own(cfg config.Config, bound string) string {
	if cfg.TLSCertFile != "" {
		return "https://" + bound
	}
	return "http://" + bound
}

func readyLine(cfg config.Config, bound string) string {
	database := "database " + cfg.Database.String()
	if cfg.Issuer != own(cfg, bound) {
		database = "listening on " + bound + ", " + database
	}
	return fmt.Sprintf("grantor is ready: %s (%s)\n", cfg.Issuer, oneLine(database))
}

// service is one running server: the listener, the HTTP server and the background work.
type service struct {
	server      *server.Server
	listener    net.Listener
	connections int // most at once
	limits      limits
	certificate *certificate // nil: no TLS
	log         *slog.Logger
	drain       time.Duration // for requests in flight
	notice      time.Duration // the part of it in which /readyz says no and requests are still taken
	ready       func(*gate)
}

// run serves until ctx ends, then stops gently. Work in flight does not see ctx end.
func (s *service) run(ctx context.Context) error {
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	door := newGate(s.listener, s.connections)
	web := newWeb(work, s.server.Handler(), s.log, s.limits)
	web.ConnState = door.track
	served := make(chan error, 1)
	go func() { served <- s.serve(web, door) }()
	worked := make(chan error, 1)
	go func() { worked <- s.server.Run(work) }()
	s.ready(door)

	select {
	case <-ctx.Done():
		s.stop(web)
		stopWork()
		return quietly(<-worked)
	case err := <-served:
		stopWork()
		return errors.Join(fmt.Errorf("serve: %w", err), quietly(<-worked))
	case err := <-worked:
		return errors.Join(errors.New("background work ended by itself"), err, web.Close())
	}
}

func (s *service) serve(web *http.Server, l net.Listener) error {
	if s.certificate == nil {
		return web.Serve(l)
	}
	web.TLSConfig = s.certificate.config()
	return web.ServeTLS(l, "", "")
}

// stop drains. It never fails: what is not done in time is cut off, and said.
func (s *service) stop(web *http.Server) {
	s.log.Info("stopping", "within", s.drain.String())
	s.server.Drain()
	limit, cancel := context.WithTimeout(context.Background(), s.drain)
	defer cancel()
	select {
	case <-time.After(s.notice):
	case <-limit.Done():
	}
	if err := web.Shutdown(limit); err != nil {
		s.log.Warn("requests in flight were cut off", "drain_timeout", s.drain.String())
		_ = web.Close()
	}
}

// quietly drops the error of work that was told to stop and did.
func quietly(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
