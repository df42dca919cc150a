package keys

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	secretMinLen      = 32
	secretMinDistinct = 8
	keyIDLen          = 4
	derivedLen        = 32
)

// Secrets are the server's secrets, the current one first. What the current one
// makes, the others can only read: that is how a secret is rotated (new first, old
// kept, old removed later).
type Secrets struct {
	list []string
	seal []sealer
}

type sealer struct {
	id   [keyIDLen]byte
	aead cipher.AEAD
}

// ParseSecrets reads secrets that are separated by white space or commas. A short,
// monotonous or repeated one is refused with ErrSecret: a repeated one is nearly
// always a rotation that went wrong.
func ParseSecrets(text string) (*Secrets, error) {
	list := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: there is none", ErrSecret)
	}
	seen := make(map[string]int, len(list))
	for i, secret := range list {
		if err := checkSecret(secret); err != nil {
			return nil, fmt.Errorf("%w: number %d of %d %w", ErrSecret, i+1, len(list), err)
		}
		if first, ok := seen[secret]; ok {
			return nil, fmt.Errorf("%w: number %d repeats number %d", ErrSecret, i+1, first)
		}
		seen[secret] = i + 1
	}
	s := &Secrets{list: list}
	for _, key := range s.Derive("seal") {
		aead, err := newAEAD(key.Key)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSecret, err)
		}
		s.seal = append(s.seal, sealer{id: key.ID, aead: aead})
	}
	return s, nil
}

func checkSecret(secret string) error {
	if !utf8.ValidString(secret) {
		return fmt.Errorf("is not UTF-8")
	}
	if n := utf8.RuneCountInString(secret); n < secretMinLen {
		return fmt.Errorf("has %d characters, the least is %d", n, secretMinLen)
	}
	distinct := make(map[rune]bool)
	for _, r := range secret {
		distinct[r] = true
	}
	if len(distinct) < secretMinDistinct {
		return fmt.Errorf("has only %d different characters", len(distinct))
	}
	return nil
}

// GenerateSecret draws a secret of 256 bits in 43 characters.
func GenerateSecret(rand io.Reader) (string, error) {
	var raw [32]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return "", fmt.Errorf("draw server secret: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw[:]), nil
}

// Derived is a key made of one secret for one purpose. ID names it in what it
// made; it depends on both and tells nothing about either.
type Derived struct {
	ID  [keyIDLen]byte
	Key []byte
}

// Derive makes one key per secret, the current one first, by HKDF-SHA-256
// (RFC 5869). Keys of different purposes know nothing of each other.
func (s *Secrets) Derive(purpose string) []Derived {
	out := make([]Derived, len(s.list))
	for i, secret := range s.list {
		raw, err := hkdf.Key(sha256.New, []byte(secret), nil, "grantor/1/"+purpose, derivedLen+keyIDLen)
		if err != nil {
			// Only an output beyond 255 hashes, or a FIPS mode that refuses
			// secrets below 14 bytes, can fail: neither can happen here.
			panic("derive key: " + err.Error())
		}
		out[i] = Derived{ID: [keyIDLen]byte(raw[derivedLen:]), Key: raw[:derivedLen:derivedLen]}
	}
	return out
}

const hidden = "***"

// String hides the secrets.
func (s Secrets) String() string { return hidden }

// Format hides the secrets from every verb: %x and %d do not ask String.
func (s Secrets) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue hides the secrets from slog.
func (s Secrets) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the secrets from encoders.
func (s Secrets) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// String hides the key.
func (d Derived) String() string { return hidden }

// Format hides the key from every verb.
func (d Derived) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue hides the key from slog.
func (d Derived) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the key from encoders.
func (d Derived) MarshalText() ([]byte, error) { return []byte(hidden), nil }
