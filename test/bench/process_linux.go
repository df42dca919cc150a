package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tickLength is USER_HZ, which Linux fixes at 100 for every program.
const tickLength = 10 * time.Millisecond

// stat is the fields of /proc/PID/stat behind the name: the first is the state.
func stat(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 15 {
		return nil, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return fields, nil
}

func ticks(fields []string, indexes ...int) (sum time.Duration) {
	for _, i := range indexes {
		n, _ := strconv.ParseInt(fields[i], 10, 64)
		sum += time.Duration(n) * tickLength
	}
	return sum
}

// processCPU is the user and system time of all threads of a process.
func processCPU(pid int) (time.Duration, error) {
	fields, err := stat(pid)
	if err != nil {
		return 0, err
	}
	return ticks(fields, 11, 12), nil
}

// treeCPU is that of a process and all that it started, with those that ended.
func treeCPU(pid int) (sum time.Duration, err error) {
	pids, err := familyOf(pid)
	if err != nil {
		return 0, err
	}
	for i, one := range pids {
		fields, err := stat(one)
		if err != nil && i == 0 {
			return 0, err
		}
		if err == nil { // a child may have ended meanwhile: then its parent has its time
			sum += ticks(fields, 11, 12, 13, 14)
		}
	}
	return sum, nil
}

// backendsCPU is that of a process whose children have one thread each, PostgreSQL. Of
// each child the scheduler's own count is taken, in nanoseconds: 16 times up to a tick
// would be several per cent of a short step.
func backendsCPU(pid int) (time.Duration, error) {
	fields, err := stat(pid)
	if err != nil {
		return 0, err
	}
	sum := ticks(fields, 11, 12, 13, 14)
	family, err := familyOf(pid)
	if err != nil {
		return 0, err
	}
	for _, child := range family[1:] {
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", child)); err == nil {
			ns, _, _ := strings.Cut(string(text), " ")
			n, err := strconv.ParseInt(ns, 10, 64)
			if err == nil && n > 0 {
				sum += time.Duration(n)
				continue
			}
		}
		if own, err := processCPU(child); err == nil {
			sum += own
		}
	}
	return sum, nil
}

// familyOf is a process, its children and theirs, and so on.
func familyOf(pid int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[string][]int{}
	for _, name := range stats {
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if fields, err := stat(child); err == nil {
			children[fields[1]] = append(children[fields[1]], child)
		}
	}
	family := []int{pid}
	for i := 0; i < len(family); i++ {
		family = append(family, children[strconv.Itoa(family[i])]...)
	}
	return family, nil
}

// resident is the physical memory of processes. One that ended has none.
func resident(pids []int) (sum footprint, err error) {
	for i, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil && i == 0 {
			return footprint{}, err
		}
		sum.onceKiB += int(lineOf(text, "Pss"))
		sum.eachKiB += int(lineOf(text, "Rss"))
		if sum.onceKiB == 0 {
			return footprint{}, fmt.Errorf("/proc/%d/smaps_rollup tells no Pss", pid)
		}
	}
	return sum, nil
}

// availableBytes is the memory that a program can have without swapping.
func availableBytes() int64 {
	_, unused := hugePages()
	return memory("MemAvailable")<<10 + unused
}

// hugePages are those that the machine's administrator has reserved, in bytes. PostgreSQL
// takes them for its shared memory.
func hugePages() (used, unused int64) {
	size := memory("Hugepagesize") << 10
	unused = (memory("HugePages_Free") - memory("HugePages_Rsvd")) * size
	return memory("HugePages_Total")*size - unused, unused
}

// memory is a line of the kernel's, in its own unit.
func memory(name string) int64 {
	text, _ := os.ReadFile("/proc/meminfo")
	return lineOf(text, name)
}

// lineOf is the number in a line of "name: number kB", as files of /proc have them.
func lineOf(text []byte, name string) int64 {
	_, rest, _ := strings.Cut(string(text), "\n"+name+":")
	line, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(line, "kB")), 10, 64)
	return n
}

// freeBytes is the room that is left where the folder is.
func freeBytes(folder string) int64 {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return 0
	}
	return int64(s.Bavail) * s.Bsize
}

// loadAverage is the machine's, of the last minute and the last five.
func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return "unknown"
	}
	return fields[0] + " " + fields[1]
}

func processorName() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	_, rest, _ := strings.Cut(string(text), "model name")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Trim(line, " \t:")
}

func kernel() string {
	text, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(string(text))
}
