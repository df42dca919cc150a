package main

import (
	"bufio"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestA_server_is_measured_with_its_children(t *testing.T) {
	// The child's child is what prints.
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo $$; read line; exit 0'; exit 0`)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	child, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)

	family, err := familyOf(cmd.Process.Pid)
	require.NoError(t, err)
	require.Equal(t, []int{cmd.Process.Pid, child}, family)
	one, err := resident(family[:1])
	require.NoError(t, err)
	both, err := resident(family)
	require.NoError(t, err)
	require.Greater(t, both.onceKiB, one.onceKiB)
	require.Greater(t, both.eachKiB, both.onceKiB, "two shells share the pages of one file")
	own, err := processCPU(cmd.Process.Pid)
	require.NoError(t, err)
	all, err := treeCPU(cmd.Process.Pid)
	require.NoError(t, err)
	require.Greater(t, all, own, "what the child works is the server's work")

	_, err = resident([]int{1 << 30})
	require.Error(t, err)
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
}
