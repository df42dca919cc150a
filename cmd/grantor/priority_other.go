//go:build !unix

package main

import "syscall"

// Elsewhere the process has the priority of the server.

func ownGroup() *syscall.SysProcAttr { return nil }
func lowerPriority()                 {}
