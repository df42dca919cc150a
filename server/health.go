package server

import (
	"net/http"
)

// healthz says that the process lives. It asks nobody: a dead database is no reason to be restarted.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) error {
	return say(w, http.StatusOK, "alive\n")
}

// readyz says that this replica can serve: it is not draining, the database answers
// with the right schema, and the keys are loaded (New did not return without them).
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) error {
	if s.draining.Load() {
		w.Header().Set("Retry-After", "1")
		return say(w, http.StatusServiceUnavailable, "draining\n")
	}
	if err := s.deps.Store.Ready(r.Context()); err != nil {
		s.deps.Log.WarnContext(r.Context(), "not ready", "error", err)
		w.Header().Set("Retry-After", "1")
		return say(w, http.StatusServiceUnavailable, "not ready\n")
	}
	return say(w, http.StatusOK, "ready\n")
}

func say(w http.ResponseWriter, status int, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The client is gone when this fails; there is nobody to tell.
	_, _ = w.Write([]byte(text))
	return nil
}
