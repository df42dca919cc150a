package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Traces makes spans and sends them to a collector. A collector that is slow, full or
// gone costs spans, never a request: they wait in a bounded queue, and what finds it full is dropped.
type Traces struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// Wanted says whether the standard variables of OpenTelemetry ask for traces, and what
// they ask for that is not to be had: then there are none.
func Wanted(environ []string) (wanted bool, problem string) {
	value := func(names ...string) string {
		for _, name := range names {
			for _, pair := range environ {
				if v, ok := strings.CutPrefix(pair, name+"="); ok && strings.TrimSpace(v) != "" {
					return strings.TrimSpace(v)
				}
			}
		}
		return ""
	}
	exporter := value("OTEL_TRACES_EXPORTER")
	endpoint := value("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
	protocol := value("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
	switch {
	case strings.EqualFold(value("OTEL_SDK_DISABLED"), "true"), exporter == "none", exporter == "" && endpoint == "":
		return false, ""
	case exporter != "" && exporter != "otlp":
		return false, "OTEL_TRACES_EXPORTER is neither otlp nor none"
	case protocol != "" && protocol != "http/protobuf" && protocol != "http/json":
		return false, "the protocol of OTLP is neither http/protobuf nor http/json"
	}
	return true, ""
}

// StartTraces begins to send. Where to, how much and with which headers, the exporter and
// the SDK read from the environment of the process themselves: docs/observability.md names
// what they read.
func StartTraces(ctx context.Context, version string, log *slog.Logger) (*Traces, error) {
	otlp, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("make exporter of traces: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "grantor"), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv()) // the last one wins
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return newTraces(&exporter{SpanExporter: otlp, log: log}, sdk.WithResource(about)), nil
}

func newTraces(to sdk.SpanExporter, more ...sdk.TracerProviderOption) *Traces {
	provider := sdk.NewTracerProvider(append(more, sdk.WithBatcher(to))...)
	return &Traces{provider: provider, tracer: provider.Tracer("github.com/grantorhq/grantor")}
}

// Close sends what waits, for as long as ctx lasts.
func (t *Traces) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// exporter sends spans without what does not belong into them, and tells the log when
// that begins to fail and when it works again.
type exporter struct {
	sdk.SpanExporter
	log *slog.Logger

	mu      sync.Mutex
	failing bool
}

// ExportSpans implements sdk.SpanExporter. Spans that can not be sent are dropped.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	clean := make([]sdk.ReadOnlySpan, len(spans))
	for i, span := range spans {
		clean[i] = sifted{span}
	}
	err := e.SpanExporter.ExportSpans(ctx, clean)

	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil && !e.failing {
		e.log.WarnContext(ctx, "traces can not be sent, and will be dropped until they can", "error", shorten(err.Error()))
	}
	if err == nil && e.failing {
		e.log.InfoContext(ctx, "traces are sent again")
	}
	e.failing = err != nil
	return nil
}

// shorten bounds what a collector makes our log say.
func shorten(text string) string {
	const most = 300
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}
