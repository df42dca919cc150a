package users

import (
	"encoding/base32"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

const (
	maxName  = 128 // characters
	maxEmail = 254 // bytes: RFC 5321 section 4.5.3.1.3, less the angle brackets
	maxLocal = 64  // bytes: RFC 5321 section 4.5.3.1.1

	// MinPassword is the least length of a new password. A character is a code point,
	// whatever its bytes (NIST SP 800-63B section 5.1.1).
	MinPassword = 8

	// MaxPassword bounds what is hashed. Signing in knows no other rule: a password
	// that an older rule or another system allowed must go on working.
	MaxPassword = 1024 // bytes
)

var idForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

var idText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewID draws a user id: 88 random bits in 18 lower-case characters. It is no secret and need
// not be hard to guess, only unique: it is in every token, and twice with every session.
func NewID(rand io.Reader) (string, error) {
	var raw [11]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return "", fmt.Errorf("draw user id: %w", err)
	}
	return idText.EncodeToString(raw[:]), nil
}

// CheckID says what is wrong with an id that another system gave, wrapping
// ErrInvalid. Those of NewID pass.
func CheckID(id string) error {
	if !idForm.MatchString(id) {
		return fmt.Errorf("%w: the id is not 1 to 64 characters of A-Z a-z 0-9 . _ -", ErrInvalid)
	}
	return nil
}

// NormalizeName gives the key by which names and addresses are compared and are
// unique: two that a person would read as one have one key. It is trimmed, folded
// (NFKC and case, Unicode section 3.13), and bare of what can not be seen.
//
// It takes anything a stranger may send and always gives valid UTF-8 without
// control characters; what had to be replaced for that equals no name that
// CheckName allows.
func NormalizeName(name string) string {
	name = strings.TrimSpace(name)
	if printableASCII(name) {
		return strings.ToLower(name)
	}
	name = strings.Map(visible, strings.ToValidUTF8(name, string(utf8.RuneError)))
	// Folding may leave something to compose and composing something to fold; three
	// rounds are more than any character needs. Lowering comes last because the
	// folding of Cherokee letters swaps the cases instead of joining them.
	for range 3 {
		folded := norm.NFKC.String(strings.ToLower(cases.Fold().String(norm.NFKC.String(name))))
		if folded == name {
			break
		}
		name = folded
	}
	return strings.TrimSpace(name)
}

func printableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

func visible(r rune) rune {
	switch {
	case unicode.IsControl(r):
		return utf8.RuneError
	case unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point):
		return -1
	}
	return r
}

// CheckName says what is wrong with a name, wrapping ErrInvalid.
func CheckName(name string) error {
	switch {
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: the name is not UTF-8", ErrInvalid)
	case utf8.RuneCountInString(name) > maxName:
		return fmt.Errorf("%w: the name has more than %d characters", ErrInvalid, maxName)
	case strings.ContainsFunc(name, unprintable):
		return fmt.Errorf("%w: the name has a control character", ErrInvalid)
	case NormalizeName(name) == "":
		return fmt.Errorf("%w: the name is blank", ErrInvalid)
	}
	return nil
}

// unprintable characters could change the line they are shown in, or (U+FFFD) equal
// what NormalizeName makes of broken input.
func unprintable(r rune) bool {
	return r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

// CheckEmail says what is wrong with an address, wrapping ErrInvalid. It refuses what
// could harm a mail header, a page or a log, not what no mail server would take: only sending proves an address.
func CheckEmail(email string) error {
	local, domain, ok := strings.Cut(email, "@")
	switch {
	case !utf8.ValidString(email) || strings.ContainsFunc(email, unprintable):
		return fmt.Errorf("%w: the e-mail address has a control character", ErrInvalid)
	case len(email) > maxEmail || len(local) > maxLocal:
		return fmt.Errorf("%w: the e-mail address is too long", ErrInvalid)
	case !ok || strings.Contains(domain, "@"):
		return fmt.Errorf("%w: the e-mail address needs exactly one @", ErrInvalid)
	case strings.ContainsAny(email, `<>()[]\,;:"`) || strings.ContainsFunc(email, unicode.IsSpace):
		return fmt.Errorf("%w: the e-mail address has a blank or one of <>()[]\\,;:\"", ErrInvalid)
	case !dotted(local) || !dotted(domain):
		return fmt.Errorf("%w: the e-mail address is not of the form name@host", ErrInvalid)
	}
	return nil
}

// dotted reports whether text is parts joined by single dots.
func dotted(text string) bool {
	for part := range strings.SplitSeq(text, ".") {
		if part == "" {
			return false
		}
	}
	return true
}

// CheckPassword says what is wrong with a new password, wrapping ErrInvalid. There is
// no rule about kinds of characters (NIST SP 800-63B section 5.1.1.2).
func CheckPassword(password string) error {
	switch {
	case utf8.RuneCountInString(password) < MinPassword:
		return fmt.Errorf("%w: the password needs at least %d characters", ErrInvalid, MinPassword)
	case len(password) > MaxPassword:
		return fmt.Errorf("%w: the password is longer than %d bytes", ErrInvalid, MaxPassword)
	case !utf8.ValidString(password) || strings.ContainsRune(password, 0):
		return fmt.Errorf("%w: the password is not text", ErrInvalid)
	}
	return nil
}
