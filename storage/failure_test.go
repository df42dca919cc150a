package storage_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
	"github.com/grantorhq/grantor/users"
)

var errCut = errors.New("the connection was cut")

// What prepare leaves besides a session.
var theBrowser, theCode, theOther, theMovable = grants.ID{98}, grants.ID{99}, grants.ID{97}, grants.ID{96}

// prepare leaves one of everything: a session of generation 2, a sign-in with a code and
// a session whose client wants to be told, another sign-in, a code, and failures of alice.
func prepare(t *testing.T, e *storagetest.Env, db *sql.DB) grants.ID {
	t.Helper()
	ctx := deadline(t)
	reset(t, e, db)
	id := begin(t, e, 1)[0]
	_, _, err := rotate(ctx, e, e.Store, id, 1)
	require.NoError(t, err)
	now := e.Clock.Now()
	require.NoError(t, e.Store.CreateClient(ctx, clients.Client{ID: "mail", BackchannelLogoutURI: "https://mail.test/logout"}))
	require.NoError(t, second(e.Store.BeginBrowser(ctx, storage.Browser{ID: theBrowser, Generation: 1, UserID: "id-alice", ExpiresAt: now.Add(time.Hour)}, time.Time{})))
	at(t, e, theBrowser, func(g *grants.Grant) { g.ClientID = "mail" })
	require.NoError(t, second(e.Store.Begin(ctx, code(now, theCode), time.Time{})))
	require.NoError(t, second(e.Store.BeginBrowser(ctx, storage.Browser{ID: theOther, Generation: 1, UserID: "id-alice", ExpiresAt: now.Add(time.Hour)}, time.Time{})))
	g := code(now, theMovable)
	g.BrowserID = theBrowser
	require.NoError(t, second(e.Store.Begin(ctx, g, time.Time{})))
	return id
}

func third(_ grants.Grant, _ users.User, _ grants.Verdict, err error) error { return err }

// calls is every method that asks the database something.
func calls(ctx context.Context, e *storagetest.Env, id grants.ID, secrets *keys.Secrets, passwords *users.Passwords) map[string]func() error {
	s := e.Store
	drop := func(_ any, err error) error { return err }
	return map[string]func() error{
		"Schema":      func() error { return drop(s.Schema(ctx)) },
		"CheckSchema": func() error { return s.CheckSchema(ctx) },
		"Ready":       func() error { return s.Ready(ctx) },
		"CreateClient": func() error {
			return s.CreateClient(ctx, clients.Client{ID: "new", Secrets: []clients.Secret{{ID: "s"}}})
		},
		"Client":           func() error { return drop(s.Client(ctx, "app")) },
		"Clients":          func() error { return drop(s.Clients(ctx)) },
		"RegisteredClient": func() error { return drop(s.RegisteredClient(ctx, "app")) },
		"unknown client":   func() error { return drop(s.RegisteredClient(ctx, "unknown")) },
		"OriginAllowed":    func() error { return drop(s.OriginAllowed(ctx, "https://app.test")) },
		"UpdateClient":     func() error { return s.UpdateClient(ctx, clients.Client{ID: "app", Version: 1}) },
		"update conflict":  func() error { return s.UpdateClient(ctx, clients.Client{ID: "app", Version: 99}) },
		"ReplaceSecrets":   func() error { return s.ReplaceSecrets(ctx, "app", 1, []clients.Secret{{ID: "s"}}) },
		"DisableClient":    func() error { return s.DisableClient(ctx, "app") },
		"EnableClient":     func() error { return s.EnableClient(ctx, "app") },
		"DeleteClient":     func() error { return drop(s.DeleteClient(ctx, "app")) },
		"CreateUser":       func() error { return s.CreateUser(ctx, users.User{ID: "new", Name: "new"}) },
		"ImportUsers":      func() error { return s.ImportUsers(ctx, []users.User{{ID: "new", Name: "new"}}) },
		"update of nobody": func() error { return s.UpdateUser(ctx, users.User{ID: "nobody"}) },
		"UpdateUser":       func() error { return s.UpdateUser(ctx, users.User{ID: "id-alice", UpdatedAt: e.Clock.Now()}) },
		"UserByLogin":      func() error { return drop(s.UserByLogin(ctx, "alice")) },
		"unknown user":     func() error { return drop(s.UserByLogin(ctx, "nobody")) },
		"Users":            func() error { return drop(s.Users(ctx)) },
		"SetPassword":      func() error { return drop(s.SetPassword(ctx, "id-alice", "hash", false)) },
		"DisableUser":      func() error { return s.DisableUser(ctx, "id-alice") },
		"EnableUser":       func() error { return s.EnableUser(ctx, "id-alice") },
		"DeleteUser":       func() error { return drop(s.DeleteUser(ctx, "id-alice")) },
		"Begin":            func() error { return drop(s.Begin(ctx, login(e.Clock.Now(), grants.ID{1}), time.Time{})) },
		"Begin, from a browser": func() error {
			g := code(e.Clock.Now(), grants.ID{4})
			g.BrowserID = theBrowser
			return drop(s.Begin(ctx, g, time.Time{}))
		},
		"Redeem": func() error { return third(s.Redeem(ctx, theCode, right, limits.At(e.Clock.Now()), "")) },
		"Redeem, a replay": func() error {
			return third(s.Redeem(ctx, id, grants.Redemption{ClientID: "app"}, limits.At(e.Clock.Advance(time.Minute)), ""))
		},
		"Redeem, dead": func() error { return third(s.Redeem(ctx, grants.ID{2}, right, limits.At(e.Clock.Now()), "")) },
		"BeginBrowser": func() error {
			return drop(s.BeginBrowser(ctx, storage.Browser{ID: grants.ID{5}, UserID: "id-alice"}, time.Time{}))
		},
		"RenewBrowser": func() error {
			_, _, err := s.RenewBrowser(ctx, storage.Browser{ID: theBrowser, Generation: 1, UserID: "id-alice", AuthTime: e.Clock.Now()}, time.Time{})
			return err
		},
		"SignedIn":        func() error { _, _, err := s.SignedIn(ctx, theBrowser, 1, "app", e.Clock.Now()); return err },
		"unknown sign-in": func() error { _, _, err := s.SignedIn(ctx, grants.ID{2}, 1, "app", e.Clock.Now()); return err },
		"Browsers":        func() error { return drop(s.Browsers(ctx, "id-alice")) },
		"EndBrowser":      func() error { _, _, err := s.EndBrowser(ctx, "id-alice", theBrowser); return err },
		"MoveCode": func() error {
			return drop(s.MoveCode(ctx, theMovable, "id-alice", theBrowser, theOther))
		},
		"EndOthers":          func() error { return drop(s.EndOthers(ctx, "id-alice", grants.ID{})) },
		"EndUserSession":     func() error { return drop(s.EndUserSession(ctx, "id-alice", id)) },
		"another's session":  func() error { return drop(s.EndUserSession(ctx, "nobody", id)) },
		"ChangePassword":     func() error { return drop(s.ChangePassword(ctx, "id-alice", "hash", e.Clock.Now(), grants.ID{})) },
		"conflict":           func() error { return drop(s.ChangePassword(ctx, "id-alice", "hash", time.Time{}, grants.ID{})) },
		"RememberConsent":    func() error { return s.RememberConsent(ctx, "id-alice", storage.Consent{ClientID: "app"}) },
		"Consents":           func() error { return drop(s.Consents(ctx, "id-alice")) },
		"WithdrawConsent":    func() error { return drop(s.WithdrawConsent(ctx, "id-alice", "app")) },
		"ClaimLogoutNotices": func() error { return drop(s.ClaimLogoutNotices(ctx, 10, time.Minute)) },
		"DeleteLogoutNotice": func() error { return s.DeleteLogoutNotice(ctx, id) },
		"RetryLogoutNotices": func() error {
			return s.RetryLogoutNotices(ctx, storage.LogoutNotice{ID: id, ClientID: "app"}, e.Clock.Now())
		},
		"SignIn": func() error {
			return drop(s.SignIn(ctx, passwords, storage.Attempt{Login: "alice", Password: "x", Address: "192.0.2.1"}, e.Clock.Now()))
		},
		"UnlockUser":      func() error { return drop(s.UnlockUser(ctx, "id-alice")) },
		"UnlockAddress":   func() error { return drop(s.UnlockAddress(ctx, "192.0.2.1")) },
		"Throttle":        func() error { _, _, err := s.Throttle(ctx, "id-alice"); return err },
		"ResealKeys":      func() error { return s.ResealKeys(ctx, secrets) },
		"Rotate":          func() error { _, _, err := rotate(ctx, e, s, id, 2); return err },
		"Rotate, a retry": func() error { _, _, err := rotate(ctx, e, s, id, 1); return err },
		"Rotate, reuse": func() error {
			_, _, err := s.Rotate(ctx, id, grants.Showing{ClientID: "app", Generation: 1}, limits.At(e.Clock.Advance(limits.Retry)), "")
			return err
		},
		"Rotate, dead":       func() error { _, _, err := rotate(ctx, e, s, grants.ID{2}, 1); return err },
		"Access":             func() error { return drop(s.Access(ctx, id, "app", "jti", e.Clock.Now())) },
		"Revoke":             func() error { _, _, err := s.Revoke(ctx, id, "app", e.Clock.Now(), ""); return err },
		"Deny":               func() error { return s.Deny(ctx, "jti", "app", e.Clock.Now()) },
		"Sessions":           func() error { return drop(s.Sessions(ctx, storage.SessionFilter{})) },
		"Session":            func() error { return drop(s.Session(ctx, id)) },
		"unknown session":    func() error { return drop(s.Session(ctx, grants.ID{3})) },
		"RevokeSession":      func() error { return s.RevokeSession(ctx, id, grants.ReasonAdmin) },
		"RevokeUserSessions": func() error { return drop(s.RevokeUserSessions(ctx, "id-alice", grants.ReasonAdmin)) },
		"SigningKeys":        func() error { return drop(s.SigningKeys(ctx, secrets)) },
		"RotateKeys":         func() error { return drop(s.RotateKeys(ctx, secrets, keys.ES256)) },
		"Clean":              func() error { return drop(s.Clean(ctx, "me", time.Minute)) },
		"FlushSecretUses": func() error {
			s.SecretUsed("app", "s", e.Clock.Now())
			return s.FlushSecretUses(ctx)
		},
	}
}

// INV6, R-14, V-06: a statement that fails, before or after the database did its
// work, is ErrUnavailable for every method, and never an answer. Each statement of
// a method fails in its turn.
func TestFailures_are_never_answers(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, secrets := deadline(t), someSecrets(t)
		// Signing keys cost seconds. They are made once, and then only read.
		_, err := e.Store.SigningKeys(ctx, secrets)
		require.NoError(t, err)
		db, passwords := storagetest.Database(t, e.URL), somePasswords(t)
		for name := range calls(ctx, e, grants.ID{}, secrets, passwords) {
			for moment, fail := range map[string]func(func(string) error){"before": e.Tally.Fail, "after": e.Tally.FailAfter} {
				if name == "RotateKeys" && moment == "before" {
					continue // costs a key for each statement
				}
				for at := 1; ; at++ {
					id := prepare(t, e, db)
					call := calls(ctx, e, id, secrets, passwords)[name]
					seen, failed := 0, false
					fail(func(string) error {
						if seen++; seen == at {
							failed = true
							return errCut
						}
						return nil
					})
					err = call()
					fail(nil)
					if !failed {
						require.Greater(t, at, 1, "%s asks the database nothing", name)
						break
					}
					require.ErrorIs(t, err, storage.ErrUnavailable, "%s, %s statement %d", name, moment, at)
					require.ErrorIs(t, err, errCut, "the log should know why")
					for _, wrong := range []error{clients.ErrNotFound, clients.ErrExists, clients.ErrConflict, users.ErrNotFound, users.ErrExists, grants.ErrNotFound, storage.ErrSecrets} {
						require.NotErrorIs(t, err, wrong, "%s, %s statement %d", name, moment, at)
					}
				}
			}
		}
	})
}

// reset leaves only the signing keys.
func reset(t *testing.T, e *storagetest.Env, db *sql.DB) {
	t.Helper()
	for _, table := range []string{"grants", "users", "client_secrets", "clients", "denied_tokens", "leases", "browsers", "consents", "logout_notices", "throttles"} {
		_, err := db.ExecContext(deadline(t), "DELETE FROM "+table)
		require.NoError(t, err)
	}
	e.Clock.Advance(time.Minute) // no client is in the cache any more
}

// F-12: what the database rolled back is tried again, whole, and nobody notices.
func TestSerializationFailures_are_invisible(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx, secrets := deadline(t), someSecrets(t)
		_, err := e.Store.SigningKeys(ctx, secrets)
		require.NoError(t, err)
		db, passwords := storagetest.Database(t, e.URL), somePasswords(t)
		for name := range calls(ctx, e, grants.ID{}, secrets, passwords) {
			switch name {
			case "Schema", "CheckSchema", "Ready":
				continue // goose's table is read as it is
			}
			id := prepare(t, e, db)
			call := calls(ctx, e, id, secrets, passwords)[name]
			seen := 0
			e.Tally.Fail(func(sql string) error {
				if seen++; seen <= 3 && sql != "ROLLBACK" {
					return &pgconn.PgError{Code: []string{"40001", "40P01", "40001"}[seen-1]}
				}
				return nil
			})
			err = call()
			e.Tally.Fail(nil)
			require.NotErrorIs(t, err, storage.ErrUnavailable, name)
		}
		// For ever is too long, and an unknown outcome is no rollback.
		for _, code := range []string{"40001", "40003", "08006", "53300", "57P01", "25006"} {
			e.Tally.Reset()
			e.Tally.Fail(func(string) error { return &pgconn.PgError{Code: code} })
			err = e.Store.Deny(ctx, "jti", "app", e.Clock.Now())
			e.Tally.Fail(nil)
			require.ErrorIs(t, err, storage.ErrUnavailable)
			require.Equal(t, code == "40001", e.Tally.Count() > 1, code)
		}
	})
}

// R-15, INV8: the answer of a rotation is lost after its commit. The retry gets the
// same successor; so do the retries of a retry whose answer is lost.
func TestLostAnswers_are_given_again(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		id := begin(t, e, 1)[0]
		for range 2 {
			e.Tally.FailAfter(func(string) error { return errCut })
			_, _, err := rotate(ctx, e, e.Store, id, 1)
			e.Tally.FailAfter(nil)
			require.ErrorIs(t, err, storage.ErrUnavailable)
		}
		g, verdict, err := rotate(ctx, e, e.Store, id, 1)
		require.NoError(t, err)
		require.Equal(t, grants.Retried, verdict)
		require.EqualValues(t, 2, g.Generation)

		// The same for the statement that tells a retry from reuse.
		e.Clock.Advance(limits.Retry)
		e.Tally.FailAfter(func(string) error { return errCut })
		_, _, err = rotate(ctx, e, e.Store, id, 1)
		e.Tally.FailAfter(nil)
		require.ErrorIs(t, err, storage.ErrUnavailable)
		_, verdict, err = rotate(ctx, e, e.Store, id, 1)
		require.NoError(t, err)
		require.Equal(t, grants.Reused, verdict, "the failure came after the first statement only")
		session, err := e.Store.Session(ctx, id)
		require.NoError(t, err)
		require.Equal(t, string(grants.ReasonReuse), session.Dead)
	})
}

// A client that goes away does not stop the work half way.
func TestCancelledRequests_are_finished(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		id := begin(t, e, 1)[0]
		ctx, cancel := context.WithCancel(deadline(t))
		cancel()
		_, verdict, err := rotate(ctx, e, e.Store, id, 1)
		require.NoError(t, err)
		require.Equal(t, grants.Rotated, verdict)
	})
}

// F-04, F-07, F-08: the server is gone, comes back, freezes and thaws, and the store
// is opened only once.
func TestOutages(t *testing.T) {
	t.Parallel()
	const patience = time.Second
	storagetest.EachWith(t, storagetest.Setup{OwnServer: true, Settings: storagetest.Durable}, func(t *testing.T, e *storagetest.Env) {
		if e.Server == nil {
			return // a file does not go away; TestLockedFile is its outage
		}
		ctx := deadline(t)
		ids := begin(t, e, 2)
		id, generation := ids[0], int64(1)
		s := e.Open(func(o *storage.Options) { o.Timeout = patience })
		works := func() {
			t.Helper()
			// Connections that were open are found dead one by one.
			require.Eventually(t, func() bool {
				g, verdict, err := rotate(ctx, e, s, id, generation)
				if err != nil {
					require.ErrorIs(t, err, storage.ErrUnavailable)
					return false
				}
				require.Contains(t, []grants.Verdict{grants.Rotated, grants.Retried}, verdict)
				generation = g.Generation
				return true
			}, 10*time.Second, time.Millisecond)
		}
		refuses := func(limit time.Duration) {
			t.Helper()
			errs := make([]error, 40) // more than the pool holds
			start := time.Now()
			together(len(errs), func(i int) {
				switch i % 4 {
				case 0:
					_, _, errs[i] = rotate(ctx, e, s, id, generation)
				case 1:
					_, errs[i] = s.Access(ctx, id, "app", "jti", e.Clock.Now())
				case 2:
					_, _, errs[i] = s.Revoke(ctx, id, "app", e.Clock.Now(), "")
				default:
					_, errs[i] = s.UserByLogin(ctx, "nobody")
				}
			})
			require.Less(t, time.Since(start), limit)
			for _, err := range errs {
				require.ErrorIs(t, err, storage.ErrUnavailable)
			}
		}
		works()
		e.Server.Stop()
		refuses(patience + time.Second)
		e.Server.Start()
		works()
		e.Server.Kill()
		refuses(patience + time.Second)
		e.Server.Start()
		works()
		e.Server.Pause()
		refuses(patience + time.Second)
		e.Server.Resume()
		// What was sent to the frozen server runs now. A revocation among it is no fact
		// for anybody: its caller was told that nothing is known.
		require.Eventually(t, func() bool {
			_, err := s.Access(ctx, id, "app", "jti", e.Clock.Now())
			return err == nil
		}, 10*time.Second, time.Millisecond)
		id, generation = ids[1], 1
		works()
	})
}

// Another process holds the write lock for longer than the store waits.
// Reading goes on, and writing works again when the lock is gone.
func TestLockedFile(t *testing.T) {
	t.Parallel()
	const patience = time.Second
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		id := begin(t, e, 1)[0]
		s := e.Open(func(o *storage.Options) { o.Timeout = patience })
		conn, err := storagetest.Database(t, e.URL).Conn(ctx)
		require.NoError(t, err)
		lock := "BEGIN IMMEDIATE"
		if e.Dialect == storage.Postgres {
			lock = "BEGIN; LOCK TABLE grants IN SHARE MODE"
		}
		_, err = conn.ExecContext(ctx, lock)
		require.NoError(t, err)
		start := time.Now()
		errs := make([]error, 8)
		together(len(errs), func(i int) { _, _, errs[i] = rotate(ctx, e, s, id, 1) })
		require.Less(t, time.Since(start), patience+time.Second)
		for _, err := range errs {
			require.ErrorIs(t, err, storage.ErrUnavailable)
		}
		access, err := s.Access(ctx, id, "app", "jti", e.Clock.Now())
		require.NoError(t, err)
		require.NotNil(t, access.Grant)
		_, err = conn.ExecContext(ctx, "ROLLBACK")
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		_, verdict, err := rotate(ctx, e, s, id, 1)
		require.NoError(t, err)
		require.Contains(t, []grants.Verdict{grants.Rotated, grants.Retried}, verdict)
	})
}
