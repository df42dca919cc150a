package main

import (
	"os"
	"strconv"
)

// descriptors counts the open files of a process.
func descriptors(pid int) int {
	list, _ := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
	return len(list)
}
