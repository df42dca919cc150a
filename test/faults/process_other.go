//go:build !linux

package main

import (
	"errors"
	"syscall"
)

func childAttr(syscall.Signal, bool) *syscall.SysProcAttr { return nil }

func serverUser() (uid, gid uint32, ok bool) { return 0, 0, false }

func signalTree(int, syscall.Signal) error {
	return errors.New("faults are injected through /proc: on Linux only")
}

func descriptors(int) int { return 0 }
