package clients_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/grantorhq/grantor/clients"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const phc = "$argon2id$v=19$m=64,t=2,p=2$SdWVtaLpCl4RU8H6Ds9w7g$yxMC/VFxKgvAmLtkNyfOpsmpeTo29HzClGxQDNSAvDc"

func generate(t require.TestingT) (string, clients.Secret) {
	plain, s, err := clients.GenerateSecret(rand.Reader, now)
	require.NoError(t, err)
	return plain, s
}

func chosen(t require.TestingT) clients.Secret {
	s, err := clients.ChosenSecret(rand.Reader, phc, now)
	require.NoError(t, err)
	return s
}

func TestGenerateSecret_G09(t *testing.T) {
	plain, s := generate(t)
	require.Regexp(t, `^[A-Za-z0-9_-]{43}$`, plain)
	raw, err := base64.RawURLEncoding.DecodeString(plain)
	require.NoError(t, err)
	require.Len(t, raw, 32, "256 bits")

	sum := sha256.Sum256([]byte(plain))
	require.Equal(t, "sha256:"+base64.RawURLEncoding.EncodeToString(sum[:]), s.Hash, "hashed at rest")
	require.NotContains(t, fmt.Sprintf("%+v", s), plain)
	require.Regexp(t, `^[a-z2-7]{8}$`, s.ID)
	require.Equal(t, now, s.CreatedAt)
	require.Zero(t, s.ExpiresAt)
	require.Zero(t, s.LastUsedAt)
	require.True(t, s.Generated())

	again, other := generate(t)
	require.NotEqual(t, plain, again)
	require.NotEqual(t, s.ID, other.ID)
	broken := errors.New("no randomness")
	_, _, err = clients.GenerateSecret(iotest.ErrReader(broken), now)
	require.ErrorIs(t, err, broken)
}

func TestMatchesGenerated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain, s := generate(t)
		require.True(t, s.MatchesGenerated(plain))
		at := rapid.IntRange(0, len(plain)-1).Draw(t, "at")
		changed := []byte(plain)
		changed[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		require.False(t, s.MatchesGenerated(string(changed)))
		require.False(t, s.MatchesGenerated(plain[:at]))
		require.False(t, s.MatchesGenerated(plain+"A"))
		require.False(t, s.MatchesGenerated(s.Hash), "the stored hash is no secret")
	})
	require.False(t, chosen(t).MatchesGenerated(phc))
	require.False(t, clients.Secret{}.MatchesGenerated(""))
	require.False(t, clients.Secret{Hash: "sha256:"}.MatchesGenerated(""))
}

func TestChosenSecret(t *testing.T) {
	s := chosen(t)
	require.Equal(t, phc, s.Hash)
	require.Regexp(t, `^[a-z2-7]{8}$`, s.ID)
	require.Equal(t, now, s.CreatedAt)
	require.False(t, s.Generated())
	for _, hash := range []string{"", "plain text", "sha256:abc"} {
		_, err := clients.ChosenSecret(rand.Reader, hash, now)
		require.ErrorIs(t, err, clients.ErrInvalid, "never stored as it is")
	}
	broken := errors.New("no randomness")
	_, err := clients.ChosenSecret(iotest.ErrReader(broken), phc, now)
	require.ErrorIs(t, err, broken)
}

func TestCheckChosenSecret_G03(t *testing.T) {
	for _, secret := range []string{"abcdefghijkl", "with blanks in it", "zwölf Zeichen", strings.Repeat("äb", 128)} {
		require.NoError(t, clients.CheckChosenSecret(secret), secret)
	}
	for name, secret := range map[string]string{
		"empty":               "",
		"three characters":    "abc",
		"eleven characters":   "abcdefghijk",
		"eleven, more bytes":  "äöüäöüäöüäö",
		"one repeated":        strings.Repeat("x", 40),
		"one umlaut repeated": strings.Repeat("ä", 40),
		"257 characters":      strings.Repeat("ab", 128) + "c",
		"line break":          "abcdefghijkl\n",
		"NUL":                 "abcdefgh\x00ijkl",
		"invalid UTF-8":       "abcdefghijkl\xff",
	} {
		t.Run(name, func(t *testing.T) {
			err := clients.CheckChosenSecret(secret)
			require.ErrorIs(t, err, clients.ErrInvalid)
			require.NotContains(t, err.Error(), "\n")
			if secret != "" {
				require.NotContains(t, err.Error(), secret)
			}
		})
	}
}

func TestLive(t *testing.T) {
	require.True(t, clients.Secret{}.Live(now))
	require.True(t, clients.Secret{ExpiresAt: now.Add(1)}.Live(now))
	require.False(t, clients.Secret{ExpiresAt: now}.Live(now))

	c := web()
	c.Secrets = []clients.Secret{{ID: "a"}, {ID: "b", ExpiresAt: now}, {ID: "c", ExpiresAt: now.Add(1)}}
	live := c.LiveSecrets(now)
	require.Len(t, live, 2)
	require.Equal(t, "a", live[0].ID)
	require.Equal(t, "c", live[1].ID)
}

func TestPlanRotation(t *testing.T) {
	next := clients.Secret{ID: "next"}
	forever, soon, dead := clients.Secret{ID: "forever"}, clients.Secret{ID: "soon", ExpiresAt: now.Add(time.Minute)}, clients.Secret{ID: "dead", ExpiresAt: now}
	hour := func(s clients.Secret) clients.Secret { s.ExpiresAt = now.Add(time.Hour); return s }
	for name, c := range map[string]struct {
		have    []clients.Secret
		overlap time.Duration
		want    []clients.Secret
		err     error
	}{
		"the first":                      {nil, 0, []clients.Secret{next}, nil},
		"the first, with overlap":        {nil, time.Hour, []clients.Secret{next}, nil},
		"at once":                        {[]clients.Secret{forever}, 0, []clients.Secret{next}, nil},
		"at once, two live":              {[]clients.Secret{forever, soon}, 0, []clients.Secret{next}, nil},
		"overlap":                        {[]clients.Secret{forever}, time.Hour, []clients.Secret{next, hour(forever)}, nil},
		"overlap never prolongs":         {[]clients.Secret{soon}, time.Hour, []clients.Secret{next, soon}, nil},
		"overlap forgets the dead":       {[]clients.Secret{dead, forever}, time.Hour, []clients.Secret{next, hour(forever)}, nil},
		"overlap with two live":          {[]clients.Secret{forever, soon}, time.Hour, nil, clients.ErrTooManySecrets},
		"negative overlap":               {[]clients.Secret{forever}, -1, nil, clients.ErrInvalid},
		"overlap, only dead ones before": {[]clients.Secret{dead}, time.Hour, []clients.Secret{next}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			client := web()
			client.Secrets = c.have
			got, err := client.PlanRotation(next, c.overlap, now)
			require.ErrorIs(t, err, c.err)
			require.Equal(t, c.want, got)
		})
	}
	have := []clients.Secret{forever}
	client := web()
	client.Secrets = have
	_, err := client.PlanRotation(next, time.Hour, now)
	require.NoError(t, err)
	require.Equal(t, forever, have[0], "the client itself is not changed: it may be shared")

	public := app()
	_, err = public.PlanRotation(next, 0, now)
	require.ErrorIs(t, err, clients.ErrInvalid)
}

func TestMetadata_G04(t *testing.T) {
	plain, s := generate(t)
	used := chosen(t)
	used.LastUsedAt, used.ExpiresAt = now.Add(-time.Minute), now.Add(time.Hour)
	c := web()
	c.Secrets = []clients.Secret{s, used, {ID: "dead1", Hash: "sha256:dead1", ExpiresAt: now}}
	c.AccessTokenLifetime, c.RefreshTokenLifetime, c.SessionLifetime = 10*time.Minute, time.Hour, 2*time.Hour
	c.AllowedOrigins = []string{"https://app.test"}
	c.PostLogoutRedirectURIs, c.BackchannelLogoutURI = []string{"https://app.test/bye"}, "https://app.test/backchannel"
	c.IDTokenAlg, c.UserinfoAlg = clients.ES256, clients.RS256
	c.ClientURI, c.PolicyURI, c.TOSURI = "https://app.test", "https://app.test/privacy", "https://app.test/terms"
	c.CreatedAt, c.UpdatedAt, c.DisabledAt, c.Version = now.In(time.FixedZone("x", 3600)), now, now, 7

	text, err := json.Marshal(c.Metadata(now))
	require.NoError(t, err)
	for _, secret := range []string{plain, s.Hash, strings.TrimPrefix(s.Hash, "sha256:"), phc, "argon2", "dead1", "hash"} {
		require.NotContains(t, string(text), secret)
	}
	require.JSONEq(t, `{
		"client_id": "shop", "client_name": "Shop",
		"grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"], "redirect_uris": ["https://app.test/cb"],
		"scope": "openid orders:read", "audience": ["https://api.test"], "first_party": false, "resource_server": false,
		"pkce": "required", "access_token_format": "jwt", "access_token_lifetime": 600, "refresh_token_lifetime": 3600, "session_lifetime": 7200,
		"refresh_token_delivery": "body", "allowed_origins": ["https://app.test"], "disabled": true,
		"post_logout_redirect_uris": ["https://app.test/bye"], "backchannel_logout_uri": "https://app.test/backchannel",
		"id_token_signed_response_alg": "ES256", "userinfo_signed_response_alg": "RS256",
		"client_uri": "https://app.test", "policy_uri": "https://app.test/privacy", "tos_uri": "https://app.test/terms",
		"created_at": "2026-03-01T12:00:00Z", "updated_at": "2026-03-01T12:00:00Z", "version": 7,
		"secrets": [
			{"secret_id": "`+s.ID+`", "kind": "generated", "created_at": "2026-03-01T12:00:00Z", "last_used_at": null, "expires_at": null},
			{"secret_id": "`+used.ID+`", "kind": "chosen", "created_at": "2026-03-01T12:00:00Z", "last_used_at": "2026-03-01T11:59:00Z", "expires_at": "2026-03-01T13:00:00Z"}
		]}`, string(text))
}

func TestMetadataOfLittle(t *testing.T) {
	c := clients.Client{ID: "rs", ResourceServer: true, AuthMethod: clients.AuthPost}
	c.SetDefaults()
	text, err := json.Marshal(c.Metadata(now))
	require.NoError(t, err)
	require.NotContains(t, string(text), "null", "empty lists are lists")
	require.Contains(t, string(text), `"token_endpoint_auth_method":"client_secret_post"`)
	require.Contains(t, string(text), `"response_types":[]`)
}

func BenchmarkMatchesGenerated(b *testing.B) {
	plain, s := generate(b)
	b.ReportAllocs()
	for b.Loop() {
		s.MatchesGenerated(plain)
	}
}
