package storage

// InLine is how many statements wait for a lane.
func (s *Store) InLine() int {
	s.writes.mu.Lock()
	defer s.writes.mu.Unlock()
	return len(s.writes.line)
}
