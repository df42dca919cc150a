//go:build unix

package main

import (
	"os"
	"syscall"
)

// ownGroup keeps a child out of the reach of a terminal's Ctrl-C, and in a session of its
// own, which is what Linux shares the processors out to first: see yieldAlways.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// lowest is the priority of whoever has all others go first.
const lowest = 19

// lowerPriority takes the group, because for one process Linux would change one thread.
// It can not fail for who asks for less; if it did, hashing would be no worse than without.
func lowerPriority() {
	if syscall.Getpgrp() == os.Getpid() {
		_ = syscall.Setpriority(syscall.PRIO_PGRP, 0, lowest)
		yieldAlways()
	}
}
