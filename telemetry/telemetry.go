// Package telemetry shows operators what a replica does: metrics that Prometheus
// collects, and traces that go to an OpenTelemetry collector (docs/observability.md).
//
//	metrics.go   every metric: its name, what it means, its labels
//	collect.go   those that are read when somebody asks
//	requests.go  those that every request adds to
//	handler.go   GET /metrics
//	traces.go    whether spans are made, and where they go
//	spans.go     what a span says, and what is taken out of it
//
// cmd/grantor makes what is switched on and hands it to server and storage, which know
// only that somebody watches: the interface server.Observer, and storage.Options.Trace.
// What is switched off is not there at all.
//
// Nothing here is secret, and nothing is text that a stranger chose: labels are routes,
// methods, grant types and words of ours. Nothing here asks the database.
package telemetry

import "github.com/grantorhq/grantor/server"

// NewObserver watches requests for whatever is switched on; either may be nil. It is nil
// when both are.
func NewObserver(metrics *Metrics, traces *Traces) server.Observer {
	if metrics == nil && traces == nil {
		return nil
	}
	return observer{metrics, traces}
}

type observer struct {
	metrics *Metrics
	traces  *Traces
}
