package oauth

import (
	"errors"
	"net/http"

	"github.com/ory/fosite"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage"
)

// Error is a refusal in the words of an RFC. Its description is fixed text, never
// what somebody sent; Reason and the cause are for the log only.
type Error struct {
	Status      int
	Code        string // registered with IANA
	Description string
	Challenge   string // WWW-Authenticate
	Reason      string
	Cause       error
}

func (e *Error) Error() string {
	text := e.Code
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Cause }

const basicChallenge = `Basic realm="grantor", charset="UTF-8"`

// The refusals of RFC 6749 section 5.2, and of the RFCs that extend it.
func invalidRequest(reason string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "invalid_request", Description: "The request is malformed: " + reason + ".", Reason: reason}
}

func invalidClient(reason string) *Error {
	return &Error{
		Status: http.StatusUnauthorized, Code: "invalid_client", Description: "Client authentication failed.",
		Challenge: basicChallenge, Reason: reason,
	}
}

func invalidGrant(reason string) *Error {
	return &Error{
		Status: http.StatusBadRequest, Code: "invalid_grant", Reason: reason,
		Description: "The credentials or the token are not valid, have ended, or belong to another client.",
	}
}

func unauthorizedClient(reason string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "unauthorized_client", Description: "The client is not registered for this grant type.", Reason: reason}
}

func unsupportedGrantType() *Error {
	return &Error{Status: http.StatusBadRequest, Code: "unsupported_grant_type", Description: "The grant type is not supported.", Reason: "unknown grant type"}
}

func invalidScope(reason string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "invalid_scope", Description: "The scope is unknown, malformed, or more than may be granted.", Reason: reason}
}

func invalidTarget(reason string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "invalid_target", Description: "The audience or resource is unknown, or more than may be granted.", Reason: reason}
}

// The refusals of RFC 6750 section 3.1.
func missingToken() *Error {
	// No error code, as section 3.1 asks: the client did not know that it needs a token.
	return &Error{Status: http.StatusUnauthorized, Challenge: `Bearer realm="grantor"`, Reason: "no access token"}
}

func invalidToken(reason string) *Error {
	return &Error{
		Status: http.StatusUnauthorized, Code: "invalid_token", Description: "The access token is not valid or has ended.",
		Challenge: `Bearer realm="grantor", error="invalid_token"`, Reason: reason,
	}
}

func insufficientScope(scope string) *Error {
	return &Error{
		Status: http.StatusForbidden, Code: "insufficient_scope", Description: "The access token lacks a scope.",
		Challenge: `Bearer realm="grantor", error="insufficient_scope", scope="` + scope + `"`, Reason: "scope " + scope + " is missing",
	}
}

// refusal turns what fosite answered into ours. A failure that the store met comes
// first, because fosite turns it into something else.
func refusal(u *storage.Unit, err error) error {
	if u.Err != nil {
		return u.Err
	}
	switch u.Verdict {
	case grants.Exceeds:
		return invalidScope("more scope than was granted")
	case grants.Astray:
		return invalidTarget("an audience that was not granted")
	case grants.Reused, grants.Overtaken, grants.Dead, grants.Idle, grants.Foreign, grants.Replayed, grants.Repeated, grants.Mismatch:
		return invalidGrant("token: " + string(u.Verdict))
	}
	var refused *Error
	if errors.As(err, &refused) {
		return refused
	}
	switch rfc := fosite.ErrorToRFC6749Error(err); rfc.ErrorField {
	case "invalid_request":
		return invalidRequest("a parameter is missing or unusable")
	case "invalid_grant":
		return invalidGrant("wrong credentials")
	case "invalid_scope":
		return invalidScope("fosite refused the scope")
	case "unauthorized_client":
		return unauthorizedClient("fosite refused the grant type")
	case "invalid_client":
		return invalidClient("fosite refused the client")
	}
	return err
}
