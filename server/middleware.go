package server

import (
	"encoding/base32"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/grantorhq/grantor/server/login"
	"github.com/grantorhq/grantor/server/oauth"
)

// exchange is one request and what came of it. All of it is one piece of memory.
type exchange struct {
	http.ResponseWriter
	status int
	id     string
	traced string // id of the trace, where one is made
	trail  oauth.Trail
	drawn  [10]byte // what the id is made of
}

func (x *exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(body []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	return x.ResponseWriter.Write(body)
}

// Unwrap lets http.ResponseController reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// around is what every route has in common: a request id, bounds, headers, one log
// line, and an end to panics.
func (s *Server) around(route route) http.Handler {
	allow := route.allowed()
	var watch RouteObserver
	if s.deps.Observer != nil {
		watch = s.deps.Observer.Route(route.path)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := s.deps.Now()
		x := &exchange{ResponseWriter: w}
		x.id = s.requestID(x.drawn[:])
		x.trail.Request, x.trail.Route, x.trail.Address = x.id, route.path, addressOf(r, s.deps.Config.TrustedProxies)
		oauth.SetHeaders(x.Header(), "X-Request-Id", x.id, "X-Content-Type-Options", "nosniff")
		if route.page && s.secure {
			// RFC 6797, for people who type the name. Programs would not heed it.
			x.Header()["Strict-Transport-Security"] = []string{"max-age=63072000"}
		}
		if s.draining.Load() {
			// The next request of this connection belongs to another replica.
			w.Header()["Connection"] = []string{"close"}
		}
		ctx := r.Context()
		if watch != nil {
			ctx, x.traced = watch.Begin(r, behindProxy(r, s.deps.Config.TrustedProxies))
		}
		ctx = oauth.WithTrail(ctx, &x.trail)
		r = r.WithContext(ctx)
		var failed *failure
		defer func() {
			if panicked := recover(); panicked != nil {
				if panicked == http.ErrAbortHandler { //nolint:errorlint // net/http compares it as a value, so do we
					panic(panicked)
				}
				failed = s.failed(ctx, fmt.Errorf("panic: %v", panicked))
				s.deps.Log.ErrorContext(ctx, "panic", "request", x.id, "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
				if x.status == 0 {
					s.fail(x, r, route, x.id, failed)
				}
			}
			s.log(r, route, x, began, failed)
			if watch != nil {
				watch.End(ctx, x.seen(r, s.deps.Now().Sub(began), failed))
			}
		}()

		if route.body > 0 {
			r.Body = http.MaxBytesReader(x, r.Body, route.body)
		}
		if err := s.dispatch(x, r, route, allow); err != nil {
			failed = s.failed(ctx, err)
			s.fail(x, r, route, x.id, failed)
		}
	})
}

func (s *Server) dispatch(x *exchange, r *http.Request, route route, allow string) error {
	if route.methods == nil {
		return errNotFound
	}
	if route.page && r.Method == http.MethodPost && !route.crossSite && s.forgery.Check(r) != nil {
		return login.ErrForm
	}
	if r.Method == http.MethodOptions && route.cors != corsNone {
		return s.preflight(x, r, route, allow)
	}
	method := r.Method
	// A page may end in a code, which a HEAD must not make.
	if method == http.MethodHead && !route.page {
		method = http.MethodGet
	}
	serve, ok := route.methods[method]
	if !ok {
		x.Header().Set("Allow", allow)
		return errMethod
	}
	switch route.cors {
	case corsAnyone:
		oauth.SetHeaders(x.Header(), "Access-Control-Allow-Origin", "*")
	case corsRegistered:
		if origin := r.Header.Get("Origin"); origin != "" {
			return s.serveOrigin(x, r, origin, serve, &x.trail)
		}
	}
	return serve(x, r)
}

var requestIDs = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// requestID is drawn here, never taken from the request: a stranger must not choose what the log says.
func (s *Server) requestID(drawn []byte) string {
	if _, err := io.ReadFull(s.deps.Rand, drawn); err != nil {
		return "unknown"
	}
	var text [16]byte
	return string(requestIDs.AppendEncode(text[:0], drawn))
}

// log writes the one line of a request. Every field is on the list on purpose, and
// none holds what was sent: routes are templates, clients are registered ones.
func (s *Server) log(r *http.Request, route route, x *exchange, began time.Time, failed *failure) {
	level := slog.LevelInfo
	if route.quiet {
		level = slog.LevelDebug
	}
	ctx := r.Context()
	if x.status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	log := s.deps.Log.Handler()
	if !log.Enabled(ctx, level) {
		return
	}
	var fields [14]slog.Attr
	list := append(fields[:0],
		slog.String("id", x.id), slog.String("method", methodOf(r)), slog.String("route", route.path), slog.Int("status", x.status),
		slog.Duration("took", s.deps.Now().Sub(began)), slog.String("address", x.trail.Address))
	for _, field := range [...]struct{ name, value string }{
		{"client", x.trail.Client}, {"grant", x.trail.Grant}, {"session", x.trail.Session}, {"outcome", x.trail.Outcome}, {"reason", x.trail.Reason}, {"trace_id", x.traced},
	} {
		if field.value != "" {
			list = append(list, slog.String(field.name, field.value))
		}
	}
	if failed != nil {
		if failed.Code != "" {
			list = append(list, slog.String("error", failed.Code))
		}
		list = append(list, slog.String("reason", failed.refusal.Reason()))
		if x.status >= http.StatusInternalServerError {
			// Only our own failures tell their cause: a refusal's may quote the request.
			list = append(list, slog.String("cause", failed.err.Error()))
		}
	}
	// Not by Logger.LogAttrs: it walks the stack for a line of source that is not shown.
	line := slog.NewRecord(s.deps.Now(), level, "request", 0)
	line.AddAttrs(list...)
	// There is nobody to tell that the log can not be written.
	_ = log.Handle(ctx, line)
}

// methodOf names only methods that HTTP has: the rest is a stranger's text.
func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace, http.MethodConnect:
		return r.Method
	}
	return "other"
}
