package oauth_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/server/servertest"
)

// nothing is the whole of an inactive answer: RFC 7662 section 2.2.
const nothing = `{"active":false}`

func inactive(t *testing.T, a *servertest.Answer) {
	t.Helper()
	require.Equal(t, 200, a.Status)
	require.Equal(t, nothing, string(a.Body))
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
}

func TestIntrospect_live_access_token_I02(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for _, client := range formats {
			login := w.Login(client, "alice", "scope", "read openid", "audience", servertest.API)
			now := w.Clock.Now().Unix()
			for _, caller := range []string{"rs", "rs-api"} {
				a := w.Introspect(caller, login.Access()).Require(200)
				require.Len(t, a.JSON["jti"], 22)
				delete(a.JSON, "jti")
				require.Equal(t, map[string]any{
					"active": true, "scope": "read openid", "client_id": client, "username": "alice", "sub": servertest.UserID("alice"),
					"aud": servertest.API, "iss": w.Issuer, "exp": float64(now + 600), "iat": float64(now), "token_type": "Bearer", "auth_time": float64(now),
				}, a.JSON)
			}
			for _, hint := range []string{"access_token", "refresh_token", "evil"} {
				require.Equal(t, true, w.Introspect("rs", login.Access(), "token_type_hint", hint).JSON["active"], "a hint is only a hint")
			}
		}
	})
}

// I-03, I-08, and rule 4 of design.md section 8.
func TestIntrospect_by_who_may_not_know_I03_I08(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for _, client := range []string{"c1", "sealed"} {
			login := w.Login(client, "alice", "audience", servertest.API)
			for _, caller := range []string{"c2", "cc", "pw", "rs-other"} {
				inactive(t, w.Introspect(caller, login.Access()))
				inactive(t, w.Introspect(caller, login.Refresh()))
			}
			require.Equal(t, true, w.Introspect(client, login.Access()).JSON["active"], "its own")
			both := w.Login(client, "alice", "audience", servertest.API+" "+servertest.OtherAPI)
			for _, caller := range []string{"rs", "rs-api", "rs-other"} {
				require.Equal(t, true, w.Introspect(caller, both.Access()).JSON["active"])
			}
			plain := w.Login(client, "alice")
			inactive(t, w.Introspect("rs-api", plain.Access()))
			require.True(t, w.Active(plain.Access()))
		}
		// A public client can not prove who asks.
		w.Introspect("p1", w.Login("p1", "alice").Access()).Refused(401, "invalid_client")
	})
}

func TestIntrospect_refresh_token(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		login := w.Login("c1", "alice", "scope", "read")
		for _, caller := range []string{"rs", "rs-api", "c2"} {
			inactive(t, w.Introspect(caller, login.Refresh()))
		}
		a := w.Introspect("c1", login.Refresh())
		require.Equal(t, true, a.JSON["active"])
		require.NotContains(t, a.JSON, "token_type", "an API must not take it for an access token")
		require.InDelta(t, w.Clock.Now().Add(14*24*time.Hour).Unix(), a.JSON["exp"], 0)

		next := w.Refresh("c1", login.Refresh()).Require(200)
		inactive(t, w.Introspect("c1", login.Refresh()))
		require.Equal(t, true, w.Introspect("c1", next.Refresh()).JSON["active"])
		w.Clock.Advance(14 * 24 * time.Hour)
		inactive(t, w.Introspect("c1", next.Refresh()))
	})
}

func TestIntrospect_what_is_no_token_I05_I06_I10(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		login := w.Login("c1", "alice", "scope", "openid read")
		id := session(t, w, login.Refresh()).ID
		w.Introspect("rs", "x")
		for name, token := range map[string]string{
			"I-05 unknown":         "unknown",
			"I-05 random bytes":    "\u00e4\u20ac\U0001F511\x7f\t",
			"I-05 opaque kind":     "ga1_" + strings.Repeat("A", 100),
			"I-05 refresh kind":    "gr1_" + strings.Repeat("A", 80),
			"I-05 an SQL thought":  "' OR 1=1--",
			"I-10 ID token":        w.Sign(keys.TypeJWT, idToken(w)),
			"I-10 code":            w.Codec.Mint(grants.Code, id, 0),
			"I-10 code, redeemed":  w.Codec.Mint(grants.Code, id, 1),
			"I-10 a logout token":  w.Sign(keys.TypeLogoutToken, good(w, "c1", id.String())),
			"an access token, cut": login.Access()[:len(login.Access())-1],
			"a line at the end":    login.Access() + "\n",
			"a blank in front":     " " + login.Access(),
			"two at once":          login.Access() + " " + login.Access(),
			"with its scheme":      "Bearer " + login.Access(),
			"60 KB":                strings.Repeat("evil", 15_000),
		} {
			spent := w.Statements(func() { inactive(t, w.Introspect("rs", token)) })
			require.Zero(t, spent, name)
		}
		w.Introspect("rs", "").Refused(400, "invalid_request")
		w.Post("/oauth2/introspect", "rs").Refused(400, "invalid_request")
		w.Post("/oauth2/introspect", "rs", "token_type_hint", "access_token").Refused(400, "invalid_request")
	})
}

func idToken(w *servertest.World) string {
	now := w.Clock.Now().Unix()
	return fmt.Sprintf(`{"iss":%q,"sub":"id-of-alice","aud":"c1","client_id":"c1","jti":"x","iat":%d,"exp":%d}`, w.Issuer, now, now+600)
}

// good are the claims of a token that works, in the order of the server.
func good(w *servertest.World, client, grant string) string {
	now := w.Clock.Now().Unix()
	return fmt.Sprintf(`{"iss":%q,"sub":"id-of-alice","aud":%q,"client_id":%q,"scope":"openid read","jti":"some-jti","gid":%q,"iat":%d,"exp":%d}`,
		w.Issuer, w.Issuer, client, grant, now, now+600)
}

// Section 13 as far as a signature of ours can carry it: whoever signs with our keys
// by mistake (another version, another product) must not be believed more than needed.
func TestIntrospect_crafted_claims_section13(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		login := w.Login("c1", "alice", "scope", "openid read")
		grant := session(t, w, login.Refresh()).ID.String()
		now := w.Clock.Now().Unix()
		whole := good(w, "c1", grant)
		require.True(t, w.Active(w.Sign(keys.TypeAccessToken, whole)), "the pattern works")
		w.Userinfo(w.Sign(keys.TypeAccessToken, whole)).Require(200)
		replace := func(old, next string) string {
			require.Contains(t, whole, old)
			return strings.Replace(whole, old, next, 1)
		}
		exp, iat := fmt.Sprintf(`"exp":%d`, now+600), fmt.Sprintf(`"iat":%d`, now)
		ends := func(text string) string { return strings.TrimSuffix(whole, "}") + text + "}" }
		for name, claims := range map[string]string{
			"S-06 an ID token's claims without grant": `{"iss":"` + w.Issuer + `"}`,
			"S-07 exp missing":                        replace(","+exp, ""),
			"S-07 exp a string":                       replace(exp, fmt.Sprintf(`"exp":"%d"`, now+600)),
			"S-07 exp a fraction":                     replace(exp, `"exp":99999999999.5`),
			"S-07 exp null":                           replace(exp, `"exp":null`),
			"S-07 exp beyond int64":                   replace(exp, `"exp":99999999999999999999`),
			"S-07 exp negative":                       replace(exp, `"exp":-1`),
			"S-07 exp just over":                      replace(exp, fmt.Sprintf(`"exp":%d`, now)),
			"S-07 iat an hour ahead":                  replace(iat, fmt.Sprintf(`"iat":%d`, now+3600)),
			"S-07 iat 61 s ahead":                     replace(iat, fmt.Sprintf(`"iat":%d`, now+61)),
			"S-07 iat missing":                        replace(","+iat, ""),
			"S-07 nbf an hour ahead":                  ends(fmt.Sprintf(`,"nbf":%d`, now+3600)),
			"S-07 nbf a string":                       ends(`,"nbf":"0"`),
			"S-08 aud missing":                        replace(fmt.Sprintf(`"aud":%q,`, w.Issuer), ""),
			"S-08 aud empty":                          replace(fmt.Sprintf(`"aud":%q`, w.Issuer), `"aud":[]`),
			"S-08 aud null":                           replace(fmt.Sprintf(`"aud":%q`, w.Issuer), `"aud":null`),
			"S-08 aud an object":                      replace(fmt.Sprintf(`"aud":%q`, w.Issuer), `"aud":{}`),
			"S-11 exp twice":                          ends(fmt.Sprintf(`,"exp":%d`, now+6000)),
			"S-11 sub twice":                          ends(`,"sub":"id-of-bob"`),
			"S-11 aud twice":                          ends(`,"aud":"https://as.test"`),
			"S-11 an unknown claim twice":             ends(`,"x":1,"x":1`),
			"S-11 exp in another case":                ends(`,"EXP":99999999999`),
			"S-11 sub by an escape":                   ends(`,"s\u0075b":"id-of-bob"`),
			"S-11 iss with a long s":                  ends(`,"i\u017Fs":"https://evil.test"`),
			"iss of another":                          replace(`"iss":"https://as.test"`, `"iss":"https://evil.test"`),
			"iss missing":                             replace(`"iss":"https://as.test",`, ""),
			"iss with a slash":                        replace(`"iss":"https://as.test"`, `"iss":"https://as.test/"`),
			"sub missing":                             replace(`"sub":"id-of-alice",`, ""),
			"client_id missing":                       replace(`"client_id":"c1",`, ""),
			"client_id of nobody":                     replace(`"client_id":"c1"`, `"client_id":"nobody"`),
			"jti missing":                             replace(`"jti":"some-jti",`, ""),
			"gid no grant id":                         replace(grant, "not-a-grant-id"),
			"gid of nobody":                           replace(grant, grants.ID{1}.String()),
			"gid of another client":                   strings.Replace(whole, grant, session(t, w, w.Login("c2", "alice").Refresh()).ID.String(), 1),
			"gid of another user":                     strings.Replace(whole, grant, session(t, w, w.Login("c1", "bob").Refresh()).ID.String(), 1),
			"a user without gid":                      replace(fmt.Sprintf(`"gid":%q,`, grant), ""),
			"gid a number":                            replace(`"`+grant+`"`, "1"),
			"no object":                               `[]`,
			"a string":                                `"x"`,
			"null":                                    `null`,
			"nothing":                                 ``,
			"cut":                                     whole[:len(whole)-1],
			"trailing text":                           whole + "x",
			"two objects":                             whole + whole,
			"100 000 levels":                          ends(`,"x":`+strings.Repeat("[", 2000)+strings.Repeat("]", 2000)) + "}",
		} {
			token := w.Sign(keys.TypeAccessToken, claims)
			a := w.Introspect("rs", token)
			require.Equal(t, nothing, string(a.Body), name)
			w.Userinfo(token).Refused(401, "invalid_token")
		}
		for name, claims := range map[string]string{
			"iat 60 s ahead":     replace(iat, fmt.Sprintf(`"iat":%d`, now+60)),
			"nbf now":            ends(fmt.Sprintf(`,"nbf":%d`, now)),
			"a claim of later":   ends(`,"later_claim":{"a":[1,{"a":2}]}`),
			"blanks":             strings.ReplaceAll(whole, ",", " ,\n"),
			"aud a list":         replace(fmt.Sprintf(`"aud":%q`, w.Issuer), `"aud":["https://as.test","x"]`),
			"exp in a second":    replace(exp, fmt.Sprintf(`"exp":%d`, now+1)),
			"members in a value": ends(`,"x":{"exp":1,"exp":1}`),
		} {
			require.True(t, w.Active(w.Sign(keys.TypeAccessToken, claims)), name)
		}
	})
}

func TestIntrospect_forged_headers_section13(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		login := w.Login("c1", "alice", "scope", "openid")
		w.Userinfo(login.Access()).Require(200)
		w.Introspect("rs", "x")
		for name, token := range forgeries(t, w, keys.TypeAccessToken, good(w, "c1", session(t, w, login.Refresh()).ID.String())) {
			spent := w.Statements(func() {
				inactive(t, w.Introspect("rs", token))
				w.Userinfo(token).Refused(401, "invalid_token")
				require.Equal(t, 200, w.Revoke("c1", token).Status, "unknown is a success: RFC 7009 section 2.2")
			})
			require.Zero(t, spent, "%s: no query", name)
		}
		require.True(t, w.Active(login.Access()))
	})
}

// I-11 and I-12.
func TestIntrospect_follows_revocation_and_time(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		other := w.Replica()
		for _, client := range formats {
			one, two := w.Login(client, "alice"), w.Login(client, "alice")
			require.True(t, other.Active(one.Access()))
			w.Revoke(client, one.Access()).Require(200)
			require.False(t, other.Active(one.Access()), "I-11")
			require.True(t, other.Active(two.Access()))
			w.Clock.Set(w.Clock.Now().Truncate(time.Second).Add(600*time.Second - time.Microsecond))
			require.True(t, other.Active(two.Access()))
			w.Clock.Advance(time.Microsecond)
			require.False(t, other.Active(two.Access()), "I-12")
			require.False(t, other.Active(one.Access()))
		}
	})
}

func TestIntrospect_a_session_ended_by_an_administrator(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		other := w.Replica()
		login, spared := w.Login("c1", "alice"), w.Login("c1", "alice")
		s := session(t, w, login.Refresh())
		require.NoError(t, w.Store.RevokeSession(t.Context(), s.ID, grants.ReasonAdmin))
		require.False(t, other.Active(login.Access()))
		other.Refresh("c1", login.Refresh()).Refused(400, "invalid_grant")
		require.True(t, other.Active(spared.Access()))
		hash, err := w.Passwords.Hash(t.Context(), "another password")
		require.NoError(t, err)
		_, err = w.Store.SetPassword(t.Context(), servertest.UserID("alice"), hash, false)
		require.NoError(t, err)
		require.False(t, other.Active(spared.Access()))
	})
}

// I-09: a failing store is not an answer.
func TestIntrospect_when_the_database_fails_I09(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for _, client := range formats {
			login := w.Login(client, "alice")
			require.True(t, w.Active(login.Access()))
			mend := w.Break(everything)
			w.Introspect("rs", login.Access()).Refused(503, "temporarily_unavailable")
			inactive(t, w.Introspect("rs", "forged")) // the signature alone says no
			mend()
			require.True(t, w.Active(login.Access()))
		}
	})
}

// The registration of a resource server is read as it is now.
func TestIntrospect_after_the_resource_server_was_narrowed(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	at := w.Login("c1", "alice", "audience", servertest.API).Access()
	require.True(t, w.Active(at))
	w.UpdateClient("rs", func(c *clients.Client) { c.Audience = []string{servertest.OtherAPI} })
	require.False(t, w.Active(at))
}
