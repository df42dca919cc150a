package storage_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
	"github.com/grantorhq/grantor/users"
)

// fullProfile has every claim.
func fullProfile() users.Profile {
	return users.Profile{
		Name: "Zoë <\"'> 漢字", GivenName: "Zoë", FamilyName: "O'Hara", MiddleName: "B.", Nickname: "Z",
		Profile: "https://zoe.test/?a=1&b=2", Picture: "https://zoe.test/p.png", Website: "http://zoe.test",
		Gender: "female", Birthdate: "1990-12-31", Zoneinfo: "Europe/Berlin", Locale: "de-DE",
		EmailVerified: true, PhoneNumber: "+49 30 123456", PhoneNumberVerified: true,
		Address: users.Address{Formatted: "Weg 1\nBerlin", StreetAddress: "Weg 1", Locality: "Berlin", Region: "BE", PostalCode: "10115", Country: "DE"},
	}
}

func TestUsers_are_updated(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, s := deadline(t), e.Store
		filled(t, fullProfile())
		filled(t, fullProfile().Address)
		createUser(t, s, "alice")
		createUser(t, s, "bob")
		read := func() users.User {
			u, err := s.UserByLogin(ctx, "id-alice")
			require.NoError(t, err)
			return u
		}
		first := read()
		later := e.Clock.Advance(time.Minute)
		u := first
		u.Email, u.Profile = "Other@app.test", fullProfile()
		u.Name, u.PasswordHash, u.DisabledAt = "mallory", "not written", later
		require.NoError(t, s.UpdateUser(ctx, u))
		want := first
		want.Email, want.Profile, want.UpdatedAt = "Other@app.test", fullProfile(), later
		require.Equal(t, want, read(), "only the address and the profile change")
		got, err := s.UserByLogin(ctx, "OTHER@app.test")
		require.NoError(t, err)
		require.Equal(t, want, got)
		_, err = s.UserByLogin(ctx, "alice@app.test")
		require.ErrorIs(t, err, users.ErrNotFound, "the old address signs in no more")

		// Whoever read before that is late, also in the same instant.
		require.ErrorIs(t, s.UpdateUser(ctx, first), users.ErrConflict)
		require.NoError(t, s.UpdateUser(ctx, want))
		require.ErrorIs(t, s.UpdateUser(ctx, want), users.ErrConflict)
		taken := read()
		taken.Email = "BOB@app.test"
		require.ErrorIs(t, s.UpdateUser(ctx, taken), users.ErrExists)
		require.ErrorIs(t, s.UpdateUser(ctx, users.User{ID: "nobody"}), users.ErrNotFound)

		// None again.
		u = read()
		u.Email, u.Profile = "", users.Profile{}
		require.NoError(t, s.UpdateUser(ctx, u))
		require.Zero(t, read().Email)
		require.Zero(t, read().Profile)
	})
}

func TestAccess_tells_the_profile_in_one_statement(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		id := begin(t, e, 1)[0]
		u, err := e.Store.UserByLogin(ctx, "alice")
		require.NoError(t, err)
		u.Profile = fullProfile()
		later := e.Clock.Advance(time.Minute)
		require.NoError(t, e.Store.UpdateUser(ctx, u))

		e.Tally.Reset()
		a, err := e.Store.Access(ctx, id, "app", "jti", e.Clock.Now())
		require.NoError(t, err)
		got, err := a.Profile()
		require.NoError(t, err)
		require.Equal(t, 1, e.Tally.Count())
		require.Equal(t, fullProfile(), got)
		require.Equal(t, later, a.UserUpdated)

		_, err = storagetest.Database(t, e.URL).ExecContext(ctx, `UPDATE users SET profile = '{"v":2}'`)
		require.NoError(t, err)
		a, err = e.Store.Access(ctx, id, "app", "jti", e.Clock.Now())
		require.NoError(t, err, "introspection does not need it")
		_, err = a.Profile()
		require.ErrorIs(t, err, storage.ErrUnavailable)

		a, err = e.Store.Access(ctx, newID(t), "app", "jti", e.Clock.Now())
		require.NoError(t, err)
		got, err = a.Profile()
		require.NoError(t, err)
		require.Zero(t, got)
	})
}

// crowd is more than two batches.
func crowd() []users.User {
	list := make([]users.User, 1001)
	for i := range list {
		list[i] = users.User{ID: fmt.Sprintf("new-%d", i), Name: fmt.Sprintf("New %d", i), PasswordHash: "hash"}
		if i%2 == 0 {
			list[i].Email = fmt.Sprintf("new%d@app.test", i)
		}
	}
	return list
}

func TestUsers_are_imported(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, s := deadline(t), e.Store
		list := crowd()
		list[1000].Profile, list[1000].DisabledAt = fullProfile(), e.Clock.Now()
		filled(t, list[1000], "CreatedAt", "UpdatedAt")
		require.NoError(t, s.RehearseImport(ctx, list))
		all, err := s.Users(ctx)
		require.NoError(t, err)
		require.Empty(t, all, "a rehearsal stores nothing")

		require.NoError(t, s.ImportUsers(ctx, nil))
		require.NoError(t, s.ImportUsers(ctx, list))
		all, err = s.Users(ctx)
		require.NoError(t, err)
		require.Len(t, all, len(list))
		got, err := s.UserByLogin(ctx, "NEW1000@app.test")
		require.NoError(t, err)
		want := list[1000]
		want.CreatedAt, want.UpdatedAt = e.Clock.Now(), e.Clock.Now()
		require.Equal(t, want, got)
	})
}

// G-11: all or none, and the first that is in the way is named.
func TestImport_of_a_taken_account_imports_nothing_G11(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, s := deadline(t), e.Store
		createUser(t, s, "alice")
		require.NoError(t, s.CreateClient(ctx, clients.Client{ID: "machine"}))
		for name, c := range map[string]struct {
			at     int
			change func(u, first *users.User)
		}{
			"id of an account":       {700, func(u, _ *users.User) { u.ID = "id-alice" }},
			"name of an account":     {1000, func(u, _ *users.User) { u.Name = " ALICE " }},
			"address of an account":  {0, func(u, _ *users.User) { u.Email = "Alice@APP.test" }},
			"id of a client":         {3, func(u, _ *users.User) { u.ID = "machine" }},
			"id in the list":         {1, func(u, first *users.User) { u.ID = first.ID }},
			"id in another batch":    {999, func(u, first *users.User) { u.ID = first.ID }},
			"name in the list":       {2, func(u, first *users.User) { u.Name = strings.ToUpper(first.Name) }},
			"address in the list":    {499, func(u, first *users.User) { u.Email = strings.ToUpper(first.Email) }},
			"address of other batch": {500, func(u, first *users.User) { u.Email = first.Email }},
		} {
			list := crowd()
			c.change(&list[c.at], &list[0])
			for _, try := range []error{s.RehearseImport(ctx, list), s.ImportUsers(ctx, list)} {
				var fault *storage.ImportError
				require.ErrorAs(t, try, &fault, name)
				require.Equal(t, c.at, fault.Index, name)
				require.ErrorIs(t, try, users.ErrExists, name)
				require.NotErrorIs(t, try, storage.ErrUnavailable, name)
			}
			all, err := s.Users(ctx)
			require.NoError(t, err)
			require.Len(t, all, 1, name)
		}
		require.NoError(t, s.ImportUsers(ctx, crowd()), "a refused import leaves nothing locked")
	})
}

// An id that comes back finds no session that a login left in the moment of DeleteUser.
func TestImport_inherits_no_session(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		id := begin(t, e, 1)[0]
		_, err := storagetest.Database(t, e.URL).ExecContext(ctx, `DELETE FROM users`)
		require.NoError(t, err)
		require.NoError(t, e.Store.ImportUsers(ctx, []users.User{{ID: "id-alice", Name: "alice"}}))
		s, err := e.Store.Session(ctx, id)
		require.NoError(t, err)
		require.Equal(t, string(grants.ReasonUserDisabled), s.Dead)
	})
}
