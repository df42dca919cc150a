package storage

// InLine is how many statements wait for a lane.
func (s *Store) InLine() int {
	s.groups.mu.Lock()
	defer s.groups.mu.Unlock()
	return len(s.groups.line)
}
