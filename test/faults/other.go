//go:build !linux

// Command faults needs Linux.
package main

import "os"

func main() {
	_, _ = os.Stderr.WriteString("faults: needs Linux\n")
	os.Exit(1)
}
