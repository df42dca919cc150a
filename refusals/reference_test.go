package refusals_test

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/refusals"
)

const (
	secret = "a-secret-of-the-server-long-enough-0123"
	next   = "the-next-secret-of-it-long-enough-45678"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func references(t testing.TB, secrets string) *refusals.References {
	t.Helper()
	s, err := keys.ParseSecrets(secrets)
	require.NoError(t, err)
	r, err := refusals.New(s)
	require.NoError(t, err)
	return r
}

func seal(t testing.TB, s *refusals.References, r refusals.Refusal) string {
	t.Helper()
	text, err := s.Seal(rand.Reader, r)
	require.NoError(t, err)
	return text
}

// full is a refusal with much to tell.
func full() refusals.Refusal {
	return refusals.Refusal{
		At: noon, Request: "kx5cvu2j6sgbd4eq", Route: "/oauth2/token", Code: "invalid_grant", Cause: refusals.Reused,
		Client: "photos", GrantType: "refresh_token", Address: "192.0.2.7",
		Facts: refusals.Facts{
			Session: grants.ID{1, 2, 3}, Shown: 3,
			Row: &refusals.Row{Generation: 5, RotatedAt: noon.Add(-14 * time.Second), RotatedFrom: "2001:db8::1", ExpiresAt: noon.Add(90 * 24 * time.Hour)},
		},
	}
}

// each is a refusal of every shape.
func each() map[string]refusals.Refusal {
	code := full()
	code.Cause, code.GrantType, code.Shown, code.Row = refusals.Dead, "authorization_code", 0, nil
	code.Terms = &refusals.Terms{RedirectURI: refusals.MarkOf("https://app.test/cb"), Challenge: refusals.MarkOf("x")}
	return map[string]refusals.Refusal{
		"full": full(), "code": code,
		"bare":      {At: noon},
		"machine":   {At: noon, Request: "aaaaaaaaaaaaaaab", Route: "/oauth2/token", Code: "invalid_scope", Cause: refusals.Unregistered, Client: "cc", GrantType: "client_credentials", Address: "2001:db8::7"},
		"password":  {At: noon, Route: "/oauth2/token", Code: "invalid_grant", Cause: refusals.WrongPassword, Client: "photos", Facts: refusals.Facts{UserID: "0f8fad5b-d9cb-469f-a165-70867728950e"}},
		"throttled": {At: noon, Cause: refusals.Throttled, Facts: refusals.Facts{Wait: 1500 * time.Millisecond}},
		"expired":   {At: noon, Cause: refusals.Expired, Facts: refusals.Facts{Ended: noon.Add(-time.Hour), Session: grants.ID{9}}},
		"stranger":  {At: noon, Cause: refusals.UnknownClient, Facts: refusals.Facts{Sent: "who"}},
	}
}

func TestReferences_say_what_was_sealed_in_one_length(t *testing.T) {
	t.Parallel()
	s := references(t, secret)
	for name, r := range each() {
		text := seal(t, s, r)
		require.Len(t, text, refusals.Length, name)
		require.Less(t, len(text), 200)
		require.Equal(t, url.QueryEscape(text), text, "needs no quoting in an address")
		got, err := s.Open(text)
		require.NoError(t, err, name)
		require.Equal(t, r, got, name)
		require.NotEqual(t, text, seal(t, s, r), "no two are equal: they can not be compared either")
	}
}

// Nothing of a refusal can be read without the secrets.
func TestReferences_hide_what_they_say(t *testing.T) {
	t.Parallel()
	text := seal(t, references(t, secret), full())
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	require.NoError(t, err)
	for _, told := range []string{"photos", "kx5cvu2j6sgbd4eq", "192.0.2.7", "invalid_grant"} {
		require.NotContains(t, text, told)
		require.NotContains(t, string(sealed), told)
	}
	for name, other := range map[string]*refusals.References{"foreign": references(t, next)} {
		_, err := other.Open(text)
		require.ErrorIs(t, err, refusals.ErrUnreadable, name)
	}
	// Neither can another box of the same server, nor is one of its texts a reference.
	s, err := keys.ParseSecrets(secret)
	require.NoError(t, err)
	for _, purpose := range []string{"opaque access tokens", "devices", "seal"} {
		box, err := s.NewBox(purpose, "ge1_")
		require.NoError(t, err)
		_, err = box.Open(text)
		require.ErrorIs(t, err, keys.ErrSeal)
		foreign, err := box.Seal(rand.Reader, make([]byte, 100))
		require.NoError(t, err)
		_, err = references(t, secret).Open(foreign)
		require.ErrorIs(t, err, refusals.ErrUnreadable)
	}
}

func TestReferences_that_were_changed_do_not_open(t *testing.T) {
	t.Parallel()
	s := references(t, secret)
	text := seal(t, s, full())
	for at := len("ge1_"); at < len(text); at++ {
		changed := []byte(text)
		if changed[at] = 'A'; text[at] == 'A' {
			changed[at] = 'B'
		}
		_, err := s.Open(string(changed))
		require.ErrorIs(t, err, refusals.ErrUnreadable, "%d", at)
	}
}

func TestReferences_outlive_the_rotation_of_secrets(t *testing.T) {
	t.Parallel()
	old := seal(t, references(t, secret), full())
	got, err := references(t, next+" "+secret).Open(old)
	require.NoError(t, err)
	require.Equal(t, full(), got)
	_, err = references(t, next).Open(old)
	require.ErrorIs(t, err, refusals.ErrUnreadable)
}

func TestReferences_cut_what_has_no_room(t *testing.T) {
	t.Parallel()
	s := references(t, secret)
	open := func(r refusals.Refusal) refusals.Refusal {
		t.Helper()
		text := seal(t, s, r)
		require.Len(t, text, refusals.Length)
		got, err := s.Open(text)
		require.NoError(t, err)
		return got
	}
	r := full()
	r.Client = strings.Repeat("client-", 36)
	got := open(r)
	require.True(t, got.Cut)
	require.True(t, strings.HasPrefix(r.Client, got.Client))
	require.Greater(t, len(got.Client), 20)

	// Long addresses, and the numbers of a session that is used every second for years.
	r.Address, r.Shown, r.Row.Generation = "2001:db8:1:2:3:4:5:6", 1<<27, 1<<27
	got = open(r)
	require.Equal(t, r.Facts, got.Facts)
	require.GreaterOrEqual(t, len(got.Client), 5)

	// What no session has costs the facts, never the length.
	r.Shown, r.Row = 1<<62, &refusals.Row{Generation: 1 << 62, RotatedFrom: r.Address}
	got = open(r)
	require.Equal(t, refusals.Reused, got.Cause)
	require.Nil(t, got.Row)
	require.Equal(t, r.Request, got.Request)

	got = open(refusals.Refusal{At: noon, Facts: refusals.Facts{UserID: strings.Repeat("u", 64)}})
	require.Empty(t, got.UserID)
	got = open(refusals.Refusal{At: noon, Request: "unknown", Address: "not an address", Code: "evil", Cause: "evil", Route: "evil", GrantType: "evil"})
	require.Equal(t, refusals.Refusal{At: noon}, got, "only what is on the lists")
}

func TestFind_takes_it_out_of_what_was_pasted(t *testing.T) {
	t.Parallel()
	text := seal(t, references(t, secret), full())
	for name, pasted := range map[string]string{
		"bare": text, "blanks": "  " + text + " \n", "JSON": `{"error":"x","reference":"` + text + `"}`,
		"address":  "https://app.test/cb?error=x&reference=" + text + "&state=ge2_",
		"escaped":  url.QueryEscape(`{"reference":"` + text + `"}`),
		"broken":   text[:70] + "\n> "[:1] + text[70:140] + "\r\n\t" + text[140:],
		"sentence": "the reference is " + text + ", please help",
		"header":   "reference: " + text + "%", // no escape
	} {
		found, err := refusals.Find(pasted)
		require.NoError(t, err, name)
		require.Equal(t, text, found, name)
	}
	for pasted, want := range map[string]error{
		"": refusals.ErrReference, "nonsense": refusals.ErrReference, text[:195]: refusals.ErrReference, text[1:]: refusals.ErrReference,
		"kx5cvu2j6sgbd4eq": refusals.ErrRequestID, ` "kx5cvu2j6sgbd4eq", `: refusals.ErrRequestID, "kx5cvu2j6sgbd4e": refusals.ErrReference,
	} {
		_, err := refusals.Find(pasted)
		require.ErrorIs(t, err, want, pasted)
	}
}

func TestReferences_without_randomness_there_is_none(t *testing.T) {
	t.Parallel()
	_, err := references(t, secret).Seal(broken{}, full())
	require.Error(t, err)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("no randomness") }

func BenchmarkSeal(b *testing.B) {
	s, r := references(b, secret), full()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = s.Seal(rand.Reader, r)
	}
}
