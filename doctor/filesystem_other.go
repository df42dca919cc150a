//go:build !linux

package doctor

// networkFilesystem is not known here.
func networkFilesystem(string) string { return "" }
