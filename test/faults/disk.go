//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// errSkipped: this machine does not let us do it.
var errSkipped = errors.New("skipped")

// mount makes a small file system in memory, which root may.
func mount(folder, size string) (unmount func(), err error) {
	if err := os.Mkdir(folder, 0o711); err != nil { //nolint:gosec // PostgreSQL's user walks through it
		return nil, err
	}
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "mode=0711,size="+size); err != nil {
		return nil, fmt.Errorf("%w: no file system of %s can be mounted: %w", errSkipped, size, err)
	}
	return func() { _ = syscall.Unmount(folder, syscall.MNT_DETACH) }, nil
}

// fillDisk leaves no room on the stage's file system, and again no room when some comes
// free, until it is lifted.
func fillDisk(ctx context.Context, st *stage) error {
	ballast, err := os.OpenFile(filepath.Join(st.dir, "disk", "ballast"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer ballast.Close()
	st.begins("fill the file system")
	block := make([]byte, 4<<10)
	before, held := st.journal.missed(), st.chance.between(time.Second, 4*time.Second)
	felt := false // there may be a little room inside files
	for end := time.Now().Add(patience); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, 5*time.Millisecond) {
		if !felt && st.journal.missed() > before {
			felt, end = true, time.Now().Add(held)
		}
		for err = nil; err == nil; {
			_, err = ballast.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return err
		}
	}
	if err := ballast.Truncate(0); err != nil {
		return err
	}
	// PostgreSQL gives up when it can not write its log. Its operator starts it again.
	if !st.fault.sqlite && st.primary().Ended() {
		if err := st.primary().Start(ctx); err != nil {
			return err
		}
	}
	st.lifted("there is room")
	return nil
}
