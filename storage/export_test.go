package storage

import "context"

// InLine is how many statements wait for a lane.
func (s *Store) InLine() int {
	s.writes.mu.Lock()
	defer s.writes.mu.Unlock()
	return len(s.writes.line)
}

// Ask runs any statement as the store would.
func (s *Store) Ask(ctx context.Context, query string, dest any) error {
	_, err := s.one(ctx, s.read, "ask", query, nil, dest)
	return err
}
