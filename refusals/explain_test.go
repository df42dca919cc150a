package refusals_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/refusals"
	"github.com/grantorhq/grantor/users"
)

// Each case is one reason why; the sentence that must be there names it.
func TestExplain_says_exactly_why(t *testing.T) {
	t.Parallel()
	owner := &clients.Client{ID: "photos", AuthMethod: clients.AuthBasic}
	alice := &users.User{ID: "u1", Name: "alice", PasswordHash: "x"}
	row := func(change func(*grants.Grant)) *grants.Grant {
		g := &grants.Grant{
			ID: grants.ID{1, 2, 3}, ClientID: "photos", UserID: "u1", State: grants.Live, Generation: 5, RotatedFrom: "2001:db8::1",
			CreatedAt: noon.Add(-time.Hour), RotatedAt: noon.Add(-14 * time.Second), ExpiresAt: noon.Add(time.Hour), Scope: []string{"read"},
		}
		if change != nil {
			change(g)
		}
		return g
	}
	known := func(g *grants.Grant) refusals.Known {
		return refusals.Known{Session: g, Caller: owner, Owner: owner, User: alice, Limits: grants.Limits{Idle: 14 * 24 * time.Hour, Retry: 10 * time.Second}}
	}
	as := func(cause refusals.Cause, change func(*refusals.Refusal)) refusals.Refusal {
		r := full()
		r.Cause = cause
		if change != nil {
			change(&r)
		}
		return r
	}
	dead := as(refusals.Dead, func(r *refusals.Refusal) { r.Row = nil })
	code := as(refusals.Dead, func(r *refusals.Refusal) {
		r.Row, r.Shown = nil, 0
		r.Terms = &refusals.Terms{RedirectURI: refusals.MarkOf("https://app.test/cb"), Challenge: refusals.MarkOf("challenge-of")}
	})
	codeRow := func(change func(*grants.Grant)) *grants.Grant {
		return row(func(g *grants.Grant) {
			g.Generation, g.RedirectURI, g.CodeChallenge, g.RotatedFrom = 1, "https://app.test/cb", "challenge-of-the-code", "192.0.2.7"
			g.RotatedAt = noon.Add(-4 * time.Second)
			change(g)
		})
	}
	disabled := func(c clients.Client) *clients.Client { c.DisabledAt = noon.Add(-time.Hour); return &c }

	for name, c := range map[string]struct {
		r    refusals.Refusal
		k    refusals.Known
		want string
	}{
		"reuse":             {as(refusals.Reused, nil), known(row(nil)), "Client photos showed the refresh token of generation 3, but session aebagaaaaaaaaaaaaaaaaaaaaa had been renewed since: it was at generation 5."},
		"reuse, by whom":    {as(refusals.Reused, nil), known(row(nil)), "The last renewal was 14s before, at 2026-03-04 11:59:46 UTC, by the same client from 2001:db8::1; this request came from 192.0.2.7."},
		"reuse, the window": {as(refusals.Reused, func(r *refusals.Refusal) { r.Shown = 4 }), known(row(nil)), "Only within the retry window (10s) does the previous token get the same answer again."},
		"overtaken":         {as(refusals.Overtaken, nil), known(row(nil)), "Meanwhile the client renewed session aebagaaaaaaaaaaaaaaaaaaaaa elsewhere: it was at generation 5, renewed 14s before from 2001:db8::1."},
		"idle":              {as(refusals.Idle, func(r *refusals.Refusal) { r.Row.RotatedAt = noon.Add(-15 * 24 * time.Hour) }), known(row(nil)), "The idle limit of client photos is 14d: it passed at 2026-03-03 12:00:00 UTC."},
		"wrong client":      {as(refusals.Dead, func(r *refusals.Refusal) { r.Row, r.Client = nil, "thief" }), known(row(nil)), "What was shown belongs to client photos, but client thief showed it, from 192.0.2.7."},
		"revoked by reuse": {
			dead, known(row(func(g *grants.Grant) { g.RevokedAt, g.Reason = noon.Add(-3*time.Minute), grants.ReasonReuse })),
			"Session aebagaaaaaaaaaaaaaaaaaaaaa had been ended at 2026-03-04 11:57:00 UTC, 3m before: a refresh token that was renewed before had been shown again (refresh_reuse).",
		},
		"absolute limit":        {dead, known(row(func(g *grants.Grant) { g.ExpiresAt = noon.Add(-time.Hour) })), "had reached its absolute limit at 2026-03-04 11:00:00 UTC, 1h before."},
		"the row is gone":       {dead, known(nil), "the row of session aebagaaaaaaaaaaaaaaaaaaaaa is gone"},
		"user disabled":         {dead, refusals.Known{Session: row(nil), Owner: owner, User: &users.User{Name: "alice", DisabledAt: noon}}, "Its user alice was disabled at 2026-03-04 12:00:00 UTC."},
		"client disabled":       {dead, refusals.Known{Session: row(nil), Owner: disabled(*owner), User: alice}, "Its client photos was disabled at 2026-03-04 11:00:00 UTC."},
		"client deleted":        {dead, refusals.Known{Session: row(nil), User: alice}, "Its client photos is not registered any more."},
		"restored backup":       {dead, known(row(func(g *grants.Grant) { g.Generation = 2 })), "The token shown is of generation 3, but session aebagaaaaaaaaaaaaaaaaaaaaa is only at 2"},
		"mended since":          {dead, known(row(nil)), "now nothing speaks against it"},
		"no database":           {dead, refusals.Known{Unasked: true}, "it belongs to session aebagaaaaaaaaaaaaaaaaaaaaa, which had ended, or may not be used by client photos"},
		"code, redeemed before": {code, known(codeRow(func(*grants.Grant) {})), "The code had been redeemed at 2026-03-04 11:59:56 UTC, 4s before, by the same client from 192.0.2.7."},
		"code, too late": {code, known(codeRow(func(g *grants.Grant) {
			g.Generation, g.CreatedAt, g.RotatedAt, g.ExpiresAt = 0, noon.Add(-70*time.Second), noon.Add(-70*time.Second), noon.Add(-10*time.Second)
		})), "The code was made at 2026-03-04 11:58:50 UTC and lived 1m: it was shown 10s too late."},
		"code, another verifier":                      {code, known(codeRow(func(g *grants.Grant) { g.CodeChallenge = "other" })), "The code_verifier is not the one whose challenge the authorization request had."},
		"code, no challenge":                          {code, known(codeRow(func(g *grants.Grant) { g.CodeChallenge = "" })), "A code_verifier was sent, but the authorization request had no code_challenge."},
		"code, session renewed since":                 {code, known(codeRow(func(g *grants.Grant) { g.Generation, g.RedirectURI, g.CodeChallenge = 3, "", "challenge-of" })), "A code is honoured once.\nIf it was shown before its redemption, its redirect_uri may have been another one"},
		"code, session renewed by an earlier version": {code, known(codeRow(func(g *grants.Grant) { g.Generation = 3 })), "A code is honoured once.\nNothing was ended by this."},
		"code, of an earlier version": {as(refusals.Dead, func(r *refusals.Refusal) {
			r.Row, r.Shown, r.Terms = nil, 0, &refusals.Terms{RedirectURI: code.Terms.RedirectURI, Challenge: refusals.MarkOf("challenge-of-the-code")}
		}), known(codeRow(func(*grants.Grant) {})), "The code had been redeemed at"},
		"code, another verifier, session renewed since": {code, known(codeRow(func(g *grants.Grant) { g.Generation, g.RedirectURI, g.CodeChallenge = 3, "", "other" })), "The code_verifier is not the one whose challenge the authorization request had."},
		"code, another redirect_uri":                    {code, known(codeRow(func(g *grants.Grant) { g.RedirectURI = "https://app.test/other" })), "is not the one of the authorization request, https://app.test/other."},
		"code, replayed":                                {as(refusals.Replayed, func(r *refusals.Refusal) { r.Shown = 0 }), known(row(nil)), "It was shown again (with the right verifier, if the client uses PKCE) after the retry window"},
		"client, unknown":                               {as(refusals.UnknownClient, func(r *refusals.Refusal) { r.Client, r.Sent = "", "who" }), refusals.Known{}, "No client has the client_id that was sent."},
		"client, off":                                   {as(refusals.UnknownClient, func(r *refusals.Refusal) { r.Client, r.Sent = "", "photos" }), refusals.Known{Caller: disabled(*owner)}, "Client photos was disabled at 2026-03-04 11:00:00 UTC."},
		"secret, old": {
			as(refusals.WrongSecret, nil),
			refusals.Known{Caller: &clients.Client{ID: "photos", Secrets: []clients.Secret{{ID: "s1", ExpiresAt: noon.Add(-time.Hour)}, {ID: "s2"}}}},
			"Its secret s1 had ended at 2026-03-04 11:00:00 UTC.",
		},
		"secret, method": {as(refusals.WrongMethod, nil), known(nil), "Client photos sent its secret in another way than it is registered for: client_secret_basic."},
		"password":       {as(refusals.WrongPassword, nil), known(nil), "The password was not that of user alice."},
		"user":           {as(refusals.NoSuchUser, nil), known(nil), "No account has the name or address that was typed."},
		"throttled":      {as(refusals.Throttled, func(r *refusals.Refusal) { r.Wait = 32 * time.Second }), known(nil), "the caller had to wait until 2026-03-04 12:00:32 UTC (32s)."},
		"expired":        {as(refusals.Expired, func(r *refusals.Refusal) { r.Ended = noon.Add(-90 * time.Second) }), known(nil), "The access token had expired at 2026-03-04 11:58:30 UTC, 1m 30s before it was shown."},
		"scope":          {as(refusals.Exceeds, nil), known(row(nil)), `Granted were the scope "read" and the audience "".`},
		"as it was told": {as("code_challenge_method must be S256", nil), known(nil), "Code_challenge_method must be S256."},
	} {
		got := refusals.Explain(c.r, c.k)
		require.Contains(t, strings.Join(got.Why, "\n"), c.want, name)
	}
}

// No cause is without words, whatever else is known or not.
func TestExplain_has_words_for_every_cause(t *testing.T) {
	t.Parallel()
	require.Less(t, len(refusals.Causes()), 256, "numbers are bytes")
	seen := map[refusals.Cause]bool{}
	for _, cause := range append([]refusals.Cause{""}, refusals.Causes()...) {
		require.False(t, seen[cause], "%s has two numbers", cause)
		seen[cause] = true
		for _, r := range each() {
			for _, k := range []refusals.Known{{}, {Unasked: true}} {
				r.Cause = cause
				got := refusals.Explain(r, k)
				require.NotEmpty(t, got.Why, cause)
				for _, line := range append(got.Why, got.Advice...) {
					require.NotContains(t, line, "{client}")
					require.NotContains(t, line, "%!", cause)
				}
			}
		}
	}
	for cause := range refusals.Everyone {
		require.True(t, seen[cause], "%s has words but no number", cause)
	}
}

func TestReason_is_for_the_log(t *testing.T) {
	t.Parallel()
	r := full()
	require.Equal(t, "token: reused: generation 3 was shown, the session is at 5, renewed 14s ago from 2001:db8::1", r.Reason())
	r = each()["throttled"]
	require.Equal(t, "throttled: 1s to wait", r.Reason())
	r = each()["expired"]
	require.Equal(t, "the access token has expired 1h ago", r.Reason())
	r = each()["stranger"]
	require.Equal(t, "unknown client", r.Reason(), "what was sent is not logged")
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 4200 * time.Microsecond: "4ms", 4 * time.Second: "4s", 90 * time.Second: "1m 30s", time.Hour: "1h",
		26*time.Hour + 5*time.Minute: "1d 2h", 48*time.Hour + time.Minute: "2d", -time.Minute: "1m",
	} {
		require.Equal(t, want, refusals.Span(d))
	}
}
