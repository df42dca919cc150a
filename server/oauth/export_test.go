package oauth

// MayCall is whether the server connects to an address: asking it is the only way to
// test public ones without calling them.
var MayCall = mayCall

// What json.go writes and reads, to be held against encoding/json.
type (
	Claims        = claims
	TokenResponse = tokenResponse
	Introspection = introspection
)

func (c *claims) Encode() []byte { return c.encode() }

func (c *claims) Decode(payload string) bool { return c.decode(payload) }

func (t *tokenResponse) Encode() []byte { return t.encode() }

func (i *introspection) Encode() []byte { return i.encode() }

var ParseClaims = parseClaims

// ParseClaimsSlowly reads as encoding/json does.
func ParseClaimsSlowly(payload []byte) (*Claims, error) {
	c := new(claims)
	return c, decodeOnce(payload, c)
}
