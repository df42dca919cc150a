package grants_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/grantorhq/grantor/grants"
)

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// key is n, n+1, n+2 …: its id in the first four, its secret in 32.
func key(n byte) grants.Key {
	k := grants.Key{ID: [4]byte{n + 1, n + 2, n + 3, n + 4}, Secret: make([]byte, 32)}
	for i := range k.Secret {
		k.Secret[i] = n + byte(i)
	}
	return k
}

func newCodec(t require.TestingT, list ...grants.Key) *grants.Codec {
	c, err := grants.NewCodec(list)
	require.NoError(t, err)
	return c
}

func someID(first byte) (id grants.ID) {
	for i := range id {
		id[i] = first + byte(i)
	}
	return id
}

// The golden lines were made by a few lines of Python from the format in token.go.
// When they change, every token in the world stops working.
func TestMint_is_the_published_format(t *testing.T) {
	t.Parallel()
	codec := newCodec(t, key(0))
	golden, err := os.ReadFile("testdata/tokens.golden")
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(golden)), "\n")
	require.Len(t, lines, 8)
	for _, line := range lines {
		field := strings.Fields(line)
		generation, err := strconv.ParseInt(field[1], 10, 64)
		require.NoError(t, err)
		require.Equal(t, field[2], codec.Mint(grants.Kind(field[0]), someID(0x10), generation))
		id, got, err := codec.Parse(grants.Kind(field[0]), field[2])
		require.NoError(t, err)
		require.Equal(t, someID(0x10), id)
		require.Equal(t, generation, got)
	}
}

func TestMint_never_makes_the_same_token_for_two_things(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, k := range []byte{0, 100} {
		codec := newCodec(t, key(k))
		for _, kind := range []grants.Kind{grants.Code, grants.Refresh, grants.Browser} {
			for _, id := range []byte{0, 1} {
				for _, generation := range []int64{0, 1, 255, 256, math.MaxInt64} {
					token, what := codec.Mint(kind, someID(id), generation), fmt.Sprint(k, kind, id, generation)
					require.Empty(t, seen[token], what)
					seen[token] = what
				}
			}
		}
	}
}

// R-11, C-08: whatever is done to a token, it is refused, and always the same way.
func TestParse_refuses_every_change_R11_C08(t *testing.T) {
	t.Parallel()
	codec := newCodec(t, key(0))
	for _, kind := range []grants.Kind{grants.Code, grants.Refresh, grants.Browser} {
		token := codec.Mint(kind, someID(7), 3)
		refused := func(changed, how string) {
			t.Helper()
			for _, as := range []grants.Kind{grants.Code, grants.Refresh, grants.Browser} {
				id, generation, err := codec.Parse(as, changed)
				require.Equal(t, grants.ErrToken, err, "%s: %q", how, changed)
				require.Zero(t, id, how)
				require.Zero(t, generation, how)
			}
		}
		for i := range token {
			for _, c := range []byte(alphabet + "=+/ .\n\r\x00\xff") {
				if c != token[i] {
					refused(token[:i]+string([]byte{c})+token[i+1:], "one character replaced")
				}
			}
			refused(token[:i]+token[i+1:], "one character missing")
			refused(token[:i], "cut")
			refused(token[i+1:], "its beginning cut")
			if i+1 < len(token) && token[i] != token[i+1] {
				refused(token[:i]+token[i+1:i+2]+token[i:i+1]+token[i+2:], "two characters swapped")
			}
		}
		for i := range len(token) + 1 {
			for _, s := range []string{"A", "=", "\n", "\r\n", " ", "\x00"} {
				refused(token[:i]+s+token[i:], "one character too many")
			}
		}
		// A line break is skipped by the decoder: as many as make the length right again.
		for i := 4; i < len(token); i++ {
			refused(token[:i]+"\n"+token[i+1:], "a character turned into a line break")
		}
		refused(token+token, "twice")
		refused(token+" "+token, "twice with a blank")
		refused(strings.ToUpper(token), "upper case")
		refused(strings.ToLower(token), "lower case")
		refused("", "nothing")
		refused(string(kind), "only the prefix")
		refused(string(kind)+strings.Repeat("A", 80), "zeros")
	}
	code, refresh := codec.Mint(grants.Code, someID(7), 3), codec.Mint(grants.Refresh, someID(7), 3)
	for _, c := range []struct {
		kind  grants.Kind
		token string
	}{
		{grants.Refresh, code},
		{grants.Code, refresh},
		{grants.Refresh, string(grants.Refresh) + code[4:]},
		{grants.Code, string(grants.Code) + refresh[4:]},
		{"", code},
		{"", code[4:]},
	} {
		_, _, err := codec.Parse(c.kind, c.token)
		require.Equal(t, grants.ErrToken, err, "%q as %q", c.token, c.kind)
	}
}

// A generation that Mint was never asked for: the MAC is right, the number is not.
func TestParse_refuses_a_negative_generation(t *testing.T) {
	t.Parallel()
	codec := newCodec(t, key(0))
	for _, generation := range []int64{-1, math.MinInt64} {
		_, _, err := codec.Parse(grants.Refresh, codec.Mint(grants.Refresh, someID(0), generation))
		require.Equal(t, grants.ErrToken, err)
	}
}

func TestCodec_mints_with_the_first_key_and_reads_with_all(t *testing.T) {
	t.Parallel()
	before, during, after := newCodec(t, key(0)), newCodec(t, key(50), key(0)), newCodec(t, key(50))
	old := before.Mint(grants.Refresh, someID(0), 1)
	id, generation, err := during.Parse(grants.Refresh, old)
	require.NoError(t, err)
	require.Equal(t, someID(0), id)
	require.EqualValues(t, 1, generation)
	require.Equal(t, after.Mint(grants.Refresh, someID(0), 1), during.Mint(grants.Refresh, someID(0), 1))
	_, _, err = after.Parse(grants.Refresh, old)
	require.Equal(t, grants.ErrToken, err)

	// The same id with another secret, as a server secret of somebody else would have by chance.
	twin := key(0)
	twin.Secret = key(9).Secret
	_, _, err = newCodec(t, twin).Parse(grants.Refresh, old)
	require.Equal(t, grants.ErrToken, err)
}

func TestNewCodec_refuses_what_would_be_weak(t *testing.T) {
	t.Parallel()
	short := key(0)
	short.Secret = short.Secret[:31]
	twin := key(9)
	twin.ID = key(0).ID
	for name, list := range map[string][]grants.Key{
		"none": nil, "short": {short}, "short second": {key(9), short}, "two with one id": {key(0), twin},
	} {
		_, err := grants.NewCodec(list)
		require.Error(t, err, name)
	}
}

func TestID_text_goes_both_ways_and_no_other(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id, err := grants.NewID(bytes.NewReader(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")))
		require.NoError(t, err)
		back, err := grants.ParseID(id.String())
		require.NoError(t, err)
		require.Equal(t, id, back)
	})
	text := someID(0).String()
	require.Len(t, text, 26)
	for _, wrong := range []string{
		"", text[:25], text + "a", strings.ToUpper(text), text + "\n", text[:25] + "\n", text[:13] + "\n" + text[13:], text[:25] + "1", text[:25] + "b", text + "======",
	} {
		_, err := grants.ParseID(wrong)
		require.Equal(t, grants.ErrID, err, "%q", wrong)
	}
	_, err := grants.NewID(strings.NewReader("too short"))
	require.Error(t, err)
}

// Parse accepts only what Mint makes: whatever is accepted is minted again, letter
// for letter. The fuzzer gets a MAC that it can not guess, so the seeds matter:
// small changes of true tokens.
func FuzzParse(f *testing.F) {
	codec := newCodec(f, key(0), key(50))
	for _, kind := range []grants.Kind{grants.Code, grants.Refresh, grants.Browser} {
		token := codec.Mint(kind, someID(0), 1)
		f.Add(token)
		f.Add(token[:83])
		f.Add(token + "\n")
		f.Add(token[:50] + "\r\n" + token[52:])
		f.Add(string(kind) + base64.RawURLEncoding.EncodeToString(make([]byte, 60)))
		f.Add(newCodec(f, key(50)).Mint(kind, someID(0), math.MaxInt64))
		f.Add(codec.Mint(kind, someID(0), -1))
	}
	mints := []*grants.Codec{newCodec(f, key(0)), newCodec(f, key(50))}
	f.Fuzz(func(t *testing.T, token string) {
		accepted := 0
		for _, kind := range []grants.Kind{grants.Code, grants.Refresh, grants.Browser} {
			id, generation, err := codec.Parse(kind, token)
			if err != nil {
				require.Equal(t, grants.ErrToken, err)
				require.Zero(t, id)
				require.Zero(t, generation)
				continue
			}
			accepted++
			require.Contains(t, []string{mints[0].Mint(kind, id, generation), mints[1].Mint(kind, id, generation)}, token)
		}
		require.LessOrEqual(t, accepted, 1, "a code and a refresh token at once")
	})
}

// Each renewal reads one token and makes another: preparing a MAC for each would be nine
// pieces of memory. The bounds leave room for the race detector, which empties pools.
func TestTokens_allocate_little(t *testing.T) { //nolint:paralleltest // testing.AllocsPerRun counts those of everybody
	codec := newCodec(t, key(0))
	token := codec.Mint(grants.Refresh, someID(7), 3)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { codec.Mint(grants.Refresh, someID(7), 3) }), 5.0)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _, _ = codec.Parse(grants.Refresh, token) }), 5.0)
	text := someID(7).String()
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = grants.ParseID(text) }), 1.0)
}

// Codes and renewals come at the same time, and share MACs.
func TestTokens_Concurrent(t *testing.T) {
	t.Parallel()
	codec := newCodec(t, key(0), key(100))
	var busy sync.WaitGroup
	for n := range byte(8) {
		busy.Go(func() {
			for generation := range int64(200) {
				token := codec.Mint(grants.Refresh, someID(n), generation)
				id, got, err := codec.Parse(grants.Refresh, token)
				assert.NoError(t, err)
				assert.Equal(t, someID(n), id)
				assert.Equal(t, generation, got)
			}
		})
	}
	busy.Wait()
}
