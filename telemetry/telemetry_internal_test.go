package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/grantorhq/grantor/server"
)

// What every request adds to was made ready by the first.
func TestRequests_allocate_nothing(t *testing.T) { //nolint:paralleltest // testing.AllocsPerRun counts those of everybody
	m := NewMetrics()
	r := NewObserver(m, nil).Route("/oauth2/token")
	seen := server.Seen{Method: "POST", Status: 200, Took: time.Millisecond, Grant: "refresh_token", Outcome: "rotated"}
	request := httptest.NewRequest(http.MethodPost, "/oauth2/token", nil)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		ctx, _ := r.Begin(request, false)
		r.End(ctx, seen)
	}))
	text, err := m.Text()
	require.NoError(t, err)
	require.Contains(t, string(text), `grantor_http_requests_total{grant_type="refresh_token",method="POST",outcome="rotated",route="/oauth2/token",status="200"} 101`)
}

// Whatever words there are one day, a route does not grow without end.
func TestRequests_are_of_bounded_kinds(t *testing.T) {
	t.Parallel()
	m := NewMetrics()
	r := NewObserver(m, nil).Route("/r")
	for i := range 10 * maxKinds {
		r.End(t.Context(), server.Seen{Method: "GET", Status: 200, Outcome: fmt.Sprint(i)})
	}
	for _, method := range []string{"GET", "PUT", "TRACE", "other"} {
		r.End(t.Context(), server.Seen{Method: method, Status: http.StatusMethodNotAllowed})
	}
	text, err := m.Text()
	require.NoError(t, err)
	require.LessOrEqual(t, strings.Count(string(text), "grantor_http_requests_total{"), maxKinds+2)
	require.Contains(t, string(text), fmt.Sprintf(`method="GET",outcome="other",route="/r",status="0"} %d`, 9*maxKinds))
	require.NotContains(t, string(text), "TRACE")
}

func TestRequests_Concurrent(t *testing.T) {
	t.Parallel()
	m := NewMetrics()
	r := NewObserver(m, nil).Route("/r")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 200 {
				r.End(t.Context(), server.Seen{Method: "GET", Status: 200 + i%20})
			}
		})
	}
	all.Wait()
	text, err := m.Text()
	require.NoError(t, err)
	for i := range 20 {
		require.Contains(t, string(text), fmt.Sprintf(`route="/r",status="%d"} 80`, 200+i))
	}
}

func TestWanted(t *testing.T) {
	t.Parallel()
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318"
	for _, c := range []struct {
		environ []string
		wanted  bool
		problem string
	}{
		{nil, false, ""},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT="}, false, ""},
		{[]string{endpoint}, true, ""},
		{[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:4318/v1/traces"}, true, ""},
		{[]string{"OTEL_TRACES_EXPORTER=otlp"}, true, ""},
		{[]string{endpoint, "OTEL_TRACES_EXPORTER=none"}, false, ""},
		{[]string{endpoint, "OTEL_SDK_DISABLED=TRUE"}, false, ""},
		{[]string{endpoint, "OTEL_SDK_DISABLED=false"}, true, ""},
		{[]string{endpoint, "OTEL_TRACES_EXPORTER=console"}, false, "OTEL_TRACES_EXPORTER is neither otlp nor none"},
		{[]string{endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, false, "the protocol of OTLP is neither http/protobuf nor http/json"},
		{[]string{endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json"}, true, ""},
	} {
		wanted, problem := Wanted(c.environ)
		require.Equal(t, c.wanted, wanted, c.environ)
		require.Equal(t, c.problem, problem, c.environ)
	}
}

// sent keeps what would leave.
type sent struct {
	spans []sdk.ReadOnlySpan
	err   error
}

func (s *sent) ExportSpans(_ context.Context, spans []sdk.ReadOnlySpan) error {
	s.spans = append(s.spans, spans...)
	return s.err
}

func (*sent) Shutdown(context.Context) error { return nil }

// fosite writes the error of a refused request into its span, with all that it quotes.
func TestSpans_leave_without_what_others_wrote_into_them(t *testing.T) {
	t.Parallel()
	to := &sent{}
	traces := newTraces(&exporter{SpanExporter: to, log: slog.New(slog.DiscardHandler)})
	ctx, _ := traces.begin(httptest.NewRequest(http.MethodPost, "/oauth2/token", nil), "/oauth2/token", false)
	_, span := trace.SpanFromContext(ctx).TracerProvider().Tracer("github.com/ory/fosite").Start(ctx, "Fosite.NewAccessRequest")
	span.SetAttributes(attribute.String("error", "secret"), attribute.String("error.debug", "secret"), attribute.String("error.stack", "secret"))
	span.RecordError(errors.New("secret"))
	span.SetStatus(codes.Error, "secret")
	span.End()
	end(ctx, "/oauth2/token", server.Seen{Method: "POST", Status: 503, ID: "id", Outcome: "temporarily_unavailable"})
	require.NoError(t, traces.Close(t.Context()))

	require.Len(t, to.spans, 2)
	require.Empty(t, to.spans[0].Attributes())
	require.Empty(t, to.spans[0].Events())
	require.Equal(t, sdk.Status{Code: codes.Error}, to.spans[0].Status())
	require.Equal(t, "POST /oauth2/token", to.spans[1].Name())
	require.Contains(t, to.spans[1].Attributes(), attrStatus.Int(503))
	require.Equal(t, sdk.Status{Code: codes.Error}, to.spans[1].Status())
}

// Only a trusted proxy's trace goes on, and nobody's tracestate.
func TestSpans_believe_whom_they_may(t *testing.T) {
	t.Parallel()
	to := &sent{}
	traces := newTraces(&exporter{SpanExporter: to, log: slog.New(slog.DiscardHandler)})
	const theirs = "0af7651916cd43dd8448eb211c80319c"
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	request.Header.Set("Traceparent", "00-"+theirs+"-b7ad6b7169203331-01")
	request.Header.Set("Tracestate", "a=b")
	for _, trusted := range []bool{true, false} {
		ctx, id := traces.begin(request, "/", trusted)
		require.Equal(t, trusted, id == theirs)
		end(ctx, "/", server.Seen{})
	}
	request.Header.Set("Traceparent", "00-nonsense")
	ctx, _ := traces.begin(request, "/", true)
	end(ctx, "/", server.Seen{})
	require.NoError(t, traces.Close(t.Context()))

	require.Len(t, to.spans, 3)
	require.Empty(t, to.spans[0].Links())
	require.Equal(t, "b7ad6b7169203331", to.spans[0].Parent().SpanID().String())
	require.False(t, to.spans[1].Parent().IsValid())
	require.Equal(t, theirs, to.spans[1].Links()[0].SpanContext.TraceID().String())
	require.False(t, to.spans[2].Parent().IsValid())
	for _, span := range to.spans {
		require.Zero(t, span.SpanContext().TraceState().Len())
	}
}

// Work that no traced request asked for begins no trace: the store asks for changes twice a second.
func TestStore_traces_only_for_requests(t *testing.T) {
	t.Parallel()
	to := &sent{}
	traces := newTraces(&exporter{SpanExporter: to, log: slog.New(slog.DiscardHandler)})
	hook := traces.Store("sqlite")
	_, done := hook(t.Context(), "read revisions")
	done(nil)
	ctx, _ := traces.begin(httptest.NewRequest(http.MethodGet, "/", nil), "/", false)
	_, done = hook(ctx, "read client")
	done(errors.New("secret"))
	require.NoError(t, traces.Close(t.Context()))
	require.Len(t, to.spans, 1)
	require.Equal(t, "read client", to.spans[0].Name())
	require.Equal(t, []attribute.KeyValue{attrDatabase.String("sqlite")}, to.spans[0].Attributes())
	require.Equal(t, sdk.Status{Code: codes.Error}, to.spans[0].Status())
}

// The log hears twice of an outage, however long it is, and the SDK never.
func TestExporter_tells_once(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	to := &sent{err: errors.New(strings.Repeat("x", 1000))}
	e := &exporter{SpanExporter: to, log: slog.New(slog.NewTextHandler(&log, nil))}
	for range 3 {
		require.NoError(t, e.ExportSpans(t.Context(), nil))
	}
	to.err = nil
	for range 3 {
		require.NoError(t, e.ExportSpans(t.Context(), nil))
	}
	require.Equal(t, 2, strings.Count(log.String(), "\n"), log.String())
	require.Less(t, len(log.String()), 700)
}

func TestNobodyWatches(t *testing.T) {
	t.Parallel()
	require.Nil(t, NewObserver(nil, nil))
}
