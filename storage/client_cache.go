package storage

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/grantorhq/grantor/clients"
)

// maxClientAge is how long a changed client may go unnoticed, whatever fails.
const maxClientAge = 2 * time.Second

// clientCacheSize bounds the memory: about 1 KiB a client.
const clientCacheSize = 10_000

// clientCache spares the token endpoint a statement per request. An entry counts
// only in the epoch it was read in, and only while the database was heard of less
// than maxClientAge ago: by Watch, or by the read itself. Revocation and disabling
// of users are never cached, and a disabled client's tokens die in their own
// statements, not here.
type clientCache struct {
	entries *lru.Cache[string, cachedClient]
	epoch   atomic.Uint64 // a new one forgets everything
	heard   atomic.Pointer[time.Time]
	origins atomic.Pointer[cachedOrigins]
	mu      sync.Mutex
	reading *originsRead // that somebody is making now, and others wait for

	count        bool
	hits, misses atomic.Uint64
}

type cachedOrigins struct {
	all   map[string]bool
	epoch uint64
	read  time.Time
}

type originsRead struct {
	epoch   uint64
	done    chan struct{}
	origins *cachedOrigins // valid when done
	err     error
}

type cachedClient struct {
	client *clients.Fosite
	epoch  uint64
	read   time.Time
}

func (c *clientCache) init() (err error) {
	c.entries, err = lru.New[string, cachedClient](clientCacheSize)
	return err
}

// forget makes every entry stale at once: this replica wrote, or was told that another did.
func (c *clientCache) forget() { c.epoch.Add(1) }

// confirm notes that nothing changed up to that moment.
func (c *clientCache) confirm(at time.Time) { c.heard.Store(&at) }

// lastHeard is when the database last answered Watch.
func (c *clientCache) lastHeard() time.Time {
	if heard := c.heard.Load(); heard != nil {
		return *heard
	}
	return time.Time{}
}

func (c *clientCache) fresh(read, now time.Time) bool {
	if heard := c.heard.Load(); heard != nil && heard.After(read) {
		read = *heard
	}
	age := now.Sub(read)
	return age >= 0 && age < maxClientAge
}

// RegisteredClient is the client as of at most two seconds ago: no statement when
// it is in the cache. It answers clients.ErrNotFound, also for a disabled client.
func (s *Store) RegisteredClient(ctx context.Context, id string) (*clients.Fosite, error) {
	now := s.now()
	epoch := s.clients.epoch.Load() // before the read: a change during it makes the entry stale
	if hit, ok := s.clients.entries.Get(id); ok && hit.epoch == epoch && s.clients.fresh(hit.read, now) {
		if s.clients.count {
			s.clients.hits.Add(1)
		}
		return hit.client, nil
	}
	if s.clients.count {
		s.clients.misses.Add(1)
	}
	c, err := s.Client(ctx, id)
	if err != nil {
		return nil, err
	}
	if !c.DisabledAt.IsZero() {
		return nil, clients.ErrNotFound
	}
	client := clients.NewFosite(c)
	s.clients.entries.Add(id, cachedClient{client: client, epoch: epoch, read: now})
	return client, nil
}

// OriginAllowed reports whether any client is registered with that browser origin:
// CORS preflights do not say whose they are.
func (s *Store) OriginAllowed(ctx context.Context, origin string) (bool, error) {
	now := s.now()
	epoch := s.clients.epoch.Load()
	if hit := s.clients.origins.Load(); hit != nil && hit.epoch == epoch && s.clients.fresh(hit.read, now) {
		return hit.all[origin], nil
	}
	origins, err := s.readOrigins(ctx, epoch, now)
	if err != nil {
		return false, err
	}
	return origins.all[origin], nil
}

// readOrigins reads all registrations once for all who ask meanwhile: every browser
// asks first, and a change of any client makes all of them ask again. Who came after
// a change does not take what was read before it.
func (s *Store) readOrigins(ctx context.Context, epoch uint64, now time.Time) (*cachedOrigins, error) {
	s.clients.mu.Lock()
	if r := s.clients.reading; r != nil && r.epoch == epoch {
		s.clients.mu.Unlock()
		<-r.done // a read has its deadline
		return r.origins, r.err
	}
	r := &originsRead{epoch: epoch, done: make(chan struct{})}
	s.clients.reading = r
	s.clients.mu.Unlock()

	r.origins, r.err = s.allOrigins(ctx, epoch, now)
	if r.err == nil {
		s.clients.origins.Store(r.origins)
	}
	s.clients.mu.Lock()
	if s.clients.reading == r {
		s.clients.reading = nil
	}
	s.clients.mu.Unlock()
	close(r.done)
	return r.origins, r.err
}

func (s *Store) allOrigins(ctx context.Context, epoch uint64, now time.Time) (*cachedOrigins, error) {
	var rows []clientRow
	err := s.unit(ctx, "read origins", func(ctx context.Context) error {
		rows = nil
		return s.read.WithContext(ctx).Where("disabled_at IS NULL").Find(&rows).Error
	})
	if err != nil {
		return nil, err
	}
	all := make(map[string]bool)
	for _, row := range rows {
		c, err := row.client(nil)
		if err != nil {
			return nil, err
		}
		for _, origin := range c.AllowedOrigins {
			all[origin] = true
		}
	}
	return &cachedOrigins{all: all, epoch: epoch, read: now}, nil
}
