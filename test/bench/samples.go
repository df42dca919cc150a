package main

import "slices"

func median(list []sample, of func(sample) float64) float64 {
	values := make([]float64, len(list))
	for i, m := range list {
		values[i] = of(m)
	}
	return middle(values)
}

// ratio is the median of the rounds' ratios: what disturbed a round disturbed both.
func ratio(over, under []sample, of func(sample) float64) float64 {
	var values []float64
	for i := range min(len(over), len(under)) {
		if d := of(under[i]); d > 0 {
			values = append(values, of(over[i])/d)
		}
	}
	return middle(values)
}

// middle is the median; 0 of nothing.
func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

func rateOf(m sample) float64     { return m.Rate }
func p50Of(m sample) float64      { return m.P50 }
func p99Of(m sample) float64      { return m.P99 }
func serverOf(m sample) float64   { return m.Server }
func databaseOf(m sample) float64 { return m.Database }
func ownOf(m sample) float64      { return m.Own }
func allOf(m sample) float64      { return m.Server + m.Database }
