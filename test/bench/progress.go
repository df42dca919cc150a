package main

import (
	"fmt"
	"os"
)

// progress says on standard error what is done now. A terminal shows the last of
// these; a file gets a line each.
func progress(format string, args ...any) {
	if onTerminal() {
		fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
		return
	}
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// endProgress makes room for what is printed next.
func endProgress() {
	if onTerminal() {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
}

func onTerminal() bool {
	info, err := os.Stderr.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
