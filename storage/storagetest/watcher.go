package storagetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// A watcher is a shell that ends a server and removes its folder when our end of
// its pipe closes: because remove closed it, or because this process is gone. It
// is told the server's process number whenever that changes, 0 for none.
//
// A death signal (PR_SET_PDEATHSIG) would not do: it belongs to a thread, it can not
// remove files, and SIGKILL leaves PostgreSQL's shared memory segment behind.
type watcher struct {
	cmd  *exec.Cmd
	pipe *os.File
}

// SIGQUIT is PostgreSQL's immediate shutdown: it frees its shared memory and ends
// its children. After a kill the segment is named in the seventh line of postmaster.pid.
const watcherScript = `
folder=$1 pid=0
alive() { kill -0 "$pid" && ! grep -q ') Z ' "/proc/$pid/stat"; } # an orphan may wait long for its reaper
while read -r line; do pid=$line; done
if [ "$pid" -gt 1 ]; then
	kill -CONT "$pid"; kill -QUIT "$pid"
	i=0
	while alive && [ $i -lt 200 ]; do sleep 0.05; i=$((i+1)); done
	kill -KILL "$pid"
fi
if [ -f "$folder/data/postmaster.pid" ]; then
	sed -n 7p "$folder/data/postmaster.pid" | { read -r key id && ipcrm -m "$id"; }
fi
rm -rf "$folder"
`

func watch(folder string) (*watcher, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	cmd := exec.CommandContext(context.Background(), "sh", "-c", watcherScript, "sh", folder)
	cmd.Dir = os.TempDir()
	cmd.Stdin = r
	cmd.SysProcAttr = inOwnSession() // an interrupt at the terminal is for the tests only
	if err := cmd.Start(); err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("start the watcher of postgres: %w", err)
	}
	return &watcher{cmd: cmd, pipe: w}, nil
}

func (w *watcher) follow(pid int) { _, _ = fmt.Fprintln(w.pipe, pid) }

// release lets the watcher do its work; wait comes back when it is done.
func (w *watcher) release() { _ = w.pipe.Close() }
func (w *watcher) wait()    { _ = w.cmd.Wait() }
