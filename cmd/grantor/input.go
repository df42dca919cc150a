package main

import (
	"bufio"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strings"
)

// readLine reads one line of standard input: a secret that must not be seen in the
// list of processes. Only the line's end is cut off; blanks may be meant.
func readLine(r io.Reader, what string, most int) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, int64(most)+3)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the %s from standard input: %w", what, err)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if text == "" {
		return "", &usageError{message: "standard input holds no " + what, hint: "write it on one line, for example: grantor … < file"}
	}
	if len(text) > most {
		return "", &usageError{message: fmt.Sprintf("the %s is longer than %d bytes", what, most), hint: "choose a shorter one"}
	}
	return text, nil
}

// newPassword draws 120 random bits as text that is easy to copy and that no shell touches.
func newPassword(rand io.Reader) (string, error) {
	var raw [15]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return "", fmt.Errorf("draw password: %w", err)
	}
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").EncodeToString(raw[:]), nil
}
