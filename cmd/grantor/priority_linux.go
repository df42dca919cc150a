package main

import (
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

// yieldAlways makes all threads of this process SCHED_IDLE: whoever else wakes up takes
// the processor at once, where the lowest priority alone may keep it for some
// milliseconds. Threads that are made later are like the one that makes them, so it goes
// on until it finds no other. Where it is forbidden the lowest priority must do.
func yieldAlways() {
	const (
		schedIdle = 5
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
