//go:build !unix

package postgres

import (
	"errors"
	"syscall"
	"time"
)

// Elsewhere a server ends with whoever watches it only, and the faults that need
// signals can not be injected.

const (
	sigKill = syscall.SIGKILL
	sigStop = syscall.SIGKILL
	sigCont = syscall.SIGKILL
)

var errSignals = errors.New("this fault needs the signals of a unix system")

// Child can not end a process with this one here.
func Child(syscall.Signal) *syscall.SysProcAttr { return nil }
func asUser(bool) *syscall.SysProcAttr          { return nil }
func giveToUser(string) error                   { return nil }
func gone(int) bool                             { return false }
func await(int, time.Duration) bool             { return false }
func send(int, syscall.Signal)                  {}
func signalTree(int, syscall.Signal) error      { return errSignals }
