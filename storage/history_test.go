package storage_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
)

// The rules exist twice: as grants.Grant.Refresh and Revoke, which can be read, and as
// SQL, which is atomic. Here the same random history is played against both, and the
// verdict and the row are compared after each step.
func TestStatements_are_the_rules_of_grants(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		createClient(t, e.Store, "app")
		createClient(t, e.Store, "other")
		createUser(t, e.Store, "alice")
		second := e.Open() // every step on either replica
		seen := map[grants.Verdict]int{}
		start := e.Clock.Now()
		rapid.Check(t, func(t *rapid.T) {
			g := login(start, newID(t))
			g.Generation = rapid.SampledFrom([]int64{1, 1, 1, 3, 0}).Draw(t, "generation")
			g.Scope = rapid.SampledFrom([][]string{{"read", "write"}, {"read", "read-all", "write"}, {"read"}, {}}).Draw(t, "granted")
			g.Audience = rapid.SampledFrom([][]string{{}, {"https://api.test"}, {"api", "https://api.test"}}).Draw(t, "audience")
			g.State = rapid.SampledFrom([]grants.State{grants.Live, grants.Live, grants.Live, grants.Live, grants.Live, grants.Live, grants.Live, "pending"}).Draw(t, "state")
			g.Thumbprint = rapid.SampledFrom([]string{"", "", "", "key"}).Draw(t, "thumbprint")
			e.Clock.Set(start)
			begun, err := e.Store.Begin(ctx, g, time.Time{})
			require.NoError(t, err)
			require.True(t, begun)
			h := &played{ctx: ctx, e: e, t: t, grant: g, seen: seen}
			for range rapid.IntRange(6, 12).Draw(t, "steps") {
				h.s = e.Store
				if rapid.Bool().Draw(t, "replica") {
					h.s = second
				}
				h.step()
				h.compare()
			}
		})
		// The rarer verdicts are met by the test of the edges, below, each time.
		for _, v := range []grants.Verdict{grants.Rotated, grants.Foreign, grants.Dead, grants.Exceeds} {
			require.NotZero(t, seen[v], "the histories never came to %q: %v", v, seen)
		}
	})
}

type played struct {
	ctx   context.Context
	e     *storagetest.Env
	s     *storage.Store
	t     *rapid.T
	grant grants.Grant // what the rules say
	seen  map[grants.Verdict]int

	challenge string // that its code was made for
}

func (h *played) step() {
	switch rapid.SampledFrom(strings.Fields("refresh refresh refresh refresh advance advance refresh refresh refresh revoke end")).Draw(h.t, "what") {
	case "refresh":
		h.refresh()
	case "advance":
		h.advance()
	case "revoke":
		h.revoke()
	default:
		require.NoError(h.t, h.s.RevokeSession(h.ctx, h.grant.ID, grants.ReasonAdmin))
		if h.grant.RevokedAt.IsZero() {
			h.grant.RevokedAt, h.grant.Reason = h.e.Clock.Now(), grants.ReasonAdmin
		}
	}
}

// advance goes to an edge of a window, a microsecond before it or after it: that is
// the finest difference that a row can hold.
func (h *played) advance() {
	now := h.e.Clock.Now()
	edge := rapid.SampledFrom([]time.Time{
		now, now.Add(time.Hour), now.Add(-time.Hour), h.grant.RotatedAt.Add(limits.Retry), h.grant.RotatedAt.Add(limits.Retry),
		h.grant.RotatedAt.Add(limits.Idle), h.grant.ExpiresAt,
	}).Draw(h.t, "edge")
	h.e.Clock.Set(edge.Add(time.Duration(rapid.IntRange(-1, 1).Draw(h.t, "off")) * time.Microsecond))
}

// askedScopes are part of what was granted, more than that, and hostile text.
var askedScopes = [][]string{
	nil, nil, nil, nil, nil, nil, nil, nil,
	{},
	{"read"},
	{"read"},
	{"write", "read"},
	{"read", "read"},
	{"rea"},
	{"READ"},
	{"read", "admin"},
	{"read%"},
	{"read_all"},
	{"' OR ''='"},
	{"a\x00b"},
	{"\xff"},
	{"é"},
	{""},
	{"read write"},
	many("read", 500), many("x", 40_000),
}

func (h *played) refresh() {
	show := grants.Showing{
		ClientID:   rapid.SampledFrom([]string{"app", "app", "app", "app", "app", "app", "app", "app", "app", "app", "other", "App", ""}).Draw(h.t, "client"),
		Thumbprint: h.grant.Thumbprint,
		Generation: max(0, h.grant.Generation+rapid.SampledFrom([]int64{0, -1, 0, -1, 0, 0, -1, -2, -3, 1, 2}).Draw(h.t, "which")),
		Scope:      rapid.SampledFrom(askedScopes).Draw(h.t, "scope"),
	}
	show.Thumbprint += rapid.SampledFrom([]string{"", "", "", "", "", "", "", "x"}).Draw(h.t, "another key")
	show.Audience = rapid.SampledFrom([][]string{nil, nil, nil, nil, nil, nil, nil, {"https://api.test"}, {"https://api"}, {"\x00"}, {"api", "api"}}).Draw(h.t, "audience")
	show.Registered = rapid.SampledFrom([][]string{nil, nil, nil, nil, {"https://api.test", "x"}, {"other"}, {"https://api"}, {}}).Draw(h.t, "registered")
	bounds := limits.At(h.e.Clock.Now())
	want, verdict := h.grant.Refresh(show, bounds)
	h.seen[verdict]++
	got, gotVerdict, err := h.s.Rotate(h.ctx, h.grant.ID, show, bounds, "192.0.2.7")
	require.NoError(h.t, err)
	switch verdict {
	case grants.Rotated:
		want.RotatedFrom = "192.0.2.7"
	case grants.Foreign:
		verdict = grants.Dead // nothing more may be said to a stranger
	}
	require.Equal(h.t, verdict, gotVerdict)
	if verdict == grants.Dead {
		require.Equal(h.t, grants.Grant{}, got)
	} else {
		require.Equal(h.t, storedForm(want), got)
	}
	h.grant = want
}

func (h *played) revoke() {
	client := rapid.SampledFrom([]string{"app", "other", ""}).Draw(h.t, "client")
	want, own := h.grant.Revoke(client, h.e.Clock.Now())
	found, gotOwn, err := h.s.Revoke(h.ctx, h.grant.ID, client, h.e.Clock.Now(), "")
	require.NoError(h.t, err)
	require.True(h.t, found)
	require.Equal(h.t, own, gotOwn)
	h.grant = want
}

// compare reads the row back, and asks what introspection would say of it.
func (h *played) compare() {
	now := h.e.Clock.Now()
	session, err := h.s.Session(h.ctx, h.grant.ID)
	require.NoError(h.t, err)
	require.Equal(h.t, storedForm(h.grant), session.Grant)
	require.Equal(h.t, h.grant.Alive(now), session.Dead == "", session.Dead)
	access, err := h.s.Access(h.ctx, h.grant.ID, "app", "jti", now)
	require.NoError(h.t, err)
	require.Equal(h.t, h.grant.Alive(now), access.Grant != nil)
	require.True(h.t, access.ClientAlive)
	require.False(h.t, access.Denied)
	if access.Grant != nil {
		require.Equal(h.t, h.grant.Generation, access.Grant.Generation)
		require.Equal(h.t, h.grant.RotatedAt, access.Grant.RotatedAt)
	}
}

// storedForm is a grant as it comes back: what is only needed for a code stays in
// the row, and the layout of the details has its number.
func storedForm(g grants.Grant) grants.Grant {
	g.RedirectURI, g.CodeChallenge = "", ""
	g.Details.Version = grants.DetailsVersion
	g.Scope = append([]string{}, g.Scope...)
	g.Audience = append([]string{}, g.Audience...)
	return g
}

// many are n different words, or the same word n times when it was granted.
func many(word string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = word
		if word == "x" {
			list[i] += strings.Repeat("y", i%50) + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676%26)) + string(rune('a'+i/17576))
		}
	}
	return list
}

// The random histories come to the exact edges of the windows only now and then. Here
// each edge is met, a microsecond before it, on it and after it.
func TestStatements_are_the_rules_of_grants_at_every_edge(t *testing.T) {
	t.Parallel()
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		ctx := deadline(t)
		begin(t, e, 0)
		start := e.Clock.Now()
		for _, edge := range []time.Duration{0, limits.Retry, limits.Idle, life} {
			for off := -time.Microsecond; off <= time.Microsecond; off += time.Microsecond {
				for generation := int64(0); generation <= 4; generation++ {
					g := login(start, newID(t))
					g.Generation = 3
					begun, err := e.Store.Begin(ctx, g, time.Time{})
					require.NoError(t, err)
					require.True(t, begun)
					now := start.Add(edge + off)
					show := grants.Showing{ClientID: "app", Generation: generation}
					want, verdict := g.Refresh(show, limits.At(now))
					_, got, err := e.Store.Rotate(ctx, g.ID, show, limits.At(now), "")
					require.NoError(t, err)
					require.Equal(t, verdict, got, "generation %d of 3, %s after the last renewal", generation, edge+off)
					session, err := e.Store.Session(ctx, g.ID)
					require.NoError(t, err)
					require.Equal(t, storedForm(want), session.Grant)
				}
			}
		}
	})
}
