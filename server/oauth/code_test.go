package oauth_test

import (
	"crypto/rand"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/server/servertest"
)

// codeFor is a code of alice's for a client.
func codeFor(w *servertest.World, client string, pairs ...string) string {
	return w.Browser().Authorize(client, pairs...).Through("alice").Code()
}

// C-01: a stranger's code costs nothing.
func TestCode_never_issued_C01(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		code := codeFor(w, "c1")
		id, _, err := w.Codec.Parse(grants.Code, code)
		require.NoError(t, err)
		secret := make([]byte, 32)
		_, _ = rand.Read(secret)
		foreign, err := grants.NewCodec([]grants.Key{{ID: [4]byte{1}, Secret: secret}})
		require.NoError(t, err)
		for name, forged := range map[string]string{
			"another server's": foreign.Mint(grants.Code, id, 0), "cut": code[:len(code)-1], "longer": code + "A", "changed": code[:8] + "AAAA" + code[12:],
			"of a generation": w.Codec.Mint(grants.Code, id, 1), "C-08 a refresh token": w.Codec.Mint(grants.Refresh, id, 1), "a cookie": w.Codec.Mint(grants.Browser, id, 0),
			"garbage": "evil", "in quotes": "'" + code + "'",
		} {
			require.Zero(t, w.Statements(func() { w.Redeem("c1", forged).Refused(400, "invalid_grant") }), name)
		}
		w.Redeem("c1", w.Codec.Mint(grants.Code, grants.ID{1}, 0)).Refused(400, "invalid_grant")
		w.Redeem("c1", "-").Refused(400, "invalid_grant")
		w.Redeem("c1", "", "code", "-").Refused(400, "invalid_request")
		w.Redeem("c1", code).Require(200)
	})
}

// C-02: a code that is shown again late ends what it gave; at once, nothing happens
// (fosite.md 5.2: golang.org/x/oauth2 repeats every failed request).
func TestCode_again_C02(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		code := codeFor(w, "c1")
		tokens := w.Redeem("c1", code).Require(200)
		w.Redeem("c1", code).Refused(400, "invalid_grant")
		require.True(t, w.Active(tokens.Access()), "inside the window")
		w.Clock.Advance(window)
		// Who lacks the verifier, the redirect URI or the client can not end it.
		w.Redeem("c1", code, "code_verifier", "-").Refused(400, "invalid_grant")
		w.Redeem("c1", code, "redirect_uri", "https://app.test/other").Refused(400, "invalid_grant")
		w.Redeem("c2", code).Refused(400, "invalid_grant")
		renewed := w.Refresh("c1", tokens.Refresh()).Require(200)
		w.Clock.Advance(window)
		w.Redeem("c1", code).Refused(400, "invalid_grant")
		w.Refresh("c1", renewed.Refresh()).Refused(400, "invalid_grant")
		require.False(t, w.Active(tokens.Access()))
		require.False(t, w.Active(renewed.Access()))
		w.Userinfo(renewed.Access()).Refused(401, "invalid_token")
		require.EqualValues(t, grants.ReasonCodeReplay, session(t, w, tokens.Refresh()).Dead)
	})
}

// C-03: one code, shown a hundred times at once to two replicas.
func TestCode_Concurrent_C03(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		replicas := []*servertest.World{w, w.Replica()}
		code := codeFor(w, "c1")
		var race sync.WaitGroup
		var mu sync.Mutex
		outcomes := map[string]int{}
		var refresh string
		for i := range 100 {
			race.Go(func() {
				a := replicas[i%2].Redeem("c1", code)
				mu.Lock()
				defer mu.Unlock()
				outcomes[fmt.Sprint(a.Status, " ", a.Text("error"))]++
				if a.Status == 200 {
					refresh = a.Refresh()
				}
			})
		}
		race.Wait()
		require.Equal(t, map[string]int{"200 ": 1, "400 invalid_grant": 99}, outcomes)
		w.Refresh("c1", refresh).Require(200)
		require.Len(t, sessions(t, w), 1)
	})
}

// The same request answered by two tabs at once makes one code.
func TestCode_Concurrent_double_submit_L12(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		b := w.Browser()
		b.SignIn("alice")
		page := b.Authorize("c1").Follow()
		fields := page.Form("decision").Fields
		pairs := append(pairsOf(fields), "decision", "allow")
		var race sync.WaitGroup
		var mu sync.Mutex
		outcomes := map[int]int{}
		for range 8 {
			r := servertest.Form("/consent", pairs...)
			for _, c := range b.Cookies {
				r.Header.Add("Cookie", c.Name+"="+c.Value)
			}
			race.Go(func() {
				a := w.Send(r)
				mu.Lock()
				defer mu.Unlock()
				outcomes[a.Status]++
			})
		}
		race.Wait()
		require.Equal(t, map[int]int{303: 1, 409: 7}, outcomes)
	})
}

// C-04 to C-08: each refusal for its own reason, and none of them touches the code.
func TestCode_refusals_change_nothing_C04_to_C08(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		code := codeFor(w, "two")
		tokens := w.Login("c1", "bob")
		for name, a := range map[string]func() *servertest.Answer{
			"C-04 another client":       func() *servertest.Answer { return w.Redeem("c2", code) },
			"C-04 a public client":      func() *servertest.Answer { return w.Redeem("n1", code) },
			"C-05 redirect_uri omitted": func() *servertest.Answer { return w.Redeem("two", code, "redirect_uri", "-") },
			"C-05 redirect_uri empty":   func() *servertest.Answer { return w.Redeem("two", code, "redirect_uri", "") },
			"C-05 another registered":   func() *servertest.Answer { return w.Redeem("two", code, "redirect_uri", "https://app.test/cb2?x=1") },
			"C-05 with a slash":         func() *servertest.Answer { return w.Redeem("two", code, "redirect_uri", servertest.Callback+"/") },
			"C-05 a stranger's":         func() *servertest.Answer { return w.Redeem("two", code, "redirect_uri", "https://evil.test/cb") },
			"C-08 code as RT":           func() *servertest.Answer { return w.Refresh("two", code) },
			"C-08 RT as code":           func() *servertest.Answer { return w.Redeem("c1", tokens.Refresh()) },
			"C-08 AT as code":           func() *servertest.Answer { return w.Redeem("c1", tokens.Access()) },
		} {
			a().Refused(400, "invalid_grant")
			require.True(t, w.Active(tokens.Access()), name)
		}
		w.Token("two", "grant_type", "authorization_code", "code", code, "code", code).Refused(400, "invalid_request")
		w.Token("cc", "grant_type", "authorization_code", "code", code).Refused(400, "unauthorized_client")
		w.Send(servertest.Form(token, "grant_type", "authorization_code", "code", code, "client_id", "two")).Refused(401, "invalid_client") // T-13
		require.Equal(t, nothing, string(w.Introspect("rs", code).Body), "I-10")
		w.Redeem("two", code).Require(200)
		w.Refresh("c1", tokens.Refresh()).Require(200)
	})
}

// T-20: who failed to authenticate has not touched the code.
func TestCode_survives_a_wrong_secret_T20(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	code := codeFor(w, "c1")
	form := func() *servertest.Request {
		return servertest.Form(token, "grant_type", "authorization_code", "code", code, "redirect_uri", servertest.Callback, "code_verifier", servertest.Verifier)
	}
	w.Send(form().Basic("c1", "evil-evil-evil-evil")).Refused(401, "invalid_client")
	r := form()
	r.Body += "&" + servertest.Encode("client_id", "c1", "client_secret", w.Secret("c1"))
	w.Send(r).Require(200)
}

// C-06, C-07: a minute, by the server's clock.
func TestCode_ends_after_a_minute_C06_C07(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(_ *testing.T, w *servertest.World) {
		early, late := codeFor(w, "c1"), codeFor(w, "c1")
		w.Clock.Advance(grants.CodeLifetime - time.Microsecond)
		w.Redeem("c2", early).Refused(400, "invalid_grant")
		w.Redeem("c1", early).Require(200)
		w.Clock.Advance(time.Microsecond)
		w.Redeem("c1", late).Refused(400, "invalid_grant")
		w.Clock.Advance(-time.Microsecond)
		w.Redeem("c1", late).Require(200) // the refusal was the clock's, nothing ended
	})
}

// What ends the user, the client or the sign-in ends a code that waits.
func TestCode_of_who_went_away(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for name, end := range map[string]func(b *servertest.Browser){
			"signed out": func(b *servertest.Browser) { b.Get("/logout").Submit("decision", "signout") },
			"revoked": func(*servertest.Browser) {
				_, err := w.Store.RevokeUserSessions(t.Context(), servertest.UserID("bob"), grants.ReasonAdmin)
				require.NoError(t, err)
			},
			"disabled": func(*servertest.Browser) {
				require.NoError(t, w.Store.DisableUser(t.Context(), servertest.UserID("bob")))
			},
		} {
			b := w.Browser()
			code := b.Authorize("c1").Through("bob").Code()
			end(b)
			require.Equal(t, 400, w.Redeem("c1", code).Status, name)
			require.NoError(t, w.Store.EnableUser(t.Context(), servertest.UserID("bob")))
			w.Redeem("c1", code).Refused(400, "invalid_grant")
			requireRedirect(t, b.Authorize("c1", "prompt", "none"), "login_required")
		}
	})
}

// Who is signed out, or switched off, between the two statements of the authorization
// endpoint has no code made for them.
func TestCode_is_not_made_for_who_just_went_away(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for name, statement := range map[string]string{
		"signed out":       `DELETE FROM browsers`,
		"switched off":     `UPDATE users SET disabled_at = 1, updated_at = updated_at + 1`,
		"another password": `UPDATE users SET updated_at = updated_at + 1`,
	} {
		b := w.Browser()
		b.Authorize("own").Through("alice").Code()
		before := grantRows(t, w)
		for _, prompt := range []string{"", "none"} {
			count := 0
			mend := w.Break(func(string) error {
				if count++; count == 2 {
					execute(t, w, statement)
				}
				return nil
			})
			page := b.Authorize("own", "prompt", prompt)
			mend()
			require.Equal(t, 2, count, name)
			if prompt == "none" {
				requireRedirect(t, page, "login_required")
			} else {
				requireAsked(t, page, "/login")
			}
			require.Equal(t, before, grantRows(t, w), name)
			execute(t, w, `UPDATE users SET disabled_at = NULL`)
			if name == "signed out" {
				b.SignIn("alice")
			}
		}
	}
}

// C-09 to C-12: the verifier is the challenge's own, or the code stays what it was.
func TestCode_verifier_C09_to_C12(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		const wrong = "another-verifier-that-is-long-enough-for-it-x"
		for _, client := range []string{"c1", "n1"} {
			redirect := servertest.Callback
			if client == "n1" {
				redirect = servertest.Native
			}
			redeem := func(code string, pairs ...string) *servertest.Answer {
				return w.Redeem(client, code, append(pairs, "redirect_uri", redirect)...)
			}
			code := codeFor(w, client, "redirect_uri", redirect)
			redeem(code, "code_verifier", "-").Refused(400, "invalid_grant") // C-09
			redeem(code, "code_verifier", "-").Refused(400, "invalid_grant")
			for _, verifier := range []string{
				wrong, "", "short", servertest.Verifier + "x", servertest.Verifier[1:], servertest.Challenge(servertest.Verifier),
				servertest.Verifier + "\n", servertest.Verifier + "%", string(make([]byte, 200)),
			} {
				require.Equal(t, 400, redeem(code, "code_verifier", verifier).Status, "%q", verifier)
			}
			redeem(code, "code_verifier", "-").Refused(400, "invalid_grant")
			redeem(code).Require(200) // C-10: a wrong verifier changes nothing (code.go)
		}

		// C-11: no challenge, but a verifier: somebody put a stranger's code into this flow.
		bare := codeFor(w, "old", "code_challenge", "-", "code_challenge_method", "-")
		w.Redeem("old", bare).Refused(400, "invalid_grant")
		w.Redeem("old", bare, "code_verifier", "-").Require(200)
		// C-12: a challenge, but no verifier.
		code := codeFor(w, "old")
		w.Redeem("old", code, "code_verifier", "-").Refused(400, "invalid_grant")
		w.Redeem("old", code, "code_verifier", "").Refused(400, "invalid_grant")
		w.Redeem("old", code).Require(200)
	})
}

// C-13: a thousand flows of two users at two clients, all at once. What an answer says
// belongs to its own request.
func TestCode_Concurrent_flows_do_not_cross_C13(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	replicas := []*servertest.World{w, w.Replica()}
	type person struct {
		user    string
		since   int64
		cookies *servertest.Browser
	}
	var people []person
	for _, user := range []string{"alice", "bob", "alice", "bob"} {
		w.Clock.Advance(time.Second)
		b := w.Browser()
		b.SignIn(user)
		for _, client := range []string{"c1", "own"} {
			b.Authorize(client).Through(user).Code()
		}
		people = append(people, person{user: user, since: w.Clock.Now().Unix(), cookies: b})
	}
	w.Clock.Advance(time.Minute)
	const workers, flows = 8, 125
	var race sync.WaitGroup
	for worker := range workers {
		race.Go(func() {
			p, client := people[worker%4], []string{"c1", "own"}[worker/4]
			replica := replicas[worker%2]
			b := replica.Browser() // a cookie jar of its own
			for name, c := range p.cookies.Cookies {
				b.Cookies[name] = c
			}
			for i := range flows {
				nonce := fmt.Sprintf("%d/%d", worker, i)
				page := b.Authorize(client, "nonce", nonce, "state", nonce)
				require.Equal(t, nonce, page.Answered().Get("state"))
				tokens := replicas[i%2].Redeem(client, page.Code()).Require(200)
				id := servertest.Claims(t, tokens.Text("id_token"))
				require.Equal(t, nonce, id["nonce"])
				require.Equal(t, servertest.UserID(p.user), id["sub"])
				require.Equal(t, client, id["aud"])
				require.Equal(t, float64(p.since), id["auth_time"])
				require.Equal(t, atHash(tokens.Access()), id["at_hash"])
				at := servertest.Claims(t, tokens.Access())
				require.Equal(t, []any{id["sub"], client}, []any{at["sub"], at["client_id"]})
			}
		})
	}
	race.Wait()
}

// A client that may not renew gets no refresh token; its access token lives its whole
// time all the same, and the session ends with it.
func TestCode_for_a_client_that_does_not_renew(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		w.AddClient(clients.Client{ID: "short", Grants: []string{"authorization_code"}, RedirectURIs: []string{servertest.Callback}, Scope: []string{"openid"}})
		code := codeFor(w, "short")
		w.Clock.Advance(59 * time.Second)
		a := w.Redeem("short", code).Require(200)
		require.Empty(t, a.Refresh())
		require.NotEmpty(t, a.Text("id_token"))
		require.Equal(t, 600.0, a.JSON["expires_in"])
		w.Clock.Advance(599 * time.Second)
		require.True(t, w.Active(a.Access()))
		w.Clock.Advance(time.Second)
		require.False(t, w.Active(a.Access()))
	})
}

// A session lives from when the person said yes, whenever the code was redeemed.
func TestCode_session_lives_from_the_consent(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	code := codeFor(w, "c1")
	began := w.Clock.Now()
	w.Clock.Advance(30 * time.Second)
	s := session(t, w, w.Redeem("c1", code).Require(200).Refresh())
	require.Equal(t, began.Add(90*24*time.Hour), s.ExpiresAt)
	require.Equal(t, began, s.CreatedAt)
}

// The scope and the audience are what the person allowed, whatever the token request says.
func TestCode_scope_and_audience(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	b := w.Browser()
	a := w.Redeem("c1", b.Authorize("c1", "scope", "openid read").Through("alice").Code(), "scope", "openid write").Require(200)
	require.Equal(t, "openid read", a.Text("scope"))
	a = w.Redeem("c1", b.Authorize("c1", "resource", servertest.API).Through("alice").Code()).Require(200)
	require.Equal(t, servertest.API, servertest.Claims(t, a.Access())["aud"])
	code := b.Authorize("c1", "resource", servertest.API).Code()
	w.Redeem("c1", code, "resource", servertest.OtherAPI).Refused(400, "invalid_target")
}
