package main

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"
)

// issuer is a server that issues tokens, as far as a resource server sees one.
type issuer struct {
	*httptest.Server
	mu       sync.Mutex
	keys     []jose.JSONWebKey
	fetched  int
	down     bool
	answers  map[string]map[string]any // to introspection, by token
	asked    []string
	ec, next *ecdsa.PrivateKey
	rsa      *rsa.PrivateKey
}

const api = "https://api.example.com"

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{answers: map[string]map[string]any{}}
	var err error
	i.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	i.next, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	i.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	i.keys = []jose.JSONWebKey{public("ec", "ES256", i.ec), public("rsa", "RS256", i.rsa)}

	routes := http.NewServeMux()
	routes.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{
			"issuer": i.URL, "jwks_uri": i.URL + "/jwks", "introspection_endpoint": i.URL + "/introspect",
		})
	})
	routes.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.fetched++
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: i.keys})
	})
	routes.HandleFunc("POST /introspect", func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		if id != "api" || secret != "s%2Bcret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		i.asked = append(i.asked, r.PostFormValue("token"))
		answer := i.answers[r.PostFormValue("token")]
		if answer == nil {
			answer = map[string]any{"active": false}
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		down := i.down
		i.mu.Unlock()
		if down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		routes.ServeHTTP(w, r)
	}))
	t.Cleanup(i.Close)
	return i
}

func public(id, algorithm string, key crypto.Signer) jose.JSONWebKey {
	return jose.JSONWebKey{Key: key.Public(), KeyID: id, Algorithm: algorithm, Use: "sig"}
}

func (i *issuer) change(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

func (i *issuer) fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetched
}

// token is a good one, changed by what a test wants.
type token struct {
	alg  jose.SignatureAlgorithm
	key  any
	kid  string
	typ  any
	body map[string]any
}

func (i *issuer) good(change ...func(*token)) *token {
	now := time.Now()
	t := &token{jose.ES256, i.ec, "ec", "at+jwt", map[string]any{
		"iss": i.URL, "aud": api, "sub": "alice", "client_id": "shop", "scope": "orders",
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": "1",
	}}
	for _, f := range change {
		f(t)
	}
	return t
}

func (tok *token) sign(t *testing.T) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithHeader("kid", tok.kid)
	if tok.typ != nil {
		options = options.WithHeader("typ", tok.typ)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: tok.alg, Key: tok.key}, options)
	require.NoError(t, err)
	text, err := jwt.Signed(signer).Claims(tok.body).Serialize()
	require.NoError(t, err)
	return text
}

// clock is the time of the API under test.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func get(t *testing.T, handler http.Handler, path, token string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

func TestVerify_says_who_is_calling(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	handler := newAPI(i.URL, api, "", "", time.Now)
	w := get(t, handler, "/", i.good().sign(t))
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	var who caller
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &who))
	require.Equal(t, "alice", who.Subject)
	require.Equal(t, "shop", who.ClientID)
	require.Equal(t, "orders", who.Scope)

	several := i.good(func(tok *token) { tok.body["aud"] = []string{"https://other.example.com", api} }).sign(t)
	require.Equal(t, http.StatusOK, get(t, handler, "/", several).Code)
	require.Equal(t, 1, i.fetches(), "the keys are fetched once")
}

func TestVerify_refuses(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(i.ec.Public())
	require.NoError(t, err)
	good := i.good().sign(t)
	claims := strings.Split(good, ".")[1]

	for name, bad := range map[string]string{
		"an ID token":                  i.good(func(tok *token) { tok.typ = "JWT"; tok.body["aud"] = "shop" }).sign(t),
		"an ID token for us":           i.good(func(tok *token) { tok.typ = "JWT" }).sign(t),
		"a token without type":         i.good(func(tok *token) { tok.typ = nil }).sign(t),
		"a refresh token":              "gr1_" + strings.Repeat("A", 80),
		"a token for somebody else":    i.good(func(tok *token) { tok.body["aud"] = "https://other.example.com" }).sign(t),
		"a longer audience":            i.good(func(tok *token) { tok.body["aud"] = api + "/admin" }).sign(t),
		"a token for nobody":           i.good(func(tok *token) { delete(tok.body, "aud") }).sign(t),
		"another issuer's token":       i.good(func(tok *token) { tok.body["iss"] = "https://evil.example.com" }).sign(t),
		"an expired token":             i.good(func(tok *token) { tok.body["exp"] = time.Now().Add(-time.Minute).Unix() }).sign(t),
		"a token that never expires":   i.good(func(tok *token) { delete(tok.body, "exp") }).sign(t),
		"a token of the future":        i.good(func(tok *token) { tok.body["nbf"] = time.Now().Add(time.Hour).Unix() }).sign(t),
		"a token of nobody":            i.good(func(tok *token) { delete(tok.body, "sub") }).sign(t),
		"a stranger's signature":       i.good(func(tok *token) { tok.key = other }).sign(t),
		"an unknown key":               i.good(func(tok *token) { tok.key, tok.kid = other, "other" }).sign(t),
		"an algorithm not on our list": i.good(func(tok *token) { tok.alg, tok.key, tok.kid = jose.RS256, i.rsa, "rsa" }).sign(t),
		"HMAC with the public key":     i.good(func(tok *token) { tok.alg, tok.key = jose.HS256, der }).sign(t),
		"alg none":                     "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + claims + ".",
		"a changed claim":              strings.Replace(good, "."+claims+".", "."+claims[:len(claims)-4]+"AAAA.", 1),
		"a cut signature":              good[:len(good)-1],
		"nonsense":                     "nonsense",
	} {
		t.Run(name, func(t *testing.T) {
			w := get(t, newAPI(i.URL, api, "", "", time.Now), "/", bad)
			require.Equal(t, http.StatusUnauthorized, w.Code, w.Body)
			require.Contains(t, w.Header().Get("WWW-Authenticate"), `error="invalid_token"`)
		})
	}
}

func TestToken_only_in_the_header(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	handler := newAPI(i.URL, api, "", "", time.Now)
	w := get(t, handler, "/?access_token="+i.good().sign(t), "")
	require.Equal(t, http.StatusUnauthorized, w.Code)
	require.NotContains(t, w.Header().Get("WWW-Authenticate"), "error", "RFC 6750 section 3.1: none was shown")

	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "bEARER "+i.good().sign(t))
	w = httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code, "the scheme has no case")
}

func TestKeys_follow_a_rotation_and_survive_an_outage(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	var c clock
	handler := newAPI(i.URL, api, "", "", c.now)
	old := i.good()
	require.Equal(t, http.StatusOK, get(t, handler, "/", old.sign(t)).Code)

	// A new key, published before it signs.
	i.change(func() { i.keys = append(i.keys, public("next", "ES256", i.next)) })
	c.advance(2 * time.Second)
	rotated := i.good(func(tok *token) { tok.key, tok.kid = i.next, "next" })
	require.Equal(t, http.StatusOK, get(t, handler, "/", rotated.sign(t)).Code)
	require.Equal(t, http.StatusOK, get(t, handler, "/", old.sign(t)).Code)

	// Down: what is known goes on, what is not is not the caller's fault.
	i.change(func() { i.down = true })
	c.advance(2 * time.Minute)
	late := func(change ...func(*token)) string {
		return i.good(append(change, func(tok *token) { tok.body["exp"] = c.now().Add(time.Minute).Unix() })...).sign(t)
	}
	require.Equal(t, http.StatusOK, get(t, handler, "/", late()).Code)
	c.advance(2 * time.Second)
	w := get(t, handler, "/", late(func(tok *token) { tok.kid = "unseen" }))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.NotEmpty(t, w.Header().Get("Retry-After"))
	c.advance(2 * time.Hour)
	require.Equal(t, http.StatusServiceUnavailable, get(t, handler, "/", late()).Code, "not for ever")

	// Up again without a restart, and the old key is taken back.
	i.change(func() { i.down, i.keys = false, i.keys[2:] })
	c.advance(2 * time.Second)
	require.Equal(t, http.StatusOK, get(t, handler, "/", late(func(tok *token) { tok.key, tok.kid = i.next, "next" })).Code)
	require.Equal(t, http.StatusUnauthorized, get(t, handler, "/", late()).Code)
}

func TestKeys_are_not_fetched_for_every_invented_id(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	frozen := time.Now()
	handler := newAPI(i.URL, api, "", "", func() time.Time { return frozen })
	for range 50 {
		get(t, handler, "/", i.good(func(tok *token) { tok.kid = "invented" }).sign(t))
	}
	require.Equal(t, 1, i.fetches())
}

func TestMetadata_of_another_issuer_is_refused(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/jwks"})
	}))
	t.Cleanup(liar.Close)
	w := get(t, newAPI(liar.URL, api, "", "", time.Now), "/", i.good().sign(t))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
}

func TestIntrospected(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	active := func(change func(map[string]any)) map[string]any {
		answer := map[string]any{
			"active": true, "token_type": "Bearer", "iss": i.URL, "aud": []string{api}, "sub": "alice",
			"client_id": "shop", "scope": "orders", "exp": time.Now().Add(time.Minute).Unix(),
		}
		change(answer)
		return answer
	}
	i.answers = map[string]map[string]any{
		"good":          active(func(map[string]any) {}),
		"one audience":  active(func(a map[string]any) { a["aud"] = api }),
		"revoked":       {"active": false},
		"refresh token": active(func(a map[string]any) { delete(a, "token_type") }),
		"for others":    active(func(a map[string]any) { a["aud"] = []string{"https://other.example.com"} }),
		"other issuer":  active(func(a map[string]any) { a["iss"] = "https://evil.example.com" }),
	}
	handler := newAPI(i.URL, api, "api", "s+cret", time.Now)
	for token, status := range map[string]int{
		"good": http.StatusOK, "one audience": http.StatusOK, "revoked": http.StatusUnauthorized, "unknown": http.StatusUnauthorized,
		"refresh token": http.StatusUnauthorized, "for others": http.StatusUnauthorized, "other issuer": http.StatusUnauthorized,
	} {
		w := get(t, handler, "/introspected", token)
		require.Equal(t, status, w.Code, "%s: %s", token, w.Body)
	}

	i.change(func() { i.down = true })
	require.Equal(t, http.StatusServiceUnavailable, get(t, handler, "/introspected", "good").Code, "an outage is nobody's logout")
	i.change(func() { i.down = false })
	require.Equal(t, http.StatusServiceUnavailable, get(t, newAPI(i.URL, api, "api", "wrong", time.Now), "/introspected", "good").Code)
	require.Equal(t, http.StatusServiceUnavailable, get(t, newAPI(i.URL, api, "", "", time.Now), "/introspected", "good").Code)
}

func TestRun_prints_its_address_serves_and_stops(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"--issuer", i.URL, "--address", "127.0.0.1:0", "--allowed-origin", spa}, func(string) string { return "" }, in)
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	address := strings.Fields(line)[2]

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+i.good(func(tok *token) { tok.body["aud"] = i.URL }).sign(t))
	request.Header.Set("Origin", spa)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode, "the default audience is the issuer")
	require.Equal(t, spa, response.Header.Get("Access-Control-Allow-Origin"))

	cancel()
	require.NoError(t, <-ended)
}
