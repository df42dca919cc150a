package oauth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/storage"
)

// errAccessToken: not an access token of this server, or one that has ended.
var errAccessToken = errors.New("not a live access token")

// errExpired is errAccessToken for a token whose only fault is its age.
var errExpired = fmt.Errorf("%w: expired", errAccessToken)

// claims are what an access token says: RFC 9068 section 2.2, and the grant it
// belongs to, so that a revoked session is dead at introspection. json.go knows the
// members too, in this order.
type claims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	ClientID  string   `json:"client_id"`
	Scope     string   `json:"scope,omitempty"`
	ID        string   `json:"jti"`
	Grant     string   `json:"gid,omitempty"` // absent: client_credentials
	Issued    int64    `json:"iat"`
	Expires   int64    `json:"exp"`
	NotBefore int64    `json:"nbf,omitempty"` // never written, but obeyed
	AuthTime  int64    `json:"auth_time,omitempty"`
	AMR       []string `json:"amr,omitempty"`
}

// audience is written as RFC 7519 section 4.1.3 allows: one is a string, more are a list.
type audience []string

func (a audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

func (a *audience) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*a = audience{""}
		return json.Unmarshal(data, &(*a)[0])
	}
	return json.Unmarshal(data, (*[]string)(a))
}

func (c *claims) expires() time.Time { return time.Unix(c.Expires, 0) }

func (c *claims) scopes() []string { return grants.SplitScope(c.Scope) }

// grantID is the zero ID for a token without a grant.
func (c *claims) grantID() (grants.ID, error) {
	if c.Grant == "" {
		return grants.ID{}, nil
	}
	return grants.ParseID(c.Grant)
}

// newClaims says what the unit's access token says. A token never outlives its grant.
func (h *Handler) newClaims(u *storage.Unit, scope, aud []string) (claims, error) {
	jti, err := newJTI(h.Rand)
	if err != nil {
		return claims{}, err
	}
	client := u.Client.Client
	c := claims{
		Issuer: h.Issuer, Subject: client.ID, Audience: aud, ClientID: client.ID, Scope: grants.JoinScope(scope),
		ID: jti, Issued: u.At.Unix(), Expires: u.At.Add(h.accessLife(client)).Unix(),
	}
	if len(c.Audience) == 0 {
		c.Audience = h.issuers
	}
	if u.Grant.ID == (grants.ID{}) {
		return c, nil
	}
	c.Subject, c.Grant, c.AMR = u.Grant.UserID, u.Grant.ID.String(), u.Grant.Details.AMR
	c.Expires = min(c.Expires, u.Grant.ExpiresAt.Unix())
	if at := u.Grant.Details.AuthTime; !at.IsZero() {
		c.AuthTime = at.Unix()
	}
	return c, nil
}

// newJTI draws 128 bits: it names one token on the deny-list.
func newJTI(rand io.Reader) (string, error) {
	var raw [16]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return "", fmt.Errorf("draw jti: %w", err)
	}
	var text [22]byte
	base64.RawURLEncoding.Encode(text[:], raw[:])
	return string(text[:]), nil
}

// mint makes the token in the client's format.
func (h *Handler) mint(c *claims, format clients.Format, now time.Time) (string, error) {
	payload := c.encode()
	if format == clients.Opaque {
		return h.Opaque.Seal(h.Rand, payload)
	}
	signer, err := h.Keys().Active(keys.ES256, now)
	if err != nil {
		return "", err
	}
	return signer.Sign(h.Rand, keys.TypeAccessToken, payload)
}

// readAccessToken proves an access token by its signature or seal, and that its
// time has not passed. It answers errAccessToken for everything else, ID tokens and
// refresh tokens included, without a query. With errExpired come the claims.
func (h *Handler) readAccessToken(token string, now time.Time) (*claims, error) {
	var payload []byte
	var err error
	if h.Opaque.Holds(token) {
		payload, err = h.Opaque.Open(token)
	} else {
		payload, err = h.Keys().Verify(token, keys.TypeAccessToken, now)
	}
	if err != nil {
		return nil, errAccessToken
	}
	c, err := parseClaims(payload)
	if err != nil {
		return nil, errAccessToken
	}
	switch {
	case h.acceptable(c, now):
		return c, nil
	case now.Unix() >= c.Expires && h.acceptable(c, time.Unix(c.Expires-1, 0)):
		return c, errExpired
	}
	return nil, errAccessToken
}

// maxSkew is how far another replica's clock may be ahead of ours. A token's end gets no such grace.
const maxSkew = time.Minute

// acceptable holds claims under our signature against RFC 9068 section 4. mint writes
// none that fail, but another version or product that was given our keys might.
func (h *Handler) acceptable(c *claims, now time.Time) bool {
	latest := now.Add(maxSkew).Unix()
	switch {
	case c.Issuer != h.Issuer || c.Subject == "" || c.ClientID == "" || c.ID == "" || len(c.Audience) == 0:
		return false
	case c.Issued <= 0 || c.Issued > latest || c.NotBefore > latest || now.Unix() >= c.Expires:
		return false
	case c.Grant == "":
		return c.Subject == c.ClientID // only client_credentials has no session
	}
	_, err := c.grantID()
	return err == nil
}

// parseClaims reads one JSON object in which nothing can be read in two ways.
func parseClaims(payload []byte) (*claims, error) {
	c := new(claims)
	if c.decode(string(payload)) {
		return c, nil
	}
	c = new(claims)
	if err := decodeOnce(payload, c); err != nil {
		return nil, errAccessToken
	}
	return c, nil
}

var errTwice = errors.New("not one JSON object with each member once")

// decodeOnce refuses a member that is there twice (RFC 7519 section 4): encoding/json
// would take the last, and compares names without case.
func decodeOnce(payload []byte, claims any) error {
	d := json.NewDecoder(bytes.NewReader(payload))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return errTwice
	}
	seen := make(map[string]bool)
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		if err != nil || !ok || seen[name] || !plain(name) {
			return errTwice
		}
		seen[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return errTwice
		}
	}
	// Reads the whole once more, so text behind the object is refused here.
	return json.Unmarshal(payload, claims)
}

// plain names are equal only when they are equal without case.
func plain(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsUpper(r) })
}

// alive reports whether the state behind a proven token lets it live: its client,
// its grant, and the deny-list. A token without a grant needs none.
func alive(c *claims, record storage.AccessRecord) bool {
	if record.Denied || !record.ClientAlive {
		return false
	}
	g := record.Grant
	return c.Grant == "" || g != nil && g.ClientID == c.ClientID && g.UserID == c.Subject
}

func (c *claims) isFor(audience ...string) bool {
	return slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(c.Audience, a) })
}
