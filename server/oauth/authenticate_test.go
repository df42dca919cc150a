package oauth_test

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/users"
)

const (
	token      = "/oauth2/token"
	introspect = "/oauth2/introspect"
	revoke     = "/oauth2/revoke"
)

// The endpoints with client authentication have one way to do it.
func TestAuthenticate_is_the_same_on_every_endpoint(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	at := w.Login("c1", "alice").Access()
	for _, path := range []string{token, introspect, revoke} {
		form := func(more ...string) *servertest.Request {
			return servertest.Form(path, append([]string{"grant_type", "client_credentials", "token", at}, more...)...)
		}
		for name, c := range map[string]struct {
			request *servertest.Request
			status  int
			code    string
		}{
			"nobody":                   {form(), 401, "invalid_client"},
			"wrong secret":             {form().Basic("cc", "evil-evil-evil"), 401, "invalid_client"},
			"unknown client":           {form().Basic("nobody", "evil-evil-evil"), 401, "invalid_client"},
			"wrong secret in the form": {form("client_id", "cc", "client_secret", "evil-evil-evil"), 401, "invalid_client"},
			"no secret":                {form("client_id", "cc"), 401, "invalid_client"},
			"secret without id":        {form("client_secret", w.Secret("cc")), 401, "invalid_client"},
			"another one's secret":     {form().Basic("cc", w.Secret("c1")), 401, "invalid_client"},
			"id in other case":         {form().Basic("CC", w.Secret("cc")), 401, "invalid_client"},
			"public with a secret":     {form("client_id", "p1", "client_secret", "evil-evil-evil"), 401, "invalid_client"},
			"public by Basic":          {form().Basic("p1", ""), 401, "invalid_client"},
			"two methods":              {form("client_id", "cc", "client_secret", w.Secret("cc")).Basic("cc", w.Secret("cc")), 400, "invalid_request"},
			"two clients":              {form("client_id", "c1").Basic("cc", w.Secret("cc")), 400, "invalid_request"},
			"basic only, in the form":  {form("client_id", "basic", "client_secret", w.Secret("basic")), 401, "invalid_client"},
			"post only, by Basic":      {form().Basic("post", w.Secret("post")), 401, "invalid_client"},
			"a user's token, I-04":     {form().Bearer(at), 401, "invalid_client"},
			"another scheme":           {form().Set("Authorization", "Digest username=evil"), 401, "invalid_client"},
			"an assertion":             {form("client_id", "cc", "client_assertion", "evil.evil.evil"), 401, "invalid_client"},
			"parameters in the query":  {query(form().Basic("cc", w.Secret("cc")), "token="+at), 400, "invalid_request"},
			"a repeated parameter":     {form("token", at).Basic("cc", w.Secret("cc")), 400, "invalid_request"},
			"a hash for a secret":      {form().Basic("cc", hashOf(t, w, "cc")), 401, "invalid_client"},
			"a hash for a chosen one":  {form().Basic("chosen", hashOf(t, w, "chosen")), 401, "invalid_client"},
		} {
			t.Run(path+" "+name, func(_ *testing.T) {
				w.Send(c.request).Refused(c.status, c.code)
			})
		}
	}
	require.True(t, w.Active(at))
}

func query(r *servertest.Request, q string) *servertest.Request {
	r.Path += "?" + q
	return r
}

func hashOf(t *testing.T, w *servertest.World, client string) string {
	t.Helper()
	c, err := w.Store.Client(t.Context(), client)
	require.NoError(t, err)
	return c.Secrets[0].Hash
}

func TestAuthenticate_two_live_secrets(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		other := w.Replica()
		ask := func(w *servertest.World, secret string) int {
			return w.Send(servertest.Form(token, "grant_type", "client_credentials").Basic("cc", secret)).Status
		}
		rotate := func(overlap time.Duration) (old, next string) {
			old = w.Secret("cc")
			c, err := w.Store.Client(t.Context(), "cc")
			require.NoError(t, err)
			next, secret, err := clients.GenerateSecret(rand.Reader, w.Clock.Now())
			require.NoError(t, err)
			plan, err := c.PlanRotation(secret, overlap, w.Clock.Now())
			require.NoError(t, err)
			require.NoError(t, w.Store.ReplaceSecrets(t.Context(), "cc", c.Version, plan))
			w.SetSecret("cc", next)
			return old, next
		}
		require.Equal(t, 200, ask(other, w.Secret("cc")))
		old, next := rotate(time.Hour)
		require.Equal(t, 200, ask(w, old))
		require.Equal(t, 200, ask(w, next))
		w.Clock.Advance(2 * time.Second)
		require.Equal(t, 200, ask(other, next), "another replica knows it within two seconds")
		w.Clock.Advance(time.Hour - 2*time.Second - time.Microsecond)
		require.Equal(t, 200, ask(w, old))
		w.Clock.Advance(time.Microsecond)
		require.Equal(t, 401, ask(w, old))
		require.Equal(t, 200, ask(w, next))

		// Without an overlap the old one ends at once here, and within two seconds elsewhere.
		require.Equal(t, 200, ask(other, next))
		old, next = rotate(0)
		require.Equal(t, 401, ask(w, old))
		require.Equal(t, 200, ask(w, next))
		w.Clock.Advance(2 * time.Second)
		require.Equal(t, 401, ask(other, old))
		require.Equal(t, 200, ask(other, next))

		require.NoError(t, w.Store.FlushSecretUses(t.Context()))
		c, err := w.Store.Client(t.Context(), "cc")
		require.NoError(t, err)
		require.False(t, c.Secrets[0].LastUsedAt.IsZero())
	})
}

// A chosen secret is as costly as a password and waits in the same queue; one that
// was right lately does not wait again.
func TestAuthenticate_chosen_secret(t *testing.T) {
	t.Parallel()
	busy := newBusy()
	w := servertest.New(t, servertest.Setup{Passwords: busy.options()})
	ask := func(secret string) *servertest.Answer {
		return w.Send(servertest.Form(token, "grant_type", "client_credentials").Basic("chosen", secret))
	}
	full := func(do func()) {
		release, end := busy.fill(t, w), w.Overload()
		do()
		end()
		release()
	}
	full(func() {
		a := ask(servertest.Chosen).Refused(503, "temporarily_unavailable")
		require.NotEmpty(t, a.Header.Get("Retry-After"))
	})
	ask("evil-evil-evil").Refused(401, "invalid_client")
	ask(servertest.Chosen).Require(200)
	full(func() {
		ask(servertest.Chosen).Require(200)
		ask("evil-evil-evil").Refused(503, "temporarily_unavailable")
		w.Token("cc", "grant_type", "client_credentials").Require(200) // a generated one never waits
	})
	w.Clock.Advance(5*time.Minute - time.Microsecond)
	full(func() { ask(servertest.Chosen).Require(200) })
	// T-23: in constant use it never queues, however long others send wrong ones.
	w.Clock.Advance(5*time.Minute - time.Microsecond)
	full(func() { ask(servertest.Chosen).Require(200) })
	w.Clock.Advance(5 * time.Minute)
	full(func() { ask(servertest.Chosen).Refused(503, "temporarily_unavailable") })
	ask(servertest.Chosen).Require(200)

	// A secret that was replaced is not remembered as right.
	c, err := w.Store.Client(t.Context(), "chosen")
	require.NoError(t, err)
	hash, err := w.Passwords.Hash(t.Context(), "another chosen secret")
	require.NoError(t, err)
	next, err := clients.ChosenSecret(rand.Reader, hash, w.Clock.Now())
	require.NoError(t, err)
	require.NoError(t, w.Store.ReplaceSecrets(t.Context(), "chosen", c.Version, []clients.Secret{next}))
	ask(servertest.Chosen).Refused(401, "invalid_client")
	ask("another chosen secret").Require(200)
}

// T-23: guessing a chosen secret costs the guesser, locks nobody out, and leaves
// other clients alone.
func TestAuthenticate_Concurrent_guessing_of_a_chosen_secret_T23(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{Passwords: users.PasswordOptions{Memory: 64, Time: 1, Threads: 1, Concurrent: 1, Queue: 4}})
	rt := w.Login("c1", "alice").Refresh()
	end := w.Overload()
	var guessing sync.WaitGroup
	for range 50 {
		guessing.Go(func() {
			for range 10 {
				a := w.Send(servertest.Form(token, "grant_type", "client_credentials").Basic("chosen", "evil-evil-evil"))
				require.Contains(t, []int{401, http.StatusTooManyRequests, 503}, a.Status)
			}
		})
	}
	for range 20 {
		rt = w.Refresh("c1", rt).Require(200).Refresh()
	}
	guessing.Wait()
	end()
	w.Token("chosen", "grant_type", "client_credentials").Require(200)
}

// What real clients do: golang.org/x/oauth2 tries Basic and then the form, and
// sends a failed request twice. T-20's rule for what exists: a request that failed
// authentication has not touched the token.
func TestAuthenticate_oauth2_tries_both_styles_T20(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: new(http.Transport)})
		for _, client := range []string{"c1", "p1"} {
			config := oauth2.Config{ClientID: client, ClientSecret: w.Secret(client), Endpoint: oauth2.Endpoint{TokenURL: w.URL + token}}
			_, err := config.PasswordCredentialsToken(ctx, "alice", "wrong")
			require.ErrorContains(t, err, "invalid_grant")
			got, err := config.PasswordCredentialsToken(ctx, "alice", servertest.Password("alice"))
			require.NoError(t, err)
			w.Clock.Advance(11 * time.Minute)
			got.Expiry = time.Unix(1, 0)
			renewed, err := config.TokenSource(ctx, got).Token()
			require.NoError(t, err)
			require.NotEqual(t, got.RefreshToken, renewed.RefreshToken)
			require.True(t, w.Active(renewed.AccessToken))
			w.Clock.Advance(-11 * time.Minute)
		}

		rt := w.Login("pw", "alice").Refresh()
		renew := servertest.Form(token, "grant_type", "refresh_token", "refresh_token", rt)
		w.Send(renew.Basic("pw", "wrong-wrong-wrong")).Refused(401, "invalid_client")
		w.Clock.Advance(time.Minute)
		w.Send(servertest.Form(token, "grant_type", "refresh_token", "refresh_token", rt, "client_id", "pw", "client_secret", w.Secret("pw"))).Require(200)
	})
}

// Dovecot sends its credentials in the form and, as Bearer, the token that it asks about.
func TestAuthenticate_Dovecot_T19(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	login := w.Login("c1", "alice")
	a := w.Send(servertest.Form(introspect, "token", login.Access(), "client_id", "rs", "client_secret", w.Secret("rs")).Bearer(login.Access())).Require(200)
	require.Equal(t, true, a.JSON["active"])
	require.Equal(t, "alice", a.Text("username"))
	w.Send(servertest.Form(token, "grant_type", "password", "username", "alice", "password", servertest.Password("alice"),
		"client_id", "c1", "client_secret", w.Secret("c1")).Bearer(login.Access())).Require(200)
}

// No byte of the form or of the header makes the server fail: H-10.
func FuzzForm(f *testing.F) {
	for _, seed := range []string{
		"grant_type=client_credentials", "grant_type=password&username=alice&password=x", "grant_type=refresh_token&refresh_token=gr1_",
		"token=ga1_AAAA", "a=%00", "a=%ff&a=b", "=&=", "&&;", "scope=" + "+", "resource=x&resource=y", "client_id=c1&client_secret=x", "client_assertion=a.b.c",
	} {
		for _, path := range []string{token, introspect, revoke, "/userinfo"} {
			f.Add(path, seed, "Basic Y2M6eA==", "application/x-www-form-urlencoded")
			f.Add(path, seed, "Bearer ga1_AAAA", "text/plain; charset=\x01")
		}
	}
	w := servertest.New(f, servertest.Setup{})
	f.Fuzz(func(t *testing.T, path, body, authorization, contentType string) {
		switch path {
		case token, introspect, revoke, "/userinfo":
		default:
			t.Skip("not an endpoint")
		}
		for _, as := range []string{authorization, w.Basic("c1"), w.Basic("cc")} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
			r.Header = http.Header{"Authorization": {as}, "Content-Type": {contentType}}
			a := httptest.NewRecorder()
			w.Handler().ServeHTTP(a, r)
			require.Less(t, a.Code, 500, a.Body.String())
			if a.Code == 401 {
				require.NotEmpty(t, a.Header().Get("WWW-Authenticate"))
			}
		}
	})
}

// Nothing but what the server made is a token: H-10.
func FuzzToken(f *testing.F) {
	w := servertest.New(f, servertest.Setup{})
	login, sealed := w.Login("c1", "alice"), w.Login("sealed", "alice")
	good := map[string]bool{login.Access(): true, login.Refresh(): true, sealed.Access(): true, sealed.Refresh(): true}
	for token := range good {
		f.Add(token)
		f.Add(token[:len(token)-1])
	}
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		if good[token] {
			t.Skip("made by the server")
		}
		for _, path := range []string{introspect, revoke} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(servertest.Encode("token", token)))
			r.Header = http.Header{"Authorization": {w.Basic("rs")}, "Content-Type": {"application/x-www-form-urlencoded"}}
			a := httptest.NewRecorder()
			w.Handler().ServeHTTP(a, r)
			require.Less(t, a.Code, 500)
			require.NotContains(t, a.Body.String(), "true")
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/userinfo", http.NoBody)
		r.Header.Set("Authorization", "Bearer "+token)
		a := httptest.NewRecorder()
		w.Handler().ServeHTTP(a, r)
		require.Contains(t, []int{400, 401}, a.Code)
	})
}
