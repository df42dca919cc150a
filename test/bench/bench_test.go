//go:build linux

package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/storage/storagetest"
)

// Nobody runs the benchmark every day, and the floor server has its statements' arguments
// written out: what changes a statement must not find out at the next measurement.
func TestBench_asks_everything_that_there_is(t *testing.T) {
	storagetest.NeedPostgres(t)
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	// A process of its own: children end with the thread that started them.
	program := filepath.Join(t.TempDir(), "bench")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	cmd := exec.CommandContext(t.Context(), program, "-quick", "-databases", "postgres", "-scenarios", "none")
	cmd.Dir = "../.."
	out, err = cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "| revoke/access_token |")
}
