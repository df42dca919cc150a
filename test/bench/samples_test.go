package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func rates(list ...float64) (samples []sample) {
	for _, v := range list {
		samples = append(samples, sample{Rate: v})
	}
	return samples
}

func TestThe_middle_is_the_median_and_leaves_the_list_as_it_is(t *testing.T) {
	list := []float64{9, 1, 5}
	require.InDelta(t, 5.0, middle(list), 0)
	require.Equal(t, []float64{9, 1, 5}, list)
	require.InDelta(t, 3.0, middle([]float64{5, 1}), 0)
	require.Zero(t, middle(nil))
}

func TestA_ratio_is_the_median_of_the_ratios_not_the_ratio_of_medians(t *testing.T) {
	// Round 3 was disturbed, for both.
	over, under := rates(50, 60, 1), rates(100, 100, 10)
	require.InDelta(t, 0.5, ratio(over, under, rateOf), 1e-9)
	require.InDelta(t, 50.0, median(over, rateOf), 0)
	require.Zero(t, ratio(over, nil, rateOf), "nothing to compare with is not measured")
	require.InDelta(t, 0.6, ratio(rates(50, 60), rates(0, 100), rateOf), 1e-9, "a round without the other counts nothing")
}

func TestA_quantile_is_told_in_microseconds(t *testing.T) {
	var sorted []uint32
	for i := range uint32(101) {
		sorted = append(sorted, i*1000)
	}
	require.InDelta(t, 50.0, quantile(sorted, 0.5), 0)
	require.InDelta(t, 99.0, quantile(sorted, 0.99), 0)
	require.Zero(t, quantile(nil, 0.99))
	require.Equal(t, uint32(4e9), nanoseconds(time.Hour), "what does not fit is the most that does")
}

func TestSlices_of_a_turn_are_one_sample(t *testing.T) {
	var m sample
	m.join(sample{Count: 100, elapsed: time.Second, took: []uint32{2000}, used: usage{server: time.Millisecond}})
	m.join(sample{Count: 300, elapsed: time.Second, took: []uint32{1000}, used: usage{server: time.Millisecond, database: 4 * time.Millisecond}})
	m.summarize()
	require.InDelta(t, 200.0, m.Rate, 0)
	require.InDelta(t, 5.0, m.Server, 0)
	require.InDelta(t, 10.0, m.Database, 0)
	require.InDelta(t, 2.0, m.P99, 0)
}

func TestA_storm_counts_as_done_only_what_was_answered_while_it_lasted(t *testing.T) {
	s := stormSample{taken: []uint32{3e6, 1e6, 2e6}, turned: []uint32{1000, 1000, 1000, 1000, 1000}, lates: []uint32{5000}, Answered: 7}
	s.summarize(2 * time.Second)
	require.InDelta(t, 4.0, s.Offered, 0)
	require.InDelta(t, 1.0, s.Done, 0, "one of three was still in the queue")
	require.InDelta(t, 2.5, s.TurnedAway, 0)
	require.InDelta(t, 2000.0, s.DoneP50, 0)
	require.InDelta(t, 1.0, s.TurnedP99, 0)
	require.InDelta(t, 5.0, s.SentLateP99, 0)
}
