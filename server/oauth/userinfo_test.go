package oauth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/server/servertest"
)

func TestUserinfo_tells_what_the_scope_allows(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		alice, err := w.Store.UserByLogin(t.Context(), "alice")
		require.NoError(t, err)
		updated := float64(alice.UpdatedAt.Unix())
		for scope, want := range map[string]map[string]any{
			"openid":               {"sub": "id-of-alice"},
			"openid profile":       {"sub": "id-of-alice", "preferred_username": "alice", "updated_at": updated},
			"openid email":         {"sub": "id-of-alice", "email": "alice@app.test", "email_verified": false},
			"read email openid":    {"sub": "id-of-alice", "email": "alice@app.test", "email_verified": false},
			"openid profile email": {"sub": "id-of-alice", "preferred_username": "alice", "updated_at": updated, "email": "alice@app.test", "email_verified": false},
		} {
			for _, client := range formats {
				at := w.Login(client, "alice", "scope", scope).Access()
				require.Equal(t, want, w.Userinfo(at).Require(200).JSON)
				require.Equal(t, want, w.Send(servertest.Form("/userinfo").Bearer(at)).Require(200).JSON)
				require.Equal(t, want, w.Send(servertest.Form("/userinfo", "access_token", at)).Require(200).JSON)
			}
		}
		at := w.Login("c1", "alice", "scope", "openid").Access()
		post := servertest.Get("/userinfo").Bearer(at)
		post.Method = "POST"
		w.Send(post).Require(200)
		w.Send(servertest.Get("/userinfo").Set("Authorization", "bearer "+at)).Require(200)
	})
}

func TestUserinfo_without_a_token_U01(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	for _, r := range []*servertest.Request{
		servertest.Get("/userinfo"), servertest.Form("/userinfo"), servertest.Form("/userinfo", "access_token", ""),
		servertest.Get("/userinfo").Set("Authorization", "Bearer"), servertest.Get("/userinfo").Set("Authorization", "Bearer "),
		servertest.Get("/userinfo").Basic("c1", w.Secret("c1")), servertest.Get("/userinfo").Set("Authorization", "evil"),
	} {
		a := w.Send(r).Require(401)
		require.True(t, strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer "))
		require.NotContains(t, a.Header.Get("WWW-Authenticate"), "error")
		require.Empty(t, a.Body)
	}
}

func TestUserinfo_refuses(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		login := w.Login("c1", "alice", "scope", "openid")
		id := session(t, w, login.Refresh()).ID
		at := login.Access()
		for name, c := range map[string]struct {
			request *servertest.Request
			status  int
			code    string
		}{
			"U-02 garbage":               {servertest.Get("/userinfo").Bearer("evil"), 401, "invalid_token"},
			"U-02 two words":             {servertest.Get("/userinfo").Bearer(at + " x"), 401, "invalid_token"},
			"U-03 no openid":             {servertest.Get("/userinfo").Bearer(w.Login("c1", "alice", "scope", "profile").Access()), 403, "insufficient_scope"},
			"U-03 no scope at all":       {servertest.Get("/userinfo").Bearer(w.Sign(keys.TypeAccessToken, strings.Replace(good(w, "c1", id.String()), `"scope":"openid read",`, "", 1))), 403, "insufficient_scope"},
			"U-03 a longer word":         {servertest.Get("/userinfo").Bearer(w.Sign(keys.TypeAccessToken, strings.Replace(good(w, "c1", id.String()), `openid read`, "openidx OPENID", 1))), 403, "insufficient_scope"},
			"U-04 refresh token":         {servertest.Get("/userinfo").Bearer(login.Refresh()), 401, "invalid_token"},
			"U-04 ID token":              {servertest.Get("/userinfo").Bearer(w.Sign(keys.TypeJWT, good(w, "c1", id.String()))), 401, "invalid_token"},
			"U-04 code":                  {servertest.Get("/userinfo").Bearer(w.Codec.Mint(grants.Code, id, 0)), 401, "invalid_token"},
			"U-05 in the query":          {servertest.Get("/userinfo?access_token=" + at), 400, "invalid_request"},
			"U-05 in the query too":      {servertest.Get("/userinfo?access_token=" + at).Bearer(at), 400, "invalid_request"},
			"U-05 in the query, POST":    {query(servertest.Form("/userinfo").Bearer(at), "access_token="+at), 400, "invalid_request"},
			"two tokens":                 {servertest.Form("/userinfo", "access_token", at).Bearer(at), 400, "invalid_request"},
			"twice in the form":          {servertest.Form("/userinfo", "access_token", at, "access_token", at), 400, "invalid_request"},
			"two headers":                {twice(servertest.Get("/userinfo"), "Bearer "+at), 400, "invalid_request"},
			"S-08 for another audience":  {servertest.Get("/userinfo").Bearer(w.Login("c1", "alice", "scope", "openid", "audience", servertest.API).Access()), 401, "invalid_token"},
			"X-04 client_credentials":    {servertest.Get("/userinfo").Bearer(w.Token("cc", "grant_type", "client_credentials").Access()), 403, "insufficient_scope"},
			"a JSON body":                {withBody(servertest.Form("/userinfo"), `{"access_token":"x"}`).Set("Content-Type", "application/json"), 400, "invalid_request"},
			"U-02 opaque, but a forgery": {servertest.Get("/userinfo").Bearer("ga1_" + strings.Repeat("A", 120)), 401, "invalid_token"},
		} {
			t.Run(name, func(t *testing.T) {
				a := w.Send(c.request).Refused(c.status, c.code)
				if c.status != 400 {
					require.Contains(t, a.Header.Get("WWW-Authenticate"), `error="`+c.code+`"`, "RFC 6750 section 3")
				}
			})
		}
		w.Userinfo(at).Require(200)
		w.Clock.Advance(10 * time.Minute)
		w.Userinfo(at).Refused(401, "invalid_token") // U-02: expired
	})
}

func twice(r *servertest.Request, header string) *servertest.Request {
	r.Header["Authorization"] = []string{header, header}
	return r
}

func TestUserinfo_of_an_ended_session_U06(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		for _, client := range formats {
			one, two := w.Login(client, "alice"), w.Login(client, "alice")
			w.Revoke(client, one.Refresh()).Require(200)
			w.Userinfo(one.Access()).Refused(401, "invalid_token")
			w.Userinfo(two.Access()).Require(200)
			w.Revoke(client, two.Access()).Require(200)
			w.Userinfo(two.Access()).Refused(401, "invalid_token")
		}
		three := w.Login("c1", "bob")
		_, err := w.Store.DeleteUser(t.Context(), servertest.UserID("bob"))
		require.NoError(t, err)
		w.Userinfo(three.Access()).Refused(401, "invalid_token")
	})
}

func TestUserinfo_when_the_database_fails(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(_ *testing.T, w *servertest.World) {
		at := w.Login("c1", "alice").Access()
		mend := w.Break(everything)
		w.Userinfo(at).Refused(503, "temporarily_unavailable")
		w.Userinfo("forged").Refused(401, "invalid_token")
		mend()
		w.Userinfo(at).Require(200)
	})
}
