// Package grants is the idea of Grantor: a login is one row.
//
// A Grant is everything that one user allowed one client, from the consent click
// to logout. An authorization code is generation 0 of a grant, a refresh token is
// generation n, and both are a MAC over (kind, grant, generation): nothing about a
// token is at rest, and at most one generation is live.
//
// Refresh, Redeem and Revoke are the rules. Package storage keeps the same rules
// as single SQL statements, and a test there plays random histories against both.
// Codec makes and reads the tokens.
//
// The package is pure. It never reads a clock, a database, a request or fosite.
package grants

import (
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Errors of this package.
var (
	// ErrNotFound: no grant has that id.
	ErrNotFound = errors.New("session not found")
	// ErrToken: not a token of the kind asked for, or not one of ours. It says no
	// more on purpose: the difference would help only a forger.
	ErrToken = errors.New("not a token of this server")
	// ErrID: the text is not a grant id.
	ErrID = errors.New("not a session id")
)

// ID names a grant: 128 random bits. It is no secret; only the MAC makes a token.
type ID [16]byte

// idLen is the length of an ID as text.
const idLen = 26

var idText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewID draws an id from rand.
func NewID(rand io.Reader) (ID, error) {
	var id ID
	if _, err := io.ReadFull(rand, id[:]); err != nil {
		return ID{}, fmt.Errorf("draw grant id: %w", err)
	}
	return id, nil
}

// ParseID reads what String wrote. It answers ErrID for anything else.
func ParseID(text string) (ID, error) {
	var id ID
	if len(text) != idLen {
		return ID{}, ErrID
	}
	if n, err := idText.Decode(id[:], []byte(text)); err != nil || n != len(id) {
		return ID{}, ErrID
	}
	// The decoder skips line breaks, and does not look at the bits behind the last byte.
	var again [idLen]byte
	idText.Encode(again[:], id[:])
	if string(again[:]) != text {
		return ID{}, ErrID
	}
	return id, nil
}

// String is the id in 26 lower-case characters that need no quoting anywhere.
func (id ID) String() string {
	var text [idLen]byte
	idText.Encode(text[:], id[:])
	return string(text[:])
}

// State is where a grant stands before it ends.
type State string

// Live is the only state that tokens work in.
const Live State = "live"

// Reason says why a grant was ended early.
type Reason string

// The reasons that are stored.
const (
	ReasonReuse           Reason = "refresh_reuse"    // a spent refresh token was shown again: RFC 9700 section 4.14.2
	ReasonCodeReplay      Reason = "code_replay"      // a spent code was shown again: RFC 6749 section 4.1.2
	ReasonClient          Reason = "client"           // the client revoked it: RFC 7009
	ReasonAdmin           Reason = "admin"            // an administrator ended it
	ReasonPasswordChanged Reason = "password_changed" // its user's password was replaced
	ReasonUserDisabled    Reason = "user_disabled"    // its user was switched off
	ReasonClientDeleted   Reason = "client_deleted"   // its client is gone

	ReasonSignedOut        Reason = "signed_out"        // its user signed out of the browser that it began in
	ReasonUser             Reason = "user"              // its user ended it on the account page
	ReasonConsentWithdrawn Reason = "consent_withdrawn" // its user no longer lets the client act
)

// Grant is one login of one user at one client.
type Grant struct {
	ID         ID
	ClientID   string
	UserID     string
	BrowserID  ID       // the sign-in that it began from: OpenID's sid; zero: none (password grant)
	Scope      []string // all that was granted; a refresh may ask for less, never for more
	Audience   []string
	State      State
	Generation int64 // 0: the code is not redeemed yet

	CreatedAt time.Time
	RotatedAt time.Time // last renewal, or creation
	ExpiresAt time.Time // absolute: redemption sets it, renewal never moves it
	RevokedAt time.Time // zero: not revoked
	Reason    Reason

	RedirectURI   string // of the authorization request, for the code; "" after the first renewal
	CodeChallenge string // S256; "" = none was sent; its Clue after the first renewal
	Thumbprint    string // of the key the tokens are bound to; "" = bearer

	CreatedFrom string // address of the login
	RotatedFrom string // address of the last renewal
	Details     Details
}

// Details is what only answers need, never a query. It is stored as JSON with its version.
type Details struct {
	Version   int       `json:"v"`
	AuthTime  time.Time `json:"auth_time,omitzero"`
	AMR       []string  `json:"amr,omitempty"`
	UserAgent string    `json:"user_agent,omitempty"`

	// Of the authentication request: OpenID Connect Core sections 3.1.2.1 and 5.5.
	Nonce          string   `json:"nonce,omitempty"` // for the ID token of the code; "" after the first renewal
	ACR            string   `json:"acr,omitempty"`
	UserinfoClaims []string `json:"userinfo_claims,omitempty"` // asked for by name
	IDTokenClaims  []string `json:"id_token_claims,omitempty"`
}

// DetailsVersion is the newest layout of Details.
const DetailsVersion = 1

// CodeLifetime is how long a code may be redeemed. A grant at generation 0 ends then:
// what nobody redeems is cleaned like anything else that expired.
const CodeLifetime = 60 * time.Second

// RequestLifetime is how long an authorization request may wait for a person. The grant
// that answers it takes its id from there, so a grant's row stays for longer than this
// after its end: while the row is there, the same request can not begin a second one.
const RequestLifetime = time.Hour

// Limits are the spans that the rules measure.
type Limits struct {
	Idle  time.Duration // from one renewal to the next
	Retry time.Duration // in which the immediate predecessor gets the same successor
}

// Bounds are Limits seen from one instant, ready to be compared with stored times.
type Bounds struct {
	Now        time.Time
	IdleSince  time.Time // the last renewal must be after this
	RetrySince time.Time // a renewal after this may be retried
	// OvertakenSince excuses a request that was held up on its way, or whose client hung up:
	// a renewal after it means that its own client went on elsewhere. Zero: no excuse.
	OvertakenSince time.Time
}

// At turns spans into instants.
func (l Limits) At(now time.Time) Bounds {
	return Bounds{Now: now, IdleSince: now.Add(-l.Idle), RetrySince: now.Add(-l.Retry)}
}

// Verdict is what became of a token that was shown.
type Verdict string

// The verdicts. Only Rotated and Retried (and Redeemed) answer with tokens; only
// Reused and Replayed change a grant that they refuse.
const (
	Rotated   Verdict = "rotated"   // the current token: a successor was made
	Retried   Verdict = "retried"   // the immediate predecessor inside the window: the same successor again
	Reused    Verdict = "reused"    // any older one: the grant is ended
	Overtaken Verdict = "overtaken" // an older one, held up while the grant was renewed: refused, changes nothing
	Redeemed  Verdict = "redeemed"  // the code's first use
	Replayed  Verdict = "replayed"  // the code's later use after the window: the grant is ended
	Repeated  Verdict = "repeated"  // the code's later use inside the window: refused, nothing else happens
	Foreign   Verdict = "foreign"   // another client's, or bound to another key: refused, changes nothing
	Dead      Verdict = "dead"      // revoked, expired, unknown, or of a disabled user
	Idle      Verdict = "idle"      // not renewed in time
	Exceeds   Verdict = "exceeds"   // asks for more scope than was granted
	Astray    Verdict = "astray"    // asks for an audience that was not granted, or none is left
	Mismatch  Verdict = "mismatch"  // wrong verifier or redirect URI: refused, changes nothing
)

// Alive reports whether tokens of the grant can work at all at that instant.
func (g Grant) Alive(now time.Time) bool {
	return g.State == Live && g.RevokedAt.IsZero() && g.ExpiresAt.After(now)
}

// Showing is a refresh token of the given generation, shown by an authenticated client.
type Showing struct {
	ClientID   string
	Thumbprint string
	Generation int64
	Scope      []string // asked for; none = all that was granted
	Audience   []string // asked for (RFC 8707 section 2.2); none = all that was granted
	// Registered are the audiences that the client may still have, which what is asked
	// for was held against before; nil: any. When none is asked for, and none of those
	// that were granted is registered any more, there is nothing to make a token for.
	Registered []string
}

// Refresh applies the rule of RFC 6749 section 6 with rotation and reuse
// detection (RFC 9700 section 4.14.2). It returns the grant as it is afterwards.
func (g Grant) Refresh(s Showing, b Bounds) (Grant, Verdict) {
	switch {
	case s.ClientID != g.ClientID || s.Thumbprint != g.Thumbprint:
		return g, Foreign
	case !g.Alive(b.Now) || s.Generation < 1 || s.Generation > g.Generation:
		return g, Dead
	case s.Generation == g.Generation:
		if !g.RotatedAt.After(b.IdleSince) {
			return g, Idle
		}
		if excess := s.Excess(g); excess != "" {
			return g, excess
		}
		if g.Generation == 1 {
			g.RedirectURI, g.CodeChallenge, g.Details.Nonce = "", Clue(g.CodeChallenge), ""
		}
		g.Generation++
		g.RotatedAt = b.Now
		return g, Rotated
	case s.Generation == g.Generation-1 && g.RotatedAt.After(b.RetrySince):
		if excess := s.Excess(g); excess != "" {
			return g, excess
		}
		return g, Retried
	case !b.OvertakenSince.IsZero() && g.RotatedAt.After(b.OvertakenSince):
		return g, Overtaken
	default:
		return g.end(b.Now, ReasonReuse), Reused
	}
}

// Excess is Exceeds or Astray when more is asked for than the grant and the registration
// allow, else "".
func (s Showing) Excess(g Grant) Verdict {
	switch {
	case !Covers(g.Scope, s.Scope):
		return Exceeds
	case !Covers(g.Audience, s.Audience):
		return Astray
	case len(s.Audience) == 0 && len(g.Audience) > 0 && s.Registered != nil && !overlap(g.Audience, s.Registered):
		return Astray
	}
	return ""
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(item string) bool { return slices.Contains(b, item) })
}

// Redemption is a code, shown by an authenticated client with its verifier.
type Redemption struct {
	ClientID    string
	RedirectURI string
	Challenge   string // BASE64URL(SHA256(code_verifier)); "" when none was sent
	// Life is that of the session which begins here, counted from the authorization.
	Life time.Duration
}

// Clue is what is left of a challenge after the first renewal: 12 characters, or none. Tokens
// are given for the whole challenge only; a clue tells whether who shows a used code holds its
// verifier. The challenge stood in the same log as the code, so fewer could be computed.
func Clue(challenge string) string { return challenge[:min(len(challenge), 12)] }

// Fits reports whether a code is shown with what it was made for. Who renewed has got the
// code's answer, so from then on a code is good for nothing but the end of its session: of
// what only the answer needed the grant keeps no more than tells its client from who found
// the code in a log.
func (r Redemption) Fits(g Grant) bool {
	if g.Generation > 1 && g.CodeChallenge == Clue(r.Challenge) {
		return true
	}
	return r.Challenge == g.CodeChallenge && (g.RedirectURI == "" || r.RedirectURI == g.RedirectURI)
}

// Redeem applies RFC 6749 section 4.1.3 and RFC 7636 section 4.6: a code is
// honoured once; a later use is refused, and outside the retry window it ends the
// grant, but only when it comes from somebody who holds code, client and verifier.
func (g Grant) Redeem(r Redemption, b Bounds) (Grant, Verdict) {
	switch {
	case r.ClientID != g.ClientID:
		return g, Foreign
	case !g.Alive(b.Now):
		return g, Dead
	case !r.Fits(g):
		return g, Mismatch
	case g.Generation > 0:
		if g.RotatedAt.After(b.RetrySince) {
			return g, Repeated
		}
		return g.end(b.Now, ReasonCodeReplay), Replayed
	}
	g.Generation = 1
	g.RotatedAt = b.Now
	g.ExpiresAt = g.CreatedAt.Add(r.Life)
	return g, Redeemed
}

// Revoke ends the grant for its own client (RFC 7009 section 2.1), whatever the
// generation that was shown. The first reason stays. It reports false, and changes
// nothing, when the grant belongs to another client.
func (g Grant) Revoke(clientID string, now time.Time) (Grant, bool) {
	if clientID != g.ClientID {
		return g, false
	}
	return g.end(now, ReasonClient), true
}

func (g Grant) end(now time.Time, why Reason) Grant {
	if g.RevokedAt.IsZero() {
		g.RevokedAt, g.Reason = now, why
	}
	return g
}

// Covers reports whether everything asked for was granted, letter for letter.
func Covers(granted, asked []string) bool {
	for _, want := range asked {
		if !slices.Contains(granted, want) {
			return false
		}
	}
	return true
}

// Distinct keeps the first of each, in the order that was asked.
func Distinct(list []string) []string {
	seen := make(map[string]bool, len(list))
	kept := make([]string, 0, len(list))
	for _, item := range list {
		if !seen[item] {
			seen[item] = true
			kept = append(kept, item)
		}
	}
	return kept
}

// JoinScope writes a scope as RFC 6749 section 3.3 does.
func JoinScope(scope []string) string { return strings.Join(scope, " ") }

// SplitScope reads a scope as RFC 6749 section 3.3 writes it. Two blanks do not make an empty scope.
func SplitScope(scope string) []string { return strings.Fields(scope) }
