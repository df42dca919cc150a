package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/refusals"
	"github.com/grantorhq/grantor/server/login"
	"github.com/grantorhq/grantor/server/oauth"
	"github.com/grantorhq/grantor/server/ui"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// errNotFound and errMethod are the router's own refusals.
var (
	errNotFound = errors.New("no such path")
	errMethod   = errors.New("method not allowed")
)

// problem is an error on the wire: RFC 6749 section 5.2.
type problem struct {
	status      int
	Code        string `json:"error"`
	Description string `json:"error_description"`
	Reference   string `json:"reference,omitempty"` // for grantor explain
	challenge   string
	retryAfter  string
	cause       refusals.Cause // for the log and the reference
	facts       refusals.Facts
	kind        ui.ProblemKind // of the page, where a person reads it
}

// problemOf is the one place where an error becomes an answer. Descriptions are
// fixed text: what the cause says is for the log.
func problemOf(err error) problem {
	tooLong := new(http.MaxBytesError)
	refused := new(oauth.Error)
	throttled := new(users.ThrottledError)
	switch {
	case errors.As(err, &refused):
		return problem{status: refused.Status, Code: refused.Code, Description: refused.Description, challenge: refused.Challenge, cause: refused.Reason, facts: refused.Facts, kind: ui.ProblemRequest}
	case errors.As(err, &throttled):
		return problem{status: http.StatusTooManyRequests, Code: "temporarily_unavailable", Description: "Too many failed attempts. Try again later.", retryAfter: throttled.RetryAfter(), cause: refusals.Throttled, facts: refusals.Facts{Wait: throttled.Wait}, kind: ui.ProblemThrottled}
	case errors.As(err, &tooLong):
		return problem{status: http.StatusRequestEntityTooLarge, Code: "invalid_request", Description: "The request body is too long.", cause: refusals.TooLong, kind: ui.ProblemTooLarge}
	case errors.Is(err, storage.ErrUnavailable):
		return problem{status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", Description: "The server can not answer now. Try again later.", retryAfter: "1", cause: refusals.NoDatabase, kind: ui.ProblemUnavailable}
	case errors.Is(err, users.ErrBusy), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return problem{status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", Description: "The server is busy. Try again later.", retryAfter: "2", cause: refusals.Busy, kind: ui.ProblemBusy}
	case errors.Is(err, oauth.ErrExpired):
		return problem{status: http.StatusBadRequest, Code: "invalid_request", Description: "The request has expired, or is not one of this server.", cause: refusals.Unreadable, kind: ui.ProblemExpired}
	case errors.Is(err, login.ErrForm):
		return problem{status: http.StatusForbidden, Code: "access_denied", Description: "The form is not from this browser's page.", cause: refusals.Forgery, kind: ui.ProblemForbidden}
	case errors.Is(err, grants.ErrNotFound):
		return problem{status: http.StatusNotFound, Code: "invalid_request", Description: "There is no such session of yours.", cause: refusals.NoSuchSession, kind: ui.ProblemNotFound}
	case errors.Is(err, users.ErrConflict):
		return problem{status: http.StatusConflict, Code: "invalid_request", Description: "It was changed meanwhile. Try again.", cause: refusals.ChangedMeanwhile, kind: ui.ProblemExpired}
	case errors.Is(err, errNotFound), errors.Is(err, ui.ErrNoLogo):
		return problem{status: http.StatusNotFound, Code: "invalid_request", Description: "There is nothing at this path.", cause: refusals.NoSuchPath, kind: ui.ProblemNotFound}
	case errors.Is(err, errMethod):
		return problem{status: http.StatusMethodNotAllowed, Code: "invalid_request", Description: "The method is not allowed here.", cause: refusals.MethodNotAllowed, kind: ui.ProblemMethod}
	}
	return problem{status: http.StatusInternalServerError, Code: "server_error", Description: "The server met an unexpected condition.", cause: refusals.Internal, kind: ui.ProblemInternal}
}

// failure is a request that came to nothing: what its answer, its log line and its observer
// all tell.
type failure struct {
	problem
	refusal refusals.Refusal
	err     error
}

func (s *Server) failed(ctx context.Context, err error) *failure {
	p := problemOf(err)
	return &failure{problem: p, refusal: s.oauth.Refusal(ctx, p.Code, p.cause, p.facts), err: err}
}

// fail writes an error as its reader understands it: a page for people, JSON for programs.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, route route, id string, failed *failure) {
	p := failed.problem
	if p.Code != "" { // else there is no place for it
		p.Reference = s.oauth.Reference(failed.refusal)
	}
	header := w.Header()
	header.Del("ETag")
	if p.challenge != "" {
		header.Set("WWW-Authenticate", p.challenge)
	}
	if p.retryAfter != "" {
		header.Set("Retry-After", p.retryAfter)
	}
	if !route.page {
		p.write(w)
		return
	}
	page := ui.Problem{Kind: p.kind, Code: p.Code, Description: p.Description, RequestID: id, Reference: p.Reference}
	if err := s.pages.Write(w, r, ui.View{Status: p.status}, page); err != nil {
		s.deps.Log.WarnContext(r.Context(), "error page was not written", "request", id, "error", err)
	}
}

func (p problem) write(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("Pragma", "no-cache")
	if p.Code == "" { // RFC 6750 section 3.1: no error code for who sent no token
		header.Del("Content-Type")
		w.WriteHeader(p.status)
		return
	}
	// Three plain strings always encode.
	body, _ := json.Marshal(p)
	w.WriteHeader(p.status)
	// The client is gone when this fails; there is nobody to tell.
	_, _ = w.Write(body)
}
