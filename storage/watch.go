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
// at once when PostgreSQL notifies. keysChanged is called at the start, after signing
// keys changed, and again until it succeeds.
// When the database is not heard of, cached clients stop counting within
// maxClientAge: at once, if a lost connection gives it away.
// docs/decisions/0007 says why it polls a row.
func (s *Store) Watch(ctx context.Context, keysChanged func(context.Context) error) {
	var listening sync.WaitGroup
	listening.Go(func() { s.keepListening(ctx) })
	defer listening.Wait()

	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	seen := revisions{clients: -1, signingKeys: -1}
	failing := false
	for {
		asked := s.now()
		now, err := s.revisions(ctx)
		if err == nil {
			if now.clients != seen.clients {
				s.clients.forget()
			}
			// Nothing else changed up to the moment before the question.
			s.clients.confirm(asked)
			seen.clients = now.clients
		}
		if err == nil && now.signingKeys != seen.signingKeys {
			if err = keysChanged(ctx); err == nil {
				seen.signingKeys = now.signingKeys
			}
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			s.log.WarnContext(ctx, "can not follow changes, and will go on trying", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-s.suspect:
		}
	}
}

// revisions count the changes of each watched noun.
type revisions struct{ clients, signingKeys int64 }

func (s *Store) revisions(ctx context.Context) (r revisions, err error) {
	const sql = `SELECT (SELECT revision FROM revisions WHERE noun = 'clients'), (SELECT revision FROM revisions WHERE noun = 'signing_keys')`
	_, err = s.one(ctx, s.read, "read revisions", sql, nil, &r.clients, &r.signingKeys)
	return r, err
}

// keepListening turns notifications into wake-ups, and a lost connection into doubt.
func (s *Store) keepListening(ctx context.Context) {
	failing := false
	for {
		err := s.listen(ctx, func() {
			failing = false
			s.wake()
		})
		if ctx.Err() != nil {
			return
		}
		// Whatever broke it, changes may have been missed: ask the database again before trusting the cache.
		s.clients.forget()
		if !failing {
			s.log.WarnContext(ctx, "not listening for changes, asking for them instead", "error", err)
		}
		failing = true
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
