// Package clients says what a registered client is and what may be registered.
//
// It promises that a Client that passed Check can be stored and served: redirect
// URIs follow RFC 8252 and RFC 9700, grants and response types agree, scopes and
// audiences are exact strings. Storage keeps what this package describes;
// server/oauth obeys it; the command line makes it.
//
// It never reads a database, a request or the environment. The one file that
// knows fosite is fosite.go.
package clients

import (
	"errors"
	"time"
)

// Errors that stores and registration answer.
var (
	ErrNotFound = errors.New("client not found")
	ErrExists   = errors.New("client already exists")
	// ErrConflict: somebody else changed the client since it was read.
	ErrConflict = errors.New("client was changed by somebody else")
	// ErrTooManySecrets: a third live secret was asked for.
	ErrTooManySecrets = errors.New("client already has two live secrets")
	ErrSecretNotFound = errors.New("client secret not found")
	// ErrInvalid is wrapped by every fault that Check reports.
	ErrInvalid = errors.New("invalid client")
)

// Grant types, by the names of the IANA registry.
const (
	GrantPassword          = "password"
	GrantRefreshToken      = "refresh_token"
	GrantClientCredentials = "client_credentials"
	GrantAuthorizationCode = "authorization_code"
)

// AuthMethod is how a client proves itself at the token endpoint (RFC 7591 section 2).
type AuthMethod string

// The methods that work. A confidential client registered with AuthAny may use basic or post.
const (
	AuthAny   AuthMethod = ""
	AuthBasic AuthMethod = "client_secret_basic"
	AuthPost  AuthMethod = "client_secret_post"
	AuthNone  AuthMethod = "none"
)

// Format is what a client's access tokens look like.
type Format string

// JWT is RFC 9068; Opaque hides the same claims under an AEAD seal.
const (
	JWT    Format = "jwt"
	Opaque Format = "opaque"
)

// PKCE says whether an authorization request without a challenge is refused (RFC 9700 section 2.1.1).
type PKCE string

// PKCEOptional is a named risk: only confidential clients may have it.
const (
	PKCERequired PKCE = "required"
	PKCEOptional PKCE = "optional"
)

// Delivery is the way a refresh token reaches the client.
type Delivery string

// DeliverBody is RFC 6749's; DeliverCookie keeps the token out of a browser script's reach.
const (
	DeliverBody   Delivery = "body"
	DeliverCookie Delivery = "cookie"
)

// Signing algorithms that a client may choose (RFC 7518 section 3.1).
const (
	RS256 = "RS256"
	ES256 = "ES256"
)

// Client is one registered application (or resource server).
type Client struct {
	ID             string
	Name           string
	Public         bool // has no secret: RFC 6749 section 2.1
	AuthMethod     AuthMethod
	Grants         []string
	RedirectURIs   []string
	Scope          []string
	Audience       []string
	FirstParty     bool // needs no consent
	ResourceServer bool // may introspect: tokens for its Audience, or every token when that is empty
	PKCE           PKCE
	AccessToken    Format

	// Lifetimes; 0 means the server's default.
	AccessTokenLifetime  time.Duration
	RefreshTokenLifetime time.Duration // idle: renewal starts it again
	SessionLifetime      time.Duration // absolute: nothing moves it

	RefreshToken   Delivery
	AllowedOrigins []string // browser origins that may call and send the cookie

	// OpenID Connect.
	PostLogoutRedirectURIs []string // where a browser may go after signing out (RP-Initiated Logout 1.0 section 3.1)
	BackchannelLogoutURI   string   // where the server tells of a sign-out (Back-Channel Logout 1.0 section 2.2); "": it does not
	IDTokenAlg             string   // what ID tokens are signed with: RS256, ES256; "": RS256
	UserinfoAlg            string   // what userinfo answers are signed with: RS256, ES256; "": plain JSON

	// Pages for people, shown where they are asked for consent.
	ClientURI string
	PolicyURI string
	TOSURI    string

	Secrets []Secret // at most two live ones

	CreatedAt  time.Time
	UpdatedAt  time.Time
	DisabledAt time.Time // zero: enabled
	Version    int64     // counts changes; an update names the one it read
}

// Secret is one credential of a confidential client. The secret itself is never kept.
type Secret struct {
	ID   string
	Hash string // "sha256:" + base64url for a generated one, a PHC string ("$argon2id$…") for a chosen one

	CreatedAt  time.Time
	LastUsedAt time.Time // zero: never; written in the background, up to a minute late
	ExpiresAt  time.Time // zero: does not end by itself
}
