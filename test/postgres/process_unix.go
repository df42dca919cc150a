//go:build unix

package postgres

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

const (
	sigKill = syscall.SIGKILL
	sigStop = syscall.SIGSTOP
	sigCont = syscall.SIGCONT
)

// asUser steps down from root, because PostgreSQL refuses to run as root. One that is
// no child leads a session of its own: an interrupt at the terminal is not for it.
func asUser(child bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if child {
		attr = Child(syscall.SIGQUIT)
	}
	if uid, gid, ok := serverUser(); ok {
		attr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	return attr
}

func giveToUser(folder string) error {
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
		id, errID := strconv.ParseUint(u.Uid, 10, 32)
		group, errGroup := strconv.ParseUint(u.Gid, 10, 32)
		if errID == nil && errGroup == nil {
			return uint32(id), uint32(group), true
		}
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

// send is for a child that was not reaped, so the number is its.
func send(pid int, signal syscall.Signal) { _ = syscall.Kill(pid, signal) }

// signalTree stops a parent before its children, so that it sees none of them go and
// makes no new ones. The parent itself gets the signal last. PostgreSQL's children lead
// sessions of their own, so a signal to the group would miss them.
func signalTree(pid int, signal syscall.Signal) error {
	if gone(pid) {
		return nil // the number may belong to somebody else by now
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	children, err := childrenOf(pid)
	for _, child := range children {
		_ = syscall.Kill(child, signal) // it may just have ended
	}
	return errors.Join(err, syscall.Kill(pid, signal))
}

func childrenOf(pid int) (children []int, err error) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	if len(stats) == 0 {
		return nil, errors.New("no process table under /proc: this fault can only be injected on Linux")
	}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has just ended
		}
		// "123 (name that may hold anything) S 1 …": the parent is the second field after the last parenthesis.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil && len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			children = append(children, child)
		}
	}
	return children, nil
}
