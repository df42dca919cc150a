// Package server turns configuration and a store into one http.Handler.
//
//	server.go      what is wired, and the work beside requests
//	routes.go      every route, in one table
//	middleware.go  what happens around every request: id, log line, panic, bounds, CORS
//	proxies.go     where a request came from
//	errors.go      the one place where an error becomes an answer
//	health.go      /healthz and /readyz
//	observer.go    what those are told who count and trace
//	audit.go       sealing the audit log
//
// The endpoints themselves are in packages named after who calls them: oauth for
// applications, login for people. session is who is signed in, ui what pages look like. cmd/grantor calls New, Handler, Run and Drain; tests call the same.
// It never reads the environment, opens a listener, or decides what a token is.
package server

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/grantorhq/grantor/audit"
	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/refusals"
	"github.com/grantorhq/grantor/server/login"
	"github.com/grantorhq/grantor/server/oauth"
	"github.com/grantorhq/grantor/server/session"
	"github.com/grantorhq/grantor/server/ui"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// Deps is what a server is made of. All of it is needed, but for the logo and the observer.
type Deps struct {
	Config    config.Config // resolved: the issuer is set
	Store     *storage.Store
	Secrets   *keys.Secrets
	Passwords *users.Passwords
	Now       func() time.Time
	Rand      io.Reader
	Log       *slog.Logger
	Version   string
	Logo      []byte   // of the setting display_logo, already read and found to be of LogoType
	LogoType  string   // image/svg+xml, image/png, image/jpeg, image/webp; "": no logo
	Observer  Observer // nil: nobody watches, and nothing is measured
}

// Server is one replica.
type Server struct {
	deps     Deps
	oauth    *oauth.Handler
	login    *login.Handler
	pages    *ui.Pages
	base     string // the issuer's path
	secure   bool   // browsers are told to come by https only
	forgery  *http.CrossOriginProtection
	keys     atomic.Pointer[keys.Set]
	handler  http.Handler
	draining atomic.Bool
	name     string // of this replica, for leases
	chores   chores

	auditKeys []audit.Key
}

// New loads the signing keys (and makes the first ones), and wires the handlers. It
// answers storage.ErrSecrets when the server secrets are not those of the database.
func New(ctx context.Context, d Deps) (*Server, error) {
	s := &Server{deps: d, auditKeys: storage.AuditKeys(d.Secrets)}
	if err := s.loadKeys(ctx); err != nil {
		return nil, err
	}
	if err := d.Store.ResealKeys(ctx, d.Secrets); err != nil {
		return nil, fmt.Errorf("seal signing keys again: %w", err)
	}
	var raw [12]byte
	if _, err := io.ReadFull(d.Rand, raw[:]); err != nil {
		return nil, fmt.Errorf("draw replica name: %w", err)
	}
	s.name = base64.RawURLEncoding.EncodeToString(raw[:])

	if err := s.wire(); err != nil {
		return nil, err
	}
	s.handler = s.routes()
	return s, nil
}

// wire makes the parts and joins them.
func (s *Server) wire() error {
	d, c := s.deps, s.deps.Config
	issuer, err := url.Parse(c.Issuer)
	if err != nil {
		return fmt.Errorf("read issuer: %w", err)
	}
	s.base, s.secure = issuer.Path, issuer.Scheme == "https" && !config.IsLoopback(issuer.Hostname())
	s.forgery = http.NewCrossOriginProtection()
	if err := s.forgery.AddTrustedOrigin(issuer.Scheme + "://" + issuer.Host); err != nil {
		return fmt.Errorf("trust the issuer's origin: %w", err)
	}
	codec, err := newCodec(d.Secrets)
	if err != nil {
		return err
	}
	var boxes [4]*keys.Box
	for i, b := range []struct{ purpose, prefix string }{
		{opaqueTokens, opaquePrefix}, {parkedRequests, parkedPrefix}, {parkedLogouts, logoutPrefix}, {devices, devicePrefix},
	} {
		if boxes[i], err = d.Secrets.NewBox(b.purpose, b.prefix); err != nil {
			return err
		}
	}
	references, err := refusals.New(d.Secrets)
	if err != nil {
		return err
	}
	if s.pages, err = ui.New(ui.Options{
		Name: c.DisplayName, Color: c.DisplayColor, Logo: d.Logo, LogoType: d.LogoType, Base: s.base, Rand: d.Rand,
	}); err != nil {
		return err
	}
	sessions := &session.Manager{
		Store: d.Store, Codec: codec, Devices: boxes[3], Issuer: c.Issuer, Lifetime: c.SignInLifetime, Now: d.Now, Rand: d.Rand,
	}
	s.oauth = &oauth.Handler{
		Issuer: c.Issuer, Base: s.base, Store: d.Store, Passwords: d.Passwords, Codec: codec, Opaque: boxes[0], Requests: boxes[1], Logouts: boxes[2], References: references,
		Keys: s.keys.Load, Sessions: sessions, Pages: s.pages, Outbound: oauth.NewOutbound(c.LogoutNetworks.Contains), Log: d.Log, Now: d.Now, Rand: d.Rand,
		AccessTokenLifetime: c.AccessTokenLifetime, RefreshTokenLifetime: c.RefreshTokenLifetime,
		SessionLifetime: c.SessionLifetime, RetryWindow: c.RetryWindow,
	}
	s.login = &login.Handler{
		OAuth: s.oauth, Sessions: sessions, Pages: s.pages, Store: d.Store, Passwords: d.Passwords, Base: s.base, Now: d.Now,
	}
	return s.oauth.Prepare()
}

// The purposes and prefixes are part of what tokens and cookies look like: changing one
// ends all of its kind. The prefixes are kind and version, like those of package grants.
const (
	grantTokens  = "grant tokens"
	opaqueTokens = "opaque access tokens"
	opaquePrefix = "ga1_"

	parkedRequests = "authorization requests"
	parkedPrefix   = "gq1_"
	parkedLogouts  = "logout requests"
	logoutPrefix   = "gl1_"
	devices        = "devices"
	devicePrefix   = "gd1_"
)

func newCodec(secrets *keys.Secrets) (*grants.Codec, error) {
	var macs []grants.Key
	for _, d := range secrets.Derive(grantTokens) {
		macs = append(macs, grants.Key{ID: d.ID, Secret: d.Key})
	}
	return grants.NewCodec(macs)
}

// Handler serves every route.
func (s *Server) Handler() http.Handler { return s.handler }

// Drain makes /readyz say no, so that load balancers look elsewhere. Requests are still answered.
func (s *Server) Drain() { s.draining.Store(true) }

// Run does what no request waits for, until ctx ends: it watches for what others
// changed, cleans, tells clients about logouts, seals the audit log, and notes which secrets were used. It always returns ctx's error.
func (s *Server) Run(ctx context.Context) error {
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		s.deps.Store.Watch(ctx, s.loadKeys)
	}()
	told := make(chan struct{})
	go func() {
		defer close(told)
		s.oauth.DeliverLogouts(ctx)
	}()
	sealed := make(chan struct{})
	go func() {
		defer close(sealed)
		s.sealAudit(ctx)
	}()
	ticker := time.NewTicker(s.deps.Config.HousekeepingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			<-watched
			<-told
			<-sealed
			s.flush(context.WithoutCancel(ctx))
			return ctx.Err()
		case <-ticker.C:
			s.clean(ctx)
			s.flush(ctx)
		}
	}
}

func (s *Server) clean(ctx context.Context) {
	began := s.deps.Now()
	// The lease outlasts a round, so that a slow replica is not joined by another.
	done, err := s.deps.Store.Clean(ctx, s.name, 3*s.deps.Config.HousekeepingInterval)
	s.chores.cleaned(done, err, began, s.deps.Now())
	if err != nil {
		s.deps.Log.WarnContext(ctx, "housekeeping stopped early", "error", err)
	}
	if err == nil && !done.Elsewhere {
		s.pruneAudit(ctx)
	}
	if done.Sessions+done.SignIns+done.DeniedTokens+done.SigningKeys+done.LogoutNotices > 0 {
		s.deps.Log.InfoContext(ctx, "housekeeping", "sessions", done.Sessions, "sign_ins", done.SignIns, "denied_tokens", done.DeniedTokens, "signing_keys", done.SigningKeys,
			"logout_notices", done.LogoutNotices)
	}
}

func (s *Server) flush(ctx context.Context) {
	if err := s.deps.Store.FlushSecretUses(ctx); err != nil {
		s.deps.Log.WarnContext(ctx, "uses of client secrets were not noted", "error", err)
	}
}

func (s *Server) loadKeys(ctx context.Context) error {
	set, err := s.deps.Store.SigningKeys(ctx, s.deps.Secrets)
	if err != nil {
		return fmt.Errorf("load signing keys: %w", err)
	}
	s.keys.Store(set)
	return nil
}
