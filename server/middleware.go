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

// answer remembers what was answered.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(body []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(body)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// around is what every route has in common: a request id, bounds, headers, one log
// line, and an end to panics.
func (s *Server) around(route route) http.Handler {
	allow := route.allowed()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := s.deps.Now()
		a := &answer{ResponseWriter: w}
		trail := new(oauth.Trail)
		id := s.requestID()
		header := w.Header()
		header["X-Request-Id"] = []string{id}
		header["X-Content-Type-Options"] = []string{"nosniff"}
		if s.draining.Load() {
			// The next request of this connection belongs to another replica.
			header["Connection"] = []string{"close"}
		}

		address := addressOf(r, s.deps.Config.TrustedProxies)
		ctx := oauth.WithAddress(oauth.WithTrail(r.Context(), trail), address)
		r = r.WithContext(ctx)
		var failure error
		defer func() {
			if panicked := recover(); panicked != nil {
				if panicked == http.ErrAbortHandler { //nolint:errorlint // net/http compares it as a value, so do we
					panic(panicked)
				}
				failure = fmt.Errorf("panic: %v", panicked)
				s.deps.Log.ErrorContext(ctx, "panic", "request", id, "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
				if a.status == 0 {
					s.fail(a, r, route, id, failure)
				}
			}
			s.log(r, route, a.status, began, id, address, trail, failure)
		}()

		if route.body > 0 {
			r.Body = http.MaxBytesReader(a, r.Body, route.body)
		}
		if failure = s.dispatch(a, r, route, allow, trail); failure != nil {
			s.fail(a, r, route, id, failure)
		}
	})
}

func (s *Server) dispatch(w http.ResponseWriter, r *http.Request, route route, allow string, trail *oauth.Trail) error {
	if route.methods == nil {
		return errNotFound
	}
	if route.page && r.Method == http.MethodPost && !route.crossSite && s.forgery.Check(r) != nil {
		return login.ErrForm
	}
	if r.Method == http.MethodOptions && route.cors != corsNone {
		return s.preflight(w, r, route, allow)
	}
	method := r.Method
	// A page may end in a code, which a HEAD must not make.
	if method == http.MethodHead && !route.page {
		method = http.MethodGet
	}
	serve, ok := route.methods[method]
	if !ok {
		w.Header().Set("Allow", allow)
		return errMethod
	}
	switch route.cors {
	case corsAnyone:
		w.Header()["Access-Control-Allow-Origin"] = []string{"*"}
	case corsRegistered:
		if origin := r.Header.Get("Origin"); origin != "" {
			return s.serveOrigin(w, r, origin, serve, trail)
		}
	}
	return serve(w, r)
}

var requestIDs = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// requestID is drawn here, never taken from the request: a stranger must not choose what the log says.
func (s *Server) requestID() string {
	var raw [10]byte
	if _, err := io.ReadFull(s.deps.Rand, raw[:]); err != nil {
		return "unknown"
	}
	return requestIDs.EncodeToString(raw[:])
}

// log writes the one line of a request. Every field is on the list on purpose, and
// none holds what was sent: routes are templates, clients are registered ones.
func (s *Server) log(r *http.Request, route route, status int, began time.Time, id, address string, trail *oauth.Trail, failure error) {
	level := slog.LevelInfo
	if route.quiet {
		level = slog.LevelDebug
	}
	ctx := r.Context()
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	if !s.deps.Log.Enabled(ctx, level) {
		return
	}
	fields := make([]slog.Attr, 0, 12)
	fields = append(fields,
		slog.String("id", id), slog.String("method", methodOf(r)), slog.String("route", route.path), slog.Int("status", status),
		slog.Duration("took", s.deps.Now().Sub(began)), slog.String("address", address))
	for _, field := range []struct{ name, value string }{
		{"client", trail.Client}, {"grant", trail.Grant}, {"session", trail.Session}, {"outcome", trail.Outcome},
	} {
		if field.value != "" {
			fields = append(fields, slog.String(field.name, field.value))
		}
	}
	if failure != nil {
		p := problemOf(failure)
		if p.Code != "" {
			fields = append(fields, slog.String("error", p.Code))
		}
		fields = append(fields, slog.String("reason", p.reason))
		if status >= http.StatusInternalServerError {
			// Only our own failures tell their cause: a refusal's may quote the request.
			fields = append(fields, slog.String("cause", failure.Error()))
		}
	}
	s.deps.Log.LogAttrs(ctx, level, "request", fields...)
}

// methodOf names only methods that HTTP has: the rest is a stranger's text.
func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace, http.MethodConnect:
		return r.Method
	}
	return "other"
}
