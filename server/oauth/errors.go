package oauth

import (
	"errors"
	"net/http"

	"github.com/ory/fosite"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/refusals"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// Error is a refusal in the words of an RFC. Its description is fixed text, never
// what somebody sent; Reason and the cause are for the log only.
type Error struct {
	Status      int
	Code        string // registered with IANA
	Description string
	Challenge   string // WWW-Authenticate
	Reason      refusals.Cause
	Facts       refusals.Facts // what the reason is about
	Cause       error
}

func (e *Error) Error() string {
	text := e.Code
	if e.Reason != "" {
		text += ": " + string(e.Reason)
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Cause }

const basicChallenge = `Basic realm="grantor", charset="UTF-8"`

// The refusals of RFC 6749 section 5.2, and of the RFCs that extend it.
func invalidRequest(reason refusals.Cause) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "invalid_request", Description: "The request is malformed: " + string(reason) + ".", Reason: reason}
}

func invalidClient(reason refusals.Cause) *Error {
	return &Error{
		Status: http.StatusUnauthorized, Code: "invalid_client", Description: "Client authentication failed.",
		Challenge: basicChallenge, Reason: reason,
	}
}

func invalidGrant(reason refusals.Cause) *Error {
	return &Error{
		Status: http.StatusBadRequest, Code: "invalid_grant", Reason: reason,
		Description: "The credentials or the token are not valid, have ended, or belong to another client.",
	}
}

func unauthorizedClient(reason refusals.Cause) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "unauthorized_client", Description: "The client is not registered for this grant type.", Reason: reason}
}

func unsupportedGrantType() *Error {
	return &Error{Status: http.StatusBadRequest, Code: "unsupported_grant_type", Description: "The grant type is not supported.", Reason: "unknown grant type"}
}

func invalidScope(reason refusals.Cause) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "invalid_scope", Description: "The scope is unknown, malformed, or more than may be granted.", Reason: reason}
}

func invalidTarget(reason refusals.Cause) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "invalid_target", Description: "The audience or resource is unknown, or more than may be granted.", Reason: reason}
}

// The refusals of RFC 6750 section 3.1.
func missingToken() *Error {
	// No error code, as section 3.1 asks: the client did not know that it needs a token.
	return &Error{Status: http.StatusUnauthorized, Challenge: `Bearer realm="grantor"`, Reason: "no access token"}
}

func invalidToken(reason refusals.Cause) *Error {
	return &Error{
		Status: http.StatusUnauthorized, Code: "invalid_token", Description: "The access token is not valid or has ended.",
		Challenge: `Bearer realm="grantor", error="invalid_token"`, Reason: reason,
	}
}

func insufficientScope(scope string) *Error {
	return &Error{
		Status: http.StatusForbidden, Code: "insufficient_scope", Description: "The access token lacks a scope.",
		Challenge: `Bearer realm="grantor", error="insufficient_scope", scope="` + scope + `"`, Reason: refusals.Cause("scope " + scope + " is missing"),
	}
}

// refusal turns what fosite answered into ours. A failure that the store met comes
// first, because fosite turns it into something else.
func refusal(u *storage.Unit, err error) error {
	if u.Err != nil {
		return about(u, u.Err)
	}
	switch u.Verdict {
	case grants.Exceeds:
		return about(u, invalidScope(refusals.Exceeds))
	case grants.Astray:
		return about(u, invalidTarget(refusals.Astray))
	case grants.Reused, grants.Overtaken, grants.Dead, grants.Idle, grants.Foreign, grants.Replayed, grants.Repeated, grants.Mismatch:
		return about(u, invalidGrant("token: "+refusals.Cause(u.Verdict)))
	}
	var refused *Error
	if errors.As(err, &refused) {
		return about(u, refused)
	}
	switch rfc := fosite.ErrorToRFC6749Error(err); rfc.ErrorField {
	case "invalid_request":
		return invalidRequest("a parameter is missing or unusable")
	case "invalid_grant":
		return wrongPassword(err)
	case "invalid_scope":
		return invalidScope("fosite refused the scope")
	case "unauthorized_client":
		return unauthorizedClient("fosite refused the grant type")
	case "invalid_client":
		return invalidClient("fosite refused the client")
	}
	return err
}

// wrongPassword tells the log and the reference what the answer does not.
func wrongPassword(err error) *Error {
	wrong := new(users.WrongPasswordError)
	switch {
	case !errors.As(err, &wrong):
		return invalidGrant(refusals.WrongPassword)
	case wrong.UserID == "":
		return invalidGrant(refusals.NoSuchUser)
	case wrong.Disabled:
		return invalidGrant(refusals.UserDisabled).of(wrong.UserID)
	}
	return invalidGrant(refusals.WrongPassword).of(wrong.UserID)
}

func (e *Error) of(userID string) *Error {
	e.Facts.UserID = userID
	return e
}

// about adds to a refusal what the unit of work knows of it.
func about(u *storage.Unit, err error) error {
	refused := new(Error)
	if !errors.As(err, &refused) {
		return err
	}
	if u.ID == (grants.ID{}) {
		return err
	}
	f := &refused.Facts
	f.Session, f.Shown, f.Row = u.ID, u.Generation, refusals.RowOf(u.Grant)
	if u.Generation == 0 { // a code
		f.Terms = &refusals.Terms{RedirectURI: refusals.MarkOf(u.RedirectURI), Challenge: refusals.MarkOf(grants.Clue(u.Challenge))}
	}
	return err
}
