package config

import (
	"fmt"
	"strings"
)

// Fault is one thing that is wrong with the settings.
type Fault struct {
	Setting string // the key, or the name of a variable or file that means none
	Origin  string // where the value came from; "" when Setting says it
	Problem string
	Hint    string // what to do
}

func (f Fault) Error() string {
	if f.Origin == "" {
		return f.Setting + " " + f.Problem
	}
	return fmt.Sprintf("%s (%s) %s", f.Setting, f.Origin, f.Problem)
}

// Faults is all that is wrong at once.
type Faults []Fault

func (list Faults) Error() string {
	var lines []string
	for _, f := range list {
		lines = append(lines, f.Error())
	}
	return strings.Join(lines, "; ")
}

// Unwrap lets errors.As find a single fault.
func (list Faults) Unwrap() []error {
	errs := make([]error, len(list))
	for i, f := range list {
		errs[i] = f
	}
	return errs
}

// suggest is the end of a hint: the name that was probably meant, if one is near.
func suggest(name string, known []string) string {
	best, distance := "", len(name)/3+1
	for _, k := range known {
		if d := edits(name, k); d < distance || d == distance && best == "" {
			best, distance = k, d
		}
	}
	return best
}

// edits is the Levenshtein distance of two ASCII words.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
