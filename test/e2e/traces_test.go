package e2e_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/storage/storagetest"
)

// span is what we look at in one that the collector was sent.
type span struct {
	TraceID      string `json:"traceId"`
	SpanID       string `json:"spanId"`
	ParentSpanID string `json:"parentSpanId"`
	Name         string `json:"name"`
	Attributes   []struct {
		Key   string `json:"key"`
		Value struct {
			StringValue string `json:"stringValue"`
		} `json:"value"`
	} `json:"attributes"`
	Links []struct {
		TraceID string `json:"traceId"`
	} `json:"links"`
}

func (s span) attribute(key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.StringValue
		}
	}
	return ""
}

// collector takes OTLP over HTTP as JSON.
type collector struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	spans  []span
}

func newCollector(t testing.TB) *collector {
	t.Helper()
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var sent struct {
			ResourceSpans []struct {
				ScopeSpans []struct{ Spans []span } `json:"scopeSpans"`
			} `json:"resourceSpans"`
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.bodies = append(c.bodies, r.URL.Path+" "+string(body))
		if json.Unmarshal(body, &sent) == nil {
			for _, resource := range sent.ResourceSpans {
				for _, scope := range resource.ScopeSpans {
					c.spans = append(c.spans, scope.Spans...)
				}
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{}"))
	}))
	t.Cleanup(c.Close)
	return c
}

// find answers the span of a request, or one below it.
func (c *collector) find(t testing.TB, request, name string) span {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var top span
	for _, s := range c.spans {
		if s.attribute("grantor.request_id") == request {
			top = s
		}
	}
	require.NotEmpty(t, top.TraceID, "no span of the request %s", request)
	if name == "" {
		return top
	}
	for _, s := range c.spans {
		if s.TraceID == top.TraceID && s.Name == name {
			return s
		}
	}
	t.Fatalf("no span %q of the request %s in %d spans", name, request, len(c.spans))
	return span{}
}

// Traces leave through the standard variables, tell which request and which unit of work,
// and nothing that a client sent: not even in the spans that fosite makes.
func TestTraces_tell_what_happened_and_no_secret(t *testing.T) {
	t.Parallel()
	each(t, storagetest.Setup{}, nil, func(t *testing.T, w *world) {
		to := newCollector(t)
		w.env = append(w.env, "OTEL_EXPORTER_OTLP_ENDPOINT="+to.URL, "OTEL_EXPORTER_OTLP_PROTOCOL=http/json", "OTEL_SERVICE_NAME=sign-in")
		p := w.serve()
		password := w.user("alice")
		app := w.client("app", "--grant", "password", "--grant", "refresh_token", "--scope", "read")
		first := post(t, p.url+"/oauth2/token", app, passwordForm("alice", password))
		held := w.tokensOf(first)
		second := w.refresh(p, app, held.refresh)
		w.tokensOf(second)

		wrong := refreshForm(held.refresh + "forged")
		wrong.Set("scope", "read marker-of-a-stranger")
		post(t, p.url+"/oauth2/token", app, wrong)
		missed := post(t, p.url+"/oauth2/token", app, passwordForm("alice", "marker-of-a-stranger"))
		require.Equal(t, http.StatusBadRequest, missed.status)

		// A stranger's trace is not gone on with.
		const foreign = "0af7651916cd43dd8448eb211c80319c"
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/oauth2/marker-of-a-stranger?marker-of-a-stranger", nil)
		require.NoError(t, err)
		request.Header = http.Header{
			"Traceparent": {"00-" + foreign + "-b7ad6b7169203331-01"}, "Tracestate": {"marker-of-a-stranger=1"}, "Baggage": {"marker-of-a-stranger=1"},
			"User-Agent": {"marker-of-a-stranger"},
		}
		lost, err := do(browser, request)
		require.NoError(t, err)

		p.terminate(t)
		require.Zero(t, p.await(t), "what waits is sent at the end")

		id := func(a answer) string { return a.header.Get("X-Request-Id") }
		top := to.find(t, id(second), "")
		require.Equal(t, "POST /oauth2/token", top.Name)
		require.Equal(t, "/oauth2/token", top.attribute("http.route"))
		require.Equal(t, "rotated", top.attribute("grantor.outcome"))
		require.Equal(t, "app", top.attribute("grantor.client"))
		require.Empty(t, top.ParentSpanID)
		fosite := to.find(t, id(second), "Fosite.NewAccessRequest")
		require.Equal(t, top.SpanID, fosite.ParentSpanID)
		require.Equal(t, fosite.SpanID, to.find(t, id(second), "rotate refresh token").ParentSpanID)
		to.find(t, id(first), "read user")
		require.Contains(t, p.log.String(), "trace_id="+strings.ToLower(top.TraceID), "so that a line of the log leads to its trace")

		stray := to.find(t, id(lost), "")
		require.Equal(t, "GET unknown", stray.Name)
		require.NotEqual(t, foreign, strings.ToLower(stray.TraceID))
		require.Len(t, stray.Links, 1)
		require.Equal(t, foreign, strings.ToLower(stray.Links[0].TraceID))

		all := strings.Join(to.bodies, "\n")
		require.Contains(t, all, "/v1/traces ")
		require.Contains(t, all, `"sign-in"`)
		for secret := range w.secrets {
			require.NotContains(t, all, secret)
			require.NotContains(t, all, url.QueryEscape(secret))
		}
		for _, private := range []string{"marker-of-a-stranger", "alice", "UPDATE grants", "goroutine", ".go:"} {
			require.NotContains(t, all, private)
		}
	})
}

// Who can not reach a collector serves as ever, and ends in time.
func TestTraces_without_a_collector_harm_nobody(t *testing.T) {
	t.Parallel()
	each(t, storagetest.Setup{}, nil, func(t *testing.T, w *world) {
		gone := httptest.NewServer(http.NotFoundHandler())
		gone.Close()
		w.env = append(w.env, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="+gone.URL+"/v1/traces")
		p := w.serve()
		app := w.client("app", "--grant", "client_credentials")
		for range 20 {
			w.tokensOf(post(t, p.url+"/oauth2/token", app, clientForm()))
		}
		p.terminate(t)
		require.Zero(t, p.await(t))
		require.Contains(t, p.log.String(), "traces can not be sent")
	})
}
