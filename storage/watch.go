package storage

import (
	"context"
	"sync"
	"time"
)

// watchInterval is how often a replica asks whether somebody changed a watched noun.
const watchInterval = 500 * time.Millisecond

// Watch keeps this replica's view of clients and keys honest until ctx ends: it
// reads the revisions that any writer bumps (a trigger does), every half second and
// at once when PostgreSQL notifies. keysChanged is called after signing keys changed.
// When the database is not heard of, cached clients stop counting within
// maxClientAge: at once, if a lost connection gives it away.
// docs/decisions/0007 says why it polls a row.
func (s *Store) Watch(ctx context.Context, keysChanged func(context.Context)) {
	var listening sync.WaitGroup
	listening.Go(func() { s.keepListening(ctx) })
	defer listening.Wait()

	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	var seen map[string]int64
	for {
		revisions, err := s.revisions(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.log.WarnContext(ctx, "can not watch for changes", "error", err)
		default:
			if seen != nil && revisions["clients"] != seen["clients"] {
				s.clients.forget()
			}
			if seen != nil && revisions["signing_keys"] != seen["signing_keys"] {
				keysChanged(ctx)
			}
			seen = revisions
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-s.suspect:
		}
	}
}

// revisions reads the counters, and confirms the cache as of the moment before it asked.
func (s *Store) revisions(ctx context.Context) (map[string]int64, error) {
	asked := s.now()
	var clients, signingKeys int64
	const sql = `SELECT (SELECT revision FROM revisions WHERE noun = 'clients'), (SELECT revision FROM revisions WHERE noun = 'signing_keys')`
	if _, err := s.one(ctx, s.read, "read revisions", sql, nil, &clients, &signingKeys); err != nil {
		return nil, err
	}
	s.clients.confirm(asked)
	return map[string]int64{"clients": clients, "signing_keys": signingKeys}, nil
}

// keepListening turns notifications into wake-ups, and a lost connection into doubt.
func (s *Store) keepListening(ctx context.Context) {
	for {
		err := s.listen(ctx, s.wake)
		if ctx.Err() != nil {
			return
		}
		// Whatever broke it, changes may have been missed: ask the database again before trusting the cache.
		s.clients.forget()
		s.log.WarnContext(ctx, "not listening for changes, asking instead", "error", err)
		pause := time.NewTimer(watchInterval)
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

func (s *Store) wake() {
	select {
	case s.suspect <- struct{}{}:
	default: // it is awake already
	}
}
