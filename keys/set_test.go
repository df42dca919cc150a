package keys_test

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/grantorhq/grantor/keys"
)

func newSet(t require.TestingT, list ...keys.Key) *keys.Set {
	set, err := keys.NewSet(list)
	require.NoError(t, err)
	return set
}

// planned is a fresh ES256 key that signs from the start plus after.
func planned(t require.TestingT, ordinal int64, after time.Duration) keys.Key {
	k, err := keys.Generate(rand.Reader, keys.ES256, ordinal, start)
	require.NoError(t, err)
	k.ActivateAt = start.Add(after)
	return k
}

func TestStates_W06(t *testing.T) {
	one, two, three := planned(t, 1, 0), planned(t, 2, time.Hour), planned(t, 3, 0)
	three.ActivateAt = time.Time{}
	set := newSet(t, three, one, two)

	const tick = time.Nanosecond
	for _, c := range []struct {
		name            string
		after           time.Duration
		one, two, three keys.State
		signs           keys.Key
	}{
		{"a replica whose clock is behind", -time.Minute, keys.Active, keys.Next, keys.Next, one},
		{"the first moment", 0, keys.Active, keys.Next, keys.Next, one},
		{"before the rotation", time.Hour - tick, keys.Active, keys.Next, keys.Next, one},
		{"the rotation", time.Hour, keys.Retired, keys.Active, keys.Next, two},
		{"the last moment of a day-old token", 25*time.Hour + time.Minute - tick, keys.Retired, keys.Active, keys.Next, two},
		{"after it", 25*time.Hour + time.Minute, keys.Gone, keys.Active, keys.Next, two},
		{"much later", 10000 * time.Hour, keys.Gone, keys.Active, keys.Next, two},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := start.Add(c.after)
			require.Equal(t, c.one, set.State(one.ID, now))
			require.Equal(t, c.two, set.State(two.ID, now))
			require.Equal(t, c.three, set.State(three.ID, now))
			signer, err := set.Active(keys.ES256, now)
			require.NoError(t, err)
			require.Equal(t, c.signs.ID, signer.KeyID())
			require.Equal(t, keys.ES256, signer.Algorithm())
		})
	}
	require.Equal(t, keys.Gone, set.State("unknown", start))
	require.Equal(t, []string{one.ID, two.ID, three.ID}, ids(set.List()))

	_, err := set.Active(keys.RS256, start)
	require.ErrorIs(t, err, keys.ErrNoKey)
	_, err = newSet(t, three).Active(keys.ES256, start)
	require.ErrorIs(t, err, keys.ErrNoKey, "a key that is not planned does not sign")
}

func ids(list []keys.Key) (out []string) {
	for _, k := range list {
		out = append(out, k.ID)
	}
	return out
}

func TestNewSetRefuses(t *testing.T) {
	one := planned(t, 1, 0)
	twin := planned(t, 1, time.Hour)
	renamed := one
	renamed.ID = twin.ID
	for name, list := range map[string][]keys.Key{
		"one id twice":                   {one, one},
		"one ordinal twice":              {one, twin},
		"an id that is not the key's":    {renamed},
		"an algorithm that does not fit": {{ID: one.ID, Algorithm: keys.RS256, Private: one.Private}},
		"an unknown algorithm":           {{ID: one.ID, Algorithm: "HS256", Private: one.Private}},
		"a key without private part":     {{ID: one.ID, Algorithm: keys.ES256}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keys.NewSet(list)
			require.ErrorIs(t, err, keys.ErrKey)
		})
	}
}

func TestBootstrap_W05(t *testing.T) {
	require.Len(t, firstKeys(), 4)
	for _, algorithm := range keys.Algorithms() {
		one, two := pick(algorithm, 1), pick(algorithm, 2)
		require.Equal(t, start, one.ActivateAt)
		require.Zero(t, two.ActivateAt)
		require.Equal(t, keys.Active, firstSet().State(one.ID, start))
		require.Equal(t, keys.Next, firstSet().State(two.ID, start))
	}
}

func TestPlanRotation_W04(t *testing.T) {
	one, two := pick(keys.ES256, 1), pick(keys.ES256, 2)
	set := firstSet()
	for _, c := range []struct {
		name      string
		after, at time.Duration
	}{
		{"at once: the next key is not known yet", 0, keys.Publish},
		{"by a clock that is behind", -time.Minute, keys.Publish},
		{"a little later", keys.Publish - 1, keys.Publish},
		{"later: it is known", time.Hour, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, err := set.PlanRotation(rand.Reader, keys.ES256, start.Add(c.after))
			require.NoError(t, err)
			require.Equal(t, two.ID, plan.Activate)
			require.Equal(t, start.Add(c.at), plan.At)
			require.EqualValues(t, 3, plan.New.Ordinal)
			require.Equal(t, keys.ES256, plan.New.Algorithm)
			require.Equal(t, start.Add(c.after), plan.New.CreatedAt)
			require.Zero(t, plan.New.ActivateAt)
		})
	}

	_, err := newSet(t, one).PlanRotation(rand.Reader, keys.ES256, start)
	require.ErrorIs(t, err, keys.ErrNoKey)
	_, err = newSet(t, one, two).PlanRotation(rand.Reader, keys.RS256, start)
	require.ErrorIs(t, err, keys.ErrNoKey)
}

// The replica that planned the last rotation had a clock ahead of ours: to plan an
// earlier one would let a younger key sign before the older one.
func TestPlanRotationAfterAPlannedOne_W04(t *testing.T) {
	one, two, three := planned(t, 1, 0), planned(t, 2, 10*time.Minute), planned(t, 3, 0)
	three.CreatedAt, three.ActivateAt = start.Add(-time.Minute), time.Time{}
	plan, err := newSet(t, one, two, three).PlanRotation(rand.Reader, keys.ES256, start)
	require.NoError(t, err)
	require.Equal(t, three.ID, plan.Activate)
	require.Equal(t, two.ActivateAt, plan.At)
	require.EqualValues(t, 4, plan.New.Ordinal)

	three.ActivateAt = plan.At
	signer, err := newSet(t, three, two, one).Active(keys.ES256, plan.At)
	require.NoError(t, err)
	require.Equal(t, three.ID, signer.KeyID(), "of two that begin at one moment the younger signs")
}

// Random rotations by clocks that differ. However they fall, exactly one key signs,
// keys sign in the order of their ordinals, a key is published long enough before
// it signs, and a token verifies for a day after it was signed.
func TestRotations_W04(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := []keys.Key{pick(keys.ES256, 1), pick(keys.ES256, 2)}
		set := newSet(t, list...)
		type signed struct {
			token string
			at    time.Time
		}
		var tokens []signed
		now, lastOrdinal := start, int64(0)
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, int(20*time.Hour)).Draw(t, "pause")))
			if rapid.Bool().Draw(t, "at once") {
				now = now.Add(-time.Duration(rapid.IntRange(0, int(5*time.Second)).Draw(t, "skew")))
			}
			plan, err := set.PlanRotation(rand.Reader, keys.ES256, now)
			require.NoError(t, err)
			for i := range list {
				if list[i].ID == plan.Activate {
					require.False(t, plan.At.Before(list[i].CreatedAt.Add(keys.Publish)))
					list[i].ActivateAt = plan.At
				}
			}
			require.False(t, plan.At.Before(now))
			list = append(list, plan.New)
			set = newSet(t, list...)

			for _, at := range []time.Time{now, plan.At} {
				active := 0
				for _, k := range list {
					if set.State(k.ID, at) == keys.Active {
						active++
						if at.Equal(plan.At) {
							require.GreaterOrEqual(t, k.Ordinal, lastOrdinal)
							lastOrdinal = k.Ordinal
						}
					}
				}
				require.Equal(t, 1, active)
				signer, err := set.Active(keys.ES256, at)
				require.NoError(t, err)
				token, err := signer.Sign(rand.Reader, keys.TypeAccessToken, []byte("{}"))
				require.NoError(t, err)
				tokens = append(tokens, signed{token, at})
			}
			for _, s := range tokens {
				if _, err := set.Verify(s.token, keys.TypeAccessToken, s.at.Add(24*time.Hour)); err != nil {
					t.Fatalf("signed at %s, does not verify a day later", s.at)
				}
			}
		}
	})
}

func TestStandings_follow_a_rotation(t *testing.T) {
	t.Parallel()
	list, err := keys.Bootstrap(rand.Reader, start)
	require.NoError(t, err)
	set, err := keys.NewSet(list)
	require.NoError(t, err)
	later := start.Add(time.Hour)
	require.Len(t, set.Standings(later), len(keys.Algorithms()))
	require.Equal(t, keys.Standing{Algorithm: keys.Algorithms()[0], Since: start, Waiting: 1}, set.Standings(later)[0])

	plan, err := set.PlanRotation(rand.Reader, keys.Algorithms()[0], start)
	require.NoError(t, err)
	for i := range list {
		if list[i].ID == plan.Activate {
			list[i].ActivateAt = plan.At
		}
	}
	set, err = keys.NewSet(append(list, plan.New))
	require.NoError(t, err)
	require.Equal(t, keys.Standing{Algorithm: keys.Algorithms()[0], Since: start, Next: plan.At, Waiting: 1}, set.Standings(start)[0])
	require.Equal(t, keys.Standing{Algorithm: keys.Algorithms()[0], Since: plan.At, Waiting: 1}, set.Standings(plan.At)[0])
}
