package telemetry

import (
	"context"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/grantorhq/grantor/server"
)

// Route implements server.Observer.
func (o observer) Route(template string) server.RouteObserver {
	r := &route{template: template, metrics: o.metrics, traces: o.traces}
	r.series.Store(&map[kind]*series{})
	return r
}

// route watches the requests of one route. What a request adds to was looked up when the
// first of its kind came: the ones after it look into a map that nobody changes.
type route struct {
	template string
	metrics  *Metrics // or nil
	traces   *Traces  // or nil

	series atomic.Pointer[map[kind]*series]
	mu     sync.Mutex // of who makes a new map
}

// kind is all that is counted apart.
type kind struct {
	method, grant, outcome string
	status                 int
}

type series struct {
	count prometheus.Counter
	took  prometheus.Observer
}

// maxKinds bounds what one route may show, whatever words somebody adds one day.
const maxKinds = 300

// other stands for what has no row of its own.
const other = "other"

// Begin implements server.RouteObserver.
func (r *route) Begin(request *http.Request, trusted bool) (context.Context, string) {
	if r.traces == nil {
		return request.Context(), ""
	}
	return r.traces.begin(request, r.template, trusted)
}

// End implements server.RouteObserver.
func (r *route) End(ctx context.Context, seen server.Seen) {
	if r.traces != nil {
		end(ctx, r.template, seen)
	}
	if r.metrics == nil {
		return
	}
	k := kind{method: seen.Method, grant: seen.Grant, outcome: seen.Outcome, status: seen.Status}
	if k.status == http.StatusMethodNotAllowed {
		k.method = other // a stranger's choice makes no rows of its own
	}
	s := (*r.series.Load())[k]
	if s == nil {
		s = r.add(k)
	}
	s.count.Inc()
	s.took.Observe(seen.Took.Seconds())
}

func (r *route) add(k kind) *series {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := *r.series.Load()
	if s := known[k]; s != nil {
		return s
	}
	full := len(known) >= maxKinds
	if full {
		k.outcome, k.status = other, 0
		if s := known[k]; s != nil {
			return s
		}
	}
	s := &series{
		count: r.metrics.requests.WithLabelValues(r.template, k.method, k.grant, strconv.Itoa(k.status), k.outcome),
		took:  r.metrics.took.WithLabelValues(r.template, k.method, k.grant),
	}
	next := maps.Clone(known)
	next[k] = s
	r.series.Store(&next)
	return s
}
