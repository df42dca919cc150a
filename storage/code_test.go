package storage_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
)

const callback = "https://app.test/cb"

// code is what the authorization endpoint begins: alice at app, generation 0.
func code(now time.Time, id grants.ID) grants.Grant {
	g := login(now, id)
	g.Generation, g.ExpiresAt, g.RedirectURI, g.CodeChallenge = 0, now.Add(grants.CodeLifetime), callback, "challenge-and-more"
	return g
}

// right redeems a code of code.
var right = grants.Redemption{ClientID: "app", RedirectURI: callback, Challenge: "challenge-and-more", Life: life}

func beginCode(t *testing.T, e *storagetest.Env, change func(*grants.Grant)) grants.Grant {
	t.Helper()
	begin(t, e, 0)
	g := code(e.Clock.Now(), newID(t))
	if change != nil {
		change(&g)
	}
	begun, err := e.Store.Begin(deadline(t), g, time.Time{})
	require.NoError(t, err)
	require.True(t, begun)
	return g
}

func TestRedeem_makes_a_session_of_a_code(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		begin(t, e, 0)
		browser := signIn(t, e, "alice")
		g := beginCode(t, e, func(g *grants.Grant) {
			g.BrowserID, g.Audience, g.CreatedFrom = browser.ID, []string{"https://api.test"}, "192.0.2.1"
			g.Details = grants.Details{AuthTime: g.CreatedAt, AMR: []string{"pwd"}, Nonce: "n", ACR: "1", UserinfoClaims: []string{"picture"}, IDTokenClaims: []string{"email"}}
		})
		now := e.Clock.Advance(time.Second)
		got, user, verdict, err := e.Store.Redeem(ctx, g.ID, right, limits.At(now), "192.0.2.2")
		require.NoError(t, err)
		require.Equal(t, grants.Redeemed, verdict)
		want := storedForm(g)
		want.Generation, want.RotatedAt, want.RotatedFrom, want.ExpiresAt = 1, now, "192.0.2.2", g.CreatedAt.Add(life)
		require.Equal(t, want, got)
		stored, err := e.Store.UserByLogin(ctx, "alice")
		require.NoError(t, err)
		stored.PasswordHash, stored.CreatedAt = "", time.Time{}
		require.Equal(t, stored, user)

		_, verdict, err = rotate(ctx, e, e.Store, g.ID, 1)
		require.NoError(t, err)
		require.Equal(t, grants.Rotated, verdict)
	})
}

// A refusal changes nothing: the right one works afterwards, and a wrong verifier is never followed by none.
func TestRedeem_refuses_and_changes_nothing(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		g := beginCode(t, e, nil)
		for name, wrong := range map[string]grants.Redemption{
			"client":         {ClientID: "other", RedirectURI: callback, Challenge: "challenge-and-more", Life: life},
			"redirect URI":   {ClientID: "app", RedirectURI: callback + "/", Challenge: "challenge-and-more", Life: life},
			"no URI":         {ClientID: "app", Challenge: "challenge-and-more", Life: life},
			"verifier":       {ClientID: "app", RedirectURI: callback, Challenge: "Challenge-and-more", Life: life},
			"no verifier":    {ClientID: "app", RedirectURI: callback, Life: life},
			"NUL":            {ClientID: "app", RedirectURI: "\x00", Challenge: "challenge-and-more", Life: life},
			"not UTF-8":      {ClientID: "app", RedirectURI: callback, Challenge: "\xff", Life: life},
			"nothing at all": {},
		} {
			got, _, verdict, err := e.Store.Redeem(ctx, g.ID, wrong, limits.At(e.Clock.Now()), "")
			require.NoError(t, err, name)
			require.Equal(t, grants.Dead, verdict, name)
			require.Equal(t, grants.Grant{}, got, name)
			require.Equal(t, storedForm(withFrom(g)), sessionOf(t, e, g.ID).Grant, name)
		}
		_, _, verdict, err := e.Store.Redeem(ctx, newID(t), right, limits.At(e.Clock.Now()), "")
		require.NoError(t, err)
		require.Equal(t, grants.Dead, verdict, "unknown")
		_, _, verdict, err = e.Store.Redeem(ctx, g.ID, right, limits.At(e.Clock.Now()), "")
		require.NoError(t, err)
		require.Equal(t, grants.Redeemed, verdict)
	})
}

// withFrom is a grant that begins where it is, as the row says it.
func withFrom(g grants.Grant) grants.Grant {
	g.RotatedFrom = g.CreatedFrom
	return g
}

// The rules of codes exist twice as well; see TestStatements_are_the_rules_of_grants.
func TestRedeem_is_the_rule_of_grants(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		begin(t, e, 0)
		createClient(t, e.Store, "other")
		browser := signIn(t, e, "alice")
		second := e.Open()
		seen := map[grants.Verdict]int{}
		start := e.Clock.Now()
		rapid.Check(t, func(t *rapid.T) {
			e.Clock.Set(start)
			g := code(start, newID(t))
			g.RedirectURI = rapid.SampledFrom([]string{callback, callback, ""}).Draw(t, "redirect_uri")
			g.CodeChallenge = rapid.SampledFrom([]string{"challenge-and-more", "challenge-and-more", ""}).Draw(t, "challenge")
			if g.RedirectURI != "" { // as every code is; what an account of the shell's has begun has no browser
				g.BrowserID, g.Details = browser.ID, grants.Details{AuthTime: start.Truncate(time.Second), AMR: []string{"pwd"}, Nonce: rapid.SampledFrom(nonces).Draw(t, "nonce"), UserAgent: `,"nonce":"x"`}
			}
			g.State = rapid.SampledFrom([]grants.State{grants.Live, grants.Live, grants.Live, grants.Live, grants.Live, grants.Live, grants.Live, "pending"}).Draw(t, "state")
			begun, err := e.Store.Begin(ctx, g, time.Time{})
			require.NoError(t, err)
			require.True(t, begun)
			h := &played{ctx: ctx, e: e, t: t, grant: g, challenge: g.CodeChallenge, seen: seen}
			for range rapid.IntRange(4, 10).Draw(t, "steps") {
				h.s = e.Store
				if rapid.Bool().Draw(t, "replica") {
					h.s = second
				}
				switch rapid.SampledFrom([]string{"redeem", "redeem", "redeem", "late", "late", "advance", "advance", "other"}).Draw(t, "what") {
				case "redeem":
					h.redeem()
				case "late": // rare, if it were left to chance alone
					e.Clock.Set(h.grant.RotatedAt.Add(limits.Retry))
					h.redeem()
				case "advance":
					h.advance()
				default:
					h.step()
				}
				h.compare()
			}
		})
		for _, v := range []grants.Verdict{grants.Redeemed, grants.Repeated, grants.Replayed, grants.Mismatch, grants.Foreign, grants.Dead} {
			require.NotZero(t, seen[v], "the histories never came to %q: %v", v, seen)
		}
	})
}

func (h *played) redeem() {
	r := grants.Redemption{
		ClientID:    rapid.SampledFrom([]string{"app", "app", "app", "app", "app", "app", "other", "App", ""}).Draw(h.t, "client"),
		RedirectURI: rapid.SampledFrom([]string{callback, callback, callback, callback, callback, callback + "?", "", "https://APP.test/cb", "\x00"}).Draw(h.t, "uri"),
		Challenge:   rapid.SampledFrom([]string{h.challenge, h.challenge, h.challenge, h.challenge, h.challenge, h.grant.CodeChallenge, h.challenge + "x", "Challenge-and-more", "\xff"}).Draw(h.t, "verifier"),
		Life:        rapid.SampledFrom([]time.Duration{life, time.Hour, grants.CodeLifetime}).Draw(h.t, "life"),
	}
	bounds := limits.At(h.e.Clock.Now())
	want, verdict := h.grant.Redeem(r, bounds)
	h.seen[verdict]++
	got, _, gotVerdict, err := h.s.Redeem(h.ctx, h.grant.ID, r, bounds, "192.0.2.8")
	require.NoError(h.t, err)
	switch verdict {
	case grants.Redeemed:
		want.RotatedFrom = "192.0.2.8"
		require.Equal(h.t, grants.Redeemed, gotVerdict)
		require.Equal(h.t, storedForm(want), got)
	case grants.Replayed:
		require.Equal(h.t, grants.Replayed, gotVerdict)
		require.Equal(h.t, storedForm(want), got)
	default: // who can not redeem learns no more
		require.Equal(h.t, grants.Dead, gotVerdict)
		require.Equal(h.t, grants.Grant{}, got)
	}
	h.grant = want
}

// nonces are what clients may send: some end like the JSON that they are kept in.
var nonces = []string{"", "n", "n-0S6_WzA2Mj", `"`, `\`, `\"`, `a","v":2,"b":"`, `,"nonce":"x"`, "<&>\u2028é", strings.Repeat(`\"`, 100)}

// The first renewal leaves of a code no more than tells its client from a stranger.
func TestRotate_forgets_what_only_the_code_needed(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		begin(t, e, 0)
		browser := signIn(t, e, "alice")
		db := storagetest.Database(t, e.URL)
		kept := func(id grants.ID) (uri, challenge, details string) {
			t.Helper()
			require.NoError(t, db.QueryRowContext(ctx, `SELECT redirect_uri, code_challenge, details FROM grants WHERE id = $1`, id[:]).Scan(&uri, &challenge, &details))
			return uri, challenge, details
		}
		var last grants.Grant
		for _, nonce := range nonces {
			g := beginCode(t, e, func(g *grants.Grant) {
				g.BrowserID = browser.ID
				g.Details = grants.Details{
					AuthTime: e.Clock.Now().Add(-time.Minute - 300*time.Millisecond), AMR: []string{"pwd"}, UserAgent: `,"nonce":"x"` + " \\ <&>\u2028\x00é", Nonce: nonce, ACR: "1",
					UserinfoClaims: []string{"nonce"},
				}
			})
			redeemed, _, verdict, err := e.Store.Redeem(ctx, g.ID, right, limits.At(e.Clock.Now()), "")
			require.NoError(t, err)
			require.Equal(t, grants.Redeemed, verdict)
			require.Equal(t, nonce, redeemed.Details.Nonce)
			require.Equal(t, e.Clock.Now().Add(-time.Minute-300*time.Millisecond).Truncate(time.Second), redeemed.Details.AuthTime)
			uri, challenge, _ := kept(g.ID)
			require.Equal(t, []string{callback, "challenge-and-more"}, []string{uri, challenge}, "its answer may be lost: the code is still held against all of it")

			got, verdict, err := rotate(ctx, e, e.Store, g.ID, 1)
			require.NoError(t, err)
			require.Equal(t, grants.Rotated, verdict)
			want := redeemed.Details
			want.Nonce = ""
			require.Equal(t, want, got.Details, nonce)
			uri, challenge, details := kept(g.ID)
			require.Equal(t, []string{"", "challenge-an"}, []string{uri, challenge})
			require.Equal(t, 1, strings.Count(details, `"nonce\":`), "the user agent's: %s", details)
			require.NotContains(t, details, `"nonce":"`)
			last = got
		}
		e.Clock.Advance(limits.Retry)
		wrong := right
		wrong.Challenge = "Challenge-and-more"
		_, _, verdict, err := e.Store.Redeem(ctx, last.ID, wrong, limits.At(e.Clock.Now()), "")
		require.NoError(t, err)
		require.Equal(t, grants.Dead, verdict)
		require.Empty(t, sessionOf(t, e, last.ID).Dead, "who found the code in a log ends nothing")
		_, _, verdict, err = e.Store.Redeem(ctx, last.ID, right, limits.At(e.Clock.Now()), "")
		require.NoError(t, err)
		require.Equal(t, grants.Replayed, verdict)
		require.Equal(t, string(grants.ReasonCodeReplay), sessionOf(t, e, last.ID).Dead)

		// What an earlier version renewed has all of it, and is held against all of it.
		old := beginCode(t, e, nil)
		_, err = db.ExecContext(ctx, `UPDATE grants SET generation = 3, expires_at = $1 WHERE id = $2`, e.Clock.Now().Add(life).UnixMicro(), old.ID[:])
		require.NoError(t, err)
		e.Clock.Advance(limits.Retry)
		for _, c := range []struct {
			uri, challenge string
			want           grants.Verdict
		}{
			{callback + "/", right.Challenge, grants.Dead},
			{callback, grants.Clue(right.Challenge), grants.Dead},
			{callback, right.Challenge, grants.Replayed},
		} {
			_, _, verdict, err := e.Store.Redeem(ctx, old.ID, grants.Redemption{ClientID: "app", RedirectURI: c.uri, Challenge: c.challenge, Life: life}, limits.At(e.Clock.Now()), "")
			require.NoError(t, err)
			require.Equal(t, c.want, verdict, c)
		}
	})
}

// A hundred redeem one code at once, on two replicas: one gets tokens, and the session
// that it began lives on, because they were inside the retry window. After it, a
// hundred more end it once.
func TestConcurrent_redemptions_of_one_code_one_succeeds(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]func(*storage.Options){"": nil, "serializable": serializable} {
		t.Run("isolation "+name, func(t *testing.T) {
			t.Parallel()
			storagetest.EachWith(t, storagetest.Setup{Options: options}, func(t *testing.T, e *storagetest.Env) {
				ctx := deadline(t)
				g := beginCode(t, e, nil)
				stores := []*storage.Store{e.Store, e.Open()}
				const redeemers = 100
				race := func() map[grants.Verdict]int {
					var verdicts [redeemers]grants.Verdict
					var errs [redeemers]error
					together(redeemers, func(i int) {
						_, _, verdicts[i], errs[i] = stores[i%2].Redeem(ctx, g.ID, right, limits.At(e.Clock.Now()), "")
					})
					count := map[grants.Verdict]int{}
					for i := range verdicts {
						require.NoError(t, errs[i])
						count[verdicts[i]]++
					}
					return count
				}
				require.Equal(t, map[grants.Verdict]int{grants.Redeemed: 1, grants.Dead: redeemers - 1}, race())
				session := sessionOf(t, e, g.ID)
				require.Empty(t, session.Dead)
				require.EqualValues(t, 1, session.Generation)

				e.Clock.Advance(limits.Retry)
				require.Equal(t, map[grants.Verdict]int{grants.Replayed: 1, grants.Dead: redeemers - 1}, race())
				require.Equal(t, string(grants.ReasonCodeReplay), sessionOf(t, e, g.ID).Dead)
			})
		})
	}
}

// Eight answers of one authorization request (a double click, two tabs) begin one grant.
func TestConcurrent_answers_of_one_request_make_one_code(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		begin(t, e, 0)
		g := code(e.Clock.Now(), newID(t))
		g.BrowserID = signIn(t, e, "alice").ID
		stores := []*storage.Store{e.Store, e.Open()}
		errs := make([]error, 8)
		together(len(errs), func(i int) {
			var begun bool
			if begun, errs[i] = stores[i%2].Begin(ctx, g, time.Time{}); errs[i] == nil && !begun {
				errs[i] = errors.New("not begun")
			}
		})
		one(t, errs, storage.ErrGrantExists)
		for _, err := range errs {
			require.NotErrorIs(t, err, storage.ErrUnavailable)
		}
		require.EqualValues(t, 1, number(t, storagetest.Database(t, e.URL), `SELECT count(*) FROM grants`))
	})
}

// What fosite asks while it redeems: twice for the code, once more to invalidate it. One statement answers all.
func TestTokens_redeem_in_one_statement(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		g := beginCode(t, e, func(g *grants.Grant) { g.Scope = []string{"openid", "read", "gone"} })
		client := clients.NewFosite(&clients.Client{ID: "app", Scope: []string{"read", "openid"}})
		tokens := &storage.Tokens{Store: e.Store}
		u := &storage.Unit{
			At: e.Clock.Now(), Client: client, Limits: limits, Life: life, ID: g.ID, Challenge: "challenge-and-more", RedirectURI: callback,
			Scope: []string{"read"}, // of the token request: not a code's matter
		}
		ctx = storage.WithUnit(ctx, u)
		session := new(fosite.DefaultSession)
		e.Tally.Reset()
		for range 2 {
			request, err := tokens.GetAuthorizeCodeSession(ctx, "", session)
			require.NoError(t, err)
			require.Equal(t, g.ID.String(), request.GetID())
			require.Equal(t, client, request.GetClient())
			require.Same(t, session, request.GetSession())
			require.Equal(t, fosite.Arguments{"openid", "read"}, request.GetGrantedScopes(), "what is no longer registered is left out")
			require.Equal(t, url.Values{"redirect_uri": {callback}}, request.GetRequestForm())
		}
		require.NoError(t, tokens.InvalidateAuthorizeCodeSession(ctx, ""))
		require.NoError(t, tokens.CreateAccessTokenSession(ctx, "", nil))
		require.Equal(t, 1, e.Tally.Count(), e.Tally.Statements())
		require.Equal(t, grants.Redeemed, u.Verdict)
		require.Equal(t, "alice", u.User.Name)
		require.NoError(t, u.Err)
		require.Error(t, tokens.CreateAuthorizeCodeSession(ctx, "", nil))

		again := &storage.Unit{At: u.At, Client: client, Limits: limits, Life: life, ID: g.ID, Challenge: "challenge-and-more", RedirectURI: callback}
		_, err := tokens.GetAuthorizeCodeSession(storage.WithUnit(ctx, again), "", session)
		require.ErrorIs(t, err, fosite.ErrNotFound)
		require.Equal(t, grants.Dead, again.Verdict)
		require.NoError(t, again.Err)

		ill := &storage.Unit{At: u.At, Client: client, Limits: limits, Life: life, ID: g.ID}
		e.Tally.Fail(func(string) error { return errCut })
		_, err = tokens.GetAuthorizeCodeSession(storage.WithUnit(ctx, ill), "", session)
		e.Tally.Fail(nil)
		require.ErrorIs(t, err, storage.ErrUnavailable)
		require.NotErrorIs(t, err, fosite.ErrNotFound, "fosite would say that the code is wrong")
		require.ErrorIs(t, ill.Err, storage.ErrUnavailable)
	})
}
