package doctor

import (
	"math"
	"strings"
	"unicode"
)

// Bits below which a secret is called guessable, or weak. One that was drawn has 128 and
// more; what is lost to chance in the estimate stays far below the difference.
const (
	guessable = 64
	weak      = 96
)

// prose is how many bits a letter has in words of a language (Shannon, 1951: about one,
// when many are known before it).
const prose = 1.5

// strength estimates how many bits of a secret are new: a character that repeats what
// came before, or goes on counting, adds nothing. It can only tell what is certainly
// weak: a long text from a book looks good to it.
func strength(secret string) float64 {
	secret = withoutWords(secret)
	each := math.Log2(alphabet(secret))
	if strings.Trim(secret, "abcdefghijklmnopqrstuvwxyz-_.") == "" {
		each = prose
	}
	bits := 0.0
	seen := map[string]bool{}
	runes := []rune(secret)
	for i, r := range runes {
		if i >= 2 {
			before := string(runes[i-2 : i+1])
			step, last := r-runes[i-1], runes[i-1]-runes[i-2]
			counts := step == last && step >= -1 && step <= 1
			if seen[before] || counts {
				continue
			}
			seen[before] = true
		}
		bits += each
	}
	return bits
}

// alphabet is from how many characters a text seems to be drawn.
func alphabet(text string) float64 {
	if strings.Trim(text, "0123456789abcdef") == "" || strings.Trim(text, "0123456789ABCDEF") == "" {
		return 16
	}
	size := 1.0
	for _, class := range []struct {
		in   func(rune) bool
		size float64
	}{
		{unicode.IsLower, 26},
		{unicode.IsUpper, 26},
		{unicode.IsDigit, 10},
		{func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }, 4},
	} {
		if strings.ContainsFunc(text, class.in) {
			size += class.size
		}
	}
	return size
}

// withoutWords takes out what people and examples write for a secret, in any case.
func withoutWords(secret string) string {
	rest := secret
	for _, word := range []string{
		"secret", "password", "passwort", "passwd", "changeme", "change-me", "change_me", "replace", "example", "grantor", "server",
		"default", "letmein", "qwerty", "admin", "insecure", "development", "production", "please", "random", "oauth", "token", "test",
	} {
		for {
			i := strings.Index(strings.ToLower(rest), word)
			if i < 0 || i+len(word) > len(rest) {
				break
			}
			rest = rest[:i] + rest[i+len(word):]
		}
	}
	return rest
}
