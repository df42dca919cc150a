package e2e_test

import (
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/grantorhq/grantor/storage/storagetest"
)

// A hundred requests show one code at once, over two replicas on PostgreSQL. One gets
// tokens and the others nothing, and within the retry window nothing else happens: the one
// pair lives. (A library that sends a request twice would otherwise sign its user out.
// What comes after the window ends the session: oidc-codereuse-30seconds in
// test/conformance.)
func TestCode_shown_by_100_Concurrent_requests_C03(t *testing.T) {
	t.Parallel()
	each(t, storagetest.Setup{}, []string{"ISSUER=" + issuer, "RETRY_WINDOW=60s"}, func(t *testing.T, w *world) {
		const codes, requests = 3, 100
		programs := []*program{w.serve()}
		if w.dialect == "postgres" {
			programs = append(programs, w.serve())
		}
		password := w.account("alice")
		shop := w.client("shop", "--grant", "authorization_code", "--grant", "refresh_token", "--scope", "openid", "--redirect-uri", shopCallback, "--first-party")
		api := w.client("api", "--resource-server")
		visitor := newPerson(t, "alice", password, "")
		for range codes {
			verifier := oauth2.GenerateVerifier()
			query := url.Values{
				"response_type": {"code"}, "client_id": {shop.ID}, "redirect_uri": {shopCallback}, "scope": {"openid"},
				"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
			}
			code := visitor.visit(programs[0].url + "/oauth2/auth?" + query.Encode()).values().Get("code")
			require.NotEmpty(t, code)
			w.secret(code)
			won := w.raceFor(programs, shop, requests, url.Values{
				"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {shopCallback}, "code_verifier": {verifier},
			})
			for _, p := range programs {
				require.True(t, w.active(p, api, won.access))
			}
			// One refresh token lives, and it has one successor.
			next := w.renew(programs[len(programs)-1], shop, won.refresh)
			require.True(t, w.active(programs[0], api, next.access))
		}
		var list []session
		w.read(&list, "session", "list", "--ended")
		require.Len(t, list, codes, "a code is one session, whatever happens to it")
		for _, s := range list {
			require.Empty(t, s.Ended)
			require.Equal(t, 1, s.Renewals)
		}
	})
}

// raceFor sends one form many times at once, over all programs. It answers what the one
// that won got.
func (w *world) raceFor(programs []*program, as credentials, requests int, form url.Values) (won tokens) {
	t := w.t
	t.Helper()
	answers := make([]answer, requests)
	var start, done sync.WaitGroup
	start.Add(1)
	for i := range requests {
		done.Go(func() {
			start.Wait()
			a, err := submit(t.Context(), programs[i%len(programs)].url+"/oauth2/token", as, form)
			assert.NoError(t, err)
			answers[i] = a
		})
	}
	start.Done()
	done.Wait()
	winners := 0
	for _, a := range answers {
		if a.status == http.StatusOK {
			winners++
			won = w.tokensOf(a)
			continue
		}
		refused(t, a, "invalid_grant")
		require.Empty(t, a.field("access_token")+a.field("refresh_token")+a.field("id_token"))
	}
	require.Equal(t, 1, winners)
	return won
}
