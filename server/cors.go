package server

import (
	"net/http"

	"github.com/grantorhq/grantor/server/oauth"
)

// preflight answers OPTIONS (Fetch standard, section 3.2.2). It does not know whose
// the request will be, so any registered origin may go on; the request itself is
// answered readably only for an origin of its own client.
func (s *Server) preflight(w http.ResponseWriter, r *http.Request, route route, allow string) error {
	header := w.Header()
	header.Set("Allow", allow)
	origin := r.Header.Get("Origin")
	if origin == "" || r.Header.Get("Access-Control-Request-Method") == "" {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if route.cors == corsRegistered {
		header.Add("Vary", "Origin")
		allowed, err := s.deps.Store.OriginAllowed(r.Context(), origin)
		if err != nil {
			return err
		}
		if !allowed {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Allow-Credentials", "true")
	} else {
		header.Set("Access-Control-Allow-Origin", "*")
	}
	header.Set("Access-Control-Allow-Methods", allow)
	header.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
	header.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// serveOrigin serves a browser's request. The client is known only when it is
// answered, so the headers are decided at the first byte.
func (s *Server) serveOrigin(w http.ResponseWriter, r *http.Request, origin string, serve endpoint, trail *oauth.Trail) error {
	w.Header().Add("Vary", "Origin")
	late := &lateCORS{ResponseWriter: w, decide: func() { s.allowOrigin(w, r, origin, trail.Client) }}
	err := serve(late, r)
	late.once()
	return err
}

// allowOrigin lets a script read the answer when its origin is registered for that client.
func (s *Server) allowOrigin(w http.ResponseWriter, r *http.Request, origin, clientID string) {
	if clientID == "" {
		return
	}
	client, err := s.deps.Store.RegisteredClient(r.Context(), clientID)
	if err != nil || !client.Client.HasOrigin(origin) {
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", origin)
	w.Header().Set("Access-Control-Allow-Credentials", "true")
	w.Header().Set("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate, X-Request-Id")
}

// lateCORS calls decide once, before the first byte of the answer.
type lateCORS struct {
	http.ResponseWriter
	decide func()
	done   bool
}

func (l *lateCORS) once() {
	if !l.done {
		l.done = true
		l.decide()
	}
}

func (l *lateCORS) WriteHeader(status int) {
	l.once()
	l.ResponseWriter.WriteHeader(status)
}

func (l *lateCORS) Write(body []byte) (int, error) {
	l.once()
	return l.ResponseWriter.Write(body)
}

// Unwrap lets http.ResponseController reach the connection.
func (l *lateCORS) Unwrap() http.ResponseWriter { return l.ResponseWriter }
