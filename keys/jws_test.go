package keys_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/grantorhq/grantor/keys"
)

const claims = `{"iss":"https://as.test","sub":"alice"}`

var types = []string{keys.TypeAccessToken, keys.TypeJWT, keys.TypeLogoutToken}

func sign(t require.TestingT, algorithm, typ, payload string) string {
	signer, err := firstSet().Active(algorithm, start)
	require.NoError(t, err)
	token, err := signer.Sign(rand.Reader, typ, []byte(payload))
	require.NoError(t, err)
	return token
}

type noSource struct{}

func (noSource) Read([]byte) (int, error) { return 0, errors.New("a source that is not to be asked") }

// RFC 8725 section 3.2: a poor source of randomness must not give the key away, so none is asked.
func TestSignNeedsNoRandomness(t *testing.T) {
	for _, algorithm := range keys.Algorithms() {
		signer, err := firstSet().Active(algorithm, start)
		require.NoError(t, err)
		token, err := signer.Sign(noSource{}, keys.TypeAccessToken, []byte(claims))
		require.NoError(t, err)
		require.Equal(t, sign(t, algorithm, keys.TypeAccessToken, claims), token, "the same every time")
		require.NotEqual(t, sign(t, algorithm, keys.TypeAccessToken, claims+" ")[len(token)-20:], token[len(token)-20:])
	}
}

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func TestSignIsRead(t *testing.T) {
	for _, algorithm := range keys.Algorithms() {
		for _, typ := range types {
			t.Run(algorithm+" "+typ, func(t *testing.T) {
				token := sign(t, algorithm, typ, claims)
				payload, err := firstSet().Verify(token, typ, start)
				require.NoError(t, err)
				require.Equal(t, claims, string(payload))

				kid := pick(algorithm, 1).ID
				header := `{"alg":"` + algorithm + `","typ":"` + typ + `","kid":"` + kid + `"}`
				require.Equal(t, b64(header), strings.Split(token, ".")[0])

				foreign, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
				require.NoError(t, err)
				payload, err = foreign.Verify(pick(algorithm, 1).Private.Public())
				require.NoError(t, err)
				require.Equal(t, claims, string(payload))
			})
		}
	}
	signer, err := firstSet().Active(keys.ES256, start)
	require.NoError(t, err)
	_, err = signer.Sign(rand.Reader, "jwt", nil)
	require.Error(t, err, "a type that Verify would not read")
}

// Whatever the payload and however short r and s come out (one in 256 has a leading
// zero), the token reads back and another library agrees.
func TestSignVerify(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payload := rapid.SliceOf(rapid.Byte()).Draw(t, "payload")
		typ := rapid.SampledFrom(types).Draw(t, "typ")
		for range 8 {
			token := sign(t, keys.ES256, typ, string(payload))
			got, err := firstSet().Verify(token, typ, start)
			require.NoError(t, err)
			require.True(t, bytes.Equal(payload, got))
			if len(payload) > 0 {
				foreign, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
				require.NoError(t, err)
				_, err = foreign.Verify(pick(keys.ES256, 1).Private.Public())
				require.NoError(t, err)
			}
		}
	})
}

func TestVerifyAnyChangedCharacter_S10(t *testing.T) {
	for _, algorithm := range keys.Algorithms() {
		token := sign(t, algorithm, keys.TypeAccessToken, claims)
		rapid.Check(t, func(t *rapid.T) {
			changed := []byte(token)
			at := rapid.IntRange(0, len(token)-1).Draw(t, "at")
			to := rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte("ABCZabcz0189-_.=\n\r +/"))).Draw(t, "to")
			if changed[at] == to {
				return
			}
			changed[at] = to
			payload, err := firstSet().Verify(string(changed), keys.TypeAccessToken, start)
			require.ErrorIs(t, err, keys.ErrToken)
			require.Nil(t, payload)

			inserted := token[:at] + string(rune(to&0x7f)) + token[at:]
			_, err = firstSet().Verify(inserted, keys.TypeAccessToken, start)
			require.ErrorIs(t, err, keys.ErrToken, "inserted")
			_, err = firstSet().Verify(token[:at]+token[at+1:], keys.TypeAccessToken, start)
			require.ErrorIs(t, err, keys.ErrToken, "left out")
			_, err = firstSet().Verify(token[:at], keys.TypeAccessToken, start)
			require.ErrorIs(t, err, keys.ErrToken, "cut")
		})
	}
}

// The last character of a signature carries bits that belong to no byte. Each of
// its other spellings must be refused, or a token on a deny-list by text has twins.
func TestVerifyTrailingBits(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for _, algorithm := range keys.Algorithms() {
		for _, payload := range []string{"a", "ab", "abc"} {
			token := sign(t, algorithm, keys.TypeJWT, payload)
			for i, char := range alphabet {
				changed := token[:len(token)-1] + string(char)
				_, err := firstSet().Verify(changed, keys.TypeJWT, start)
				if changed == token {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, keys.ErrToken, "%s %d", algorithm, i)
				}
			}
		}
	}
}

// forge signs with a key of ours whatever header it is told to.
func forge(t *testing.T, header, payload string) string {
	t.Helper()
	signed := header + "." + payload
	digest := crypto.SHA256.New()
	digest.Write([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, pick(keys.ES256, 1).Private.(*ecdsa.PrivateKey), digest.Sum(nil))
	require.NoError(t, err)
	raw := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return signed + "." + base64.RawURLEncoding.EncodeToString(raw)
}

// Each of these is signed by our own key, so only its form is at fault.
func TestVerifyRefusesTheForm(t *testing.T) {
	kid := pick(keys.ES256, 1).ID
	good := `{"alg":"ES256","typ":"at+jwt","kid":"` + kid + `"}`
	_, err := firstSet().Verify(forge(t, b64(good), b64(claims)), keys.TypeAccessToken, start)
	require.NoError(t, err, "the forger of this test works")

	for name, header := range map[string]string{
		"S-03 kid unknown":           `{"alg":"ES256","typ":"at+jwt","kid":"unknown"}`,
		"S-03 kid a path":            `{"alg":"ES256","typ":"at+jwt","kid":"../../etc/passwd"}`,
		"S-03 kid missing":           `{"alg":"ES256","typ":"at+jwt"}`,
		"S-03 kid of the other":      `{"alg":"ES256","typ":"at+jwt","kid":"` + pick(keys.RS256, 1).ID + `"}`,
		"S-05 crit":                  `{"alg":"ES256","typ":"at+jwt","kid":"` + kid + `","crit":["x"],"x":1}`,
		"S-05 b64 false":             `{"alg":"ES256","typ":"at+jwt","kid":"` + kid + `","crit":["b64"],"b64":false}`,
		"S-06 typ of an ID token":    `{"alg":"ES256","typ":"JWT","kid":"` + kid + `"}`,
		"S-06 typ in capitals":       `{"alg":"ES256","typ":"AT+JWT","kid":"` + kid + `"}`,
		"S-06 typ missing":           `{"alg":"ES256","kid":"` + kid + `"}`,
		"another order":              `{"typ":"at+jwt","alg":"ES256","kid":"` + kid + `"}`,
		"a blank":                    `{"alg":"ES256", "typ":"at+jwt","kid":"` + kid + `"}`,
		"a member twice":             `{"alg":"ES256","alg":"ES256","typ":"at+jwt","kid":"` + kid + `"}`,
		"zip":                        `{"alg":"ES256","typ":"at+jwt","kid":"` + kid + `","zip":"DEF"}`,
		"another algorithm, our key": `{"alg":"ES384","typ":"at+jwt","kid":"` + kid + `"}`,
		"empty":                      ``,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := firstSet().Verify(forge(t, b64(header), b64(claims)), keys.TypeAccessToken, start)
			require.ErrorIs(t, err, keys.ErrToken)
		})
	}
	for name, payload := range map[string]string{
		"padding":             base64.URLEncoding.EncodeToString([]byte("a")),
		"trailing bits":       "YR",
		"a line break":        "YWJj\n",
		"a line break inside": "YW\nJj",
		"standard base64":     "++++",
		"a fourth segment":    b64(claims) + "." + b64(claims),
		"S-09 five segments":  "..",
		"S-09 100,000 dots":   strings.Repeat(".", 100_000),
		"over 16 KiB":         b64(strings.Repeat("x", 16<<10)),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := firstSet().Verify(forge(t, b64(good), payload), keys.TypeAccessToken, start)
			require.ErrorIs(t, err, keys.ErrToken)
		})
	}
}

func TestVerifyRefusesTheSignature(t *testing.T) {
	ours := pick(keys.ES256, 1)
	good := b64(`{"alg":"ES256","typ":"at+jwt","kid":"` + ours.ID + `"}`)
	token := forge(t, good, b64(claims))
	signed := token[:strings.LastIndexByte(token, '.')]
	raw, err := base64.RawURLEncoding.DecodeString(token[len(signed)+1:])
	require.NoError(t, err)
	enc := base64.RawURLEncoding.EncodeToString

	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	joseSign := func(alg jose.SignatureAlgorithm, key any, options *jose.SignerOptions) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options.WithType("at+jwt"))
		require.NoError(t, err)
		object, err := signer.Sign([]byte(claims))
		require.NoError(t, err)
		text, err := object.CompactSerialize()
		require.NoError(t, err)
		return text
	}
	public, err := x509.MarshalPKIXPublicKey(ours.Private.Public())
	require.NoError(t, err)
	jwks, _ := firstSet().JWKS(start)
	withKid := func() *jose.SignerOptions { return (&jose.SignerOptions{}).WithHeader("kid", ours.ID) }

	for name, text := range map[string]string{
		"S-01 alg none":                     b64(`{"alg":"none","typ":"at+jwt","kid":"`+ours.ID+`"}`) + "." + b64(claims) + ".",
		"S-01 our header, no signature":     signed + ".",
		"S-01 no third segment":             signed,
		"S-02 HS256 keyed by the PKIX key":  joseSign(jose.HS256, public, withKid()),
		"S-02 HS256 keyed by the JWKS":      joseSign(jose.HS256, jwks, withKid()),
		"S-04 embedded jwk":                 joseSign(jose.ES256, stranger, &jose.SignerOptions{EmbedJWK: true}),
		"S-04 a stranger's key, our kid":    joseSign(jose.ES256, jose.JSONWebKey{Key: stranger, KeyID: ours.ID}, &jose.SignerOptions{}),
		"another signature":                 signed + token[len(signed):len(signed)+1] + enc(raw[:63]) + "A",
		"r and s zero":                      signed + "." + enc(make([]byte, 64)),
		"r = n":                             signed + "." + enc(append(elliptic.P256().Params().N.Bytes(), raw[32:]...)),
		"the ASN.1 form":                    signed + "." + enc(asASN1(t, ours, signed)),
		"65 bytes":                          signed + "." + enc(append(raw[:64:64], 0)),
		"signature of another payload":      signed + forge(t, good, b64("{}"))[len(good+"."+b64("{}")):],
		"empty":                             "",
		"a single dot":                      ".",
		"the payload of one, sig of other":  swapPayload(t),
		"an RS256 signature for ES256 key":  signed + "." + strings.Split(sign(t, keys.RS256, keys.TypeAccessToken, claims), ".")[2],
		"leading blank":                     " " + token,
		"trailing line break":               token + "\n",
		"trailing padding":                  token + "==",
		"the JSON serialisation":            `{"payload":"` + b64(claims) + `"}`,
		"RS256 signature with a first zero": leadingZero(t),
	} {
		t.Run(name, func(t *testing.T) {
			payload, err := firstSet().Verify(text, keys.TypeAccessToken, start)
			require.ErrorIs(t, err, keys.ErrToken)
			require.Nil(t, payload)
		})
	}
}

func asASN1(t *testing.T, k keys.Key, signed string) []byte {
	digest := crypto.SHA256.New()
	digest.Write([]byte(signed))
	der, err := k.Private.Sign(rand.Reader, digest.Sum(nil), crypto.SHA256)
	require.NoError(t, err)
	return der
}

func swapPayload(t *testing.T) string {
	a := strings.Split(sign(t, keys.ES256, keys.TypeAccessToken, claims), ".")
	b := strings.Split(sign(t, keys.ES256, keys.TypeAccessToken, `{"sub":"bob"}`), ".")
	return a[0] + "." + b[1] + "." + a[2]
}

func leadingZero(t *testing.T) string {
	parts := strings.Split(sign(t, keys.RS256, keys.TypeAccessToken, claims), ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[2])
	require.NoError(t, err)
	return parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(append([]byte{0}, raw...))
}

// (r, n-s) is as good a signature as (r, s): ECDSA is so, and RFC 7518 forbids
// neither. The twin says the same, so nothing is gained by it; what must not be
// done is to know tokens by their text. They are known by their jti.
func TestVerifyAcceptsTheHighSTwin(t *testing.T) {
	token := sign(t, keys.ES256, keys.TypeAccessToken, claims)
	cut := strings.LastIndexByte(token, '.') + 1
	raw, err := base64.RawURLEncoding.DecodeString(token[cut:])
	require.NoError(t, err)
	twin := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(raw[32:]))
	twin.FillBytes(raw[32:])
	payload, err := firstSet().Verify(token[:cut]+base64.RawURLEncoding.EncodeToString(raw), keys.TypeAccessToken, start)
	require.NoError(t, err)
	require.Equal(t, claims, string(payload))
}

func TestVerifyTypes_S06(t *testing.T) {
	for _, made := range types {
		token := sign(t, keys.ES256, made, claims)
		for _, wanted := range append([]string{"", "jwt", "none"}, types...) {
			_, err := firstSet().Verify(token, wanted, start)
			if made == wanted {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, keys.ErrToken, "%s as %q", made, wanted)
			}
		}
	}
}

func TestVerifyFollowsTheStates_W06(t *testing.T) {
	one, two := planned(t, 1, 0), planned(t, 2, time.Hour)
	set := newSet(t, one, two)
	first, err := set.Active(keys.ES256, start)
	require.NoError(t, err)
	token, err := first.Sign(rand.Reader, keys.TypeJWT, []byte(claims))
	require.NoError(t, err)
	second, err := set.Active(keys.ES256, start.Add(time.Hour))
	require.NoError(t, err)
	early, err := second.Sign(rand.Reader, keys.TypeJWT, []byte(claims))
	require.NoError(t, err)

	_, err = set.Verify(token, keys.TypeJWT, start.Add(25*time.Hour))
	require.NoError(t, err, "retired")
	_, err = set.Verify(token, keys.TypeJWT, start.Add(26*time.Hour))
	require.ErrorIs(t, err, keys.ErrToken, "gone")
	_, err = set.Verify(early, keys.TypeJWT, start)
	require.NoError(t, err, "next: another replica's clock may be ahead")
	_, err = newSet(t, two).Verify(token, keys.TypeJWT, start)
	require.ErrorIs(t, err, keys.ErrToken, "removed")
}

func FuzzVerify(f *testing.F) {
	for _, algorithm := range keys.Algorithms() {
		for _, typ := range types {
			f.Add(sign(f, algorithm, typ, claims), typ)
		}
	}
	f.Add("", "")
	f.Add("..", keys.TypeJWT)
	f.Add(b64(`{"alg":"none"}`)+"."+b64(claims)+".", keys.TypeJWT)
	f.Fuzz(func(t *testing.T, token, typ string) {
		payload, err := firstSet().Verify(token, typ, start)
		if err != nil {
			require.Equal(t, keys.ErrToken, err)
			require.Nil(t, payload)
			return
		}
		// What we accept, others accept, with the same payload.
		foreign, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256})
		require.NoError(t, err)
		for _, k := range firstKeys() {
			if k.ID == foreign.Signatures[0].Header.KeyID {
				got, err := foreign.Verify(k.Private.Public())
				require.NoError(t, err)
				require.Equal(t, string(payload), string(got))
			}
		}
	})
}

const typicalPayload = `{"iss":"https://as.example.com","sub":"aaaaaaaaaaaaaaaaaaaaaaaaaa","aud":["https://api.example.com"],"exp":1772367000,"iat":1772366400,` +
	`"jti":"bbbbbbbbbbbbbbbbbbbbbbbbbb","client_id":"cccccccccccccccccccccccccc","scope":"openid profile email orders:read orders:write","sid":"dddddddddddddddddddddddddd"}`

func BenchmarkSign(b *testing.B) {
	for _, algorithm := range keys.Algorithms() {
		b.Run(algorithm, func(b *testing.B) {
			signer, err := firstSet().Active(algorithm, start)
			require.NoError(b, err)
			payload := []byte(typicalPayload)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = signer.Sign(rand.Reader, keys.TypeAccessToken, payload)
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, algorithm := range keys.Algorithms() {
		b.Run(algorithm, func(b *testing.B) {
			token := sign(b, algorithm, keys.TypeAccessToken, typicalPayload)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = firstSet().Verify(token, keys.TypeAccessToken, start)
			}
		})
	}
	b.Run("forged header", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = firstSet().Verify("e30.e30.e30", keys.TypeAccessToken, start)
		}
	})
}
