//go:build race

package e2e_test

// The program under test is built as the test is.
var buildFlags = []string{"-race"}
