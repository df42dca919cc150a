package keys

import (
	"crypto/cipher"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// Box seals what leaves the server and comes back: opaque access tokens, cookies,
// requests that wait for a person. XChaCha20-Poly1305, because its nonce is long
// enough to be drawn for ever: such things are many, and Secrets.Seal has a bound.
//
// What is sealed is text: a visible prefix (kind and version, which is authenticated
// too), then base64url of
//
//	key id (4) | nonce (24) | ciphertext and tag
type Box struct {
	prefix string
	bound  []byte // the prefix again, as it is authenticated
	keys   []boxKey
}

type boxKey struct {
	id   [keyIDLen]byte
	aead cipher.AEAD
}

// NewBox seals with the key of the current secret and opens with those of all. The
// purpose keeps its keys apart from every other's.
func (s *Secrets) NewBox(purpose, prefix string) (*Box, error) {
	b := &Box{prefix: prefix, bound: []byte(prefix)}
	for _, d := range s.Derive(purpose) {
		aead, err := chacha20poly1305.NewX(d.Key)
		if err != nil {
			return nil, fmt.Errorf("make box: %w", err)
		}
		b.keys = append(b.keys, boxKey{id: d.ID, aead: aead})
	}
	return b, nil
}

// Holds reports whether the text looks like something of this box.
func (b *Box) Holds(text string) bool { return strings.HasPrefix(text, b.prefix) }

// Seal encrypts plain into text that needs no quoting in a URL, a form or a cookie.
func (b *Box) Seal(rand io.Reader, plain []byte) (string, error) {
	k := b.keys[0]
	sealed := make([]byte, keyIDLen+k.aead.NonceSize(), keyIDLen+k.aead.NonceSize()+len(plain)+k.aead.Overhead())
	copy(sealed, k.id[:])
	nonce := sealed[keyIDLen:]
	if _, err := io.ReadFull(rand, nonce); err != nil {
		return "", fmt.Errorf("draw nonce: %w", err)
	}
	sealed = k.aead.Seal(sealed, nonce, plain, b.bound)
	text := make([]byte, 0, len(b.prefix)+base64.RawURLEncoding.EncodedLen(len(sealed)))
	return string(base64.RawURLEncoding.AppendEncode(append(text, b.prefix...), sealed)), nil
}

// Open decrypts what Seal made under any of the secrets. It answers ErrSeal for
// everything else.
func (b *Box) Open(text string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(text, b.prefix)
	// The decoder would skip line breaks.
	if !ok || strings.ContainsAny(encoded, "\r\n") {
		return nil, ErrSeal
	}
	sealed, err := strict.DecodeString(encoded)
	if err != nil || len(sealed) < keyIDLen+chacha20poly1305.NonceSizeX {
		return nil, ErrSeal
	}
	nonce, rest := sealed[keyIDLen:keyIDLen+chacha20poly1305.NonceSizeX], sealed[keyIDLen+chacha20poly1305.NonceSizeX:]
	for _, k := range b.keys {
		if [keyIDLen]byte(sealed[:keyIDLen]) != k.id {
			continue
		}
		plain, err := k.aead.Open(rest[:0], nonce, rest, b.bound) // in place: nobody else has it
		if err != nil {
			return nil, ErrSeal
		}
		return plain, nil
	}
	return nil, ErrSeal
}
