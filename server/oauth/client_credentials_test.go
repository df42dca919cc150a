package oauth_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/server/servertest"
)

func TestClientCredentials_token(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for client, all := range map[string]string{"cc": "read write openid", "sealed": "read write openid profile email"} {
			for _, scope := range []string{"", "read", "write read", all} {
				a := w.Token(client, "grant_type", "client_credentials", "scope", scope).Require(200)
				require.NotContains(t, a.JSON, "refresh_token", "X-03")
				want := scope
				if scope == "" {
					want = all
				}
				require.Equal(t, want, a.Text("scope"))
				told := w.Introspect("rs", a.Access()).Require(200)
				require.Equal(t, true, told.JSON["active"])
				require.Equal(t, client, told.Text("sub"), "RFC 9068 section 2.2: the client itself")
				require.Equal(t, client, told.Text("client_id"))
				require.NotContains(t, told.JSON, "username")
			}
			// it says openid, and there is still no user in it.
			w.Userinfo(w.Token(client, "grant_type", "client_credentials", "scope", "openid").Access()).Refused(403, "insufficient_scope")
		}
		require.Empty(t, sessions(t, w), "nothing was written")
	})
}

func TestClientCredentials_audience(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for _, c := range []struct {
		pairs []string
		want  any
	}{
		{nil, w.Issuer},
		{[]string{"resource", servertest.API}, servertest.API},
		{[]string{"audience", servertest.API}, servertest.API},
		{[]string{"resource", servertest.API, "resource", servertest.OtherAPI}, []any{servertest.API, servertest.OtherAPI}},
		{[]string{"audience", servertest.OtherAPI + " " + servertest.API}, []any{servertest.OtherAPI, servertest.API}},
		{[]string{"resource", servertest.API, "audience", servertest.API}, servertest.API},
		{[]string{"resource", servertest.API, "resource", w.Issuer}, []any{servertest.API, w.Issuer}},
	} {
		a := w.Token("cc", append([]string{"grant_type", "client_credentials"}, c.pairs...)...).Require(200)
		require.Equal(t, c.want, servertest.Claims(t, a.Access())["aud"])
		require.Equal(t, c.want, w.Introspect("rs", a.Access()).JSON["aud"])
	}
}

func TestClientCredentials_lifetime(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	w.AddClient(clients.Client{ID: "short", Grants: []string{"client_credentials"}, AccessTokenLifetime: 5 * time.Second})
	a := w.Token("short", "grant_type", "client_credentials").Require(200)
	require.InDelta(t, 5, a.JSON["expires_in"], 0)
	w.Clock.Set(w.Clock.Now().Truncate(time.Second).Add(5*time.Second - time.Microsecond))
	require.True(t, w.Active(a.Access()))
	w.Clock.Advance(time.Microsecond)
	require.False(t, w.Active(a.Access()), "I-12")
}

// F-18 for one answer: whatever the clock does, no lifetime is negative.
func TestClientCredentials_a_clock_set_back(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	w.Clock.Advance(-time.Hour)
	a := w.Token("cc", "grant_type", "client_credentials").Require(200)
	require.InDelta(t, 600, a.JSON["expires_in"], 0)
}

// U-08, and what a change must not do unseen: the claims are part of the protocol.
// Time and randomness are fixed, so the text is.
func TestClaims_golden(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	w := servertest.New(t, servertest.Setup{Start: start, Rand: counting{}})
	tokens := []*servertest.Answer{
		w.Token("cc", "grant_type", "client_credentials"),
		w.Token("cc", "grant_type", "client_credentials", "scope", "read", "resource", servertest.API, "resource", servertest.OtherAPI),
		w.Login("c1", "alice", "scope", "openid read"),
	}
	w.Clock.Advance(time.Minute)
	tokens = append(tokens, w.Refresh("c1", tokens[2].Refresh(), "scope", "read").Require(200))
	var lines []byte
	for _, a := range tokens {
		lines = append(append(lines, part(t, a.Access(), 1)...), '\n')
	}
	golden(t, "claims.golden", lines)

	for _, a := range tokens {
		header := headerOf(t, a.Access())
		require.Equal(t, "at+jwt", header["typ"])
		require.Equal(t, "ES256", header["alg"])
		require.Len(t, header, 3)
		for _, claim := range []string{"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} {
			require.Contains(t, servertest.Claims(t, a.Access()), claim, "RFC 9068 section 2.2")
		}
	}
}

// Each token has a name of its own: Q-06 in small.
func TestClientCredentials_no_jti_twice_Q06(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	seen := map[any]bool{}
	for range 200 {
		jti := servertest.Claims(t, w.Token("cc", "grant_type", "client_credentials").Access())["jti"]
		require.Len(t, jti, 22, "128 bits")
		require.False(t, seen[jti])
		seen[jti] = true
	}
}

// golden compares with a file under testdata; go test -update writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o750))
		require.NoError(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}
