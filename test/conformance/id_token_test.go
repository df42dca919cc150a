package conformance_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/servertest"
)

// claims are an ID token's, verified.
type claims struct {
	jwt.Claims
	Nonce    string           `json:"nonce"`
	AuthTime *jwt.NumericDate `json:"auth_time"`
	ACR      string           `json:"acr"`
	AZP      string           `json:"azp"`
	ATHash   string           `json:"at_hash"`
	Browser  string           `json:"sid"`

	all    map[string]any
	header jose.Header
}

// verified is any JWT that one of the published keys signed, with RS256.
func (p *party) verified(token string) (payload []byte, header jose.Header) {
	t := p.t
	t.Helper()
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	require.NoError(t, err)
	header = signed.Signatures[0].Header
	require.NotEmpty(t, header.KeyID, "there is more than one key")
	found := p.keys.Key(header.KeyID)
	require.Len(t, found, 1, "the key is published, once")
	payload, err = signed.Verify(found[0].Key)
	require.NoError(t, err)
	return payload, header
}

// readIDToken holds an ID token against what is true of each: OpenID Connect Core
// sections 2 and 3.1.3.7.
func (p *party) readIDToken(token string) (c claims) {
	t := p.t
	t.Helper()
	payload, header := p.verified(token)
	require.NoError(t, json.Unmarshal(payload, &c))
	require.NoError(t, json.Unmarshal(payload, &c.all))
	c.header = header

	now := p.Clock.Now()
	require.Equal(t, p.Issuer, c.Issuer)
	require.Equal(t, jwt.Audience{p.client}, c.Audience)
	require.Contains(t, []string{"", p.client}, c.AZP)
	require.NotEmpty(t, c.Subject)
	require.LessOrEqual(t, len(c.Subject), 255)
	require.True(t, ascii(c.Subject))
	require.NotNil(t, c.Expiry)
	require.True(t, c.Expiry.Time().After(now))
	require.NotNil(t, c.IssuedAt)
	require.WithinDuration(t, now, c.IssuedAt.Time(), time.Second)
	for name, value := range c.all {
		require.NotNil(t, value, "%s is left out rather than null", name)
		require.NotEqual(t, "", value, "%s is left out rather than empty", name)
	}
	if c.AuthTime != nil {
		require.False(t, c.AuthTime.Time().After(now))
	}
	return c
}

// checkIDToken is what else is true of the one that comes for a code.
func (f *flow) checkIDToken(a *servertest.Answer) claims {
	t := f.t
	t.Helper()
	c := f.readIDToken(a.Text("id_token"))
	require.Equal(t, f.query.Get("nonce"), c.Nonce, "the nonce of the request, or none")
	if c.ATHash != "" {
		sum := sha256.Sum256([]byte(a.Access()))
		require.Equal(t, base64.RawURLEncoding.EncodeToString(sum[:16]), c.ATHash)
	}
	require.NotContains(t, c.all, "c_hash", "of another flow")
	return c
}

func ascii(text string) bool {
	return !slices.ContainsFunc([]byte(text), func(c byte) bool { return c < 0x20 || c > 0x7e })
}
