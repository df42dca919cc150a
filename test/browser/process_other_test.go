//go:build !linux

package browser_test

import "syscall"

func dieWithUs() *syscall.SysProcAttr { return nil }
