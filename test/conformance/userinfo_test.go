package conformance_test

import (
	"net/http"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/server/servertest"
)

// userinfo holds an answer against OpenID Connect Core section 5.3.2.
func (p *party) userinfo(subject string, r *servertest.Request) map[string]any {
	t := p.t
	t.Helper()
	a := p.Send(r)
	p.status(a, http.StatusOK)
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	require.Equal(t, subject, a.JSON["sub"])
	for name, value := range a.JSON {
		require.NotNil(t, value, "%s is left out rather than null", name)
		require.NotEqual(t, "", value, "%s is left out rather than empty", name)
		require.IsType(t, kinds[name], value, name)
	}
	return a.JSON
}

// kinds are the types of the standard claims: OpenID Connect Core section 5.1.
var kinds = map[string]any{
	"sub": "", "name": "", "given_name": "", "family_name": "", "middle_name": "", "nickname": "", "preferred_username": "", "profile": "",
	"picture": "", "website": "", "email": "", "gender": "", "birthdate": "", "zoneinfo": "", "locale": "", "phone_number": "",
	"email_verified": true, "phone_number_verified": true, "updated_at": 1.5, "address": map[string]any{},
}

// claimsOf are what each scope asks for: OpenID Connect Core section 5.4.
var claimsOf = map[string][]string{
	"profile": {
		"name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile", "picture", "website", "gender",
		"birthdate", "zoneinfo", "locale", "updated_at",
	},
	"email":   {"email", "email_verified"},
	"address": {"address"},
	"phone":   {"phone_number", "phone_number_verified"},
}

func userinfoGet(p *party) {
	f := p.complete()
	p.userinfo(f.idToken.Subject, servertest.Get(p.endpoint("userinfo_endpoint")).Bearer(f.tokens.Access()))
}

func userinfoPostHeader(p *party) {
	f := p.complete()
	r := &servertest.Request{Method: http.MethodPost, Path: p.endpoint("userinfo_endpoint"), Header: http.Header{}}
	p.userinfo(f.idToken.Subject, r.Bearer(f.tokens.Access()))
}

func userinfoPostBody(p *party) {
	f := p.complete()
	p.userinfo(f.idToken.Subject, servertest.Form(p.endpoint("userinfo_endpoint"), "access_token", f.tokens.Access()))
}

func scopeProfile(p *party) { p.scope("openid profile", "profile") }
func scopeEmail(p *party)   { p.scope("openid email", "email") }
func scopeAddress(p *party) { p.scope("openid address", "address") }
func scopePhone(p *party)   { p.scope("openid phone", "phone") }

func scopeAll(p *party) {
	p.scope("openid profile email address phone", "profile", "email", "address", "phone")
}

// scope asks for scopes, and wants every claim of theirs and no other: at the userinfo
// endpoint, because there is an access token for it, and not in the ID token.
func (p *party) scope(scope string, names ...string) {
	p.t.Helper()
	f := p.complete("scope", scope)
	want := []string{"sub"}
	for _, name := range names {
		require.Contains(p.t, p.metadata["scopes_supported"], name)
		want = append(want, claimsOf[name]...)
	}
	info := p.userinfo(f.idToken.Subject, servertest.Get(p.endpoint("userinfo_endpoint")).Bearer(f.tokens.Access()))
	got := []string{}
	for name := range info {
		got = append(got, name)
	}
	require.ElementsMatch(p.t, want, got)
	for _, name := range slices.Concat(claimsOf["profile"], claimsOf["email"], claimsOf["address"], claimsOf["phone"]) {
		require.NotContains(p.t, f.idToken.all, name)
	}
}

func claimsEssential(p *party) {
	f := p.complete("claims", `{"userinfo":{"name":{"essential":true}}}`)
	info := p.userinfo(f.idToken.Subject, servertest.Get(p.endpoint("userinfo_endpoint")).Bearer(f.tokens.Access()))
	require.Equal(p.t, "Carol Example", info["name"])
	require.NotContains(p.t, f.idToken.all, "name")
	require.Len(p.t, info, 2, "the name and sub: openid asks for nothing else")
}
