package grants_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/grantorhq/grantor/grants"
)

var (
	born   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	limits = grants.Limits{Idle: 14 * 24 * time.Hour, Retry: 10 * time.Second}
)

const life = 90 * 24 * time.Hour

// history plays a server that obeys package grants against a model that knows only
// what a bystander sees: which texts were handed out, in which order and when, and
// whether the login ended. It has no generations.
type history struct {
	codec  *grants.Codec
	now    time.Time
	grant  grants.Grant // the server's side
	code   string
	tokens []string  // the model's side: refresh tokens in the order of their first appearance
	moved  time.Time // when the last of them appeared first
	ended  bool
}

func newHistory(t require.TestingT) *history {
	h := &history{codec: newCodec(t, key(0)), now: born}
	h.grant = grants.Grant{
		ID: someID(3), ClientID: "app", UserID: "alice", Scope: []string{"read", "write"}, State: grants.Live,
		CreatedAt: born, RotatedAt: born, ExpiresAt: born.Add(grants.CodeLifetime),
		RedirectURI: "https://app.test/cb", CodeChallenge: "challenge-and-more",
	}
	h.code = h.codec.Mint(grants.Code, h.grant.ID, 0)
	return h
}

// end is the absolute limit: the code's until it is redeemed, then the session's.
func (h *history) end() time.Time {
	if len(h.tokens) == 0 {
		return born.Add(grants.CodeLifetime)
	}
	return born.Add(life)
}

func (h *history) over() bool { return h.ended || !h.now.Before(h.end()) }

// show sends a refresh token to the server and answers what comes back, or "".
func (h *history) show(token, client, thumbprint string, scope []string) (string, grants.Verdict) {
	id, generation, err := h.codec.Parse(grants.Refresh, token)
	if err != nil || id != h.grant.ID {
		return "", ""
	}
	var verdict grants.Verdict
	h.grant, verdict = h.grant.Refresh(grants.Showing{ClientID: client, Thumbprint: thumbprint, Generation: generation, Scope: scope}, limits.At(h.now))
	if verdict == grants.Rotated || verdict == grants.Retried {
		return h.codec.Mint(grants.Refresh, id, h.grant.Generation), verdict
	}
	return "", verdict
}

// expect is the model: which verdict the token must get now.
func (h *history) expect(token, client, thumbprint string, scope []string) grants.Verdict {
	place := -1 // counted from the newest
	for i, t := range h.tokens {
		if t == token {
			place = len(h.tokens) - 1 - i
		}
	}
	tooMuch := false
	for _, s := range scope {
		tooMuch = tooMuch || s != "read" && s != "write"
	}
	since := h.now.Sub(h.moved)
	switch {
	case client != "app" || thumbprint != "":
		return grants.Foreign
	case h.over() || place < 0:
		return grants.Dead
	case place == 0 && since >= limits.Idle:
		return grants.Idle
	case place > 1 || place == 1 && since >= limits.Retry:
		return grants.Reused
	case tooMuch:
		return grants.Exceeds
	case place == 1:
		return grants.Retried
	}
	return grants.Rotated
}

// refresh shows a token to both sides and compares.
func (h *history) refresh(t require.TestingT, token, client, thumbprint string, scope []string) {
	before := h.grant
	want := h.expect(token, client, thumbprint, scope)
	answer, verdict := h.show(token, client, thumbprint, scope)
	require.Equal(t, want, verdict)
	switch verdict {
	case grants.Rotated:
		require.NotContains(t, h.tokens, answer, "a successor is new")
		h.tokens, h.moved = append(h.tokens, answer), h.now
		require.Equal(t, h.now, h.grant.RotatedAt)
	case grants.Retried:
		require.Equal(t, h.tokens[len(h.tokens)-1], answer, "a retry gets the same successor")
		require.Equal(t, before, h.grant)
	case grants.Reused:
		h.ended = true
		require.Equal(t, grants.ReasonReuse, h.grant.Reason)
		require.Equal(t, h.now, h.grant.RevokedAt)
	default:
		require.Equal(t, before, h.grant, "a refusal changes nothing")
	}
}

// redeem shows the code to both sides and compares.
func (h *history) redeem(t require.TestingT, client, uri, challenge string) {
	before := h.grant
	proven := uri == "https://app.test/cb" && challenge == "challenge-and-more"
	if len(h.tokens) > 1 {
		proven = strings.HasPrefix(challenge, "challenge-an") // so much is kept
	}
	var want grants.Verdict
	switch {
	case client != "app":
		want = grants.Foreign
	case h.over():
		want = grants.Dead
	case !proven:
		want = grants.Mismatch
	case len(h.tokens) == 0:
		want = grants.Redeemed
	case h.now.Sub(h.moved) < limits.Retry:
		want = grants.Repeated
	default:
		want = grants.Replayed
	}
	var verdict grants.Verdict
	h.grant, verdict = h.grant.Redeem(grants.Redemption{ClientID: client, RedirectURI: uri, Challenge: challenge, Life: life}, limits.At(h.now))
	require.Equal(t, want, verdict)
	switch verdict {
	case grants.Redeemed:
		h.tokens, h.moved = append(h.tokens, h.codec.Mint(grants.Refresh, h.grant.ID, h.grant.Generation)), h.now
	case grants.Replayed:
		h.ended = true
		require.Equal(t, grants.ReasonCodeReplay, h.grant.Reason)
	default:
		require.Equal(t, before, h.grant, "a refused code changes nothing")
	}
}

func (h *history) revoke(t require.TestingT, client string) {
	before := h.grant
	after, own := h.grant.Revoke(client, h.now)
	h.grant = after
	require.Equal(t, client == "app", own)
	if !own || !before.RevokedAt.IsZero() {
		require.Equal(t, before, h.grant, "strangers end nothing, and the first reason stays")
		return
	}
	h.ended = true
	require.Equal(t, grants.ReasonClient, h.grant.Reason)
}

// invariants hold after every step, whatever the history was.
func (h *history) invariants(t require.TestingT) {
	require.Equal(t, h.end(), h.grant.ExpiresAt, "only redemption moves the absolute limit")
	require.Equal(t, born, h.grant.CreatedAt)
	require.Equal(t, []string{"read", "write"}, h.grant.Scope, "the row keeps the full scope")
	require.Equal(t, h.ended, !h.grant.RevokedAt.IsZero())
	require.Equal(t, !h.over(), h.grant.Alive(h.now))

	// INV1: of all that was ever handed out, one at most would get a new successor.
	// What any of them would get is one text.
	live, answers := 0, map[string]bool{}
	for _, token := range h.tokens {
		try := *h
		answer, verdict := try.show(token, "app", "", nil)
		if verdict == grants.Rotated {
			live++
		} else if answer != "" {
			answers[answer] = true
		}
		if h.over() {
			require.Empty(t, answer, "what ended never works again")
		}
	}
	require.LessOrEqual(t, live, 1)
	require.LessOrEqual(t, len(answers), 1)
}

// spans are what time may do between two steps: every edge of every window.
func spans(h *history) []time.Duration {
	const us = time.Microsecond
	list := []time.Duration{0, us, time.Second, -time.Second, 24 * time.Hour}
	for _, edge := range []time.Time{h.moved.Add(limits.Retry), h.moved.Add(limits.Idle), born.Add(grants.CodeLifetime), born.Add(life)} {
		list = append(list, edge.Sub(h.now)-us, edge.Sub(h.now), edge.Sub(h.now)+us)
	}
	forward := list[:0]
	for _, d := range list {
		if d >= -time.Second && d < 365*24*time.Hour {
			forward = append(forward, d)
		}
	}
	return forward
}

func TestHistories(t *testing.T) {
	t.Parallel()
	scopes := [][]string{nil, {"read"}, {"write", "read"}, {"read", "admin"}, {"rea"}, {"READ"}, {"read", "read"}}
	seen := map[string]int{}
	note := func(what string) { seen[what]++ }
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		h.moved = born
		client := func() string {
			return rapid.SampledFrom([]string{"app", "app", "app", "app", "other", ""}).Draw(t, "client")
		}
		redeem := func(t *rapid.T) {
			h.redeem(t, client(), rapid.SampledFrom([]string{"https://app.test/cb", "https://app.test/cb", "https://evil.test", ""}).Draw(t, "uri"),
				rapid.SampledFrom([]string{"challenge-and-more", "challenge-and-more", "guess", "challenge-an", ""}).Draw(t, "challenge"))
		}
		show := func(pick func() int) func(*rapid.T) {
			return func(t *rapid.T) {
				i := pick()
				if i < 0 || i >= len(h.tokens) {
					t.Skip("no such token yet")
				}
				thumbprint := rapid.SampledFrom([]string{"", "", "", "", "", "a key"}).Draw(t, "thumbprint")
				scope := rapid.SampledFrom(scopes).Draw(t, "scope")
				who := client()
				note(string(h.expect(h.tokens[i], who, thumbprint, scope)))
				h.refresh(t, h.tokens[i], who, thumbprint, scope)
			}
		}
		if rapid.IntRange(0, 3).Draw(t, "begin") > 0 {
			h.redeem(t, "app", "https://app.test/cb", "challenge-and-more")
		}
		t.Repeat(map[string]func(*rapid.T){
			"":        func(t *rapid.T) { h.invariants(t) },
			"advance": func(t *rapid.T) { h.now = h.now.Add(rapid.SampledFrom(spans(h)).Draw(t, "by")) },
			"redeem":  redeem,
			"current": show(func() int { return len(h.tokens) - 1 }),
			"renew":   show(func() int { return len(h.tokens) - 1 }),
			"retry":   show(func() int { return len(h.tokens) - 2 }),
			"any":     show(func() int { return rapid.IntRange(-1, len(h.tokens)-1).Draw(t, "which") }),
			"newer": func(t *rapid.T) { // true MACs that were never handed out
				generation := rapid.Int64Range(1, 5).Draw(t, "ahead") + h.grant.Generation
				h.refresh(t, h.codec.Mint(grants.Refresh, h.grant.ID, generation), "app", "", nil)
			},
			"zero": func(t *rapid.T) {
				h.refresh(t, h.codec.Mint(grants.Refresh, h.grant.ID, 0), "app", "", nil)
			},
			"forged": func(t *rapid.T) {
				if len(h.tokens) == 0 {
					t.Skip("nothing to forge")
				}
				token := []byte(rapid.SampledFrom(h.tokens).Draw(t, "token"))
				i := rapid.IntRange(0, len(token)-1).Draw(t, "at")
				token[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "by"))
				before := h.grant
				answer, verdict := h.show(string(token), "app", "", nil)
				require.Empty(t, answer)
				require.Empty(t, verdict, "a forgery never reaches the grant")
				require.Equal(t, before, h.grant)
			},
			"code as refresh token": func(t *rapid.T) {
				_, verdict := h.show(h.code, "app", "", nil)
				require.Empty(t, verdict)
			},
			"revoke": func(t *rapid.T) {
				if rapid.IntRange(0, 4).Draw(t, "really") == 0 {
					h.revoke(t, client())
				}
			},
		})
	})
	for _, v := range []grants.Verdict{
		grants.Rotated, grants.Retried, grants.Reused, grants.Foreign, grants.Dead, grants.Exceeds,
	} {
		require.NotZero(t, seen[string(v)], "the histories never came to %q: %v", v, seen)
	}
}

// TestRefresh_table is the page to read first: each rule once, by name.
func TestRefresh_table(t *testing.T) {
	t.Parallel()
	const us = time.Microsecond
	at := func(generation int64, since time.Duration) grants.Grant {
		return grants.Grant{
			ID: someID(0), ClientID: "app", Scope: []string{"read", "write"}, Audience: []string{"a", "b"}, State: grants.Live, Generation: generation,
			CreatedAt: born, RotatedAt: born.Add(-since), ExpiresAt: born.Add(time.Hour),
		}
	}
	with := func(g grants.Grant, change func(*grants.Grant)) grants.Grant { change(&g); return g }
	for _, c := range []struct {
		name  string
		grant grants.Grant
		show  grants.Showing
		want  grants.Verdict
	}{
		{"R-01 the current token", at(3, time.Hour), grants.Showing{Generation: 3}, grants.Rotated},
		{"R-03 the immediate predecessor, last moment of the window", at(3, limits.Retry-us), grants.Showing{Generation: 2}, grants.Retried},
		{"R-02 the immediate predecessor, the window just over", at(3, limits.Retry), grants.Showing{Generation: 2}, grants.Reused},
		{"R-04 an older one inside the window", at(3, 0), grants.Showing{Generation: 1}, grants.Reused},
		{"one that was never made", at(3, 0), grants.Showing{Generation: 4}, grants.Dead},
		{"the code as a refresh token", at(0, 0), grants.Showing{Generation: 0}, grants.Dead},
		{"R-07 another client's current one", at(3, 0), grants.Showing{ClientID: "other", Generation: 3}, grants.Foreign},
		{"R-07 another client's old one", at(3, 0), grants.Showing{ClientID: "other", Generation: 1}, grants.Foreign},
		{"bound to another key, old", at(3, 0), grants.Showing{Thumbprint: "x", Generation: 1}, grants.Foreign},
		{"R-08 a part of the scope", at(3, 0), grants.Showing{Generation: 3, Scope: []string{"write"}}, grants.Rotated},
		{"R-09 more than the scope", at(3, 0), grants.Showing{Generation: 3, Scope: []string{"write", "admin"}}, grants.Exceeds},
		{"R-09 more than the scope in a retry", at(3, 0), grants.Showing{Generation: 2, Scope: []string{"admin"}}, grants.Exceeds},
		{"more than the scope with an old one is reuse all the same", at(3, 0), grants.Showing{Generation: 1, Scope: []string{"admin"}}, grants.Reused},
		{"none of the audiences is registered any more", at(3, 0), grants.Showing{Generation: 3, Registered: []string{"other"}}, grants.Astray},
		{"nothing is registered any more", at(3, 0), grants.Showing{Generation: 3, Registered: []string{}}, grants.Astray},
		{"one of the audiences is still registered", at(3, 0), grants.Showing{Generation: 3, Registered: []string{"other", "b"}}, grants.Rotated},
		{"R-12 idle, last moment", at(3, limits.Idle-us), grants.Showing{Generation: 3}, grants.Rotated},
		{"R-12 idle", at(3, limits.Idle), grants.Showing{Generation: 3}, grants.Idle},
		{"R-12 absolute, last moment", with(at(3, 0), func(g *grants.Grant) { g.ExpiresAt = born.Add(us) }), grants.Showing{Generation: 3}, grants.Rotated},
		{"R-12 absolute", with(at(3, 0), func(g *grants.Grant) { g.ExpiresAt = born }), grants.Showing{Generation: 3}, grants.Dead},
		{"R-06 revoked", with(at(3, 0), func(g *grants.Grant) { g.RevokedAt, g.Reason = born, grants.ReasonReuse }), grants.Showing{Generation: 3}, grants.Dead},
		{"revoked, an old one: the first reason stays", with(at(3, 0), func(g *grants.Grant) { g.RevokedAt, g.Reason = born, grants.ReasonAdmin }), grants.Showing{Generation: 1}, grants.Dead},
		{"a state that is not live", with(at(3, 0), func(g *grants.Grant) { g.State = "pending" }), grants.Showing{Generation: 3}, grants.Dead},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.show.ClientID == "" {
				c.show.ClientID = "app"
			}
			after, verdict := c.grant.Refresh(c.show, limits.At(born))
			require.Equal(t, c.want, verdict)
			want := c.grant
			switch verdict {
			case grants.Rotated:
				want.Generation, want.RotatedAt = want.Generation+1, born
			case grants.Reused:
				want.RevokedAt, want.Reason = born, grants.ReasonReuse
			}
			require.Equal(t, want, after)
		})
	}
}

// TestRedeem_table is the same page for codes.
func TestRedeem_table(t *testing.T) {
	t.Parallel()
	const us = time.Microsecond
	code := func(change func(*grants.Grant)) grants.Grant {
		g := grants.Grant{
			ID: someID(0), ClientID: "app", Scope: []string{"openid"}, State: grants.Live, CreatedAt: born, RotatedAt: born, ExpiresAt: born.Add(grants.CodeLifetime),
			RedirectURI: "https://app.test/cb", CodeChallenge: "challenge-and-more",
		}
		change(&g)
		return g
	}
	fresh := code(func(*grants.Grant) {})
	used := func(since time.Duration, generation int64) grants.Grant {
		return code(func(g *grants.Grant) {
			g.Generation, g.RotatedAt, g.ExpiresAt = generation, born.Add(-since), born.Add(life)
		})
	}
	forgotten := used(limits.Retry, 7)
	forgotten.RedirectURI, forgotten.CodeChallenge = "", "challenge-an"
	right := grants.Redemption{ClientID: "app", RedirectURI: "https://app.test/cb", Challenge: "challenge-and-more", Life: life}
	with := func(change func(*grants.Redemption)) grants.Redemption { r := right; change(&r); return r }
	for _, c := range []struct {
		name  string
		grant grants.Grant
		show  grants.Redemption
		at    time.Duration
		want  grants.Verdict
	}{
		{"the first use", fresh, right, 0, grants.Redeemed},
		{"the last moment", fresh, right, grants.CodeLifetime - us, grants.Redeemed},
		{"too late", fresh, right, grants.CodeLifetime, grants.Dead},
		{"another client", fresh, with(func(r *grants.Redemption) { r.ClientID = "other" }), 0, grants.Foreign},
		{"another redirect URI", fresh, with(func(r *grants.Redemption) { r.RedirectURI += "/" }), 0, grants.Mismatch},
		{"no redirect URI though there was one", fresh, with(func(r *grants.Redemption) { r.RedirectURI = "" }), 0, grants.Mismatch},
		{"a redirect URI though there was none", code(func(g *grants.Grant) { g.RedirectURI = "" }), right, 0, grants.Redeemed},
		{"another verifier", fresh, with(func(r *grants.Redemption) { r.Challenge = "d" }), 0, grants.Mismatch},
		{"no verifier", fresh, with(func(r *grants.Redemption) { r.Challenge = "" }), 0, grants.Mismatch},
		{"a verifier though there was no challenge", code(func(g *grants.Grant) { g.CodeChallenge = "" }), right, 0, grants.Mismatch},
		{"a double click", used(limits.Retry-us, 1), right, 0, grants.Repeated},
		{"a replay", used(limits.Retry, 1), right, 0, grants.Replayed},
		{"a replay after renewals", forgotten, right, 0, grants.Replayed},
		{"a replay after renewals by another verifier", forgotten, with(func(r *grants.Redemption) { r.Challenge = "Challenge-and-more" }), 0, grants.Mismatch},
		{"a replay after renewals without a verifier", forgotten, with(func(r *grants.Redemption) { r.Challenge = "" }), 0, grants.Mismatch},
		{"a replay after renewals that forgot nothing", used(limits.Retry, 7), right, 0, grants.Replayed},
		{"a clue is not a challenge", used(limits.Retry, 1), with(func(r *grants.Redemption) { r.Challenge = "challenge-an" }), 0, grants.Mismatch},
		{"a clue does not redeem", fresh, with(func(r *grants.Redemption) { r.Challenge = "challenge-an" }), 0, grants.Mismatch},
		{"a replay without the verifier", used(time.Hour, 1), with(func(r *grants.Redemption) { r.Challenge = "" }), 0, grants.Mismatch},
		{"a replay by another client", used(time.Hour, 1), with(func(r *grants.Redemption) { r.ClientID = "other" }), 0, grants.Foreign},
		{"revoked", code(func(g *grants.Grant) { g.RevokedAt, g.Reason = born, grants.ReasonSignedOut }), right, 0, grants.Dead},
		{"a state that is not live", code(func(g *grants.Grant) { g.State = "pending" }), right, 0, grants.Dead},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			now := born.Add(c.at)
			after, verdict := c.grant.Redeem(c.show, limits.At(now))
			require.Equal(t, c.want, verdict)
			want := c.grant
			switch verdict {
			case grants.Redeemed:
				want.Generation, want.RotatedAt, want.ExpiresAt = 1, now, born.Add(life)
			case grants.Replayed:
				want.RevokedAt, want.Reason = now, grants.ReasonCodeReplay
			}
			require.Equal(t, want, after)
		})
	}
}

func TestCovers_is_exact(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		granted, asked string
		want           bool
	}{
		{"", "", true},
		{"a", "", true},
		{"a b", "b a", true},
		{"a b", "a a a", true},
		{"a", "b", false},
		{"", "a", false},
		{"ab", "a", false},
		{"a", "ab", false},
		{"a", "A", false},
		{"a b", "a c", false},
	} {
		require.Equal(t, c.want, grants.Covers(grants.SplitScope(c.granted), grants.SplitScope(c.asked)), "%q of %q", c.asked, c.granted)
	}
	list := []string{"read", "write"}
	require.Equal(t, list, grants.SplitScope(grants.JoinScope(list)))
	require.Empty(t, grants.SplitScope("  "))
}

// Only who was held up is excused, and only by a renewal meanwhile.
func TestRefresh_overtaken(t *testing.T) {
	t.Parallel()
	g := grants.Grant{
		ID: someID(0), ClientID: "app", State: grants.Live, Generation: 3, CreatedAt: born, RotatedAt: born.Add(time.Second), ExpiresAt: born.Add(time.Hour),
	}
	old := grants.Showing{ClientID: "app", Generation: 1}
	for since, want := range map[time.Time]grants.Verdict{
		{}:                        grants.Reused,
		born:                      grants.Overtaken,
		born.Add(time.Second):     grants.Reused,
		born.Add(2 * time.Second): grants.Reused,
	} {
		b := limits.At(born.Add(time.Second))
		b.OvertakenSince = since
		after, verdict := g.Refresh(old, b)
		require.Equal(t, want, verdict)
		require.Equal(t, want == grants.Reused, !after.RevokedAt.IsZero())
	}
	b := limits.At(born.Add(2 * time.Second))
	b.OvertakenSince = born
	_, verdict := g.Refresh(grants.Showing{ClientID: "app", Generation: 3}, b)
	require.Equal(t, grants.Rotated, verdict, "it excuses, and does no more")
}
