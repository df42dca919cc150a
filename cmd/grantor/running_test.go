package main

import (
	"os/exec"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// running holds the server that each script started last.
var running servers

type servers struct {
	mu   sync.Mutex
	list map[*testscript.TestScript]*exec.Cmd
}

func (s *servers) put(ts *testscript.TestScript, cmd *exec.Cmd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.list == nil {
		s.list = map[*testscript.TestScript]*exec.Cmd{}
	}
	s.list[ts] = cmd
}

func (s *servers) take(ts *testscript.TestScript) *exec.Cmd {
	s.mu.Lock()
	defer s.mu.Unlock()
	cmd := s.list[ts]
	if cmd == nil {
		ts.Fatalf("nothing was started")
	}
	delete(s.list, ts)
	return cmd
}
