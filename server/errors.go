package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/grantorhq/grantor/server/oauth"
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
	challenge   string
	retryAfter  string
	reason      string // for the log
}

// problemOf is the one place where an error becomes an answer. Descriptions are
// fixed text: what the cause says is for the log.
func problemOf(err error) problem {
	tooLong := new(http.MaxBytesError)
	refused := new(oauth.Error)
	throttled := new(users.ThrottledError)
	switch {
	case errors.As(err, &refused):
		return problem{status: refused.Status, Code: refused.Code, Description: refused.Description, challenge: refused.Challenge, reason: refused.Reason}
	case errors.As(err, &throttled):
		// Whole seconds, rounded up: who comes back then is let through.
		seconds := int64((throttled.Wait + time.Second - 1) / time.Second)
		return problem{status: http.StatusTooManyRequests, Code: "temporarily_unavailable", Description: "Too many failed attempts. Try again later.", retryAfter: strconv.FormatInt(max(seconds, 1), 10), reason: "throttled"}
	case errors.As(err, &tooLong):
		return problem{status: http.StatusRequestEntityTooLarge, Code: "invalid_request", Description: "The request body is too long.", reason: "body too long"}
	case errors.Is(err, storage.ErrUnavailable):
		return problem{status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", Description: "The server can not answer now. Try again later.", retryAfter: "1", reason: "database unavailable"}
	case errors.Is(err, users.ErrBusy), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return problem{status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", Description: "The server is busy. Try again later.", retryAfter: "2", reason: "busy"}
	case errors.Is(err, errNotFound):
		return problem{status: http.StatusNotFound, Code: "invalid_request", Description: "There is nothing at this path.", reason: "no such path"}
	case errors.Is(err, errMethod):
		return problem{status: http.StatusMethodNotAllowed, Code: "invalid_request", Description: "The method is not allowed here.", reason: "method not allowed"}
	}
	return problem{status: http.StatusInternalServerError, Code: "server_error", Description: "The server met an unexpected condition.", reason: "internal error"}
}

func (p problem) write(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("Pragma", "no-cache")
	header.Del("ETag")
	if p.challenge != "" {
		header.Set("WWW-Authenticate", p.challenge)
	}
	if p.retryAfter != "" {
		header.Set("Retry-After", p.retryAfter)
	}
	if p.Code == "" { // RFC 6750 section 3.1: no error code for who sent no token
		header.Del("Content-Type")
		w.WriteHeader(p.status)
		return
	}
	// Two strings of fixed text always encode.
	body, _ := json.Marshal(p)
	w.WriteHeader(p.status)
	// The client is gone when this fails; there is nobody to tell.
	_, _ = w.Write(body)
}
