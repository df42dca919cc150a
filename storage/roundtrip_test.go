package storage_test

import (
	"encoding/json"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
	"github.com/grantorhq/grantor/users"
)

var update = flag.Bool("update", false, "write the golden files again")

// fullClient has every field filled: a new field that is not here fails the test below.
func fullClient() clients.Client {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	return clients.Client{
		ID: "app", Name: "Ä <app> & \"co\" \u202e 漢字 '; --", Public: true, AuthMethod: clients.AuthPost,
		Grants: []string{"password", "refresh_token"}, RedirectURIs: []string{"https://app.test/cb?a=1&b=2", "com.example.app:/cb"},
		Scope: []string{"read", "write"}, Audience: []string{"https://api.test"}, FirstParty: true, ResourceServer: true,
		PKCE: clients.PKCEOptional, AccessToken: clients.Opaque,
		AccessTokenLifetime: time.Second, RefreshTokenLifetime: 36 * time.Hour, SessionLifetime: 3650 * 24 * time.Hour,
		RefreshToken: clients.DeliverCookie, AllowedOrigins: []string{"https://app.test"},
		PostLogoutRedirectURIs: []string{"https://app.test/bye", "com.example.app:/bye"}, BackchannelLogoutURI: "https://app.test/logout",
		IDTokenAlg: clients.ES256, UserinfoAlg: clients.RS256,
		ClientURI: "https://app.test", PolicyURI: "https://app.test/privacy", TOSURI: "https://app.test/terms#x",
		Secrets: []clients.Secret{
			{ID: "old", Hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA", CreatedAt: at, LastUsedAt: at.Add(time.Hour), ExpiresAt: at.Add(2 * time.Hour)},
			{ID: "new", Hash: "sha256:aGFzaA", CreatedAt: at.Add(time.Minute)},
		},
		DisabledAt: at.Add(3 * time.Hour),
	}
}

// filled fails for a field that is zero: then a forgotten column would not be noticed.
func filled(t *testing.T, v any, except ...string) {
	t.Helper()
	value := reflect.ValueOf(v)
	for i := range value.NumField() {
		name := value.Type().Field(i).Name
		if !slices.Contains(except, name) {
			require.False(t, value.Field(i).IsZero(), "%T.%s is not filled in this test", v, name)
		}
	}
}

func TestClients_round_trip(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, s := deadline(t), e.Store
		want := fullClient()
		filled(t, want, "CreatedAt", "UpdatedAt", "Version") // the store's
		filled(t, want.Secrets[0])
		require.NoError(t, s.CreateClient(ctx, want))
		want.CreatedAt, want.UpdatedAt, want.Version = e.Clock.Now(), e.Clock.Now(), 1
		got, err := s.Client(ctx, "app")
		require.NoError(t, err)
		require.Equal(t, want, *got)
		require.ErrorIs(t, s.CreateClient(ctx, clients.Client{ID: "app"}), clients.ErrExists)

		require.NoError(t, s.CreateClient(ctx, clients.Client{ID: "Zero"}))
		got, err = s.Client(ctx, "Zero")
		require.NoError(t, err)
		require.Equal(t, clients.Client{ID: "Zero", CreatedAt: e.Clock.Now(), UpdatedAt: e.Clock.Now(), Version: 1}, *got)
		_, err = s.Client(ctx, "zero")
		require.ErrorIs(t, err, clients.ErrNotFound, "ids are exact")

		// Registration and secrets change apart, each counts a version.
		later := e.Clock.Advance(time.Minute)
		changed := clients.Client{ID: "app", Name: "other", Version: 1, Secrets: []clients.Secret{{ID: "ignored"}}}
		require.NoError(t, s.UpdateClient(ctx, changed))
		got, err = s.Client(ctx, "app")
		require.NoError(t, err)
		require.Equal(t, clients.Client{
			ID: "app", Name: "other", Secrets: want.Secrets, CreatedAt: want.CreatedAt, UpdatedAt: later, DisabledAt: want.DisabledAt, Version: 2,
		}, *got)
		require.ErrorIs(t, s.UpdateClient(ctx, changed), clients.ErrConflict)
		require.ErrorIs(t, s.ReplaceSecrets(ctx, "app", 1, nil), clients.ErrConflict)
		require.NoError(t, s.ReplaceSecrets(ctx, "app", 2, want.Secrets[1:]))
		got, err = s.Client(ctx, "app")
		require.NoError(t, err)
		require.Equal(t, want.Secrets[1:], got.Secrets)
		require.EqualValues(t, 3, got.Version)
		require.NoError(t, s.ReplaceSecrets(ctx, "app", 3, nil))

		list, err := s.Clients(ctx)
		require.NoError(t, err)
		require.Len(t, list, 2)
		ended, err := s.DeleteClient(ctx, "Zero")
		require.NoError(t, err)
		require.Zero(t, ended)
		for _, missing := range []error{
			s.DisableClient(ctx, "Zero"), s.EnableClient(ctx, "Zero"), s.UpdateClient(ctx, clients.Client{ID: "Zero", Version: 1}), s.ReplaceSecrets(ctx, "Zero", 1, nil),
			second(s.DeleteClient(ctx, "Zero")), second(s.Client(ctx, "Zero")), second(s.RegisteredClient(ctx, "Zero")),
			second(s.Client(ctx, "a\x00")), second(s.Client(ctx, "\xff")), second(s.Client(ctx, "")),
		} {
			require.ErrorIs(t, missing, clients.ErrNotFound)
		}

		// Off and on: the first moment stays.
		require.NoError(t, s.EnableClient(ctx, "app"))
		off := e.Clock.Now()
		require.NoError(t, s.DisableClient(ctx, "app"))
		e.Clock.Advance(time.Minute)
		require.NoError(t, s.DisableClient(ctx, "app"))
		got, err = s.Client(ctx, "app")
		require.NoError(t, err)
		require.Equal(t, off, got.DisabledAt)
		require.NoError(t, s.EnableClient(ctx, "app"))
		got, err = s.Client(ctx, "app")
		require.NoError(t, err)
		require.Zero(t, got.DisabledAt)
	})
}

func second(_ any, err error) error { return err }

func TestUsers_round_trip(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, s := deadline(t), e.Store
		want := users.User{ID: "u1", Name: "Zoë 'x'", Email: "Zoe@App.test", PasswordHash: "$2b$10$x", Profile: fullProfile(), DisabledAt: e.Clock.Now()}
		filled(t, want, "CreatedAt", "UpdatedAt")
		require.NoError(t, s.CreateUser(ctx, want))
		want.CreatedAt, want.UpdatedAt = e.Clock.Now(), e.Clock.Now()
		for _, login := range []string{"Zoë 'x'", " zoë 'X' ", "ZOE\u0308 'x'", "zoe@app.test", "ZOE@APP.TEST", "u1"} {
			got, err := s.UserByLogin(ctx, login)
			require.NoError(t, err, login)
			require.Equal(t, want, got, login)
		}
		for _, login := range []string{"", " ", "U1", "zoe", "zoë", "%", "zoe@app.test\x00", "\x00", "\xff", "' OR 1=1 --"} {
			_, err := s.UserByLogin(ctx, login)
			require.ErrorIs(t, err, users.ErrNotFound, "%q", login)
		}
		for _, taken := range []users.User{
			{ID: "u2", Name: "ZOË 'x'"}, {ID: "u2", Name: "other", Email: "ZOE@app.test"}, {ID: "u1", Name: "third"},
		} {
			require.ErrorIs(t, s.CreateUser(ctx, taken), users.ErrExists)
		}
		// Without an address, as often as you like.
		require.NoError(t, s.CreateUser(ctx, users.User{ID: "u3", Name: "Bob"}))
		require.NoError(t, s.CreateUser(ctx, users.User{ID: "u4", Name: "anna"}))
		got, err := s.UserByLogin(ctx, "bob")
		require.NoError(t, err)
		require.Equal(t, users.User{ID: "u3", Name: "Bob", CreatedAt: e.Clock.Now(), UpdatedAt: e.Clock.Now()}, got)
		list, err := s.Users(ctx)
		require.NoError(t, err)
		require.Len(t, list, 3)
		// A name that reads like somebody's address or id does not take it over.
		require.NoError(t, s.CreateUser(ctx, users.User{ID: "u5", Name: "u3"}))
		got, err = s.UserByLogin(ctx, "u3")
		require.NoError(t, err)
		require.Equal(t, "u5", got.ID, "a name wins over an id")

		for _, missing := range []error{
			s.DisableUser(ctx, "nobody"), s.EnableUser(ctx, "nobody"), second(s.DeleteUser(ctx, "nobody")), second(s.SetPassword(ctx, "nobody", "h", true)),
		} {
			require.ErrorIs(t, missing, users.ErrNotFound)
		}
	})
}

func TestKeys_round_trip(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		oldText, newText := "old-old-old-0123456789-abcdefghijklmnop", "new-new-new-0123456789-ABCDEFGHIJKLMNOP"
		parse := func(text string) *keys.Secrets {
			s, err := keys.ParseSecrets(text)
			require.NoError(t, err)
			return s
		}
		first, err := e.Store.SigningKeys(ctx, parse(oldText))
		require.NoError(t, err)
		e.Tally.Reset()
		again, err := e.Open().SigningKeys(ctx, parse(oldText))
		require.NoError(t, err)
		require.Equal(t, kids(first), kids(again))
		require.Equal(t, 1, e.Tally.Count(), "a later start only reads")
		for i, k := range first.List() {
			require.Equal(t, k.CreatedAt, again.List()[i].CreatedAt)
			require.Equal(t, k.ActivateAt, again.List()[i].ActivateAt)
		}

		_, err = e.Store.SigningKeys(ctx, parse(newText))
		require.ErrorIs(t, err, storage.ErrSecrets)
		require.NotErrorIs(t, err, storage.ErrUnavailable)
		require.NotContains(t, err.Error(), newText)
		_, err = e.Store.RotateKeys(ctx, parse(newText), "")
		require.ErrorIs(t, err, storage.ErrSecrets, "nothing is sealed by a secret that opens nothing else")

		// The rotation of the server secret: both, then only the new one.
		_, err = e.Store.SigningKeys(ctx, parse(newText+" "+oldText))
		require.NoError(t, err)
		_, err = e.Store.SigningKeys(ctx, parse(newText))
		require.ErrorIs(t, err, storage.ErrSecrets, "reading writes nothing")
		require.NoError(t, e.Store.ResealKeys(ctx, parse(newText+" "+oldText)))
		e.Tally.Reset()
		require.NoError(t, e.Store.ResealKeys(ctx, parse(newText+" "+oldText)))
		require.Equal(t, 1, e.Tally.Count(), "there is nothing left to do")
		require.ErrorIs(t, e.Store.ResealKeys(ctx, parse(oldText)), storage.ErrSecrets)
		again, err = e.Store.SigningKeys(ctx, parse(newText))
		require.NoError(t, err)
		require.Equal(t, kids(first), kids(again))
		_, err = e.Store.SigningKeys(ctx, parse(oldText))
		require.ErrorIs(t, err, storage.ErrSecrets)

		set, err := e.Store.RotateKeys(ctx, parse(newText), "")
		require.NoError(t, err)
		require.Len(t, set.List(), 6)
		_, err = e.Store.RotateKeys(ctx, parse(newText), "HS256")
		require.Error(t, err)

		// Nobody moves a sealed key under another name.
		_, err = storagetest.Database(t, e.URL).ExecContext(ctx, `UPDATE signing_keys SET sealed = (SELECT s.sealed FROM signing_keys s WHERE s.algorithm = 'ES256' AND s.ordinal = 2)
		 WHERE algorithm = 'ES256' AND ordinal = 1`)
		require.NoError(t, err)
		_, err = e.Store.SigningKeys(ctx, parse(newText))
		require.ErrorIs(t, err, storage.ErrSecrets)
	})
}

// Rows outlive programs: what is stored as JSON is pinned, and what a later program
// wrote is not guessed at.
func TestStored_layouts_are_pinned(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		require.NoError(t, e.Store.CreateClient(ctx, fullClient()))
		require.NoError(t, e.Store.CreateClient(ctx, clients.Client{ID: "zero"}))
		require.NoError(t, e.Store.EnableClient(ctx, "app"))
		createUser(t, e.Store, "alice")
		require.NoError(t, e.Store.CreateUser(ctx, users.User{ID: "full", Name: "full", Profile: fullProfile()}))
		full, zero := newID(t), newID(t)
		g := login(e.Clock.Now(), full)
		g.Details = grants.Details{
			Version: 99, AuthTime: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), AMR: []string{"pwd", "otp"}, UserAgent: "curl/8 <\"&'> ä\x00\xff",
			Nonce: "n-0S6_WzA2Mj", ACR: "urn:mace:incommon:iap:silver", UserinfoClaims: []string{"picture", "email"}, IDTokenClaims: []string{"auth_time", "https://app.test/claim"},
		}
		filled(t, g.Details)
		for id, g := range map[grants.ID]grants.Grant{full: g, zero: login(e.Clock.Now(), zero)} {
			begun, err := e.Store.Begin(ctx, g, time.Time{})
			require.NoError(t, err, id)
			require.True(t, begun)
		}
		db := storagetest.Database(t, e.URL)
		text := func(query string, args ...any) (s string) {
			t.Helper()
			require.NoError(t, db.QueryRowContext(ctx, query, args...).Scan(&s))
			return s
		}
		for name, got := range map[string]string{
			"registration.golden.json":      text(`SELECT registration FROM clients WHERE id = 'app'`),
			"registration_zero.golden.json": text(`SELECT registration FROM clients WHERE id = 'zero'`),
			"details.golden.json":           text(`SELECT details FROM grants WHERE id = $1`, full[:]),
			"details_zero.golden.json":      text(`SELECT details FROM grants WHERE id = $1`, zero[:]),
			"profile.golden.json":           text(`SELECT profile FROM users WHERE id = 'full'`),
			"profile_zero.golden.json":      text(`SELECT profile FROM users WHERE id = 'id-alice'`),
		} {
			path := filepath.Join("testdata", name)
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o750))
				require.NoError(t, os.WriteFile(path, []byte(got+"\n"), 0o600))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), got+"\n", name)
			require.True(t, json.Valid(want))
		}

		for _, sql := range []string{`UPDATE clients SET registration = '{"v":2}' WHERE id = 'app'`, `UPDATE grants SET details = '{"v":2}'`, `UPDATE users SET profile = '{"v":2}'`} {
			_, err := db.ExecContext(ctx, sql)
			require.NoError(t, err)
		}
		_, err := e.Store.Client(ctx, "app")
		require.ErrorIs(t, err, storage.ErrUnavailable)
		require.ErrorContains(t, err, "layout 2")
		_, err = e.Store.UserByLogin(ctx, "alice")
		require.ErrorIs(t, err, storage.ErrUnavailable)
		require.ErrorContains(t, err, "layout 2")
		_, err = e.Store.Users(ctx)
		require.ErrorIs(t, err, storage.ErrUnavailable)
		_, err = e.Store.Session(ctx, full)
		require.ErrorIs(t, err, storage.ErrUnavailable)
		require.ErrorContains(t, err, "layout 2")
	})
}

// A subject is either a user or a client: RFC 9068 section 5.
func TestCreateClient_refuses_the_id_of_a_user(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		createUser(t, e.Store, "alice")
		err := e.Store.CreateClient(ctx, clients.Client{ID: "id-alice"})
		require.ErrorIs(t, err, clients.ErrExists)
		_, err = e.Store.Client(ctx, "id-alice")
		require.ErrorIs(t, err, clients.ErrNotFound)
		require.NoError(t, e.Store.CreateClient(ctx, clients.Client{ID: "alice"}), "a name is no subject")
	})
}

// Poolers that know no prepared statements want the arguments' types from the client, and
// releases are built without most of those that pgx knows (Makefile, TAGS).
func TestPostgres_takes_statements_that_are_not_prepared(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		if e.Dialect != storage.Postgres {
			t.Skip("SQLite has no such mode")
		}
		ctx, ids := deadline(t), begin(t, e, 1)
		s := e.Open(func(o *storage.Options) {
			address, err := url.Parse(o.Database)
			require.NoError(t, err)
			query := address.Query()
			query.Set("default_query_exec_mode", "exec")
			address.RawQuery = query.Encode()
			o.Database = address.String()
		})
		_, verdict, err := rotate(ctx, e, s, ids[0], 1)
		require.NoError(t, err)
		require.Equal(t, grants.Rotated, verdict)
		_, err = s.Client(ctx, "app")
		require.NoError(t, err)
		require.NoError(t, s.Deny(ctx, "jti", "app", e.Clock.Now()))
		require.NoError(t, s.CheckDatabase(ctx))
	})
}
