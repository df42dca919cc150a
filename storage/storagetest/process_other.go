//go:build !unix

package storagetest

import (
	"errors"
	"syscall"
	"time"
)

// Elsewhere the throw-away server ends with its watcher only, and the faults that
// need signals can not be injected.

var errSignals = errors.New("this fault needs the signals of a unix system")

func inOwnSession() *syscall.SysProcAttr { return nil }
func asServerUser() *syscall.SysProcAttr { return nil }
func giveToServerUser(string) error      { return nil }
func gone(int) bool                      { return false }
func await(int, time.Duration) bool      { return false }
func interrupt(int)                      {}
func killTree(int)                       {}
func pauseTree(int) error                { return errSignals }
func resumeTree(int) error               { return errSignals }
