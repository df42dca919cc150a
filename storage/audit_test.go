package storage_test

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/audit"
	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
	"github.com/grantorhq/grantor/users"
)

var auditKey = audit.Key{ID: "k1", Secret: []byte("the secret of this server")}

// auditLog is the log as a test looks at it.
type auditLog struct {
	*storagetest.Env
	ctx  context.Context
	seen int64
}

func newAuditLog(t *testing.T, e *storagetest.Env) *auditLog {
	t.Helper()
	return &auditLog{Env: e, ctx: deadline(t)}
}

// since answers the events after those that were seen.
func (l *auditLog) since(t *testing.T) []audit.Event {
	t.Helper()
	var list []audit.Event
	require.NoError(t, l.Store.AuditEvents(l.ctx, storage.AuditFilter{After: l.seen}, func(e audit.Event) (bool, error) {
		require.WithinDuration(t, time.Now(), e.At, time.Minute, "the database's clock")
		l.seen = e.Number
		list = append(list, e)
		return true, nil
	}))
	return list
}

// wants compares the events after those that were seen: name, client, user, session, address, detail.
func (l *auditLog) wants(t *testing.T, what string, want ...string) {
	t.Helper()
	var got []string
	for _, e := range l.since(t) {
		require.Equal(t, "grantor", e.Actor, what)
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s %x %s %s", e.Name, e.ClientID, e.UserID, e.Session, e.Address, e.Detail)))
	}
	require.Equal(t, want, got, what)
}

func (l *auditLog) verify(t *testing.T) audit.Report {
	t.Helper()
	report, err := l.Store.VerifyAudit(l.ctx, &audit.Verifier{Keys: []audit.Key{auditKey}})
	require.NoError(t, err)
	return report
}

func (l *auditLog) seal(t *testing.T) (events int) {
	t.Helper()
	_, events, err := l.Store.SealAudit(l.ctx, auditKey)
	require.NoError(t, err)
	return events
}

// three makes three users, with a seal for each.
func (l *auditLog) three(t *testing.T) {
	t.Helper()
	for _, name := range []string{"alice", "bob", "carol"} {
		createUser(t, l.Store, name)
		require.Equal(t, 1, l.seal(t))
	}
}

// Whatever changes who may do what leaves an event, in the statement that does it.
func TestAudit_reports(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		l, s, ctx := newAuditLog(t, e), e.Store, deadline(t)
		ok := func(err error) { t.Helper(); require.NoError(t, err) }

		app := clients.Client{ID: "app", Name: "App", Grants: []string{"password"}, Scope: []string{"read"}, Secrets: []clients.Secret{{ID: "one", Hash: "h1", CreatedAt: e.Clock.Now()}}}
		app.SetDefaults()
		ok(s.CreateClient(ctx, app))
		made := l.since(t)
		require.Len(t, made, 2)
		require.Equal(t, "client.created", made[0].Name)
		require.Contains(t, made[0].Detail, `"grants":["password"]`)
		require.Equal(t, []string{"client.secret_added", "app", "one"}, []string{made[1].Name, made[1].ClientID, made[1].Detail})
		kept := app.Secrets[0]
		kept.ExpiresAt = e.Clock.Now().Add(time.Hour)
		ok(s.ReplaceSecrets(ctx, "app", 1, []clients.Secret{kept, {ID: "two", Hash: "h2", CreatedAt: e.Clock.Now()}}))
		l.wants(t, "rotate secret", "client.secret_changed app    one", "client.secret_added app    two")
		ok(s.ReplaceSecrets(ctx, "app", 2, []clients.Secret{{ID: "two", Hash: "h2", CreatedAt: e.Clock.Now()}}))
		l.wants(t, "retire secret", "client.secret_removed app    one")
		s.SecretUsed("app", "two", e.Clock.Now())
		ok(s.FlushSecretUses(ctx))
		l.wants(t, "a use of a secret changes nothing")
		changed, err := s.Client(ctx, "app")
		ok(err)
		changed.Scope = []string{"read", "write"}
		ok(s.UpdateClient(ctx, *changed))
		updated := l.since(t)
		require.Len(t, updated, 1)
		require.Equal(t, "client.changed", updated[0].Name)
		require.Contains(t, updated[0].Detail, `"write"`)
		ok(s.DisableClient(ctx, "app"))
		ok(s.DisableClient(ctx, "app"))
		ok(s.EnableClient(ctx, "app"))
		l.wants(t, "switch client", "client.disabled app", "client.enabled app")

		createUser(t, s, "alice")
		l.wants(t, "create user", "user.created  id-alice   alice")
		alice, err := s.UserByLogin(ctx, "alice")
		ok(err)
		alice.Email = "a@app.test"
		ok(s.UpdateUser(ctx, alice))
		l.wants(t, "update user", "user.changed  id-alice   email")
		_, err = s.SetPassword(ctx, "id-alice", "another hash", true)
		ok(err)
		l.wants(t, "set password", "user.password_changed  id-alice")

		browser := signIn(t, e, "alice")
		l.wants(t, "sign in", fmt.Sprintf("sign_in.begun  id-alice %x 192.0.2.7 pwd", browser.ID[:]))
		browser.Generation, _, err = s.RenewBrowser(ctx, browser, time.Time{})
		ok(err)
		l.wants(t, "sign in again", fmt.Sprintf("sign_in.renewed  id-alice %x 192.0.2.7 pwd", browser.ID[:]))
		ok(s.RememberConsent(ctx, "id-alice", storage.Consent{ClientID: "app", Scope: []string{"read"}, GrantedAt: e.Clock.Now()}))
		l.wants(t, "consent", "consent.given app id-alice   read")

		byPassword := login(e.Clock.Now(), newID(t))
		byPassword.RotatedFrom, byPassword.CreatedFrom = "192.0.2.1", "192.0.2.1"
		begun, err := s.Begin(ctx, byPassword, time.Time{})
		ok(err)
		require.True(t, begun)
		l.wants(t, "password grant", fmt.Sprintf("session.begun app id-alice %x 192.0.2.1 password: read write", byPassword.ID[:]))
		for generation := range int64(5) {
			_, verdict, err := rotate(ctx, e, s, byPassword.ID, generation+1)
			ok(err)
			require.Equal(t, grants.Rotated, verdict)
		}
		l.wants(t, "renewals are told by the session's row")
		_, verdict, err := rotate(ctx, e, s, byPassword.ID, 2)
		ok(err)
		require.Equal(t, grants.Reused, verdict)
		l.wants(t, "reuse", fmt.Sprintf("session.ended app id-alice %x 192.0.2.1 refresh_reuse", byPassword.ID[:]))

		code := login(e.Clock.Now(), newID(t))
		code.Generation, code.BrowserID, code.CodeChallenge = 0, browser.ID, "challenge"
		begun, err = s.Begin(ctx, code, time.Time{})
		ok(err)
		require.True(t, begun)
		l.wants(t, "a code is no session")
		redemption := grants.Redemption{ClientID: "app", Challenge: "challenge", Life: life}
		_, _, verdict, err = s.Redeem(ctx, code.ID, redemption, limits.At(e.Clock.Now()), "192.0.2.2")
		ok(err)
		require.Equal(t, grants.Redeemed, verdict)
		l.wants(t, "redemption", fmt.Sprintf("session.begun app id-alice %x 192.0.2.2 code: read write", code.ID[:]))
		e.Clock.Advance(time.Minute)
		_, _, verdict, err = s.Redeem(ctx, code.ID, redemption, limits.At(e.Clock.Now()), "192.0.2.3")
		ok(err)
		require.Equal(t, grants.Replayed, verdict)
		l.wants(t, "replay", fmt.Sprintf("session.ended app id-alice %x 192.0.2.3 code_replay", code.ID[:]))

		ids := begin(t, e, 3)
		l.since(t)
		_, _, err = s.Revoke(ctx, ids[0], "app", e.Clock.Now(), "192.0.2.4")
		ok(err)
		_, _, err = s.Revoke(ctx, ids[0], "app", e.Clock.Now(), "192.0.2.5")
		ok(err)
		l.wants(t, "revoke", fmt.Sprintf("session.ended app id-alice %x 192.0.2.4 client", ids[0][:]))
		ok(s.RevokeSession(ctx, ids[1], grants.ReasonAdmin))
		l.wants(t, "end", fmt.Sprintf("session.ended app id-alice %x  admin", ids[1][:]))
		ok(s.Deny(ctx, "jti", "app", e.Clock.Now()))
		ok(s.Deny(ctx, "jti", "app", e.Clock.Now()))
		l.wants(t, "deny", "access_token.revoked app    jti")

		ok(s.DisableUser(ctx, "id-alice"))
		ended := l.since(t)
		require.Len(t, ended, 3)
		require.Equal(t, []string{"user.disabled", "sign_in.ended", "session.ended"}, []string{ended[0].Name, ended[1].Name, ended[2].Name})
		require.Equal(t, "user_disabled", ended[2].Detail)
		ok(s.EnableUser(ctx, "id-alice"))
		_, err = s.WithdrawConsent(ctx, "id-alice", "app")
		ok(err)
		l.wants(t, "withdraw", "user.enabled  id-alice", "consent.withdrawn app id-alice   read")
		begin(t, e, 1)
		l.since(t)
		_, err = s.DeleteClient(ctx, "app")
		ok(err)
		gone := l.since(t)
		require.Len(t, gone, 2, "one event, however many sessions it had")
		require.ElementsMatch(t, []string{"client.deleted", "client.secret_removed"}, []string{gone[0].Name, gone[1].Name})
		_, err = s.DeleteUser(ctx, "id-alice")
		ok(err)
		l.wants(t, "delete user", "user.deleted  id-alice   alice")

		secrets := someSecrets(t)
		set, err := s.SigningKeys(ctx, secrets)
		ok(err)
		for _, made := range l.since(t) {
			require.Equal(t, "key.created", made.Name)
		}
		next := ""
		for _, k := range set.List() {
			if k.Algorithm == keys.ES256 && set.State(k.ID, e.Clock.Now()) == keys.Next {
				next = k.ID
			}
		}
		_, err = s.RotateKeys(ctx, secrets, keys.ES256)
		ok(err)
		planned := l.since(t)
		require.Len(t, planned, 2)
		require.Equal(t, []string{"key.planned", "ES256 " + next, "key.created"}, []string{planned[0].Name, planned[0].Detail, planned[1].Name})

		l.seal(t)
		require.Empty(t, l.verify(t).Problems)
	})
}

// Wrong passwords leave an event each, and those that are not looked at none: their number
// is anybody's choice.
func TestAudit_reports_failures(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		d, l := newDoor(t, e), newAuditLog(t, e)
		l.since(t)
		for try := 1; try <= users.FreeFailures+1; try++ {
			_, err := e.Store.SignIn(d.ctx, d.tokens.Passwords, storage.Attempt{Login: "alice", Password: "wrong", Address: "192.0.2.9", Shared: true}, e.Clock.Now())
			if try == users.FreeFailures+1 {
				require.ErrorAs(t, err, new(*users.ThrottledError))
				l.wants(t, "not looked at")
				break
			}
			require.ErrorIs(t, err, users.ErrWrongPassword)
			name := "sign_in.failed"
			if users.Delay(int64(try)) > 0 {
				name = "sign_in.throttled"
			}
			l.wants(t, "wrong password", fmt.Sprintf("%s  id-alice  192.0.2.9 %d", name, try))
		}
		some, err := e.Store.UnlockUser(d.ctx, "id-alice")
		require.NoError(t, err)
		require.True(t, some)
		l.wants(t, "unlock", "account.unlocked  id-alice")
		some, err = e.Store.UnlockUser(d.ctx, "id-alice")
		require.NoError(t, err)
		require.False(t, some)
		l.wants(t, "nothing to unlock")

		_, err = e.Store.SignIn(d.ctx, d.tokens.Passwords, storage.Attempt{Login: "alice", Password: "wrong", Address: "192.0.2.9", Device: "d", Known: []string{"id-alice"}}, e.Clock.Now())
		require.ErrorIs(t, err, users.ErrWrongPassword)
		l.wants(t, "a known device", "sign_in.failed  id-alice  192.0.2.9 1")
		_, err = e.Store.SignIn(d.ctx, d.tokens.Passwords, storage.Attempt{Login: "hunter2", Password: "wrong"}, e.Clock.Now())
		require.ErrorIs(t, err, users.ErrWrongPassword)
		events := l.since(t)
		require.Len(t, events, 1)
		require.Equal(t, users.NobodysAccount("hunter2"), events[0].UserID, "a name that nobody has may be a password")

		db := storagetest.Database(t, e.URL)
		_, err = db.ExecContext(d.ctx, `INSERT INTO throttles (account, failures, tried_at, failed_at) VALUES ('@192.0.2.9', 98, $1, $1)`, e.Clock.Now().UnixMicro())
		require.NoError(t, err)
		l.since(t)
		for _, who := range []string{"one", "two"} {
			_, err := e.Store.SignIn(d.ctx, d.tokens.Passwords, storage.Attempt{Login: who, Password: "wrong", Address: "192.0.2.9"}, e.Clock.Now())
			require.ErrorIs(t, err, users.ErrWrongPassword)
		}
		events = l.since(t)
		require.Len(t, events, 3)
		require.Equal(t, []string{"address.throttled", "192.0.2.9", fmt.Sprint(users.FreeAddressFailures)}, []string{events[2].Name, events[2].Address, events[2].Detail})
		require.Positive(t, users.AddressDelay(users.FreeAddressFailures))
	})
}

// Who changes the database by hand is in the log, and not as the server.
func TestAudit_says_who_wrote(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		l := newAuditLog(t, e)
		createUser(t, e.Store, "alice")
		createUser(t, e.Open(func(o *storage.Options) { o.Actor = `cli: o'hara@host` }), "bob")
		_, err := storagetest.Database(t, e.URL).ExecContext(l.ctx, `UPDATE users SET password_hash = 'mine', updated_at = 1 WHERE id = 'id-alice'`)
		require.NoError(t, err)
		events := l.since(t)
		require.Len(t, events, 3)
		require.Equal(t, []string{"grantor", "cli: o'hara@host", ""}, []string{events[0].Actor, events[1].Actor, events[2].Actor})
		require.Equal(t, "user.password_changed", events[2].Name)
	})
}

// A log that is empty when the store opens is signed all the same.
func TestAudit_says_who_wrote_right_after_the_migration(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{Empty: true}, func(t *testing.T, e *storagetest.Env) {
		_, err := e.Store.Migrate(deadline(t))
		require.NoError(t, err)
		createUser(t, e.Store, "alice")
		newAuditLog(t, e).wants(t, "create", "user.created  id-alice   alice")
	})
}

func TestAudit_finds_what_was_done_to_the_log(t *testing.T) {
	t.Parallel()
	for what, statement := range map[string]string{
		"removed":      `DELETE FROM audit_events WHERE number = 2`,
		"changed":      `UPDATE audit_events SET user_id = 'id-mallory' WHERE number = 2`,
		"put in":       `INSERT INTO audit_events (number, at, event, actor, client_id, user_id, session, address, detail) SELECT 0, at, event, actor, client_id, user_id, session, address, detail FROM audit_events WHERE number = 2`,
		"seal removed": `DELETE FROM audit_seals WHERE number = 1`,
		"seal changed": `UPDATE audit_seals SET at = at + 1 WHERE number = 2`,
		"seal broken":  `UPDATE audit_seals SET events = 'none' WHERE number = 2`,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
				l := newAuditLog(t, e)
				l.three(t)
				require.Empty(t, l.verify(t).Problems)
				_, err := storagetest.Database(t, e.URL).ExecContext(l.ctx, statement)
				require.NoError(t, err)
				require.NotEmpty(t, l.verify(t).Problems)
			})
		})
	}
}

// Sealing waits for what is being written, and for nothing that was rolled back.
func TestSealAudit_numbers_that_come_late(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		if e.Dialect != storage.Postgres {
			t.Skip("SQLite has one writer: its numbers appear in order")
		}
		l, db := newAuditLog(t, e), storagetest.Database(t, e.URL)
		event := func(tx interface {
			ExecContext(context.Context, string, ...any) (sql.Result, error)
		}, name string,
		) {
			_, err := tx.ExecContext(l.ctx, `SELECT grantor_audit($1, '', '', '', '', '')`, name)
			require.NoError(t, err)
		}
		late, err := db.BeginTx(l.ctx, nil)
		require.NoError(t, err)
		never, err := db.BeginTx(l.ctx, nil)
		require.NoError(t, err)
		event(late, "late")
		event(never, "never")
		event(db, "first")
		require.Equal(t, 1, l.seal(t))
		require.NoError(t, late.Commit())
		report := l.verify(t)
		require.Empty(t, report.Problems)
		require.EqualValues(t, 1, report.Unsealed, "it is waited for")
		require.Equal(t, 1, l.seal(t))
		require.NoError(t, never.Rollback())
		e.Clock.Advance(audit.Patience)
		event(db, "second")
		require.Equal(t, 1, l.seal(t))
		report = l.verify(t)
		require.Empty(t, report.Problems)
		require.EqualValues(t, 3, report.Events)
		require.EqualValues(t, 1, report.Absent)

		// After that long it is nobody's honest statement.
		_, err = db.ExecContext(l.ctx, `INSERT INTO audit_events (number, at, event, actor, client_id, user_id, session, address, detail) VALUES (2, 0, 'never', '', '', '', '', '', '')`)
		require.NoError(t, err)
		require.Zero(t, l.seal(t))
		require.Equal(t, []string{"event 2 was put in later: no seal has it"}, l.verify(t).Problems)
	})
}

func TestSealAudit_by_many_replicas(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		l := newAuditLog(t, e)
		stores := []*storage.Store{e.Store, e.Open(), e.Open()}
		createClient(t, e.Store, "app")
		var all sync.WaitGroup
		for i, s := range stores {
			all.Go(func() {
				for n := range 20 {
					if err := s.CreateUser(l.ctx, users.User{ID: fmt.Sprintf("%d-%d", i, n), Name: fmt.Sprintf("%d-%d", i, n)}); err != nil {
						t.Error(err)
					}
					if _, _, err := s.SealAudit(l.ctx, auditKey); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		l.seal(t)
		report := l.verify(t)
		require.Empty(t, report.Problems)
		require.EqualValues(t, 61, report.Events)
		require.Zero(t, report.Unsealed)
	})
}

func TestPruneAudit(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		l := newAuditLog(t, e)
		for i := range 50 {
			createUser(t, e.Store, fmt.Sprint("u", i))
			require.Equal(t, 1, l.seal(t))
			e.Clock.Advance(time.Hour)
		}
		cut := e.Clock.Now().Add(-10 * time.Hour)
		deleted, err := e.Store.PruneAudit(l.ctx, cut, auditKey)
		require.NoError(t, err)
		require.EqualValues(t, 40, deleted)
		require.Empty(t, l.verify(t).Problems, "before it is sealed: the event is not part of the chain yet")
		l.seal(t)
		report := l.verify(t)
		require.Empty(t, report.Problems)
		require.EqualValues(t, 10+2, report.Events, "a few thousand at a time")
		deleted, err = e.Store.PruneAudit(l.ctx, cut, auditKey)
		require.NoError(t, err)
		require.Zero(t, deleted)

		// Never the last seal, whatever its age.
		deleted, err = e.Store.PruneAudit(l.ctx, e.Clock.Now().Add(time.Hour), auditKey)
		require.NoError(t, err)
		require.EqualValues(t, 10, deleted)
		l.seal(t)
		createUser(t, e.Store, "last")
		l.seal(t)
		require.Empty(t, l.verify(t).Problems)

		// Deleted by somebody else than the housekeeping.
		_, err = storagetest.Database(t, e.URL).ExecContext(l.ctx, `DELETE FROM audit_seals WHERE number < (SELECT max(number) FROM audit_seals)`)
		require.NoError(t, err)
		_, err = storagetest.Database(t, e.URL).ExecContext(l.ctx, `DELETE FROM audit_events WHERE number < (SELECT max(number) FROM audit_events)`)
		require.NoError(t, err)
		require.NotEmpty(t, l.verify(t).Problems)
	})
}

// A number that was rolled back is waited for by every seal of a minute.
func TestPruneAudit_does_not_wait_for_what_never_came(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		l, db := newAuditLog(t, e), storagetest.Database(t, e.URL)
		createUser(t, e.Store, "first")
		require.Equal(t, 1, l.seal(t))
		if e.Dialect == storage.Postgres {
			tx, err := db.BeginTx(l.ctx, nil)
			require.NoError(t, err)
			_, err = tx.ExecContext(l.ctx, `SELECT grantor_audit('never', '', '', '', '', '')`)
			require.NoError(t, err)
			require.NoError(t, tx.Rollback())
		} else {
			_, err := db.ExecContext(l.ctx, `UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'audit_events'`)
			require.NoError(t, err)
		}
		for i := range 30 {
			createUser(t, e.Store, fmt.Sprint("u", i))
			require.Equal(t, 1, l.seal(t))
			e.Clock.Advance(time.Second)
		}
		deleted, err := e.Store.PruneAudit(l.ctx, e.Clock.Now().Add(-2*time.Second), auditKey)
		require.NoError(t, err)
		require.EqualValues(t, 29, deleted)
		l.seal(t)
		require.Empty(t, l.verify(t).Problems)
	})
}

// A server that runs does not vouch for what is behind a cut.
func TestSealAudit_notices_a_cut(t *testing.T) {
	t.Parallel()
	for what, statement := range map[string]string{
		"all":      `DELETE FROM audit_seals`,
		"the end":  `DELETE FROM audit_seals WHERE number = 3`,
		"replaced": `UPDATE audit_seals SET hash = previous WHERE number = 3`,
		"not ours": `UPDATE audit_seals SET mac = hash WHERE number = 3`,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
				l := newAuditLog(t, e)
				l.three(t)
				_, err := storagetest.Database(t, e.URL).ExecContext(l.ctx, statement)
				require.NoError(t, err)
				_, _, err = e.Store.SealAudit(l.ctx, auditKey)
				require.ErrorIs(t, err, storage.ErrAuditCut)
			})
		})
	}
}

func TestAuditEvents_filters(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		l := newAuditLog(t, e)
		ids := begin(t, e, 3)
		require.NoError(t, e.Store.RevokeSession(l.ctx, ids[1], grants.ReasonAdmin))
		// More than one statement reads.
		many := make([]users.User, 2500)
		for i := range many {
			many[i] = users.User{ID: fmt.Sprint("many-", i), Name: fmt.Sprint("many-", i)}
		}
		require.NoError(t, e.Store.ImportUsers(l.ctx, many))
		for what, test := range map[string]struct {
			filter storage.AuditFilter
			want   int
			first  string
		}{
			"all":            {storage.AuditFilter{}, 2506, "client.created"},
			"newest":         {storage.AuditFilter{Newest: true}, 2506, "user.created"},
			"event":          {storage.AuditFilter{Name: "session.ended"}, 1, "session.ended"},
			"kind":           {storage.AuditFilter{Name: "session", Newest: true}, 4, "session.ended"},
			"no such kind":   {storage.AuditFilter{Name: "sess"}, 0, ""},
			"user":           {storage.AuditFilter{UserID: "many-2499"}, 1, "user.created"},
			"client":         {storage.AuditFilter{ClientID: "app"}, 5, "client.created"},
			"session":        {storage.AuditFilter{Session: ids[1]}, 2, "session.begun"},
			"address":        {storage.AuditFilter{Address: "192.0.2.200"}, 0, ""},
			"after":          {storage.AuditFilter{After: 2504}, 2, "user.created"},
			"newest, after":  {storage.AuditFilter{After: 2504, Newest: true}, 2, "user.created"},
			"since":          {storage.AuditFilter{Since: time.Now().Add(-time.Hour)}, 2506, "client.created"},
			"since, not yet": {storage.AuditFilter{Since: time.Now().Add(time.Hour), Newest: true}, 0, ""},
			"until":          {storage.AuditFilter{Until: time.Now().Add(-time.Hour)}, 0, ""},
		} {
			var list []audit.Event
			require.NoError(t, e.Store.AuditEvents(l.ctx, test.filter, func(e audit.Event) (bool, error) {
				list = append(list, e)
				return true, nil
			}), what)
			require.Len(t, list, test.want, what)
			if test.want > 0 {
				require.Equal(t, test.first, list[0].Name, what)
			}
		}
		once := 0
		require.NoError(t, e.Store.AuditEvents(l.ctx, storage.AuditFilter{}, func(audit.Event) (bool, error) { once++; return false, nil }))
		require.Equal(t, 1, once)
	})
}

// docs/audit.md is the list of events.
func TestAudit_events_are_those_of_the_manual(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/audit.md")
	require.NoError(t, err)
	told := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[a-z_]+\\.[a-z_]+`[^|]*) \\|").FindAllStringSubmatch(string(page), -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			told[name[1]] = true
		}
	}
	byHand := map[string]bool{audit.EventPruned: true, "account.unlocked": true, "address.unlocked": true}
	for _, dialect := range []string{storage.SQLite, storage.Postgres} {
		text, err := os.ReadFile("../migrations/" + dialect + "/0004_audit.sql")
		require.NoError(t, err)
		written := maps.Clone(byHand)
		for _, name := range regexp.MustCompile(`'([a-z_]+\.[a-z_]+)'`).FindAllStringSubmatch(string(text), -1) {
			written[name[1]] = true
		}
		require.Equal(t, told, written, dialect)
	}
}
