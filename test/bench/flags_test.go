package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFlags_that_make_no_sense_are_refused(t *testing.T) {
	for _, args := range [][]string{
		{"-databases", "oracle"},
		{"-scenarios", "mixed,weather"},
		{"-rounds", "0"},
		{"-slices", "21"},
		{"-concurrency", "41"},
		{"-duration", "1ms"},
		{"-mixed-duration", "1h"},
		{"-users", "0"},
		{"-grants", "100"},
		{"-chains", "3"},
		{"-mixed-share", "0"},
		{"-logins", "0"},
		{"-aged", "8"},
		{"-expired", "0"},
		{"-growth", "10"},
		{"-growth", "5000,4000"},
		{"-growth", "many"},
		{"-growth", ""},
		{"surplus"},
	} {
		_, err := parseFlags(args)
		require.Error(t, err, "%q", args)
	}
}

func TestA_full_run_has_every_part_and_a_quick_one_is_small(t *testing.T) {
	full, err := parseFlags(nil)
	require.NoError(t, err)
	require.True(t, full.firstBuild)
	require.Equal(t, 5, full.rounds)
	require.Equal(t, []int{10_000, 1_000_000, 10_000_000}, full.growth)
	for _, scenario := range []string{replicasScenario, mixedScenario, vitalsScenario, growthScenario} {
		require.True(t, full.plays(scenario), scenario)
	}
	require.GreaterOrEqual(t, float64(full.rounds)*full.share(2).Seconds(), 2.0, "at half the rate each target is asked for at least 2 s")
	require.GreaterOrEqual(t, full.mixedDuration, 10*time.Second)
	for _, kind := range []string{postgres, sqlite} {
		require.True(t, full.asks(kind))
	}

	quick, err := parseFlags([]string{"-quick"})
	require.NoError(t, err)
	require.False(t, quick.firstBuild)
	require.Equal(t, 1, quick.rounds)
	require.Less(t, quick.growth[len(quick.growth)-1], 10_000)
}

func TestQuick_leaves_alone_what_was_asked_for(t *testing.T) {
	o, err := parseFlags([]string{"-rounds", "3", "-quick", "-growth", "2000,3000", "-first-build"})
	require.NoError(t, err)
	require.Equal(t, 3, o.rounds)
	require.Equal(t, []int{2000, 3000}, o.growth)
	require.True(t, o.firstBuild)
	require.Equal(t, 150*time.Millisecond, o.duration)
}

func TestOperations_are_chosen_by_the_beginning_of_their_name(t *testing.T) {
	o, err := parseFlags([]string{"-operations", "refresh,jwks", "-scenarios", "growth"})
	require.NoError(t, err)
	var names []string
	for _, op := range o.list() {
		names = append(names, op.name)
	}
	require.Equal(t, []string{"refresh/jwt", "refresh/opaque", "jwks"}, names)

	o, err = parseFlags([]string{"-operations", "none", "-scenarios", "growth"})
	require.NoError(t, err)
	require.Empty(t, o.list())
	require.False(t, o.asks(postgres), "growth has databases of its own")
}

func TestSizes_that_do_not_fit_are_left_out(t *testing.T) {
	all := []int{10_000, 1_000_000, 10_000_000}
	fit, out := fitting(all, 23<<30, 56<<30)
	require.Equal(t, all, fit)
	require.Empty(t, out)
	fit, out = fitting(all, 23<<30, 20<<30)
	require.Equal(t, all[:2], fit, "the disk is too small")
	require.Equal(t, all[2:], out)
	fit, out = fitting(all, 1<<30, 1<<30)
	require.Equal(t, all[:1], fit, "one size is always tried")
	require.Len(t, out, 2)
	require.Equal(t, []int{10_000, 1_000_000, 10_000_000}, all)
}
