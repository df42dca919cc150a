package browser_test

import "syscall"

// dieWithUs ends a program with the test process, however that one ends.
func dieWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
