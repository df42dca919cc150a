//go:build !faults

package main

import "time"

func clock() func() time.Time { return time.Now }
