package keys_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/keys"
)

func box(t *testing.T, secrets, purpose, prefix string) *keys.Box {
	t.Helper()
	s, err := keys.ParseSecrets(secrets)
	require.NoError(t, err)
	b, err := s.NewBox(purpose, prefix)
	require.NoError(t, err)
	return b
}

func TestBoxOpensWhatItSealed(t *testing.T) {
	t.Parallel()
	b := box(t, oldSecret, "things", "gx1_")
	text, err := b.Seal(rand.Reader, []byte("a thing"))
	require.NoError(t, err)
	require.True(t, b.Holds(text))
	require.Regexp(t, `^gx1_[A-Za-z0-9_-]+$`, text)
	plain, err := b.Open(text)
	require.NoError(t, err)
	require.Equal(t, "a thing", string(plain))

	again, err := b.Seal(rand.Reader, []byte("a thing"))
	require.NoError(t, err)
	require.NotEqual(t, text, again)

	rotated := newSecret + "," + oldSecret
	plain, err = box(t, rotated, "things", "gx1_").Open(text)
	require.NoError(t, err, "the older secret still opens")
	require.Equal(t, "a thing", string(plain))
}

func TestBoxOpensNothingElse(t *testing.T) {
	t.Parallel()
	b := box(t, oldSecret, "things", "gx1_")
	text, err := b.Seal(rand.Reader, []byte("a thing"))
	require.NoError(t, err)
	flipped := []byte(text)
	flipped[len(flipped)-3] ^= 1
	for name, other := range map[string]string{
		"empty": "", "prefix alone": "gx1_", "cut": text[:len(text)-1], "flipped": string(flipped), "line break": text[:20] + "\n" + text[20:],
		"without prefix": strings.TrimPrefix(text, "gx1_"), "not base64": "gx1_!!!!", "short": "gx1_AAAA", "another prefix": "gy1_" + strings.TrimPrefix(text, "gx1_"),
	} {
		_, err := b.Open(other)
		require.ErrorIs(t, err, keys.ErrSeal, name)
	}
	for name, stranger := range map[string]*keys.Box{
		"another secret":  box(t, newSecret, "things", "gx1_"),
		"another purpose": box(t, oldSecret, "other things", "gx1_"),
		"another prefix":  box(t, oldSecret, "things", "gz1_"),
	} {
		renamed := text
		if name == "another prefix" {
			renamed = "gz1_" + strings.TrimPrefix(text, "gx1_")
		}
		_, err := stranger.Open(renamed)
		require.ErrorIs(t, err, keys.ErrSeal, name)
	}
}
