package grantor_test

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/dependencies.txt again")

const dependencies = "docs/dependencies.txt"

// Every module in the binary is code that we answer for. The list is committed, so
// that a new one is seen in review and not found later.
func TestDependencies_of_the_program_are_the_committed_ones(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", "./cmd/grantor")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	lines := strings.Fields(strings.ReplaceAll(string(out), " ", "@"))
	slices.Sort(lines)
	got := strings.ReplaceAll(strings.Join(slices.Compact(lines), "\n"), "@", " ") + "\n"

	if *update {
		require.NoError(t, os.WriteFile(dependencies, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(dependencies)
	require.NoError(t, err)
	for _, change := range []struct{ what, from, to string }{{"new", string(want), got}, {"gone", got, string(want)}} {
		for line := range strings.Lines(change.to) {
			if !strings.Contains("\n"+change.from, "\n"+line) {
				t.Errorf("%s: %s", change.what, line)
			}
		}
	}
	if t.Failed() {
		t.Error("what the program links has changed; if that is meant: go test -run TestDependencies -update .")
	}
}
