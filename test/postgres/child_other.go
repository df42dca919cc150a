//go:build unix && !linux

package postgres

import "syscall"

// Child can not end a process with this one here.
func Child(syscall.Signal) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
