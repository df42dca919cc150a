package telemetry

import (
	"bytes"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/prometheus/common/expfmt"
)

// Handler answers GET /metrics in Prometheus' text format, and 404 to everything else. It
// asks for no password, so it belongs on a listener of its own.
func (m *Metrics) Handler(log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/metrics" {
			http.NotFound(w, r)
			return
		}
		text, err := m.Text()
		if err != nil {
			log.WarnContext(r.Context(), "metrics could not be read", "error", err)
			http.Error(w, "metrics could not be read", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", string(expfmt.FmtText)) // every Prometheus reads it
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		w.Header().Set("X-Content-Type-Options", "nosniff")
		// The client is gone when this fails; there is nobody to tell.
		_, _ = w.Write(text)
	})
}

// Text is what GET /metrics answers.
func (m *Metrics) Text() ([]byte, error) {
	families, err := m.registry.Gather()
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			return nil, err
		}
	}
	return text.Bytes(), nil
}
