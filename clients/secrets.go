package clients

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A generated secret can not be guessed, so it is stored under one fast hash and
// checking it costs nothing. What a person chose can be guessed, so it is stored under
// the password hash. The prefix of the stored hash tells which is which.
const (
	generatedPrefix = "sha256:"
	generatedLen    = 32 // bytes: 256 bits
	secretIDLen     = 5  // bytes: 8 characters

	minChosen = 12
	maxChosen = 256
)

// GenerateSecret draws a secret of 256 bits and what is stored of it. The plain secret is to be
// shown once.
func GenerateSecret(rand io.Reader, now time.Time) (plain string, s Secret, err error) {
	var raw [generatedLen]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return "", Secret{}, fmt.Errorf("draw client secret: %w", err)
	}
	plain = base64.RawURLEncoding.EncodeToString(raw[:])
	sum := sha256.Sum256([]byte(plain))
	s, err = newSecret(rand, generatedPrefix+base64.RawURLEncoding.EncodeToString(sum[:]), now)
	if err != nil {
		return "", Secret{}, err
	}
	return plain, s, nil
}

// ChosenSecret is what is stored of a secret that a person chose: hash is its PHC
// string, made by users.Passwords after CheckChosenSecret.
func ChosenSecret(rand io.Reader, hash string, now time.Time) (Secret, error) {
	if !strings.HasPrefix(hash, "$") {
		return Secret{}, fmt.Errorf("%w: the chosen secret is not hashed", ErrInvalid)
	}
	return newSecret(rand, hash, now)
}

func newSecret(rand io.Reader, hash string, now time.Time) (Secret, error) {
	var raw [secretIDLen]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return Secret{}, fmt.Errorf("draw client secret: %w", err)
	}
	return Secret{ID: idText.EncodeToString(raw[:]), Hash: hash, CreatedAt: now}, nil
}

// CheckChosenSecret says what is wrong with a secret that a person chose, wrapping ErrInvalid.
func CheckChosenSecret(secret string) error {
	n := utf8.RuneCountInString(secret)
	switch first, _ := utf8.DecodeRuneInString(secret); {
	case !utf8.ValidString(secret) || strings.ContainsFunc(secret, unicode.IsControl):
		return fmt.Errorf("%w: the secret is not text in one line", ErrInvalid)
	case n < minChosen:
		return fmt.Errorf("%w: the secret needs at least %d characters, better 16; or let it be generated", ErrInvalid, minChosen)
	case n > maxChosen:
		return fmt.Errorf("%w: the secret has more than %d characters", ErrInvalid, maxChosen)
	case strings.Trim(secret, string(first)) == "":
		return fmt.Errorf("%w: the secret is one character repeated", ErrInvalid)
	}
	return nil
}

// Generated reports whether the secret was drawn by GenerateSecret.
func (s Secret) Generated() bool { return strings.HasPrefix(s.Hash, generatedPrefix) }

// MatchesGenerated reports whether plain is the secret. It is false for a chosen one,
// which users.Passwords must check. It takes the same time wherever they differ.
func (s Secret) MatchesGenerated(plain string) bool {
	encoded, ok := strings.CutPrefix(s.Hash, generatedPrefix)
	if !ok {
		return false
	}
	sum := sha256.Sum256([]byte(plain))
	var text [(sha256.Size*8 + 5) / 6]byte
	base64.RawURLEncoding.Encode(text[:], sum[:])
	return subtle.ConstantTimeCompare(text[:], []byte(encoded)) == 1
}

// Live reports whether the secret works at that moment.
func (s Secret) Live(now time.Time) bool { return s.ExpiresAt.IsZero() || s.ExpiresAt.After(now) }

// LiveSecrets are the secrets that work at that moment.
func (c *Client) LiveSecrets(now time.Time) []Secret {
	var live []Secret
	for _, s := range c.Secrets {
		if s.Live(now) {
			live = append(live, s)
		}
	}
	return live
}

// PlanRotation is the list of secrets after next has been added. Without an overlap
// the old ones end at once. With one the old secret works that much longer, but never
// longer than it would have: then there must be only one, else ErrTooManySecrets.
func (c *Client) PlanRotation(next Secret, overlap time.Duration, now time.Time) ([]Secret, error) {
	if c.Public {
		return nil, fmt.Errorf("%w: a public client has no secret", ErrInvalid)
	}
	if overlap < 0 {
		return nil, fmt.Errorf("%w: the overlap is negative", ErrInvalid)
	}
	if overlap == 0 {
		return []Secret{next}, nil
	}
	live := c.LiveSecrets(now)
	if len(live) > 1 {
		return nil, ErrTooManySecrets
	}
	list := []Secret{next}
	for _, old := range live {
		if end := now.Add(overlap); old.ExpiresAt.IsZero() || old.ExpiresAt.After(end) {
			old.ExpiresAt = end
		}
		list = append(list, old)
	}
	return list, nil
}
