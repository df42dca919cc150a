package refusals

import "slices"

// Cause says why, in the words of the log. Only those of the list below can be told by
// a reference.
type Cause string

// The causes that Explain has more to say about than their words.
const (
	UnknownClient Cause = "unknown client"
	WrongSecret   Cause = "wrong secret"
	NoSecret      Cause = "no secret"
	WrongMethod   Cause = "not the registered method"
	PublicSecret  Cause = "a public client sent a secret"
	PublicAsks    Cause = "a public client can not introspect"
	GrantType     Cause = "not registered for the grant type"
	Codes         Cause = "not registered for authorization codes"
	NotOurs       Cause = "not a refresh token of this server"
	NotOurCode    Cause = "not a code of this server"
	NotTheirCode  Cause = "not a code of the client"

	Reused    Cause = "token: reused"
	Overtaken Cause = "token: overtaken"
	Dead      Cause = "token: dead"
	Idle      Cause = "token: idle"
	Replayed  Cause = "token: replayed"
	Exceeds   Cause = "more scope than was granted"
	Astray    Cause = "an audience that was not granted"
	NoneLeft  Cause = "nothing that was granted is registered any more"

	ForeignRefresh Cause = "another client's refresh token"
	ForeignAccess  Cause = "another client's access token"

	WrongPassword Cause = "wrong password"
	NoSuchUser    Cause = "no such user"
	UserDisabled  Cause = "the user is disabled"
	Throttled     Cause = "throttled"

	Unregistered      Cause = "not registered for the client" // scope or audience
	RedirectURI       Cause = "redirect_uri is not registered for the client"
	Unlisted          Cause = "the client is not registered"
	Origin            Cause = "the origin is not registered for the client"
	BadVerifier       Cause = "code_verifier is malformed"
	Expired           Cause = "the access token has expired"
	NotAccess         Cause = "not a live access token"
	ForAnother        Cause = "for another audience"
	Denied            Cause = "the access token was revoked"
	ClientGone        Cause = "the client is gone"
	SessionOver       Cause = "the session is over"
	DeniedByPerson    Cause = "denied by the person"
	LoginRequired     Cause = "login_required"
	ConsentRequired   Cause = "consent_required"
	NoDatabase        Cause = "database unavailable"
	Busy              Cause = "busy"
	Internal          Cause = "internal error"
	TooLong           Cause = "body too long"
	Forgery           Cause = "csrf"
	Unreadable        Cause = "sealed request expired or unreadable"
	NoSuchPath        Cause = "no such path"
	MethodNotAllowed  Cause = "method not allowed"
	NoSuchSession     Cause = "no such session"
	ChangedMeanwhile  Cause = "changed meanwhile"
	TemporarilyChange Cause = "temporarily_unavailable"
)

// numbered is in every reference that was ever given: add at the end, never change or
// take out. What is not in it (number 0) is told by the log alone.
var numbered = []Cause{
	UnknownClient, WrongSecret, NoSecret, WrongMethod, PublicSecret, PublicAsks, GrantType, Codes, NotOurs, NotOurCode, NotTheirCode,
	Reused, Overtaken, Dead, Idle, Replayed, Exceeds, Astray, NoneLeft, ForeignRefresh, ForeignAccess,
	WrongPassword, NoSuchUser, UserDisabled, Throttled,
	Unregistered, RedirectURI, Unlisted, Origin, BadVerifier, Expired, NotAccess, ForAnother, Denied, ClientGone, SessionOver,
	DeniedByPerson, LoginRequired, ConsentRequired, NoDatabase, Busy, Internal, TooLong, Forgery, Unreadable, NoSuchPath, MethodNotAllowed,
	NoSuchSession, ChangedMeanwhile, TemporarilyChange,

	// What the client was told in the same words.
	"a parameter is missing or unusable", "a parameter is repeated", "a parameter name is not text", "a parameter value is not text",
	"an access token in the query is not read", "claims is not a claims request", "claims is too long", "client_id and id_token_hint are of two clients",
	"client_id is missing", "code is missing", "code_challenge is missing", "code_challenge is not an S256 challenge", "code_challenge_method must be S256",
	"grant_type is missing", "id_token_hint is not an ID token of this server for the client", "max_age is not a number of seconds",
	"parameters in the query are not read", "password is too long", "post_logout_redirect_uri is not registered for the client",
	"post_logout_redirect_uri without the client that it is of", "prompt has an unknown value", "prompt none allows nothing beside it",
	"redirect_uri is missing", "refresh_token is missing", "response_mode is not supported", "response_type is missing", "state is too long",
	"state or nonce is too long", "the body ended early", "the content type is not application/x-www-form-urlencoded",
	"the parameters are not form-encoded", "the request is from another site", "the request is not from a script of the client", "token is missing",
	"two Authorization headers", "two access tokens", "two different client ids", "two different subjects are asked for",
	"two methods of client authentication", "username or password is missing",

	"Basic credentials are not base64", "Basic credentials are not form-encoded text", "Basic credentials without a colon",
	"client assertions are not supported", "empty Basic credentials", "no client credentials", "unknown grant type", "too many",
	"no access token", "scope openid is missing", "unsupported_response_type", "request_not_supported", "request_uri_not_supported",
	"registration_not_supported", "unmet_authentication_requirements",
	"fosite refused the client", "fosite refused the scope", "fosite refused the grant type", "token: foreign", "token: repeated", "token: mismatch",
}

// codes, routes and grantTypes are numbered like the causes.
var (
	codes = []string{
		"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_target",
		"invalid_token", "insufficient_scope", "temporarily_unavailable", "server_error", "access_denied", "unsupported_response_type",
		"login_required", "consent_required", "request_not_supported", "request_uri_not_supported", "registration_not_supported",
		"unmet_authentication_requirements",
	}
	routes = []string{
		"unknown", "/oauth2/auth", "/oauth2/token", "/oauth2/introspect", "/oauth2/revoke", "/userinfo", "/.well-known/openid-configuration",
		"/.well-known/oauth-authorization-server", "/.well-known/jwks.json", "/oauth2/logout", "/login", "/consent", "/logout", "/account", "/",
		"/ui/style.css", "/ui/logo", "/ui/icon", "/healthz", "/readyz", "/oauth2/error",
	}
	grantTypes = []string{"authorization_code", "refresh_token", "client_credentials", "password"}
)

// Causes are all that a reference can tell.
func Causes() []Cause { return slices.Clone(numbered) }

// NumberedRoute reports whether a reference can tell a route.
func NumberedRoute(route string) bool { return slices.Contains(routes, route) }

func indexOf[T comparable](list []T, item T) byte { return byte(slices.Index(list, item) + 1) }

func at[T any](list []T, number byte) (item T) {
	if number == 0 || int(number) > len(list) {
		return item // of a newer version
	}
	return list[number-1]
}
