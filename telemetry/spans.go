package telemetry

import (
	"context"
	"net/http"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/grantorhq/grantor/server"
)

// The attributes that may leave: each holds a word of ours, a registered client or a
// request id. fosite makes spans as well, and writes into them what a refused request said.
const (
	attrMethod    = attribute.Key("http.request.method")
	attrRoute     = attribute.Key("http.route")
	attrStatus    = attribute.Key("http.response.status_code")
	attrRequest   = attribute.Key("grantor.request_id")
	attrGrantType = attribute.Key("grantor.grant_type")
	attrOutcome   = attribute.Key("grantor.outcome")
	attrClient    = attribute.Key("grantor.client")
	attrDatabase  = attribute.Key("db.system.name")
)

func allowed(key attribute.Key) bool {
	return slices.Contains([]attribute.Key{attrMethod, attrRoute, attrStatus, attrRequest, attrGrantType, attrOutcome, attrClient, attrDatabase}, key)
}

// begin opens the span of a request. A trace that a trusted proxy began goes on; one that
// anybody else claims to have begun is only linked to: strangers must neither decide what
// is recorded nor write into other traces. What they say beside the ids is not read.
func (t *Traces) begin(r *http.Request, route string, trusted bool) (context.Context, string) {
	ctx := r.Context()
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)}
	sent := propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(r.Header))
	remote := trace.SpanContextFromContext(sent).WithTraceState(trace.TraceState{})
	switch {
	case !remote.IsValid():
	case trusted:
		ctx = trace.ContextWithRemoteSpanContext(ctx, remote)
	default:
		options = append(options, trace.WithLinks(trace.Link{SpanContext: remote}))
	}
	ctx, span := t.tracer.Start(ctx, route, options...)
	return ctx, span.SpanContext().TraceID().String()
}

func end(ctx context.Context, route string, seen server.Seen) {
	span := trace.SpanFromContext(ctx)
	defer span.End()
	if !span.IsRecording() {
		return
	}
	span.SetName(seen.Method + " " + route)
	span.SetAttributes(attrMethod.String(seen.Method), attrRoute.String(route), attrStatus.Int(seen.Status), attrRequest.String(seen.ID))
	for _, a := range []attribute.KeyValue{attrGrantType.String(seen.Grant), attrOutcome.String(seen.Outcome), attrClient.String(seen.Client)} {
		if a.Value.AsString() != "" {
			span.SetAttributes(a)
		}
	}
	if seen.Status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
}

// Store is storage.Options.Trace: a span for each unit of work that a traced request asks
// for, from the question to the answer, whatever it waited for. It has no text of the
// statement and no argument: the name says which one it is.
func (t *Traces) Store(dialect string) func(context.Context, string) (context.Context, func(error)) {
	system := attrDatabase.String(dialect)
	nothing := func(error) {}
	return func(ctx context.Context, doing string) (context.Context, func(error)) {
		if !trace.SpanFromContext(ctx).IsRecording() {
			return ctx, nothing
		}
		ctx, span := t.tracer.Start(ctx, doing, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(system))
		return ctx, func(err error) {
			if err != nil {
				span.SetStatus(codes.Error, "")
			}
			span.End()
		}
	}
}

// sifted is a span as it may leave.
type sifted struct{ sdk.ReadOnlySpan }

func (s sifted) Attributes() []attribute.KeyValue {
	var kept []attribute.KeyValue
	for _, a := range s.ReadOnlySpan.Attributes() {
		if allowed(a.Key) {
			kept = append(kept, a)
		}
	}
	return kept
}

// Events are errors in their own words.
func (sifted) Events() []sdk.Event { return nil }

func (s sifted) Status() sdk.Status { return sdk.Status{Code: s.ReadOnlySpan.Status().Code} }
