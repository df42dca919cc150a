package main

import (
	"errors"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// yieldAlways lets everybody else go first, in the two ways that Linux has. Where one is
// forbidden or unknown, the lowest priority must do.
func yieldAlways() {
	idle()
	go lastGroup()
}

// lastGroup gives this session the lowest priority among sessions: where they are grouped
// (sched_autogroup_enabled, see sched(7)), the priorities of processes count within a
// session only. A database's processes have sessions of their own.
func lastGroup() {
	for range 50 {
		err := os.WriteFile("/proc/self/autogroup", []byte("19"), 0)
		if !errors.Is(err, syscall.EAGAIN) { // one change in a tenth of a second, for the whole machine
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// idle makes all threads of this process SCHED_IDLE: whoever else wakes up takes the
// processor at once, where the lowest priority alone may keep it for some milliseconds.
// For who has another session that is not so, and they wait until a slice of time is over:
// it is the shortest that Linux has (6.12 and later; before, nothing changes).
//
// Threads that are made later are like the one that makes them, so it goes on until it
// finds no other.
func idle() {
	const (
		schedIdle = 5
		shortest  = 100_000 // nanoseconds
		most      = 10
	)
	for range most {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return
		}
		changed := false
		for _, thread := range threads {
			id, err := strconv.Atoi(thread.Name())
			if err != nil {
				return
			}
			policy, _, _ := syscall.RawSyscall(syscall.SYS_SCHED_GETSCHEDULER, uintptr(id), 0, 0)
			if policy == schedIdle {
				continue
			}
			// The slice comes first: SCHED_IDLE keeps it, and can not set it. The policy is set by the older call, which more sandboxes allow.
			_ = unix.SchedSetAttr(id, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Nice: lowest, Runtime: shortest}, 0)
			var priority int32 // struct sched_param; 0 is the only one that this policy knows
			_, _, failed := syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, uintptr(id), schedIdle, uintptr(unsafe.Pointer(&priority)))
			if failed != 0 && failed != syscall.ESRCH {
				return
			}
			changed = true
		}
		if !changed {
			return
		}
	}
}
