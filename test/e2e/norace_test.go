//go:build !race

package e2e_test

// As releases are built.
var buildFlags = []string{"-tags", "nopgxregisterdefaulttypes,grpcnotrace"}
