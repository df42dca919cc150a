package grants

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync"
)

// Kind is what a token is for. It is the token's visible prefix, version
// included, so that secret scanners and people can tell; and it is under the MAC,
// so that a code is never a refresh token.
type Kind string

// The kinds, version 1.
const (
	Code    Kind = "gc1_"
	Refresh Kind = "gr1_"
	Browser Kind = "gs1_" // a browser's sign-in: its row is not a grant's, its proof is the same
)

// A token is its kind followed by 80 characters: base64url, without padding, of
//
//	key id (4) | grant id (16) | generation (8, big endian) | HMAC-SHA-256 (32)
//
// 60 bytes fill 80 characters exactly, so no two texts decode to the same bytes.
const (
	keyIDLen   = 4
	bodyLen    = keyIDLen + len(ID{}) + 8
	tokenLen   = bodyLen + sha256.Size
	encodedLen = tokenLen / 3 * 4
	kindLen    = len(Code)
)

// Key is one MAC key, known by its id inside the tokens it made.
type Key struct {
	ID     [keyIDLen]byte
	Secret []byte
}

// Codec makes tokens with its first key and reads those of any of its keys.
type Codec struct {
	keys []codecKey
}

// codecKey has MACs with the key already in them: preparing one costs more than using it.
type codecKey struct {
	id   [keyIDLen]byte
	macs *sync.Pool
}

// NewCodec wants at least one key, of 32 bytes or more, and no id twice.
func NewCodec(keys []Key) (*Codec, error) {
	if len(keys) == 0 {
		return nil, errors.New("token codec: no key")
	}
	c := &Codec{}
	seen := make(map[[keyIDLen]byte]bool, len(keys))
	for _, k := range keys {
		if len(k.Secret) < 32 {
			return nil, errors.New("token codec: key is shorter than 32 bytes")
		}
		if seen[k.ID] {
			return nil, fmt.Errorf("token codec: two keys have the id %x", k.ID)
		}
		seen[k.ID] = true
		c.keys = append(c.keys, codecKey{id: k.ID, macs: &sync.Pool{New: func() any { return &mac{Hash: hmac.New(sha256.New, k.Secret)} }}})
	}
	return c, nil
}

// Mint makes the one token of (kind, grant, generation). The same three always
// give the same token while the first key stays.
func (c *Codec) Mint(kind Kind, id ID, generation int64) string {
	var raw [tokenLen]byte
	key := c.keys[0]
	copy(raw[:], key.id[:])
	copy(raw[keyIDLen:], id[:])
	binary.BigEndian.PutUint64(raw[keyIDLen+len(id):], uint64(generation))
	sum := key.sum(kind, raw[:bodyLen])
	copy(raw[bodyLen:], sum[:])

	var text [kindLen + encodedLen]byte
	copy(text[:], kind)
	base64.RawURLEncoding.Encode(text[kindLen:], raw[:])
	return string(text[:])
}

// Parse reads a token of that kind. It answers ErrToken, and nothing else, for
// whatever Mint did not make: no query is ever needed to refuse a forgery.
func (c *Codec) Parse(kind Kind, token string) (ID, int64, error) {
	text, ok := strings.CutPrefix(token, string(kind))
	if !ok || len(text) != encodedLen {
		return ID{}, 0, ErrToken
	}
	var raw [tokenLen]byte
	// The decoder skips line breaks, so the count is checked as well.
	if n, err := base64.RawURLEncoding.Strict().Decode(raw[:], []byte(text)); err != nil || n != tokenLen {
		return ID{}, 0, ErrToken
	}
	for _, key := range c.keys {
		if [keyIDLen]byte(raw[:keyIDLen]) != key.id {
			continue
		}
		sum := key.sum(kind, raw[:bodyLen])
		generation := int64(binary.BigEndian.Uint64(raw[keyIDLen+len(ID{}) : bodyLen]))
		if !hmac.Equal(sum[:], raw[bodyLen:]) || generation < 0 {
			return ID{}, 0, ErrToken
		}
		return ID(raw[keyIDLen : keyIDLen+len(ID{})]), generation, nil
	}
	return ID{}, 0, ErrToken
}

// mac is one HMAC with the memory that it reads and writes.
type mac struct {
	hash.Hash
	text [kindLen + bodyLen]byte
	sum  [sha256.Size]byte
}

func (k codecKey) sum(kind Kind, body []byte) [sha256.Size]byte {
	m := k.macs.Get().(*mac)
	defer k.macs.Put(m)
	m.Reset()
	n := copy(m.text[:], kind)
	n += copy(m.text[n:], body)
	_, _ = m.Write(m.text[:n]) // a hash never fails
	m.Sum(m.sum[:0])
	return m.sum
}
