package main

import (
	"context"
	cryptorand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// growthResult is what changes with the number of sessions, on PostgreSQL.
type growthResult struct {
	SharedBuffers string              `json:"shared_buffers"`
	HugePages     bool                `json:"huge_pages"`         // that hold PostgreSQL's shared memory
	LeftOut       []int               `json:"left_out,omitempty"` // sizes for which there was no room
	Sizes         []*sizeResult       `json:"sizes"`
	Aged          *agedResult         `json:"aged,omitempty"`
	Housekeeping  *housekeepingResult `json:"housekeeping,omitempty"`
}

// sizeResult is one size.
type sizeResult struct {
	Grants      int      `json:"grants"`
	GeneratedIn float64  `json:"generated_s"`
	TableMiB    float64  `json:"table_mib"`
	IndexesMiB  float64  `json:"indexes_mib"`
	Refresh     []sample `json:"refresh"`
	Bare        []sample `json:"bare_rotation"` // the same statement at the same places
	Introspect  []sample `json:"introspect"`
	WALBytes    float64  `json:"wal_bytes_per_renewal"`
	BlocksRead  int64    `json:"blocks_read"` // while that was measured: what the cache did not have

	logged int64 // of renewals
	asked  int   // renewals whose log was measured

	w            *world
	server       *process
	address      string
	walk         *walk
	refreshers   []worker
	introspecter []worker
	statement    string
}

// bytesExpected is generous, for the choice of a cache and of sizes that fit.
const bytesExpected = 900

// fitting leaves out the largest sizes until the rest fits into memory and disk. The
// disk holds the write-ahead log besides.
func fitting(sizes []int, memory, disk int64) (fit, leftOut []int) {
	fit = slices.Clone(sizes)
	for len(fit) > 1 {
		need := expected(fit)
		if need*5/4+(2<<30) <= memory && need*5/2+(8<<30) <= disk {
			break
		}
		leftOut = append(leftOut, fit[len(fit)-1])
		fit = fit[:len(fit)-1]
	}
	return fit, leftOut
}

func expected(sizes []int) (bytes int64) {
	for _, n := range sizes {
		bytes += int64(n) * bytesExpected
	}
	return bytes
}

// growth makes a cluster of its own, whose cache holds everything, with a database for
// each size. They are there at the same time, and are measured in turns.
func (b *benchmark) growth(ctx context.Context) error {
	g := new(growthResult)
	b.r.Growth = g
	sizes, leftOut := fitting(b.o.growth, availableBytes(), freeBytes(b.dir))
	g.LeftOut = leftOut
	g.SharedBuffers = fmt.Sprintf("%dMB", 512+(expected(sizes)+int64(b.o.expired)*bytesExpected)>>20)
	c, err := startCluster(ctx, b.dir, "growth-cluster", "shared_buffers="+g.SharedBuffers, "max_wal_size=8GB", "maintenance_work_mem=512MB")
	if err != nil {
		return err
	}
	defer c.stop()
	if g.HugePages, err = c.onHugePages(ctx); err != nil {
		return err
	}
	for _, n := range sizes {
		progress("growth: making %d sessions", n)
		s, err := b.makeSize(ctx, c, n)
		if s != nil {
			defer s.close()
		}
		if err != nil {
			return fmt.Errorf("growth, %d sessions: %w", n, err)
		}
		g.Sizes = append(g.Sizes, s)
	}
	if err := b.compareSizes(ctx, g); err != nil {
		return fmt.Errorf("growth: %w", err)
	}
	for _, s := range g.Sizes {
		s.close()
	}
	if err := b.save(); err != nil {
		return err
	}
	if g.Housekeeping, err = b.housekeeping(ctx, c); err != nil {
		return fmt.Errorf("housekeeping: %w", err)
	}
	if err := b.save(); err != nil {
		return err
	}
	if g.Aged, err = b.aged(ctx, c); err != nil {
		return fmt.Errorf("aged sessions: %w", err)
	}
	return nil
}

// makeSize makes a database with so many sessions, of two clients, and a server on it.
// Accounts grow along: ten sessions each.
func (b *benchmark) makeSize(ctx context.Context, c *cluster, n int) (*sizeResult, error) {
	o := b.o
	o.grants, o.users = n, max(o.users, n/10)
	s := &sizeResult{Grants: n}
	began := time.Now()
	var err error
	if s.w, err = newWorld(ctx, o, site{dir: b.dir, binary: b.binary, name: fmt.Sprintf("growth_%d", n), cluster: c}); err != nil {
		return nil, err
	}
	s.GeneratedIn = time.Since(began).Seconds()
	if err := s.w.settleAndWarm(ctx); err != nil {
		return s, err
	}
	t, err := s.w.tableSize(ctx)
	if err != nil {
		return s, err
	}
	s.TableMiB, s.IndexesMiB = float64(t.Table)/(1<<20), float64(t.indexes())/(1<<20)
	s.walk = newWalk(s.w, "app-jwt", s.w.population["app-jwt"])
	s.refreshers = s.walk.workers(o.concurrency, 0)
	// A session's first renewal forgets what its code needed: the others are what there is to
	// compare, so they are those of one session.
	one := newWalk(s.w, "app-jwt", span{s.walk.of.first, 1})
	counted, err := s.w.inside.count(ctx, one.workers(1, 0)[0], "rotate")
	if err != nil {
		return s, err
	}
	s.statement, s.walk.generations[0] = counted.sql, one.generations[0]
	tokens, err := s.w.sealedTokens(ctx, "app-opaque", min(n/2, 50_000))
	if err != nil {
		return s, err
	}
	requests := make([][]byte, len(tokens))
	for i, token := range tokens {
		requests[i] = post(introspectPath, s.w.clients["api"].basic(), "token="+token)
	}
	s.introspecter = repeat(requests, o.concurrency, "", `{"active":true`, `"client_id":"app-opaque"`)
	s.server, s.address, err = s.w.serve(ctx)
	return s, err
}

func (s *sizeResult) close() {
	if s.server != nil {
		s.server.stop()
	}
	if s.w != nil {
		s.w.close()
	}
	s.server, s.w = nil, nil
}

// compareSizes lets the sizes take turns, in slices.
func (b *benchmark) compareSizes(ctx context.Context, g *growthResult) error {
	// Each server has a cold start of its own.
	for _, s := range g.Sizes {
		for what := range 3 {
			if _, err := b.stepOfSize(ctx, s, what); err != nil {
				return fmt.Errorf("%d sessions: %w", s.Grants, err)
			}
		}
		s.logged, s.asked = 0, 0
	}
	before := make([]int64, len(g.Sizes))
	for i, s := range g.Sizes {
		var err error
		if before[i], err = s.w.blocksRead(ctx); err != nil {
			return err
		}
	}
	order := slices.Clone(g.Sizes)
	for round := range b.o.rounds {
		samples := map[*sizeResult]*[3]sample{}
		for _, s := range g.Sizes {
			samples[s] = new([3]sample)
		}
		for slice := range b.o.slices {
			if (round+slice)%2 == 1 {
				slices.Reverse(order)
			}
			for what := range 3 {
				for _, s := range order {
					progress("growth: round %d of %d, %d sessions", round+1, b.o.rounds, s.Grants)
					m, err := b.stepOfSize(ctx, s, what)
					if err != nil {
						return fmt.Errorf("%d sessions: %w", s.Grants, err)
					}
					samples[s][what].join(m)
				}
			}
		}
		for s, list := range samples {
			for what, into := range []*[]sample{&s.Refresh, &s.Introspect, &s.Bare} {
				list[what].summarize()
				*into = append(*into, list[what])
			}
		}
	}
	for i, s := range g.Sizes {
		after, err := s.w.blocksRead(ctx)
		if err != nil {
			return err
		}
		s.BlocksRead, s.WALBytes = after-before[i], float64(s.logged)/float64(max(s.asked, 1))
	}
	return nil
}

func (b *benchmark) stepOfSize(ctx context.Context, s *sizeResult, what int) (sample, error) {
	t := step{warm: b.o.warm, duration: b.o.share(b.o.slices), meter: s.w.meterOf(s.server)}
	switch what {
	case 0:
		t.warm = 0 // its log would be counted, its renewals would not
		before, err := s.w.logPosition(ctx)
		if err != nil {
			return sample{}, err
		}
		m, err := t.overHTTP(ctx, s.address, s.refreshers)
		if err != nil {
			return sample{}, err
		}
		after, err := s.w.logPosition(ctx)
		s.logged, s.asked = s.logged+after-before, s.asked+m.Count
		return m, err
	case 1:
		return t.overHTTP(ctx, s.address, s.introspecter)
	}
	callers, release, err := s.walk.bareRotations(ctx, s.statement, b.o.concurrency)
	if err != nil {
		return sample{}, err
	}
	defer release()
	t.callers, t.meter = callers, s.w.meterOf()
	return t.run(ctx)
}

// settleAndWarm leaves the database as it is some time after its sessions began: known
// to the planner, on disk, and in the cache.
func (w *world) settleAndWarm(ctx context.Context) error {
	for _, statement := range []string{"VACUUM ANALYZE", "CHECKPOINT", "CREATE EXTENSION IF NOT EXISTS pg_prewarm"} {
		if _, err := w.pool.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	_, err := w.pool.Exec(ctx, `SELECT pg_prewarm(oid) FROM pg_class WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace`)
	return err
}

// logPosition is how many bytes of write-ahead log there were.
func (w *world) logPosition(ctx context.Context) (n int64, err error) {
	err = w.pool.QueryRow(ctx, `SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint`).Scan(&n)
	return n, err
}

func (w *world) blocksRead(ctx context.Context) (n int64, err error) {
	err = w.pool.QueryRow(ctx, `SELECT blks_read FROM pg_stat_database WHERE datname = current_database()`).Scan(&n)
	return n, err
}

// sealedTokens are opaque access tokens of sessions anywhere among a client's, like one
// that the server made but for the session and the jti.
func (w *world) sealedTokens(ctx context.Context, client string, count int) ([]string, error) {
	live, err := w.accessTokens(ctx, "opaque", "active")
	if err != nil {
		return nil, err
	}
	box, err := w.secrets.NewBox("opaque access tokens", "ga1_")
	if err != nil {
		return nil, err
	}
	plain, err := box.Open(live[0])
	if err != nil {
		return nil, err
	}
	var c struct {
		ID      string `json:"jti"`
		Grant   string `json:"gid"`
		Subject string `json:"sub"`
	}
	if err := json.Unmarshal(plain, &c); err != nil || c.ID == "" || c.Grant == "" || c.Subject == "" {
		return nil, errors.Join(errors.New("an opaque access token lacks jti, gid or sub"), err)
	}
	of := w.population[client]
	places := jumps(0)
	list := make([]string, count)
	for i := range list {
		n := of.first + uint64(places.below(of.count))
		text := strings.NewReplacer(c.ID, cryptorand.Text()[:len(c.ID)], c.Grant, grantID(n).String(), c.Subject, w.ownerOf(n)).Replace(string(plain))
		if list[i], err = box.Seal(cryptorand.Reader, []byte(text)); err != nil {
			return nil, err
		}
	}
	return list, nil
}
