package oauth_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/storage/storagetest"
	"github.com/grantorhq/grantor/users"
)

// allClaims registers the client "all", which may ask for every claim, and zoe, who has them.
func allClaims(t *testing.T, w *servertest.World) users.User {
	t.Helper()
	w.AddClient(clients.Client{
		ID: "all", Grants: []string{clients.GrantAuthorizationCode, clients.GrantPassword, clients.GrantRefreshToken}, RedirectURIs: []string{servertest.Callback},
		Scope: []string{"openid", "profile", "email", "address", "phone", "read", "offline_access"},
	})
	w.AddUser("zoe")
	u, err := w.Store.UserByLogin(t.Context(), "zoe")
	require.NoError(t, err)
	u.Profile = users.Profile{
		Name: "Zoë O'Hara", GivenName: "Zoë", FamilyName: "O'Hara", MiddleName: "B.", Nickname: "Z",
		Profile: "https://zoe.test/me", Picture: "https://zoe.test/p.png", Website: "https://zoe.test",
		Gender: "female", Birthdate: "1990-12-31", Zoneinfo: "Europe/Berlin", Locale: "de-DE",
		EmailVerified: true, PhoneNumber: "+49 30 123456", PhoneNumberVerified: true,
		Address: users.Address{Formatted: "Weg 1\nBerlin", StreetAddress: "Weg 1", Locality: "Berlin", Region: "BE", PostalCode: "10115", Country: "DE"},
	}
	require.NoError(t, u.Check())
	require.NoError(t, w.Store.UpdateUser(t.Context(), u))
	u, err = w.Store.UserByLogin(t.Context(), "zoe")
	require.NoError(t, err)
	return u
}

// execute writes past the store, as whoever has the file could.
func execute(t *testing.T, w *servertest.World, statement string) {
	t.Helper()
	_, err := storagetest.Database(t, w.Env.URL).ExecContext(t.Context(), statement)
	require.NoError(t, err)
}

// OpenID Connect Core section 5.4: a scope gives its claims and no other.
func TestUserinfo_gives_the_claims_of_each_scope(t *testing.T) {
	t.Parallel()
	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
		zoe := allClaims(t, w)
		claims := map[string]map[string]any{
			"profile": {
				"name": "Zoë O'Hara", "given_name": "Zoë", "family_name": "O'Hara", "middle_name": "B.", "nickname": "Z", "preferred_username": "zoe",
				"profile": "https://zoe.test/me", "picture": "https://zoe.test/p.png", "website": "https://zoe.test",
				"gender": "female", "birthdate": "1990-12-31", "zoneinfo": "Europe/Berlin", "locale": "de-DE", "updated_at": float64(zoe.UpdatedAt.Unix()),
			},
			"email": {"email": "zoe@app.test", "email_verified": true},
			"address": {"address": map[string]any{
				"formatted": "Weg 1\nBerlin", "street_address": "Weg 1", "locality": "Berlin", "region": "BE", "postal_code": "10115", "country": "DE",
			}},
			"phone": {"phone_number": "+49 30 123456", "phone_number_verified": true},
			"read":  {},
		}
		want := map[string]any{"sub": zoe.ID}
		require.Equal(t, want, w.Userinfo(w.Login("all", "zoe", "scope", "openid").Access()).Require(200).JSON)
		everything := map[string]any{"sub": zoe.ID}
		for scope, claims := range claims {
			want := map[string]any{"sub": zoe.ID}
			for name, value := range claims {
				want[name], everything[name] = value, value
			}
			at := w.Login("all", "zoe", "scope", "openid "+scope).Access()
			require.Equal(t, want, w.Userinfo(at).Require(200).JSON, scope)
		}
		at := w.Login("all", "zoe").Access()
		require.Equal(t, 1, w.Statements(func() {
			require.Equal(t, everything, w.Userinfo(at).Require(200).JSON)
		}))

		// A change counts in the next answer; what is gone is not told as empty.
		w.Clock.Advance(time.Minute)
		zoe.Email, zoe.Profile = "", users.Profile{}
		require.NoError(t, w.Store.UpdateUser(t.Context(), zoe))
		require.Equal(t, map[string]any{"sub": zoe.ID, "preferred_username": "zoe", "updated_at": float64(w.Clock.Now().Unix())}, w.Userinfo(at).Require(200).JSON)
	})
}

// U-09: whatever came into the row, however it did, the server's claims are the server's.
func TestUserinfo_profile_never_overrides_the_server_U09(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	zoe := allClaims(t, w)
	login := w.Login("all", "zoe")
	execute(t, w, `UPDATE users SET profile = '{"v":1,"sub":"id-of-alice","SUB":"x","iss":"https://evil.test","aud":"evil","exp":1,"client_id":"evil","scope":"admin",`+
		`"preferred_username":"alice","email":"alice@app.test","updated_at":1,"roles":["admin"],"name":"Zoe"}'`)
	for _, at := range []string{login.Access(), w.Refresh("all", login.Refresh()).Require(200).Access(), w.Login("all", "zoe").Access()} {
		require.Equal(t, map[string]any{
			"sub": zoe.ID, "preferred_username": "zoe", "updated_at": float64(zoe.UpdatedAt.Unix()), "email": "zoe@app.test", "email_verified": false, "name": "Zoe",
		}, w.Userinfo(at).Require(200).JSON)
		require.Equal(t, zoe.ID, servertest.Claims(t, at)["sub"])
		require.Equal(t, w.Issuer, servertest.Claims(t, at)["iss"])
		require.NotContains(t, servertest.Claims(t, at), "roles")
	}
}

func TestUserinfo_of_a_layout_that_is_not_known(t *testing.T) {
	t.Parallel()
	w := servertest.New(t, servertest.Setup{})
	allClaims(t, w)
	at := w.Login("all", "zoe").Access()
	execute(t, w, `UPDATE users SET profile = '{"v":2}'`)
	defer w.Overload()()
	w.Userinfo(at).Refused(503, "temporarily_unavailable")
	require.Equal(t, true, w.Introspect("rs", at).Require(200).JSON["active"], "a profile is no reason to refuse a token")
}
