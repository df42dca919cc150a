package server_test

import (
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/server"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// bench is a whole server without sockets: what is measured is ours, and SQLite's
// commit where there is one.
type bench struct {
	b       *testing.B
	handler http.Handler
	secret  string
}

func newBench(b *testing.B, format clients.Format) *bench {
	b.Helper()
	ctx := b.Context()
	store, err := storage.Open(ctx, storage.Options{
		Database: "sqlite:" + filepath.Join(b.TempDir(), "grantor.db"), Now: time.Now, Rand: rand.Reader, Timeout: 10 * time.Second,
	})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, store.Close()) })
	_, err = store.Migrate(ctx)
	require.NoError(b, err)
	passwords, err := users.NewPasswords(users.PasswordOptions{Memory: 64, Time: 1, Threads: 1, Rand: rand.Reader})
	require.NoError(b, err)
	hash, err := passwords.Hash(ctx, "password of alice")
	require.NoError(b, err)
	require.NoError(b, store.CreateUser(ctx, users.User{ID: "id-alice", Name: "alice", PasswordHash: hash}))
	secret, err := keys.GenerateSecret(rand.Reader)
	require.NoError(b, err)
	secrets, err := keys.ParseSecrets(secret)
	require.NoError(b, err)

	plain, known, err := clients.GenerateSecret(rand.Reader, time.Now())
	require.NoError(b, err)
	app := clients.Client{
		ID: "app", Grants: []string{"password", "refresh_token", "client_credentials"}, Scope: []string{"read", "write"},
		AccessToken: format, Secrets: []clients.Secret{known},
	}
	app.SetDefaults()
	require.NoError(b, store.CreateClient(ctx, app))

	settings := config.Default()
	settings.Issuer = "http://127.0.0.1:8080"
	s, err := server.New(ctx, server.Deps{
		Config: settings, Store: store, Secrets: secrets, Passwords: passwords,
		Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(b, err)
	return &bench{b: b, handler: s.Handler(), secret: plain}
}

func (h *bench) post(path string, form url.Values) []byte {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("app", h.secret)
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		h.b.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.Bytes()
}

type pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func (h *bench) tokens(form url.Values) (p pair) {
	require.NoError(h.b, json.Unmarshal(h.post("/oauth2/token", form), &p))
	return p
}

func eachFormat(b *testing.B, run func(b *testing.B, h *bench)) {
	for _, format := range []clients.Format{clients.JWT, clients.Opaque} {
		b.Run(string(format), func(b *testing.B) {
			h := newBench(b, format)
			b.ReportAllocs()
			run(b, h)
		})
	}
}

func BenchmarkClientCredentials(b *testing.B) {
	eachFormat(b, func(b *testing.B, h *bench) {
		form := url.Values{"grant_type": {"client_credentials"}}
		for b.Loop() {
			h.post("/oauth2/token", form)
		}
	})
}

func BenchmarkRefresh(b *testing.B) {
	eachFormat(b, func(b *testing.B, h *bench) {
		p := h.tokens(url.Values{"grant_type": {"password"}, "username": {"alice"}, "password": {"password of alice"}})
		for b.Loop() {
			p = h.tokens(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {p.Refresh}})
		}
	})
}

func BenchmarkIntrospect(b *testing.B) {
	eachFormat(b, func(b *testing.B, h *bench) {
		p := h.tokens(url.Values{"grant_type": {"password"}, "username": {"alice"}, "password": {"password of alice"}})
		form := url.Values{"token": {p.Access}}
		for b.Loop() {
			h.post("/oauth2/introspect", form)
		}
	})
}
