package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// The types of token that this server signs (RFC 9068 section 2.1, RFC 7519
// section 5.1, OpenID Connect Back-Channel Logout section 2.4).
const (
	TypeAccessToken = "at+jwt"
	TypeJWT         = "JWT"
	TypeLogoutToken = "logout+jwt"
)

// maxToken bounds the work that one token can cause.
const maxToken = 16 << 10

// es256Half is the length of r and of s in an ES256 signature (RFC 7518 section 3.4).
const es256Half = 32

// strict refuses bits after the last byte: a token has one spelling.
var strict = base64.RawURLEncoding.Strict()

// Signer writes compact JWS (RFC 7515 section 7.1) with one key. Its headers are
// made once, so that signing is hash, signature and base64, and verifying can
// compare bytes instead of reading JSON.
type Signer struct {
	key     Key
	headers map[string]string // typ -> base64url of the header
}

func newSigner(k Key) *Signer {
	s := &Signer{key: k, headers: make(map[string]string)}
	for _, typ := range []string{TypeAccessToken, TypeJWT, TypeLogoutToken} {
		text := `{"alg":"` + k.Algorithm + `","typ":"` + typ + `","kid":"` + k.ID + `"}`
		s.headers[typ] = base64.RawURLEncoding.EncodeToString([]byte(text))
	}
	return s
}

// KeyID is the kid of what it signs.
func (s *Signer) KeyID() string { return s.key.ID }

// Algorithm is the alg of what it signs.
func (s *Signer) Algorithm() string { return s.key.Algorithm }

// Sign writes a token of one of the Type… kinds with the payload as it is.
func (s *Signer) Sign(rand io.Reader, typ string, payload []byte) (string, error) {
	head, ok := s.headers[typ]
	if !ok {
		return "", fmt.Errorf("sign token: unknown type %q", typ)
	}
	enc := base64.RawURLEncoding
	text := make([]byte, 0, len(head)+1+enc.EncodedLen(len(payload))+1+enc.EncodedLen(s.signatureLen()))
	text = append(text, head...)
	text = append(text, '.')
	text = enc.AppendEncode(text, payload)

	digest := sha256.Sum256(text)
	if s.key.Algorithm == ES256 {
		// Without a source Go signs by RFC 6979, as RFC 8725 section 3.2 advises: a weak
		// source can not give the key away. It is a quarter cheaper as well.
		rand = nil
	}
	signature, err := s.key.Private.Sign(rand, digest[:], crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	if s.key.Algorithm == ES256 {
		var raw [2 * es256Half]byte
		if !fromDER(&raw, signature) {
			return "", fmt.Errorf("sign token: %w: odd signature", ErrKey)
		}
		signature = raw[:]
	}
	text = append(text, '.')
	return string(enc.AppendEncode(text, signature)), nil
}

func (s *Signer) signatureLen() int {
	if public, ok := s.key.Private.Public().(*rsa.PublicKey); ok {
		return public.Size()
	}
	return 2 * es256Half
}

// Verify gives the payload of a token of that type, or ErrToken.
//
// The header must be, byte for byte, one that this server writes for a key that is
// not gone. So there is no header to interpret: "none", an HMAC keyed by a public
// key, an embedded or foreign key, crit and b64 are not refused one by one, there is
// no way to say them (RFC 8725 sections 2.1, 3.1, 3.9 to 3.11). Of an ES256 signature (r, s) the
// twin (r, n-s) verifies too, as with every ECDSA: a token's text is not its identity, its jti is.
func (s *Set) Verify(token string, typ string, now time.Time) (payload []byte, err error) {
	if len(token) > maxToken {
		return nil, ErrToken
	}
	head, rest, ok := strings.Cut(token, ".")
	if !ok {
		return nil, ErrToken
	}
	h, ok := s.headers[head]
	if !ok || h.typ != typ || h.entry.state(now) == Gone {
		return nil, ErrToken
	}
	body, tail, ok := strings.Cut(rest, ".")
	if !ok || !h.entry.signer.verify(token[:len(head)+1+len(body)], tail) {
		return nil, ErrToken
	}
	// The decoder skips line breaks. None of ours has any.
	payload, err = strict.DecodeString(body)
	if err != nil || strict.EncodedLen(len(payload)) != len(body) {
		return nil, ErrToken
	}
	return payload, nil
}

func (s *Signer) verify(signed, tail string) bool {
	var buffer [rsaBits / 8]byte
	size := s.signatureLen()
	// A dot in the tail would be a fourth segment; it is no base64 and fails here.
	if len(tail) != strict.EncodedLen(size) {
		return false
	}
	var text [(rsaBits/8*8 + 5) / 6]byte
	n, err := strict.Decode(buffer[:], text[:copy(text[:], tail)])
	if err != nil || n != size {
		return false
	}
	digest := sha256.Sum256([]byte(signed))
	switch public := s.key.Private.Public().(type) {
	case *ecdsa.PublicKey:
		var der [derMax]byte
		return ecdsa.VerifyASN1(public, digest[:], toDER(&der, (*[2 * es256Half]byte)(buffer[:])))
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], buffer[:n]) == nil
	}
	return false
}

// crypto.Signer and crypto/ecdsa speak ASN.1 (RFC 3279 section 2.2.3), JWS speaks r || s.

func fromDER(raw *[2 * es256Half]byte, der []byte) bool {
	var r, s []byte
	var inner cryptobyte.String
	in := cryptobyte.String(der)
	if !in.ReadASN1(&inner, asn1.SEQUENCE) || !in.Empty() ||
		!inner.ReadASN1Integer(&r) || !inner.ReadASN1Integer(&s) || !inner.Empty() ||
		len(r) > es256Half || len(s) > es256Half {
		return false
	}
	copy(raw[es256Half-len(r):es256Half], r)
	copy(raw[2*es256Half-len(s):], s)
	return true
}

// derMax: a sequence of two integers, each with a sign byte. All lengths are below
// 128, so each takes one byte.
const derMax = 2 + 2*(2+1+es256Half)

func toDER(out *[derMax]byte, raw *[2 * es256Half]byte) []byte {
	der := append(out[:0], 0x30, 0)
	for _, half := range [2][]byte{raw[:es256Half], raw[es256Half:]} {
		for len(half) > 1 && half[0] == 0 {
			half = half[1:]
		}
		if half[0] < 0x80 {
			der = append(der, 0x02, byte(len(half)))
		} else {
			der = append(der, 0x02, byte(len(half)+1), 0)
		}
		der = append(der, half...)
	}
	der[1] = byte(len(der) - 2)
	return der
}
