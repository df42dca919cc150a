package keys_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/grantorhq/grantor/keys"
)

const (
	oldSecret = "old-0123456789abcdefghijklmnopqrstuv"
	newSecret = "new-0123456789abcdefghijklmnopqrstuv"
)

func parse(t require.TestingT, text string) *keys.Secrets {
	s, err := keys.ParseSecrets(text)
	require.NoError(t, err)
	return s
}

func TestParseSecrets(t *testing.T) {
	for name, text := range map[string]string{
		"one":                    newSecret,
		"two by a line break":    newSecret + "\n" + oldSecret + "\n",
		"two by commas":          newSecret + ", " + oldSecret,
		"exactly 32 characters":  newSecret[:32],
		"32 characters, 60 byte": strings.Repeat("äöüß", 7) + "abcd",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keys.ParseSecrets(text)
			require.NoError(t, err)
		})
	}
}

func TestParseSecretsRefuses_Q04(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"none":                         {" \n", "there is none"},
		"31 characters":                {newSecret[:31], "number 1 of 1 has 31 characters"},
		"31 characters, 62 bytes":      {strings.Repeat("äöüßÄÖÜèé", 4)[:62], "has 31 characters"},
		"the second is short":          {newSecret + " " + oldSecret[:31], "number 2 of 2"},
		"one character repeated":       {strings.Repeat("x", 64), "has only 1 different characters"},
		"seven characters repeated":    {strings.Repeat("abcdefg", 6), "has only 7 different characters"},
		"one twice":                    {newSecret + "," + oldSecret + "," + newSecret, "number 3 repeats number 1"},
		"not UTF-8":                    {newSecret + "\xff", "is not UTF-8"},
		"a forgotten placeholder word": {"changeme", "has 8 characters"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keys.ParseSecrets(c.text)
			require.ErrorIs(t, err, keys.ErrSecret)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "\n")
			for _, secret := range strings.Fields(strings.ReplaceAll(c.text, ",", " ")) {
				require.NotContains(t, err.Error(), secret)
				require.NotContains(t, err.Error(), secret[:8], "nor a part of it")
			}
		})
	}
}

func TestGenerateSecret(t *testing.T) {
	text, err := keys.GenerateSecret(rand.Reader)
	require.NoError(t, err)
	require.Regexp(t, `^[A-Za-z0-9_-]{43}$`, text)
	parse(t, text)

	broken := errors.New("no randomness")
	_, err = keys.GenerateSecret(iotest.ErrReader(broken))
	require.ErrorIs(t, err, broken)
}

func TestDerive(t *testing.T) {
	s := parse(t, newSecret+" "+oldSecret)
	tokens, seal := s.Derive("tokens"), s.Derive("seal")
	require.Len(t, tokens, 2)
	require.Len(t, tokens[0].Key, 32)
	require.Equal(t, tokens, s.Derive("tokens"), "the same secret gives the same key after a restart")
	require.Equal(t, tokens[1], parse(t, oldSecret).Derive("tokens")[0], "wherever it stands in the list")

	seenKeys, seenIDs := map[string]bool{}, map[[4]byte]bool{}
	for _, d := range append(tokens, seal...) {
		seenKeys[string(d.Key)], seenIDs[d.ID] = true, true
	}
	require.Len(t, seenKeys, 4, "each secret and purpose has its own key")
	require.Len(t, seenIDs, 4, "and its own id")
}

// A changed derivation makes every token and every sealed key unreadable.
// The values were made by another implementation of HKDF.
func TestDeriveIsStable(t *testing.T) {
	d := parse(t, newSecret).Derive("tokens")[0]
	require.Equal(t, "8cfd8723", fmt.Sprintf("%x", d.ID[:]))
	require.Equal(t, "f83575ef0de941c1c7ac598b5d3cd494eef2574f8400a0d36b96e4aa7e1a30ea", fmt.Sprintf("%x", d.Key))
}

func TestSealOpen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := parse(t, newSecret+" "+oldSecret)
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		context := rapid.SliceOf(rapid.Byte()).Draw(t, "context")
		data, err := s.Seal(rand.Reader, plain, context)
		require.NoError(t, err)
		again, err := s.Seal(rand.Reader, plain, context)
		require.NoError(t, err)
		require.NotEqual(t, data, again, "nonces are random")

		got, current, err := s.Open(data, context)
		require.NoError(t, err)
		require.True(t, current)
		require.True(t, bytes.Equal(plain, got))

		_, _, err = s.Open(data, append(context, 0))
		require.ErrorIs(t, err, keys.ErrSeal, "another context")
		at := rapid.IntRange(0, len(data)-1).Draw(t, "at")
		data[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		_, _, err = s.Open(data, context)
		require.ErrorIs(t, err, keys.ErrSeal, "a changed byte")
		_, _, err = s.Open(data[:at], context)
		require.ErrorIs(t, err, keys.ErrSeal, "cut")
	})
}

// The border between header and context must not be movable.
func TestSealContextIsNotConfused(t *testing.T) {
	s := parse(t, newSecret)
	data, err := s.Seal(rand.Reader, []byte("plain"), []byte("row 12"))
	require.NoError(t, err)
	for _, context := range []string{"", "row 1", "row 123", "ROW 12"} {
		_, _, err := s.Open(data, []byte(context))
		require.ErrorIs(t, err, keys.ErrSeal, context)
	}
}

func TestSecretRotation_Q05(t *testing.T) {
	before := parse(t, oldSecret)
	data, err := before.Seal(rand.Reader, []byte("plain"), nil)
	require.NoError(t, err)

	both := parse(t, newSecret+" "+oldSecret)
	plain, current, err := both.Open(data, nil)
	require.NoError(t, err)
	require.Equal(t, "plain", string(plain))
	require.False(t, current, "the caller is told to seal it again")

	resealed, err := both.Seal(rand.Reader, plain, nil)
	require.NoError(t, err)
	after := parse(t, newSecret)
	_, current, err = after.Open(resealed, nil)
	require.NoError(t, err)
	require.True(t, current)
	_, _, err = after.Open(data, nil)
	require.ErrorIs(t, err, keys.ErrSeal, "what was not sealed again is lost with the old secret")
}

func TestSealWithoutRandomness(t *testing.T) {
	broken := errors.New("no randomness")
	_, err := parse(t, newSecret).Seal(iotest.ErrReader(broken), nil, nil)
	require.ErrorIs(t, err, broken)
}

func TestSecretsNeverPrint_Q01(t *testing.T) {
	s := parse(t, newSecret)
	d := s.Derive("tokens")[0]
	k := pick(keys.ES256, 1)
	private, err := k.MarshalPrivate()
	require.NoError(t, err)
	hidden := []string{newSecret, fmt.Sprintf("%x", newSecret), fmt.Sprintf("%x", d.Key), fmt.Sprintf("%d", d.Key), fmt.Sprint(private[40:60])}

	for _, value := range []any{s, *s, d, &d, []keys.Derived{d}, k, &k, []keys.Key{k}, firstSet()} {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			_, _ = fmt.Fprintf(&out, verb, value)
		}
		text := slog.New(slog.NewTextHandler(&out, nil))
		text.Info("test", "value", value)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("test", "value", value)
		j, err := json.Marshal(value)
		require.NoError(t, err)
		out.Write(j)
		for _, secret := range hidden {
			require.NotContains(t, out.String(), secret, "%T", value)
		}
	}
	require.Equal(t, "***", fmt.Sprintf("%d", s))
	require.Equal(t, "ES256 key "+k.ID, k.String())
}
