package oauth_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/server/servertest"
)

// atHash is OpenID Connect Core section 3.1.3.6, written a second time.
func atHash(access string) string {
	sum := sha256.Sum256([]byte(access))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// rerouted sends what is meant for the issuer to where the World listens.
type rerouted struct{ host string }

func (l rerouted) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", l.host
	return http.DefaultTransport.RoundTrip(r)
}

// relyingParty is go-oidc, told nothing but the issuer.
func relyingParty(t *testing.T, w *servertest.World) (context.Context, *oidc.Provider) {
	t.Helper()
	u, err := url.Parse(w.URL)
	require.NoError(t, err)
	ctx := oidc.ClientContext(t.Context(), &http.Client{Transport: rerouted{host: u.Host}})
	p, err := oidc.NewProvider(ctx, w.Issuer)
	require.NoError(t, err)
	return ctx, p
}

// OpenID Connect Core section 2, verified by another library with the published keys:
// RS256 unless the client registered for ES256, whatever its access tokens look like.
func TestIDToken_is_what_a_relying_party_expects(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for id, c := range map[string]clients.Client{
		"default": {}, "rs": {IDTokenAlg: clients.RS256}, "es": {IDTokenAlg: clients.ES256}, "opaque": {AccessToken: clients.Opaque},
		"public": {Public: true}, "signed": {UserinfoAlg: clients.ES256}, "signed-rs": {UserinfoAlg: clients.RS256},
	} {
		t.Run(id, func(t *testing.T) {
			c.ID, c.Grants, c.RedirectURIs, c.Scope = "is-"+id, []string{"authorization_code", "refresh_token"}, []string{servertest.Callback}, []string{"openid", "email"}
			w.AddClient(c)
			b := w.Browser()
			b.SignIn("alice")
			since := w.Clock.Now()
			w.Clock.Advance(90 * time.Second)
			code := b.Authorize(c.ID, "scope", "openid email").Through("alice").Code()
			w.Clock.Advance(time.Second)
			tokens := w.Redeem(c.ID, code).Require(200)

			ctx, provider := relyingParty(t, w)
			verifier := provider.VerifierContext(ctx, &oidc.Config{ClientID: c.ID, Now: w.Clock.Now})
			token, err := verifier.Verify(ctx, tokens.Text("id_token"))
			require.NoError(t, err)
			require.NoError(t, token.VerifyAccessToken(tokens.Access()))
			require.Equal(t, "a nonce", token.Nonce)

			algorithm := clients.RS256
			if c.IDTokenAlg != "" {
				algorithm = c.IDTokenAlg
			}
			header := headerOf(t, tokens.Text("id_token"))
			require.Equal(t, algorithm, header["alg"])
			require.Equal(t, "JWT", header["typ"])
			claims := servertest.Claims(t, tokens.Text("id_token"))
			require.NotEmpty(t, claims["sid"])
			require.Equal(t, map[string]any{
				"iss": w.Issuer, "sub": servertest.UserID("alice"), "aud": c.ID, "azp": c.ID,
				"iat": float64(w.Clock.Now().Unix()), "exp": float64(w.Clock.Now().Unix() + 600), "auth_time": float64(since.Unix()),
				"acr": "1", "amr": []any{"pwd"}, "nonce": "a nonce", "at_hash": atHash(tokens.Access()), "sid": claims["sid"],
			}, claims, "no claims about the user: those are for the userinfo endpoint")

			info := w.Userinfo(tokens.Access()).Require(200)
			if c.UserinfoAlg == "" {
				require.Equal(t, "application/json", info.Header.Get("Content-Type"))
				require.Equal(t, map[string]any{"sub": servertest.UserID("alice"), "email": "alice@app.test", "email_verified": false}, info.JSON)
				return
			}
			require.Equal(t, "application/jwt", info.Header.Get("Content-Type"))
			require.Equal(t, c.UserinfoAlg, headerOf(t, string(info.Body))["alg"])
			_, err = provider.VerifierContext(ctx, &oidc.Config{ClientID: c.ID, SkipExpiryCheck: true}).Verify(ctx, string(info.Body))
			require.NoError(t, err)
			require.Equal(t, map[string]any{
				"iss": w.Issuer, "aud": c.ID, "sub": servertest.UserID("alice"), "email": "alice@app.test", "email_verified": false,
			}, servertest.Claims(t, string(info.Body)))
			// What is signed for one purpose serves no other.
			requireRedirect(t, b.Authorize(c.ID, "id_token_hint", string(info.Body)), "invalid_request")
			w.Userinfo(string(info.Body)).Refused(401, "invalid_token")
		})
	}
}

// A client that registered for signed answers gets no other, whatever fails.
func TestUserinfo_signed_is_never_plain(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		w.UpdateClient("c1", func(c *clients.Client) { c.UserinfoAlg = clients.ES256 })
		at := w.Login("c1", "alice").Access()
		for nth := 1; nth <= 3; nth++ {
			w.Clock.Advance(2 * time.Second) // the client is read again
			count := 0
			mend := w.Break(func(string) error {
				if count++; count == nth {
					return errBroken
				}
				return nil
			})
			a := w.Userinfo(at)
			mend()
			require.NotContains(t, string(a.Body), "alice", "statement %d", nth)
			if count < nth {
				require.Equal(t, "application/jwt", a.Header.Get("Content-Type"))
				return
			}
			a.Refused(503, "temporarily_unavailable")
		}
	})
}

// OpenID Connect Core section 12.2: a renewed ID token says who and when as the first
// did, and is new otherwise.
func TestIDToken_refreshed(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		tokens := w.Obtain("c1", "alice", "scope", "openid read", "claims", `{"id_token":{"email":null}}`)
		first := servertest.Claims(t, tokens.Text("id_token"))
		for range 3 {
			w.Clock.Advance(time.Hour)
			tokens = w.Refresh("c1", tokens.Refresh()).Require(200)
			again := servertest.Claims(t, tokens.Text("id_token"))
			for _, name := range []string{"iss", "sub", "aud", "azp", "auth_time", "acr", "amr", "sid"} {
				require.Equal(t, first[name], again[name], name)
			}
			require.NotContains(t, again, "nonce")
			require.Equal(t, float64(w.Clock.Now().Unix()), again["iat"])
			require.Greater(t, again["exp"], first["exp"])
			require.Equal(t, atHash(tokens.Access()), again["at_hash"])
		}
		// Signing in again somewhere does not move the session's auth_time.
		w.Clock.Advance(time.Minute)
		w.Browser().SignIn("alice")
		narrowed := w.Refresh("c1", tokens.Refresh(), "scope", "read").Require(200)
		require.Empty(t, narrowed.Text("id_token"), "openid was not asked for")
		whole := w.Refresh("c1", narrowed.Refresh()).Require(200)
		require.Equal(t, first["auth_time"], servertest.Claims(t, whole.Text("id_token"))["auth_time"])
		require.Equal(t, "openid read", whole.Text("scope"))
	})
}

// Only where somebody signed in at a page, and openid was asked for.
func TestIDToken_is_for_sign_ins(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	require.Empty(t, w.Obtain("c1", "alice", "scope", "read profile").Text("id_token"))
	require.Empty(t, w.Login("c1", "alice").Text("id_token"), "the password grant has no sign-in")
	require.Empty(t, w.Token("cc", "grant_type", "client_credentials").Text("id_token"))
	tokens := w.Obtain("c1", "alice")
	for name, a := range map[string]*servertest.Answer{
		"U-04 bearer":    w.Userinfo(tokens.Text("id_token")).Require(401),
		"I-10":           w.Introspect("rs", tokens.Text("id_token")).Require(200),
		"R-10 as an RT":  w.Refresh("c1", tokens.Text("id_token")).Refused(400, "invalid_grant"),
		"C-08 as a code": w.Redeem("c1", tokens.Text("id_token")).Refused(400, "invalid_grant"),
	} {
		require.NotContains(t, string(a.Body), "alice", name)
	}
	require.True(t, w.Active(tokens.Access()))
}

// One sign-in at one browser is one sid, for all of its applications.
func TestIDToken_sid_is_of_the_browser(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	sid := func(b *servertest.Browser, client string) any {
		return servertest.Claims(t, w.Redeem(client, b.Authorize(client).Through("alice").Code()).Require(200).Text("id_token"))["sid"]
	}
	b := w.Browser()
	one := sid(b, "c1")
	require.Equal(t, one, sid(b, "own"))
	require.NotEqual(t, one, sid(w.Browser(), "c1"))
	require.NotContains(t, b.Cookies["__Host-grantor-session"].Value, fmt.Sprint(one), "the sid is told to clients, and is not the cookie")
}

// hintClaims are those of an ID token of alice's for c1.
func hintClaims(w *servertest.World) string {
	now := w.Clock.Now().Unix()
	return fmt.Sprintf(`{"iss":%q,"sub":"id-of-alice","aud":"c1","sid":"x","auth_time":%d,"iat":%d,"exp":%d}`, w.Issuer, now, now, now+600)
}

// Section 13: what is no ID token of ours for this client names nobody.
func TestIDTokenHint_that_is_not_ours_section13(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	b.Authorize("c1").Through("alice").Code()
	whole := hintClaims(w)
	hint := func(token string, pairs ...string) *servertest.Page {
		return b.Authorize("c1", append([]string{"id_token_hint", token}, pairs...)...)
	}
	hint(w.Sign(keys.TypeJWT, whole)).Code() // the pattern works
	forged := forgeries(t, w, keys.TypeJWT, whole)
	now := w.Clock.Now().Unix()
	replace := func(old, next string) string {
		require.Contains(t, whole, old)
		return w.Sign(keys.TypeJWT, strings.Replace(whole, old, next, 1))
	}
	number := func(name string, at int64) string { return fmt.Sprintf(`%q:%d`, name, at) }
	for name, token := range map[string]string{
		"S-07 exp missing":             replace(","+number("exp", now+600), ""),
		"S-07 exp a string":            replace(number("exp", now+600), `"exp":"9999999999"`),
		"S-07 iat missing":             replace(","+number("iat", now), ""),
		"S-07 iat an hour ahead":       replace(number("iat", now), number("iat", now+3600)),
		"S-07 iat 61 seconds ahead":    replace(number("iat", now), number("iat", now+61)),
		"S-07 nbf an hour ahead":       replace(number("iat", now), number("iat", now)+","+number("nbf", now+3600)),
		"S-08 aud missing":             replace(`"aud":"c1",`, ""),
		"S-08 aud of another client":   replace(`"aud":"c1"`, `"aud":"c2"`),
		"S-08 aud a list":              replace(`"aud":"c1"`, `"aud":["c1","c2"]`),
		"S-08 aud a number":            replace(`"aud":"c1"`, `"aud":1`),
		"iss of another server":        replace(w.Issuer, "https://evil.test"),
		"sub missing":                  replace(`"sub":"id-of-alice",`, ""),
		"auth_time missing":            replace(number("auth_time", now)+",", ""),
		"S-11 two subjects":            replace(`"sub":"id-of-alice"`, `"sub":"id-of-bob","sub":"id-of-alice"`),
		"S-11 two subjects by case":    replace(`"sub":"id-of-alice"`, `"SUB":"id-of-bob","sub":"id-of-alice"`),
		"no object":                    w.Sign(keys.TypeJWT, `["x"]`),
		"two objects":                  w.Sign(keys.TypeJWT, whole+whole),
		"nothing":                      w.Sign(keys.TypeJWT, ``),
		"an access token":              w.Login("c1", "alice").Access(),
		"an opaque access token":       w.Login("sealed", "alice").Access(),
		"a refresh token":              w.Login("c1", "alice").Refresh(),
		"garbage":                      "evil",
		"another client's, really":     w.Obtain("own", "alice").Text("id_token"),
		"under keys of another server": servertest.New(t, servertest.Setup{}).Sign(keys.TypeJWT, whole),
	} {
		forged[name] = token
	}
	for name, token := range forged {
		t.Run(name, func(t *testing.T) {
			requireRedirect(t, hint(token), "invalid_request")
			requireRedirect(t, hint(token, "prompt", "none"), "invalid_request")
			// Where the person signs out it counts as none: nobody is signed out by it, nobody sent away.
			page := b.Get("/oauth2/logout?" + servertest.Encode("id_token_hint", token, "post_logout_redirect_uri", "https://ev~l.test/"))
			require.NotContains(t, page.Location(), "ev~l")
			b.Authorize("c1", "prompt", "none").Code()
		})
	}
	hint(replace(number("iat", now), number("iat", now+60))).Code()
	hint(replace(number("exp", now+600), number("exp", now-3600))).Code() // it says who, not until when
	require.NotContains(t, w.Log.Text(), "id-of-bob", "S-10")
}

// OpenID Connect Core section 5.5, within what the client is registered for and the
// person allowed.
func TestClaims_by_name(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		zoe := allClaims(t, w)
		for name, c := range map[string]struct {
			ask           string
			userinfo, idt []string // beside those that are always there
		}{
			"userinfo":           {`{"userinfo":{"email":null,"given_name":{"essential":true}}}`, []string{"email", "given_name"}, nil},
			"id_token":           {`{"id_token":{"email":null,"email_verified":{"value":true},"birthdate":{"values":["a","b"]}}}`, nil, []string{"email", "email_verified", "birthdate"}},
			"both":               {`{"userinfo":{"phone_number":null},"id_token":{"address":null}}`, []string{"phone_number"}, []string{"address"}},
			"unknown ones":       {`{"userinfo":{"shoe_size":null,"https://evil.test/claim":{"essential":true}},"id_token":{"roles":null},"other":{"x":1}}`, nil, nil},
			"server's own":       {`{"userinfo":{"iss":{"value":"https://evil.test"},"exp":null,"client_id":null},"id_token":{"aud":{"value":"evil"},"auth_time":{"essential":true},"acr":{"values":["1","2"]},"sid":{"value":"evil"},"nonce":{"value":"evil"}}}`, nil, nil},
			"empty":              {`{}`, nil, nil},
			"null":               {`{"userinfo":null,"id_token":null}`, nil, nil},
			"its own subject":    {fmt.Sprintf(`{"id_token":{"sub":{"value":%q}}}`, zoe.ID), nil, nil},
			"an acr that works":  {`{"id_token":{"acr":{"essential":true,"values":["1"]}}}`, nil, nil},
			"an acr if there is": {`{"id_token":{"acr":{"values":["7"]}}}`, nil, nil},
		} {
			t.Run(name, func(t *testing.T) {
				tokens := w.Obtain("all", "zoe", "scope", "openid", "claims", c.ask)
				info := w.Userinfo(tokens.Access()).Require(200).JSON
				require.ElementsMatch(t, append(c.userinfo, "sub"), names(info))
				require.Equal(t, zoe.ID, info["sub"])
				claims := servertest.Claims(t, tokens.Text("id_token"))
				require.ElementsMatch(t, append(c.idt, "iss", "sub", "aud", "azp", "iat", "exp", "auth_time", "acr", "amr", "nonce", "at_hash", "sid"), names(claims))
				require.Equal(t, []any{w.Issuer, "all", "a nonce", "1"}, []any{claims["iss"], claims["aud"], claims["nonce"], claims["acr"]})
				// They stay with the session, and are asked for by its access tokens alone.
				renewed := w.Refresh("all", tokens.Refresh()).Require(200)
				require.Equal(t, info, w.Userinfo(renewed.Access()).Require(200).JSON)
				require.Equal(t, "openid", renewed.Text("scope"))
			})
		}
	})
}

func TestClaims_that_can_not_be_read(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	b.SignIn("alice")
	for _, claims := range []string{
		"evil", "[]", `"x"`, "1", "{", `{"userinfo":[]}`, `{"userinfo":"x"}`, `{"userinfo":{"email":1}}`, `{"userinfo":{"email":{"essential":"yes"}}}`, `{"id_token":{"acr":{"values":"1"}}}`,
		`{}{}`, `{} x`, strings.Repeat("[", 4000), `{"userinfo":{` + strings.Repeat(`"a":{"value":`, 300), `{"x":"` + strings.Repeat("x", 4096) + `"}`,
	} {
		requireRedirect(t, b.Authorize("own", "claims", claims), "invalid_request")
	}
	for _, claims := range []string{`{"id_token":{"acr":{"essential":true,"value":"2"}}}`, `{"id_token":{"acr":{"essential":true,"values":["2","3",1]}}}`} {
		requireRedirect(t, b.Authorize("own", "claims", claims), "unmet_authentication_requirements")
	}
}

// Asking by name is no way around the registration, nor around the person.
func TestClaims_within_registration_and_consent(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	allClaims(t, w)
	const ask = `{"userinfo":{"email":null,"phone_number":null,"name":null},"id_token":{"email":null,"address":null}}`
	w.AddClient(clients.Client{ID: "only", Grants: []string{"authorization_code"}, RedirectURIs: []string{servertest.Callback}, Scope: []string{"openid", "profile"}, FirstParty: true})
	tokens := w.Obtain("only", "zoe", "scope", "openid", "claims", ask)
	require.ElementsMatch(t, []string{"sub", "name"}, names(w.Userinfo(tokens.Access()).Require(200).JSON))
	for _, name := range []string{"email", "address", "phone_number"} {
		require.NotContains(t, servertest.Claims(t, tokens.Text("id_token")), name)
	}

	b := w.Browser()
	b.SignIn("zoe")
	page := requireAsked(t, b.Authorize("all", "scope", "openid"), "/consent").Follow()
	require.NotContains(t, string(page.Body), "e-mail")
	page.Submit("decision", "allow").Code()
	b.Authorize("all", "scope", "openid", "prompt", "none").Code()
	// What was allowed did not tell the address.
	requireRedirect(t, b.Authorize("all", "scope", "openid", "claims", ask, "prompt", "none"), "consent_required")
	page = requireAsked(t, b.Authorize("all", "scope", "openid", "claims", ask), "/consent").Follow()
	for _, told := range []string{"e-mail", "phone", "address"} {
		require.Contains(t, string(page.Body), told)
	}
	a := w.Redeem("all", page.Submit("decision", "allow").Code()).Require(200)
	require.Equal(t, "openid", a.Text("scope"), "the token reaches no further")
	b.Authorize("all", "scope", "openid", "claims", ask, "prompt", "none").Code()
}

// U-09: an ID token as little as userinfo is told by a profile what the server says.
func TestIDToken_profile_never_overrides_the_server_U09(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	zoe := allClaims(t, w)
	w.UpdateClient("all", func(c *clients.Client) { c.UserinfoAlg = clients.RS256 })
	own := map[string]any{
		"v": 1, "iss": "https://ev!l.test", "sub": "ev!l", "aud": "ev!l", "exp": 1, "iat": 1, "azp": "ev!l", "nonce": "ev!l", "auth_time": 1, "acr": "ev!l", "amr": []string{"ev!l"},
		"sid": "ev!l", "at_hash": "ev!l", "name": "Zoe",
	}
	raw, err := json.Marshal(own)
	require.NoError(t, err)
	execute(t, w, `UPDATE users SET profile = '`+string(raw)+`'`)
	ask := map[string]map[string]any{"userinfo": {}, "id_token": {}}
	for name := range own {
		if name != "sub" {
			ask["userinfo"][name], ask["id_token"][name] = nil, nil
		}
	}
	claims, err := json.Marshal(ask)
	require.NoError(t, err)
	tokens := w.Obtain("all", "zoe", "scope", "openid profile", "claims", string(claims))
	for _, token := range []string{tokens.Text("id_token"), string(w.Userinfo(tokens.Access()).Require(200).Body)} {
		said := servertest.Claims(t, token)
		require.Equal(t, []any{w.Issuer, zoe.ID, "all"}, []any{said["iss"], said["sub"], said["aud"]})
		require.NotContains(t, fmt.Sprint(said), "ev!l")
	}
}
