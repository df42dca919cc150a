package postgres

import "syscall"

// Child ends a process with this one, however this one ends: the kernel sends it the
// signal when the thread that started it is gone. So the caller must hold its thread.
func Child(signal syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: signal, Setpgid: true}
}
