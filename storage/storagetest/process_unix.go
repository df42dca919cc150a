//go:build unix

package storagetest

import (
	"bytes"
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func inOwnSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// asServerUser steps down from root, because PostgreSQL refuses to run as root.
func asServerUser() *syscall.SysProcAttr {
	attr := inOwnSession()
	if uid, gid, ok := serverUser(); ok {
		attr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	return attr
}

func giveToServerUser(folder string) error {
	if uid, gid, ok := serverUser(); ok {
		return os.Chown(folder, int(uid), int(gid))
	}
	return nil
}

func serverUser() (uid, gid uint32, ok bool) {
	if os.Geteuid() != 0 {
		return 0, 0, false
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		id, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			continue
		}
		group, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			continue
		}
		return uint32(id), uint32(group), true
	}
	return 0, 0, false
}

// gone says whether our child has ended, and reaps it if so.
func gone(pid int) bool {
	var status syscall.WaitStatus
	got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
	return got == pid || errors.Is(err, syscall.ECHILD)
}

// await waits for our child to end.
func await(pid int, limit time.Duration) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !gone(pid) {
		select {
		case <-deadline.C:
			return false
		case <-tick.C:
		}
	}
	return true
}

// interrupt is a fast shutdown to PostgreSQL.
func interrupt(pid int) { _ = syscall.Kill(pid, syscall.SIGINT) }

// killTree freezes the postmaster first: it must not see its children die, or it
// would begin a recovery of its own.
func killTree(pid int) {
	if gone(pid) {
		return // the number may belong to somebody else by now
	}
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	children, _ := childrenOf(pid)
	for _, child := range children {
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

// pauseTree freezes the postmaster before its children, so that no new one appears.
func pauseTree(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	return signalChildren(pid, syscall.SIGSTOP)
}

func resumeTree(pid int) error {
	if err := signalChildren(pid, syscall.SIGCONT); err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGCONT)
}

func signalChildren(pid int, sig syscall.Signal) error {
	children, err := childrenOf(pid)
	if err != nil {
		return err
	}
	for _, child := range children {
		_ = syscall.Kill(child, sig)
	}
	return nil
}

// childrenOf reads the process table. PostgreSQL's children lead sessions of their
// own, so a signal to the group would miss them.
func childrenOf(pid int) ([]int, error) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	if len(stats) == 0 {
		return nil, errors.New("no process table under /proc: this fault can only be injected on Linux")
	}
	var children []int
	for _, stat := range stats {
		text, err := os.ReadFile(stat)
		if err != nil {
			continue // it has just ended
		}
		// "123 (name that may hold anything) S 1 …": the parent is the second field after the last parenthesis.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) < 2 || fields[1] != strconv.Itoa(pid) {
			continue
		}
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
		if err == nil {
			children = append(children, child)
		}
	}
	return children, nil
}
