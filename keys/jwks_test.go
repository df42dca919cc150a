package keys_test

import (
	"crypto"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/keys"
)

func TestJWKS_W02(t *testing.T) {
	body, etag := firstSet().JWKS(start)
	require.Regexp(t, `^"[A-Za-z0-9_-]{22}"$`, etag)

	var raw struct {
		Keys []map[string]string `json:"keys"`
	}
	require.NoError(t, json.Unmarshal(body, &raw))
	require.Len(t, raw.Keys, 4)
	for i, k := range raw.Keys {
		require.Equal(t, "sig", k["use"])
		want := []string{"kid", "use", "alg", "kty", "crv", "x", "y"}
		if k["alg"] == keys.RS256 {
			want = []string{"kid", "use", "alg", "kty", "e", "n"}
		}
		var have []string
		for member := range k {
			have = append(have, member)
		}
		require.ElementsMatch(t, want, have, "nothing private, nothing else")
		require.Equal(t, firstSet().List()[i].ID, k["kid"])
	}

	var foreign jose.JSONWebKeySet
	require.NoError(t, json.Unmarshal(body, &foreign))
	for _, k := range firstKeys() {
		found := foreign.Key(k.ID)
		require.Len(t, found, 1)
		require.True(t, found[0].Valid())
		require.True(t, found[0].IsPublic())
		require.Equal(t, k.Algorithm, found[0].Algorithm)
		require.True(t, k.Private.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(found[0].Key))
	}
}

func TestJWKSIsStable(t *testing.T) {
	body, etag := firstSet().JWKS(start)
	turned := slices.Clone(firstKeys())
	slices.Reverse(turned)
	other, otherTag := newSet(t, turned...).JWKS(start.Add(time.Hour))
	require.Equal(t, string(body), string(other), "the order in which the database gives them does not matter")
	require.Equal(t, etag, otherTag)
}

func TestJWKSFollowsTheStates_W06(t *testing.T) {
	one, two := planned(t, 1, 0), planned(t, 2, time.Hour)
	set := newSet(t, one, two)
	kids := func(after time.Duration) (out []string, etag string) {
		body, etag := set.JWKS(start.Add(after))
		var foreign jose.JSONWebKeySet
		require.NoError(t, json.Unmarshal(body, &foreign))
		for _, k := range foreign.Keys {
			out = append(out, k.KeyID)
		}
		return out, etag
	}
	both, tag := kids(0)
	require.Equal(t, []string{one.ID, two.ID}, both)
	both, retiredTag := kids(25 * time.Hour)
	require.Equal(t, []string{one.ID, two.ID}, both)
	require.Equal(t, tag, retiredTag)
	last, goneTag := kids(26 * time.Hour)
	require.Equal(t, []string{two.ID}, last)
	require.NotEqual(t, tag, goneTag)

	body, _ := newSet(t).JWKS(start)
	require.JSONEq(t, `{"keys":[]}`, string(body))
}

// The documents are made in advance, so each moment is asked whether it has the right one.
func TestJWKSHasWhatIsNotGone(t *testing.T) {
	one, two, three := planned(t, 1, 0), planned(t, 2, time.Hour), planned(t, 3, 3*time.Hour)
	next := planned(t, 4, 0)
	next.ActivateAt = time.Time{}
	set := newSet(t, next, three, one, two)
	for _, turn := range []time.Duration{0, time.Hour, 3 * time.Hour, time.Hour + keys.Keep, 3*time.Hour + keys.Keep, 1000 * time.Hour} {
		for _, around := range []time.Duration{-time.Hour, -1, 0, 1} {
			now := start.Add(turn + around)
			body, etag := set.JWKS(now)
			var document jose.JSONWebKeySet
			require.NoError(t, json.Unmarshal(body, &document))
			got := map[string]bool{}
			for _, k := range document.Keys {
				got[k.KeyID] = true
			}
			for _, k := range set.List() {
				require.Equal(t, set.State(k.ID, now) != keys.Gone, got[k.ID], "key %d at %s", k.Ordinal, now)
			}
			again, sameTag := set.JWKS(now)
			require.Equal(t, body, again)
			require.Equal(t, etag, sameTag)
		}
	}
	require.Zero(t, testing.AllocsPerRun(10, func() { set.JWKS(start) }))
}
