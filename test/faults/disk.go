//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
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
