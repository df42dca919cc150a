package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
)

// shrink gives back what only the start of the program needed: garbage, and pages of its
// file, some 20 MB, of which a server goes on to use 5 while it is idle, and a worker 6. They
// stay in the page cache until somebody needs the memory, and come back with a fault.
//
// Only what can not be written and holds no page of our own is given back: that much
// can be read from the file again. Where anything is unclear, nothing happens.
func shrink() {
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	var from, to uintptr // the last mapping, if it is a file that can not be written, and has no page of our own
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var mode, file string
		var start, end, offset, inode, own uintptr
		line := lines.Text()
		if n, _ := fmt.Sscanf(line, "%x-%x %4s %x %s %d", &start, &end, &mode, &offset, &file, &inode); n == 6 {
			from, to = 0, 0
			if (mode == "r-xp" || mode == "r--p") && inode != 0 {
				from, to = start, end
			}
		} else if n, _ := fmt.Sscanf(line, "Anonymous: %d kB", &own); n == 1 && own > 0 {
			from, to = 0, 0
		} else if n, _ := fmt.Sscanf(line, "Swap: %d kB", &own); n == 1 && own == 0 && to > from { // it comes after Anonymous
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED)
		}
	}
}
