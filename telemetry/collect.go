package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/server"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// Sources is what a replica is asked at each scrape. No answer may need the database.
type Sources struct {
	Now         func() time.Time
	Version     string
	Store       func() storage.Stats
	Server      func() server.Stats
	Passwords   func() users.PasswordStats
	Connections func() Connections
	LogDropped  func() uint64
}

// Connections are those of clients.
type Connections struct {
	Open, Waiting, Most int
	Evicted             uint64
}

type collector struct {
	families
	sources   Sources
	goVersion string
}

var _ prometheus.Collector = collector{}

// Describe says nothing: what there is depends on the database.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	to := sink{out}
	c.store(to, c.sources.Store())
	c.server(to, c.sources.Server())

	p := c.sources.Passwords()
	to.gauge(c.hashesRunning, float64(p.Running))
	to.gauge(c.hashesLimit, float64(p.Slots))
	to.gauge(c.hashQueue, float64(min(p.Waiting, p.Queue))) // who is about to be refused counts for a moment
	to.gauge(c.hashQueueLimit, float64(p.Queue))
	to.counter(c.hashesRefused, p.Refused)

	open := c.sources.Connections()
	to.gauge(c.open, float64(open.Open))
	to.gauge(c.openLimit, float64(open.Most))
	to.gauge(c.openWaiting, float64(open.Waiting))
	to.counter(c.evicted, open.Evicted)

	to.counter(c.logDropped, c.sources.LogDropped())
	to.gauge(c.buildInfo, 1, c.sources.Version, c.goVersion)
}

func (c collector) store(to sink, s storage.Stats) {
	to.verdicts(c.refreshes, s.Refreshes)
	to.verdicts(c.codes, s.Codes)
	for door, n := range s.SignIns {
		to.counter(c.signIns, n.Succeeded, string(door), "succeeded")
		to.counter(c.signIns, n.Wrong, string(door), "wrong")
		to.counter(c.signIns, n.Throttled, string(door), "throttled")
		to.counter(c.signIns, n.Busy, string(door), "busy")
	}
	for _, p := range s.Pools {
		to.gauge(c.connections, float64(p.InUse), p.Name, "in_use")
		to.gauge(c.connections, float64(p.Idle), p.Name, "idle")
		to.gauge(c.connections, float64(p.Open-p.InUse-p.Idle), p.Name, "connecting")
		to.gauge(c.connectionsLimit, float64(p.Most), p.Name)
		to.counter(c.connectionWaits, p.Waits, p.Name)
		to.seconds(c.connectionWait, p.Waited, p.Name)
	}
	for _, g := range s.Groups {
		to.histogram(c.groupSize, g)
		to.counter(c.groupsRolledBack, g.RolledBack, g.Name)
		to.counter(c.lanesReplaced, g.Replaced, g.Name)
		to.gauge(c.lanesFree, float64(g.Lanes), g.Name)
		to.gauge(c.line, float64(g.Line), g.Name)
	}
	to.counter(c.databaseFailures, s.Failures)
	to.moment(c.databaseHeard, s.Heard)
	to.counter(c.clientCache, s.CacheHits, "hit")
	to.counter(c.clientCache, s.CacheMisses, "miss")
}

func (c collector) server(to sink, s server.Stats) {
	draining := 0.0
	if s.Draining {
		draining = 1
	}
	to.gauge(c.draining, draining)

	to.moment(c.auditSealed, s.Audit.Last)
	to.counter(c.auditFailures, s.Audit.Failed)

	h := s.Housekeeping
	for _, deleted := range []struct {
		kind string
		rows int64
	}{
		{"sessions", h.Deleted.Sessions},
		{"sign_ins", h.Deleted.SignIns},
		{"denied_tokens", h.Deleted.DeniedTokens},
		{"signing_keys", h.Deleted.SigningKeys},
		{"logout_notices", h.Deleted.LogoutNotices},
	} {
		to.counter(c.housekeepingDeleted, uint64(deleted.rows), deleted.kind)
	}
	to.counter(c.housekeepingFailures, h.Failed)
	to.moment(c.housekeepingLast, h.Last)
	if !h.Last.IsZero() {
		to.gauge(c.housekeepingTook, h.Took.Seconds())
	}

	now := c.sources.Now()
	for _, k := range s.Keys {
		if !k.Since.IsZero() {
			to.gauge(c.keyAge, now.Sub(k.Since).Seconds(), k.Algorithm)
		}
		if !k.Next.IsZero() {
			to.gauge(c.keyNext, k.Next.Sub(now).Seconds(), k.Algorithm)
		}
		to.gauge(c.keysWaiting, float64(k.Waiting), k.Algorithm)
	}

	to.counter(c.logoutNotices, s.Logouts.Delivered, "delivered")
	to.counter(c.logoutNotices, s.Logouts.Failed, "failed")
	to.counter(c.logoutNotices, s.Logouts.GivenUp, "given_up")
}

// sink takes metrics in Go's types.
type sink struct{ out chan<- prometheus.Metric }

func (s sink) gauge(d *prometheus.Desc, value float64, labels ...string) {
	s.out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (s sink) counter(d *prometheus.Desc, value uint64, labels ...string) {
	s.out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
}

func (s sink) seconds(d *prometheus.Desc, total time.Duration, labels ...string) {
	s.out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, total.Seconds(), labels...)
}

// moment leaves out what has not happened.
func (s sink) moment(d *prometheus.Desc, at time.Time, labels ...string) {
	if !at.IsZero() {
		s.gauge(d, float64(at.UnixMilli())/1000, labels...)
	}
}

func (s sink) verdicts(d *prometheus.Desc, counts map[grants.Verdict]uint64) {
	for verdict, n := range counts {
		s.counter(d, n, string(verdict))
	}
}

func (s sink) histogram(d *prometheus.Desc, g storage.GroupStats) {
	buckets, sum := make(map[float64]uint64, len(g.Sizes)), uint64(0)
	for i, n := range g.Sizes {
		sum += n
		buckets[float64(int(1)<<i)] = sum
	}
	s.out <- prometheus.MustNewConstHistogram(d, sum, float64(g.Statements), buckets, g.Name)
}
