package oauth_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/grantorhq/grantor/server/oauth"
)

// text is what any of the members may hold: mostly harmless.
func text() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[ -~]{0,12}`), rapid.String(), rapid.SampledFrom([]string{"", "https://as.test", "read write"}),
		rapid.SampledFrom([]string{`"`, `\`, "<a>&", "\u2028\u2029", "\x00\x1f\x7f", "\xff", "a\xc3", "\b\f\n\r\t", "é", "\U0001f600", "\ufffd"}),
	)
}

func number() *rapid.Generator[int64] {
	return rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{0, 1, -1, 9, 10, 1790000000, math.MaxInt64, math.MinInt64}))
}

func texts() *rapid.Generator[[]string] {
	return rapid.OneOf(rapid.Just([]string(nil)), rapid.Just([]string{}), rapid.SliceOfN(text(), 0, 4))
}

func claimsOf(t *rapid.T) *oauth.Claims {
	return &oauth.Claims{
		Issuer: text().Draw(t, "iss"), Subject: text().Draw(t, "sub"), Audience: texts().Draw(t, "aud"), ClientID: text().Draw(t, "client_id"),
		Scope: text().Draw(t, "scope"), ID: text().Draw(t, "jti"), Grant: text().Draw(t, "gid"), Issued: number().Draw(t, "iat"), Expires: number().Draw(t, "exp"),
		NotBefore: number().Draw(t, "nbf"), AuthTime: number().Draw(t, "auth_time"), AMR: texts().Draw(t, "amr"),
	}
}

// What is written by hand is what encoding/json writes, whatever is in it.
func TestJSON_is_that_of_the_standard_library(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		same := func(value any, got []byte) {
			want, err := json.Marshal(value)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
		}
		c := claimsOf(t)
		same(c, c.Encode())
		i := &oauth.Introspection{
			Active: rapid.Bool().Draw(t, "active"), Scope: c.Scope, ClientID: c.ClientID, Username: text().Draw(t, "username"), TokenType: text().Draw(t, "token_type"),
			Expires: c.Expires, Issued: c.Issued, Subject: c.Subject, Audience: c.Audience, Issuer: c.Issuer, ID: c.ID, AuthTime: c.AuthTime,
		}
		same(i, i.Encode())
		r := &oauth.TokenResponse{
			AccessToken: text().Draw(t, "access"), TokenType: "Bearer", ExpiresIn: c.Expires, RefreshToken: text().Draw(t, "refresh"), IDToken: text().Draw(t, "id"), Scope: c.Scope,
		}
		same(r, r.Encode())
		same(&oauth.Introspection{}, new(oauth.Introspection).Encode())
	})
}

const written = `{"iss":"https://as.test","sub":"alice","aud":"https://api.test","client_id":"c1","scope":"read","jti":"j","gid":"g","iat":1,"exp":2,"nbf":3,"auth_time":4,"amr":["pwd"]}`

// The fast way is not only right, it is the one that is taken.
func TestJSON_reads_its_own_claims_by_hand(t *testing.T) { //nolint:paralleltest // testing.AllocsPerRun counts those of everybody
	for _, c := range []*oauth.Claims{
		{Issuer: "https://as.test", Subject: "alice", Audience: []string{"https://api.test"}, ClientID: "c1", ID: "j", Issued: 1, Expires: 2},
		{Issuer: "https://as.test", Subject: "alice", Audience: []string{"a", "b", "c"}, ClientID: "c1", Scope: "read write", ID: "j", Grant: "g", Issued: 1790000000, Expires: 1790000600, NotBefore: 1, AuthTime: 1790000000, AMR: []string{"pwd", "otp"}},
	} {
		read := new(oauth.Claims)
		require.True(t, read.Decode(string(c.Encode())))
		require.Equal(t, c, read)
	}
	require.True(t, new(oauth.Claims).Decode(written))
	payload := []byte(written)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = oauth.ParseClaims(payload) }), 4.0)
}

// FuzzClaims: nothing is read by hand that encoding/json and the rule of RFC 7519 section
// 4 would refuse, and nothing otherwise.
func FuzzClaims(f *testing.F) {
	for _, payload := range []string{
		written, "", "{}", "null", "[]", "{", "}", written + " ", " " + written, written + "x", written + written, written[:len(written)-1],
		strings.Replace(written, `"sub":"alice"`, `"sub":"alice","sub":"bob"`, 1), strings.Replace(written, `"exp":2`, `"exp":2,"exp":9`, 1),
		strings.Replace(written, `"sub"`, `"SUB"`, 1), strings.Replace(written, `"sub":"alice"`, `"sub":"alice","Sub":"bob"`, 1),
		strings.Replace(written, `"iss"`, `"i\u0073s"`, 1), strings.Replace(written, "alice", `\u0061lice`, 1), strings.Replace(written, "alice", "\xff", 1),
		strings.Replace(written, "alice", "al\nice", 1), strings.Replace(written, "alice", "ünal", 1), strings.Replace(written, "alice", "<&>", 1),
		strings.Replace(written, `"iat":1`, `"iat":01`, 1), strings.Replace(written, `"iat":1`, `"iat":-1`, 1), strings.Replace(written, `"iat":1`, `"iat":1.0`, 1),
		strings.Replace(written, `"iat":1`, `"iat":1e3`, 1), strings.Replace(written, `"iat":1`, `"iat":`, 1), strings.Replace(written, `"iat":1`, `"iat":9223372036854775808`, 1),
		strings.Replace(written, `"iat":1`, `"iat":9223372036854775807`, 1), strings.Replace(written, `"iat":1`, `"iat":"1"`, 1), strings.Replace(written, `"iat":1`, `"iat":null`, 1),
		strings.Replace(written, `"https://api.test"`, `["a","b"]`, 1), strings.Replace(written, `"https://api.test"`, `[]`, 1), strings.Replace(written, `"https://api.test"`, `null`, 1),
		strings.Replace(written, `"https://api.test"`, `["a",]`, 1), strings.Replace(written, `"https://api.test"`, `["a" ,"b"]`, 1), strings.Replace(written, `["pwd"]`, `["pwd"`, 1),
		strings.Replace(written, `["pwd"]`, `"pwd"`, 1), strings.Replace(written, `["pwd"]`, `[,"pwd"]`, 1), strings.Replace(written, `["pwd"]`, `["pwd"]]`, 1),
		strings.Replace(written, `,"scope":"read"`, "", 1), strings.Replace(written, `,"scope":"read"`, `,"unknown":{"a":[1]}`, 1), strings.Replace(written, `"iss":"https://as.test",`, "", 1),
		`{"sub":"alice","iss":"https://as.test"}`, `{"aud":"a"}`, `{"amr":["a"]}`, `{"exp":0}`, `{"iss":""}`, `{,"iss":"x"}`, `{"iss":"x",}`,
	} {
		f.Add([]byte(payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		want, refused := oauth.ParseClaimsSlowly(payload)
		got, err := oauth.ParseClaims(payload)
		if refused != nil {
			require.Error(t, err, "%q", payload)
			return
		}
		require.NoError(t, err, "%q", payload)
		require.Equal(t, want, got)
	})
}
