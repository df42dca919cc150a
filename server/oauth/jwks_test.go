package oauth_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/storage/storagetest"
)

const jwks = "/.well-known/jwks.json"

func TestJWKS_is_public_W02(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	a := w.Send(servertest.Get(jwks)).Require(200)
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	require.Equal(t, "*", a.Header.Get("Access-Control-Allow-Origin"), "W-07")
	require.Empty(t, a.Header.Get("Access-Control-Allow-Credentials"), "W-07")
	seen := map[any]bool{}
	list := a.JSON["keys"].([]any)
	require.Len(t, list, 4, "one that signs and the next one, of each algorithm")
	for _, item := range list {
		key := item.(map[string]any)
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k", "oth"} {
			require.NotContains(t, key, private)
		}
		require.NotEmpty(t, key["kid"])
		require.False(t, seen[key["kid"]], "kid is unique")
		seen[key["kid"]] = true
		require.Equal(t, "sig", key["use"])
		require.Contains(t, []any{"ES256", "RS256"}, key["alg"])
		if key["kty"] == "RSA" {
			n, err := base64.RawURLEncoding.DecodeString(key["n"].(string))
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(n)*8, 2048)
		}
	}
}

func TestJWKS_caching(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	first := w.Send(servertest.Get(jwks)).Require(200)
	etag := first.Header.Get("ETag")
	require.NotEmpty(t, etag)
	require.Equal(t, "public, max-age=5", first.Header.Get("Cache-Control"))
	require.Equal(t, strconv.Itoa(len(first.Body)), first.Header.Get("Content-Length"))
	for _, header := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
		a := w.Send(servertest.Get(jwks).Set("If-None-Match", header)).Require(http.StatusNotModified)
		require.Empty(t, a.Body)
		require.Equal(t, etag, a.Header.Get("ETag"))
	}
	for _, header := range []string{`"x"`, "", "x"} {
		require.Equal(t, first.Body, w.Send(servertest.Get(jwks).Set("If-None-Match", header)).Require(200).Body)
	}
	require.Zero(t, w.Statements(func() { w.Send(servertest.Get(jwks)) }))
	mend := w.Break(everything)
	w.Send(servertest.Get(jwks)).Require(200) // F-07
	mend()
}

// verifies asks another library, with the keys of that document.
func verifies(t *testing.T, document *servertest.Answer, token string) bool {
	t.Helper()
	var set jose.JSONWebKeySet
	require.NoError(t, json.Unmarshal(document.Body, &set))
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	require.NoError(t, err)
	var claims map[string]any
	return parsed.Claims(set, &claims) == nil
}

// W-04, W-06: what was signed verifies by any document of any moment until it ends.
func TestJWKS_through_a_rotation_W04_W06(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		other := w.Replica()
		documents := []*servertest.Answer{w.Send(servertest.Get(jwks))}
		before := w.Login("c1", "alice").Access()

		_, err := w.Store.RotateKeys(t.Context(), w.Keyring, "")
		require.NoError(t, err)
		run(t, w, other)
		planned := w.Login("c1", "alice").Access()
		w.Clock.Advance(keys.Publish)
		documents = append(documents, w.Send(servertest.Get(jwks)), other.Send(servertest.Get(jwks)))
		after := w.Login("c1", "alice").Access()
		require.NotEqual(t, headerOf(t, before)["kid"], headerOf(t, after)["kid"])
		for _, document := range documents {
			for _, token := range []string{before, planned, after} {
				require.True(t, verifies(t, document, token))
			}
		}
		for _, replica := range []*servertest.World{w, other} {
			for _, token := range []string{before, planned, after} {
				require.True(t, replica.Active(token))
			}
		}
		kid := headerOf(t, before)["kid"].(string)
		w.Clock.Advance(keys.Keep - time.Second)
		require.Contains(t, string(w.Send(servertest.Get(jwks)).Body), kid)
		w.Clock.Advance(2 * time.Second)
		require.NotContains(t, string(w.Send(servertest.Get(jwks)).Body), kid, "W-06: then it goes")
		require.False(t, w.Active(before))
	})
}

// run does the background work of each replica until it has seen the newest keys.
func run(t *testing.T, replicas ...*servertest.World) {
	t.Helper()
	for _, w := range replicas {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Server.Run(ctx) }()
		want := len(w.Keys().List())
		require.Eventually(t, func() bool {
			return len(w.Send(servertest.Get(jwks)).JSON["keys"].([]any)) == want
		}, 20*time.Second, 5*time.Millisecond)
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	}
}

// W-05: replicas that start at once on an empty database agree on one set.
func TestJWKS_Concurrent_first_start_W05(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		secrets, err := keys.ParseSecrets("the-secret-that-all-replicas-share-here")
		require.NoError(t, err)
		documents := make([]string, 5)
		var starting sync.WaitGroup
		for i := range documents {
			store := e.Open()
			starting.Go(func() {
				set, err := store.SigningKeys(t.Context(), secrets)
				if err == nil {
					document, _ := set.JWKS(e.Clock.Now())
					documents[i] = string(document)
				}
				assert.NoError(t, err)
			})
		}
		starting.Wait()
		for _, document := range documents {
			require.Equal(t, documents[0], document)
		}
	})
}
