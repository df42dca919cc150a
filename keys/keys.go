// Package keys holds what the server must keep to itself: the server secrets and
// the keys that sign tokens.
//
// Secrets come from the operator. Everything symmetric is derived from them, each
// use under its own purpose: the MAC keys of package grants, and the seal that
// keeps private keys unreadable in the database.
//
// A Key signs; a Set is one immutable snapshot of all of them. Set.Active gives the
// Signer of this moment, Set.Verify reads what any key that is still published has
// signed, Set.JWKS is the document at /.well-known/jwks.json, and Set.PlanRotation
// says what storage has to write to rotate.
//
// It promises that a token is accepted only in the exact form in which this server
// writes it, and that nothing here prints a secret: every type that holds one
// formats as "***" or as the public name of the key.
//
// Storage keeps keys, server signs and publishes them, the command line rotates
// them. The package never reads a clock, a database, a request or the environment.
package keys

import "errors"

// Errors of this package.
var (
	// ErrSecret is wrapped by every fault of a server secret. The text says which
	// one by its place, never what it is.
	ErrSecret = errors.New("invalid server secret")
	// ErrSeal: not sealed by one of these secrets for this context, or damaged.
	ErrSeal = errors.New("can not be opened with these server secrets")
	// ErrToken: not a token of that type signed by a published key. It says no more
	// on purpose: the difference would help only a forger.
	ErrToken = errors.New("not a token signed by this server")
	// ErrNoKey: no key of that algorithm can do what was asked.
	ErrNoKey = errors.New("no signing key")
	// ErrKey is wrapped by every fault of a stored or generated signing key.
	ErrKey = errors.New("invalid signing key")
)
