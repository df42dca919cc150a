package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// build makes the programs as `make build` does.
func (b *benchmark) build(ctx context.Context) error {
	progress("building")
	b.binary, b.floor = filepath.Join(b.dir, "grantor"), filepath.Join(b.dir, "floor")
	for binary, program := range map[string]string{b.binary: "./cmd/grantor", b.floor: "./test/bench/floor"} {
		if err := build(ctx, os.Environ(), binary, program); err != nil {
			return err
		}
	}
	return nil
}

func build(ctx context.Context, env []string, binary, program string) error {
	_, err := run(ctx, ".", append(env, "CGO_ENABLED=0"), "go", "build", "-tags", "nopgxregisterdefaulttypes,grpcnotrace", "-trimpath", "-ldflags", "-s -w", "-o", binary, program)
	return err
}

// firstBuild times what somebody waits for who has just cloned the repository and has
// the modules: everything is compiled, the standard library too.
func (b *benchmark) firstBuild(ctx context.Context) error {
	progress("first build")
	cache := filepath.Join(b.dir, "gocache")
	began := time.Now()
	if err := build(ctx, append(os.Environ(), "GOCACHE="+cache), filepath.Join(b.dir, "first"), "./cmd/grantor"); err != nil {
		return fmt.Errorf("first build: %w", err)
	}
	b.r.FirstBuildSecs = time.Since(began).Seconds()
	return os.RemoveAll(cache)
}
