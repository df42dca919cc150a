package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/storage/storagetest"
)

const apiAudience = "https://orders.example.com"

// startAPI runs the example beside a server.
func (w *world) startAPI(server *program, audience string, as credentials) *program {
	w.t.Helper()
	binary, err := resourceServer()
	require.NoError(w.t, err)
	p, err := launch(w.t, binary, w.dir, []string{"CLIENT_ID=" + as.ID, "CLIENT_SECRET=" + as.Secret},
		"--issuer", server.url, "--audience", audience, "--address", "127.0.0.1:0")
	require.NoError(w.t, err)
	w.watch(p.log)
	match := apiLine.FindStringSubmatch(p.ready)
	require.NotNil(w.t, match, "%q\n%s", p.ready, p.log)
	p.url = match[1]
	return p
}

// The API call of the circle: the example, beside the server, on both of its routes.
func TestResourceServer(t *testing.T) {
	t.Parallel()
	each(t, storagetest.Setup{}, nil, func(t *testing.T, w *world) {
		server := w.serve()
		circle := []string{"--grant", "password", "--grant", "refresh_token", "--grant", "client_credentials", "--scope", "orders", "--audience", apiAudience}
		web := w.client("web", append(circle, "--audience", "https://other.example.com")...)
		brief := w.client("brief", append(circle, "--access-token-lifetime", "1s")...)
		sealed := w.client("sealed", append(circle, "--access-token", "opaque")...)
		asker := w.client("asker", "--resource-server", "--audience", apiAudience)
		password := w.user("alice")
		api := w.startAPI(server, apiAudience, asker)

		loginFor := func(as credentials, audience string) tokens {
			form := passwordForm("alice", password)
			form.Set("audience", audience)
			return w.tokensOf(post(t, server.url+"/oauth2/token", as, form))
		}
		accepts := func(path, token string) bool {
			a := getAs(t, api.url+path, token)
			if a.status == http.StatusOK {
				return true
			}
			require.Equal(t, http.StatusUnauthorized, a.status, "%s", a)
			require.Contains(t, a.header.Get("WWW-Authenticate"), `error="invalid_token"`)
			return false
		}
		short := loginFor(brief, apiAudience) // it ends while the rest is tried
		good := loginFor(web, apiAudience)

		for _, path := range []string{"/", "/introspected"} {
			a := getAs(t, api.url+path, good.access)
			require.Equal(t, http.StatusOK, a.status, "%s", a)
			require.Equal(t, "web", a.field("client_id"))
			require.Equal(t, "orders", a.field("scope"))
			machine := clientForm()
			machine.Set("audience", apiAudience)
			require.True(t, accepts(path, w.tokensOf(post(t, server.url+"/oauth2/token", web, machine)).access))

			require.False(t, accepts(path, good.refresh), "a refresh token")
			require.False(t, accepts(path, loginFor(web, "https://other.example.com").access), "for another API")
			require.False(t, accepts(path, loginFor(web, server.url).access), "for the issuer alone")
			for name, forged := range forgeries(t, good.access) {
				require.False(t, accepts(path, forged), name)
			}
			require.Equal(t, http.StatusUnauthorized, get(t, api.url+path).status, "no token")
		}
		opaque := loginFor(sealed, apiAudience)
		require.True(t, accepts("/introspected", opaque.access))
		require.False(t, accepts("/", opaque.access))

		// Where the server is asked, the end of a session counts in the next request.
		renewed := w.renew(server, web, good.refresh)
		require.True(t, accepts("/", renewed.access))
		require.True(t, accepts("/introspected", renewed.access))
		require.Equal(t, http.StatusOK, post(t, server.url+"/oauth2/revoke", web, tokenForm(renewed.refresh)).status)
		require.False(t, accepts("/introspected", renewed.access))
		require.False(t, accepts("/introspected", good.access))
		require.True(t, accepts("/", renewed.access), "verified alone, it lives until it expires")
		var list []session
		w.read(&list, "session", "list", "--client", "sealed")
		require.Len(t, list, 1)
		w.run("session", "revoke", list[0].ID)
		require.False(t, accepts("/introspected", opaque.access))

		// The keys are known since the first token: verifying needs nobody.
		for _, path := range []string{"/", "/introspected"} {
			require.Eventually(t, func() bool { return !accepts(path, short.access) }, patience, tick, "%s: expired", path)
		}
		server.kill(t)
		require.True(t, accepts("/", renewed.access))
		require.Equal(t, http.StatusServiceUnavailable, getAs(t, api.url+"/introspected", renewed.access).status, "not knowing is not a refusal")

		api.terminate(t)
		require.Zero(t, api.await(t), "exit 0")
	})
}

// forgeries look like a token, and are signed with a key of our own that says it is the server's.
func forgeries(t *testing.T, token string) map[string]string {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	require.NoError(t, err)
	var payload map[string]any
	require.NoError(t, parsed.UnsafeClaimsWithoutVerification(&payload))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	sign := func(kind jose.ContentType, claims map[string]any) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: parsed.Headers[0].KeyID}},
			new(jose.SignerOptions).WithType(kind))
		require.NoError(t, err)
		body, err := json.Marshal(claims)
		require.NoError(t, err)
		signed, err := signer.Sign(body)
		require.NoError(t, err)
		compact, err := signed.CompactSerialize()
		require.NoError(t, err)
		return compact
	}
	parts := strings.Split(token, ".")
	idToken := map[string]any{"iss": payload["iss"], "sub": payload["sub"], "aud": "web", "nonce": "n", "iat": payload["iat"], "exp": payload["exp"]}
	over := map[string]any{}
	for name, value := range payload {
		over[name] = value
	}
	over["exp"] = time.Now().Add(-time.Hour).Unix()
	return map[string]string{
		"an access token of our own":     sign("at+jwt", payload),
		"an ID token of our own":         sign("JWT", idToken),
		"an ID token with its audience":  sign("JWT", payload),
		"an expired one of our own":      sign("at+jwt", over),
		"another's signature":            parts[0] + "." + parts[1] + "." + strings.Split(sign("at+jwt", payload), ".")[2],
		"no signature":                   parts[0] + "." + parts[1] + ".",
		"alg none":                       "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + parts[1] + ".",
		"the signature's last character": changed(token),
	}
}

// changed is a token with another signature: its last but one character, all of whose bits count.
func changed(token string) string {
	at, other := len(token)-2, "A"
	if token[at] == 'A' {
		other = "B"
	}
	return token[:at] + other + token[at+1:]
}
