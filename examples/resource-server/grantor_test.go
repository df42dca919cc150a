package main

import (
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/server"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
	"github.com/grantorhq/grantor/users"
)

// grantor is the real server with two clients, an API that may introspect, and alice.
type grantor struct {
	url     string
	store   *storage.Store
	secrets map[string]string // of clients, by id
}

const password = "correct horse battery staple"

func startGrantor(t *testing.T, store *storage.Store) *grantor {
	t.Helper()
	now, random := time.Now, rand.Reader
	text, err := keys.GenerateSecret(random)
	require.NoError(t, err)
	serverSecrets, err := keys.ParseSecrets(text)
	require.NoError(t, err)
	passwords, err := users.NewPasswords(users.PasswordOptions{Memory: 64, Time: 1, Threads: 1, Rand: random})
	require.NoError(t, err)

	web := httptest.NewUnstartedServer(nil)
	g := &grantor{url: "http://" + web.Listener.Addr().String(), store: store, secrets: map[string]string{}}
	settings := config.Default()
	settings.Issuer = g.url
	s, err := server.New(t.Context(), server.Deps{
		Config: settings, Store: store, Secrets: serverSecrets, Passwords: passwords,
		Now: now, Rand: random, Log: slog.New(slog.DiscardHandler), Version: "test",
	})
	require.NoError(t, err)
	web.Config.Handler = s.Handler()
	web.Start()
	t.Cleanup(web.Close)

	for _, c := range []clients.Client{
		{ID: "shop", Grants: []string{"password", "refresh_token"}, Scope: []string{"orders"}, Audience: []string{api, "https://other.example.com"}},
		{ID: "sealed", Grants: []string{"password", "refresh_token"}, Scope: []string{"orders"}, Audience: []string{api}, AccessToken: "opaque"},
		{ID: "api", ResourceServer: true, Audience: []string{api}},
	} {
		plain, secret, err := clients.GenerateSecret(random, now())
		require.NoError(t, err)
		c.Secrets, c.CreatedAt, c.UpdatedAt, c.Version = []clients.Secret{secret}, now(), now(), 1
		c.SetDefaults()
		require.NoError(t, c.Check())
		require.NoError(t, store.CreateClient(t.Context(), c))
		g.secrets[c.ID] = plain
	}
	id, err := users.NewID(random)
	require.NoError(t, err)
	hash, err := passwords.Hash(t.Context(), password)
	require.NoError(t, err)
	require.NoError(t, store.CreateUser(t.Context(), users.User{ID: id, Name: "alice", PasswordHash: hash, CreatedAt: now(), UpdatedAt: now()}))
	return g
}

// post is one form, as a client, to an endpoint that must answer 200.
func (g *grantor) post(t *testing.T, path, client string, form url.Values) map[string]any {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+path, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(client, g.secrets[client])
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	var body map[string]any
	_ = json.NewDecoder(answer.Body).Decode(&body)
	require.Equal(t, http.StatusOK, answer.StatusCode, "%v", body)
	return body
}

func (g *grantor) login(t *testing.T, client, audience string) (access, refresh string) {
	t.Helper()
	answer := g.post(t, "/oauth2/token", client, url.Values{
		"grant_type": {"password"}, "username": {"alice"}, "password": {password}, "audience": {audience},
	})
	return answer["access_token"].(string), answer["refresh_token"].(string)
}

func TestGrantor_tokens_on_both_routes(t *testing.T) {
	t.Parallel()
	storagetest.Each(t, func(t *testing.T, store *storage.Store) {
		g := startGrantor(t, store)
		handler := newAPI(g.url, api, "api", g.secrets["api"], time.Now)
		status := func(path, token string) int { return get(t, handler, path, token).Code }

		access, refresh := g.login(t, "shop", api)
		for _, path := range []string{"/", "/introspected"} {
			w := get(t, handler, path, access)
			require.Equal(t, http.StatusOK, w.Code, "%s: %s", path, w.Body)
			var who caller
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &who))
			require.Equal(t, "shop", who.ClientID, path)
			require.Equal(t, "orders", who.Scope, path)
			require.NotEmpty(t, who.Subject, path)
			require.WithinDuration(t, time.Now().Add(10*time.Minute), who.Expires, time.Minute, path)

			require.Equal(t, http.StatusUnauthorized, status(path, refresh), "%s: a refresh token", path)
			foreign, _ := g.login(t, "shop", "https://other.example.com")
			require.Equal(t, http.StatusUnauthorized, status(path, foreign), "%s: a token for somebody else", path)
			require.Equal(t, http.StatusUnauthorized, status(path, changed(access)), "%s: a changed token", path)
		}

		// An opaque token says nothing to anybody but the server.
		sealed, _ := g.login(t, "sealed", api)
		require.Equal(t, http.StatusUnauthorized, status("/", sealed))
		require.Equal(t, http.StatusOK, status("/introspected", sealed))

		// A renewed token works like the first one; a revoked session ends where the server is asked.
		renewed := g.post(t, "/oauth2/token", "shop", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
		access, refresh = renewed["access_token"].(string), renewed["refresh_token"].(string)
		require.Equal(t, http.StatusOK, status("/", access))
		g.post(t, "/oauth2/revoke", "shop", url.Values{"token": {refresh}})
		require.Equal(t, http.StatusUnauthorized, status("/introspected", access))
		require.Equal(t, http.StatusOK, status("/", access), "verified alone, it lives until it expires")
	})
}

// changed is a token with another signature: its last but one character, all of whose bits count.
func changed(token string) string {
	at, other := len(token)-2, "A"
	if token[at] == 'A' {
		other = "B"
	}
	return token[:at] + other + token[at+1:]
}
