//go:build faults

package main

import (
	"os"
	"time"
)

// clock is wrong by what the file FAULTS_CLOCK says, a duration, now. test/faults builds
// the program so; nobody else does. A real step leaves durations within the process alone;
// this one does not, so it is the harder test.
func clock() func() time.Time {
	file := os.Getenv("FAULTS_CLOCK")
	return func() time.Time {
		now := time.Now()
		text, err := os.ReadFile(file)
		if err != nil {
			return now
		}
		by, err := time.ParseDuration(string(text))
		if err != nil {
			return now
		}
		return now.Add(by)
	}
}
