package users_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/grantorhq/grantor/users"
)

func TestNewID_is_unique(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		id, err := users.NewID(rand.Reader)
		require.NoError(t, err)
		require.Regexp(t, `^[a-z2-7]{18}$`, id)
		seen[id] = true
	}
	require.Len(t, seen, 10_000)

	id, err := users.NewID(bytes.NewReader(make([]byte, 11)))
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("a", 18), id, "all 88 bits come from the source")
	broken := errors.New("no randomness")
	_, err = users.NewID(iotest.ErrReader(broken))
	require.ErrorIs(t, err, broken)
}

func TestNormalizeName(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"capitals":            {"Alice", "alice"},
		"blanks around":       {" \talice\n", "alice"},
		"an address":          {"Alice@Example.COM", "alice@example.com"},
		"sharp s":             {"STRASSE", "strasse"},
		"sharp s folded":      {"Straße", "strasse"},
		"composed":            {"Ame\u0301lie", "am\u00e9lie"},
		"full width":          {"ａｌｉｃｅ", "alice"},
		"ligature":            {"ﬁn", "fin"},
		"no-break blanks":     {"\u00a0alice\u00a0", "alice"},
		"zero width":          {"ali\u200bce\ufeff", "alice"},
		"right to left":       {"\u202ealice", "alice"},
		"variation selector":  {"alice\ufe0f", "alice"},
		"inner blank stays":   {"Alice B", "alice b"},
		"NUL (H-05)":          {"ali\x00ce", "ali\ufffdce"},
		"invalid UTF-8(H-05)": {"ali\xffce", "ali\ufffdce"},
		"blank":               {" \u200b\u00a0", ""},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, users.NormalizeName(c.in)) })
	}
}

func TestNormalizeNameIsAKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(
			rapid.String(),
			rapid.StringN(0, 300, -1),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
			rapid.StringOf(rapid.RuneFrom([]rune("aAßſKÅ\u0345\u0301\u0390\u1fd3ΐﬃİıΣς\u200d\u00a0 "))),
		).Draw(t, "name")
		key := users.NormalizeName(name)
		require.Equal(t, key, users.NormalizeName(key), "twice is once")
		require.True(t, utf8.ValidString(key))
		require.NotContains(t, key, "\x00")
		require.Equal(t, key, strings.TrimSpace(key))
		if users.CheckName(name) == nil {
			require.NotEmpty(t, key)
			require.NotContains(t, key, "\ufffd")
		}
	})
}

// Every character there is: twice is once, and case does not matter.
func TestNormalizeNameOfEveryCharacter(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		name := "a" + string(r) + "b"
		key := users.NormalizeName(name)
		if again := users.NormalizeName(key); again != key {
			t.Fatalf("%U: %+q, then %+q", r, key, again)
		}
		for _, other := range []rune{unicode.ToUpper(r), unicode.ToLower(r)} {
			// The dotless i is a letter of its own in every folding but the Turkic one.
			if got := users.NormalizeName("a" + string(other) + "b"); got != key && r != 'ı' && r != 'İ' {
				t.Fatalf("%U is %+q, %U is %+q", r, key, other, got)
			}
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "alice", "Alice Müller", "李小龍", "o'brien", "a@b", strings.Repeat("ä", 128), `<img src=x onerror=alert(1)>`} {
		require.NoError(t, users.CheckName(name), name)
	}
	for name, text := range map[string]string{
		"empty":                      "",
		"blank":                      " \t ",
		"only what can not be seen":  "\u200b\u2060",
		"129 characters":             strings.Repeat("ä", 129),
		"10 KB (G-08)":               strings.Repeat("a", 10<<10),
		"NUL (H-05)":                 "ali\x00ce",
		"line break (Q-03)":          "ali\nce",
		"escape (Q-03)":              "ali\x1b[31mce",
		"next line, C1":              "ali\u0085ce",
		"line separator":             "ali\u2028ce",
		"invalid UTF-8 (H-05)":       "ali\xffce",
		"replacement character":      "ali\ufffdce",
		"right-to-left override G08": "ali\u202ece",
		"right-to-left isolate":      "ali\u2067ce",
	} {
		t.Run(name, func(t *testing.T) { require.ErrorIs(t, users.CheckName(text), users.ErrInvalid) })
	}
}

func TestCheckEmail(t *testing.T) {
	for _, email := range []string{
		"a@b", "alice@example.com", "alice+tag@example.co.uk", "älice@exämple.com", "o'brien@example.com",
		strings.Repeat("a", 64) + "@" + strings.Repeat("b", 189),
	} {
		require.NoError(t, users.CheckEmail(email), email)
	}
	for name, email := range map[string]string{
		"empty":           "",
		"no @":            "alice",
		"two @":           "alice@evil.test@example.com",
		"no name":         "@example.com",
		"no host":         "alice@",
		"blank":           "alice smith@example.com",
		"blank at end":    "alice@example.com ",
		"line break":      "alice@example.com\r\nBcc: x@evil.test",
		"no-break blank":  "ali\u00a0ce@example.com",
		"two addresses":   "alice@example.com,bob@example.com",
		"display name":    "Alice<alice@example.com>",
		"quoted":          `"alice"@example.com`,
		"two dots":        "alice@example..com",
		"dot at end":      "alice@example.com.",
		"dot at start":    ".alice@example.com",
		"255 bytes":       strings.Repeat("a", 64) + "@" + strings.Repeat("b", 190),
		"name of 65":      strings.Repeat("a", 65) + "@example.com",
		"invalid UTF-8":   "ali\xffce@example.com",
		"NUL":             "alice\x00@example.com",
		"overridden text": "alice\u202e@example.com",
	} {
		t.Run(name, func(t *testing.T) { require.ErrorIs(t, users.CheckEmail(email), users.ErrInvalid) })
	}
}

func TestCheckPassword(t *testing.T) {
	for _, password := range []string{"12345678", "correct horse", "парольчи", "密码密码密码密码", "with \t tab", strings.Repeat("x", 1024)} {
		require.NoError(t, users.CheckPassword(password))
	}
	for name, password := range map[string]string{
		"empty":         "",
		"7 bytes":       "1234567",
		"7 characters":  "пароль1",
		"4 characters":  "🔑🔑🔑🔑",
		"1025 bytes":    strings.Repeat("x", 1025),
		"NUL":           "12345678\x00",
		"invalid UTF-8": "12345678\xff",
	} {
		t.Run(name, func(t *testing.T) {
			err := users.CheckPassword(password)
			require.ErrorIs(t, err, users.ErrInvalid)
			if password != "" {
				require.NotContains(t, err.Error(), password)
			}
		})
	}
}
