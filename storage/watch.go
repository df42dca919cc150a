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

// maxListenPause bounds how long a replica goes without trying to listen again.
const maxListenPause = 10 * time.Second

// keepListening turns notifications into wake-ups, and a lost connection into doubt.
// Where nobody can listen (some poolers, some engines) asking is all there is.
func (s *Store) keepListening(ctx context.Context) {
	listening, pause := false, watchInterval
	for {
		err := s.listen(ctx, func() {
			listening, pause = true, watchInterval
			s.wake()
		})
		if ctx.Err() != nil {
			return
		}
		if listening {
			// Changes may have been missed: ask the database before trusting the cache again.
			s.clients.forget()
			s.log.WarnContext(ctx, "not listening for changes, asking for them instead", "error", err)
		}
		listening = false
		timer := time.NewTimer(pause)
		pause = min(2*pause, maxListenPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

func (s *Store) wake() {
	select {
	case s.suspect <- struct{}{}:
	default: // it is awake already
	}
}
