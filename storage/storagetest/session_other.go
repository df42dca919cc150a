//go:build !unix

package storagetest

import "syscall"

func inOwnSession() *syscall.SysProcAttr { return nil }
