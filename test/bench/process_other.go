//go:build !linux

package main

import (
	"errors"
	"time"
)

// The numbers come from /proc, so there are none without it.
var errNoProc = errors.New("CPU time and memory are read from /proc: run this on Linux")

func processCPU(int) (time.Duration, error)  { return 0, errNoProc }
func treeCPU(int) (time.Duration, error)     { return 0, errNoProc }
func backendsCPU(int) (time.Duration, error) { return 0, errNoProc }
func familyOf(int) ([]int, error)            { return nil, errNoProc }
func resident([]int) (footprint, error)      { return footprint{}, errNoProc }
func availableBytes() int64                  { return 0 }
func hugePages() (used, unused int64)        { return 0, 0 }
func freeBytes(string) int64                 { return 0 }
func loadAverage() string                    { return "unknown" }
func processorName() string                  { return "unknown" }
func kernel() string                         { return "unknown" }
