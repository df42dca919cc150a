package oauth

import (
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// opaquePrefix is kind and version, like grants.Kind: secret scanners and people can tell.
const opaquePrefix = "ga1_"

// SealKey is one key of Opaque, known by its id inside the tokens it made.
type SealKey struct {
	ID  [4]byte
	Key []byte // 32 bytes
}

// Opaque seals claims so that only this server can read them. XChaCha20-Poly1305,
// because its nonce is long enough to be drawn for ever: tokens are many.
type Opaque struct {
	keys []sealKey
}

type sealKey struct {
	id   [4]byte
	aead cipher.AEAD
}

// NewOpaque seals with the first key and opens with any.
func NewOpaque(list []SealKey) (*Opaque, error) {
	if len(list) == 0 {
		return nil, errors.New("opaque tokens: no key")
	}
	o := new(Opaque)
	for _, k := range list {
		aead, err := chacha20poly1305.NewX(k.Key)
		if err != nil {
			return nil, fmt.Errorf("opaque tokens: %w", err)
		}
		o.keys = append(o.keys, sealKey{id: k.ID, aead: aead})
	}
	return o, nil
}

func (o *Opaque) seal(rand io.Reader, claims []byte) (string, error) {
	k := o.keys[0]
	sealed := make([]byte, len(k.id)+k.aead.NonceSize(), len(k.id)+k.aead.NonceSize()+len(claims)+k.aead.Overhead())
	copy(sealed, k.id[:])
	nonce := sealed[len(k.id):]
	if _, err := io.ReadFull(rand, nonce); err != nil {
		return "", fmt.Errorf("draw nonce: %w", err)
	}
	sealed = k.aead.Seal(sealed, nonce, claims, []byte(opaquePrefix))
	return opaquePrefix + base64.RawURLEncoding.EncodeToString(sealed), nil
}

func (o *Opaque) open(token string) ([]byte, error) {
	text, ok := strings.CutPrefix(token, opaquePrefix)
	if !ok || strings.ContainsAny(text, "\r\n") {
		return nil, errAccessToken
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(sealed) < 4+chacha20poly1305.NonceSizeX {
		return nil, errAccessToken
	}
	for _, k := range o.keys {
		if [4]byte(sealed[:4]) != k.id {
			continue
		}
		nonce, rest := sealed[4:4+chacha20poly1305.NonceSizeX], sealed[4+chacha20poly1305.NonceSizeX:]
		claims, err := k.aead.Open(nil, nonce, rest, []byte(opaquePrefix))
		if err != nil {
			return nil, errAccessToken
		}
		return claims, nil
	}
	return nil, errAccessToken
}
