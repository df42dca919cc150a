package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/grantorhq/grantor/storage/storagetest"
)

// sample is one line of /metrics.
type sample struct {
	labels map[string]string
	value  string
}

var (
	metricsLine = regexp.MustCompile(`msg="metrics are served" address=(\S+)`)
	sampleLine  = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$`)
	labelPair   = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"`)
)

func metricsOf(t testing.TB, p *program) (url string) {
	t.Helper()
	var found []string
	require.Eventually(t, func() bool {
		found = metricsLine.FindStringSubmatch(p.log.String())
		return found != nil
	}, patience, tick, "the log says where\n%s", p.log)
	return "http://" + found[1] + "/metrics"
}

func scrape(t testing.TB, address string) (samples map[string][]sample, text string) {
	t.Helper()
	a := get(t, address)
	require.Equal(t, http.StatusOK, a.status, "%s", a)
	require.Contains(t, a.header.Get("Content-Type"), "text/plain; version=0.0.4")
	samples = map[string][]sample{}
	for line := range strings.Lines(string(a.body)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		found := sampleLine.FindStringSubmatch(strings.TrimSpace(line))
		require.NotNil(t, found, "%q", line)
		s := sample{labels: map[string]string{}, value: found[3]}
		for _, pair := range labelPair.FindAllStringSubmatch(found[2], -1) {
			s.labels[pair[1]] = pair[2]
		}
		samples[found[1]] = append(samples[found[1]], s)
	}
	return samples, string(a.body)
}

// value adds up the samples that have these labels.
func value(samples map[string][]sample, metric string, labels ...string) (sum float64) {
	for _, s := range samples[metric] {
		fits := true
		for i := 0; i < len(labels); i += 2 {
			fits = fits && s.labels[labels[i]] == labels[i+1]
		}
		if fits {
			var v float64
			_, _ = fmt.Sscan(s.value, &v)
			sum += v
		}
	}
	return sum
}

// Whatever the dashboard and the alerts ask for is there, under that name, with those
// labels, and nothing else is: no secret, no person, nothing that a stranger wrote.
func TestMetrics_are_what_dashboard_alerts_and_manual_say(t *testing.T) {
	t.Parallel()
	each(t, storagetest.Setup{}, []string{"TELEMETRY_ADDRESS=127.0.0.1:0", "HOUSEKEEPING_INTERVAL=1s", "DRAIN_TIMEOUT=40s"}, func(t *testing.T, w *world) {
		p := w.serve()
		address := metricsOf(t, p)
		app := w.bitOfEverything(p)

		var samples map[string][]sample
		var text string
		require.Eventually(t, func() bool {
			samples, text = scrape(t, address)
			return samples["grantor_housekeeping_last_success_timestamp_seconds"] != nil
		}, patience, tick, "a round of housekeeping")
		// A planned rotation shows until the key's turn comes, some seconds later.
		require.Eventually(t, func() bool {
			w.run("key", "rotate")
			for range 100 {
				if samples, text = scrape(t, address); samples["grantor_signing_key_next_activation_seconds"] != nil {
					return true
				}
			}
			return false
		}, patience, tick, "a planned rotation")

		for _, want := range []struct {
			metric string
			labels []string
			least  float64
		}{
			{"grantor_refresh_tokens_total", []string{"verdict", "rotated"}, 2},
			{"grantor_refresh_tokens_total", []string{"verdict", "retried"}, 1},
			{"grantor_refresh_tokens_total", []string{"verdict", "reused"}, 1},
			{"grantor_codes_total", []string{"verdict", "redeemed"}, 1},
			{"grantor_sign_ins_total", []string{"door", "login", "outcome", "succeeded"}, 1},
			{"grantor_sign_ins_total", []string{"door", "password_grant", "outcome", "wrong"}, 1},
			{"grantor_sign_ins_total", []string{"door", "password_grant", "outcome", "succeeded"}, 1},
			{"grantor_http_requests_total", []string{"route", "/oauth2/token", "grant_type", "refresh_token", "outcome", "rotated", "status", "200", "method", "POST"}, 2},
			{"grantor_http_requests_total", []string{"route", "/oauth2/token", "grant_type", "refresh_token", "outcome", "invalid_grant", "status", "400"}, 1},
			{"grantor_http_requests_total", []string{"route", "unknown", "status", "404"}, 1},
			{"grantor_http_request_duration_seconds_count", []string{"route", "/oauth2/introspect"}, 1},
			{"grantor_database_group_size_count", []string{"kind", "write"}, 3},
			{"grantor_client_cache_requests_total", []string{"result", "hit"}, 1},
			{"grantor_connections_open", nil, 1},
			{"grantor_build_info", nil, 1},
		} {
			require.GreaterOrEqual(t, value(samples, want.metric, want.labels...), want.least, "%s %v", want.metric, want.labels)
		}
		require.Zero(t, value(samples, "grantor_draining"))

		for origin, expression := range expressions(t) {
			q, err := parsePromQL(expression)
			require.NoError(t, err, origin)
			for _, problem := range missing(q, samples, w.dialect) {
				t.Errorf("%s: %s\n%s", origin, problem, expression)
			}
		}
		documented(t, samples)

		for secret := range w.secrets {
			require.NotContains(t, text, secret)
		}
		for _, private := range []string{"alice", app.ID, "shop", "example.com", "secret-path", "BREW", "127.0.0.1", "curl"} {
			require.NotContains(t, text, private)
		}

		// H-08: nowhere else, and nothing else.
		require.Equal(t, http.StatusNotFound, get(t, p.url+"/metrics").status)
		root := strings.TrimSuffix(address, "/metrics")
		for _, path := range []string{"/", "/debug/pprof/", "/metrics/", "/healthz", "/oauth2/token"} {
			require.Equal(t, http.StatusNotFound, get(t, root+path).status, path)
		}
		require.Equal(t, http.StatusNotFound, post(t, address, app, clientForm()).status)

		// A port in use ends the start with a line and a hint.
		w.env = append(w.env, "GRANTOR_TELEMETRY_ADDRESS="+strings.TrimPrefix(root, "http://"))
		r, err := w.try("", "serve", "--address", "127.0.0.1:0")
		require.NoError(t, err)
		require.Equal(t, 1, r.code)
		require.Contains(t, r.errout, "grantor: listen on telemetry.address "+strings.TrimPrefix(root, "http://"))
		require.Contains(t, r.errout, "hint: another program listens there: stop it, or set telemetry.address")

		// The drain can be watched to its end.
		finish := halfSent(t, p, app, clientForm())
		p.terminate(t)
		require.Eventually(t, func() bool {
			samples, _ := scrape(t, address)
			return value(samples, "grantor_draining") == 1
		}, patience, tick)
		require.Equal(t, http.StatusOK, finish().status)
		require.Zero(t, p.await(t))
	})
}

// bitOfEverything makes most things happen once.
func (w *world) bitOfEverything(p *program) credentials {
	t := w.t
	t.Helper()
	password := w.account("alice")
	app := w.client("app", "--grant", "password", "--grant", "refresh_token", "--grant", "client_credentials", "--scope", "read", "--resource-server")
	first := w.login(p, app, "alice", password)
	second := w.renew(p, app, first.refresh)
	w.renew(p, app, first.refresh) // a retry
	require.True(t, w.active(p, app, second.access))
	w.renew(p, app, second.refresh)
	refused(t, w.refresh(p, app, first.refresh), "invalid_grant") // reuse
	refused(t, post(t, p.url+"/oauth2/token", app, passwordForm("alice", "not her password")), "invalid_grant")
	w.tokensOf(post(t, p.url+"/oauth2/token", app, clientForm()))
	require.Equal(t, http.StatusOK, post(t, p.url+"/oauth2/revoke", app, tokenForm(second.access)).status)
	require.Equal(t, http.StatusUnauthorized, getAs(t, p.url+"/userinfo", "secret-path").status)
	require.Equal(t, http.StatusNotFound, get(t, p.url+"/secret-path?secret=path").status)
	brew, err := http.NewRequestWithContext(t.Context(), "BREW", p.url+"/oauth2/token", nil)
	require.NoError(t, err)
	_, err = do(browser, brew)
	require.NoError(t, err)

	provider, err := oidc.NewProvider(t.Context(), p.url)
	require.NoError(t, err)
	shop := w.client("shop", "--grant", "authorization_code", "--grant", "refresh_token", "--scope", "openid profile email", "--redirect-uri", shopCallback)
	w.obtain(&oauth2.Config{
		ClientID: shop.ID, ClientSecret: shop.Secret, Endpoint: provider.Endpoint(), RedirectURL: shopCallback, Scopes: []string{oidc.ScopeOpenID},
	}, newPerson(t, "alice", password, ""), "state", "nonce", nil)
	return app
}

// missing says what a query asks for that is not there.
func missing(q query, samples map[string][]sample, dialect string) (problems []string) {
	prometheus := []string{"job", "instance"} // added by who collects
	has := func(metric, label string) bool {
		return slices.Contains(prometheus, label) || metric == "up" ||
			slices.ContainsFunc(samples[metric], func(s sample) bool { _, ok := s.labels[label]; return ok })
	}
	for _, s := range q.selectors {
		if s.metric == "up" {
			continue
		}
		if samples[s.metric] == nil {
			problems = append(problems, "there is no metric "+s.metric)
			continue
		}
		for _, m := range s.matchers {
			// Requests are counted when they come: nobody made this server fail.
			request := strings.HasPrefix(s.metric, "grantor_http_requests_total") || m.label == "pool" && dialect == "sqlite"
			switch {
			case !has(s.metric, m.label):
				problems = append(problems, s.metric+" has no label "+m.label)
			case slices.Contains(prometheus, m.label) || request || strings.HasPrefix(m.op, "!"):
			case !slices.ContainsFunc(samples[s.metric], func(s sample) bool {
				return regexp.MustCompile("^(?:" + m.value + ")$").MatchString(s.labels[m.label])
			}):
				problems = append(problems, fmt.Sprintf("%s has no %s that is %q", s.metric, m.label, m.value))
			}
		}
	}
	for _, g := range q.grouped {
		for _, label := range g.labels {
			for _, s := range q.selectors[g.from:g.to] {
				if !has(s.metric, label) {
					problems = append(problems, s.metric+" has no label "+label)
				}
			}
		}
	}
	return problems
}

// expressions are the queries of the dashboard and the alerts, by where they stand.
func expressions(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, a := range alerts(t) {
		all["alert "+a.name] = a.expr
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "grafana", "grantor.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &dashboard))
	for _, p := range dashboard.Panels {
		for i, target := range p.Targets {
			all[fmt.Sprintf("panel %s, %d", p.Title, i+1)] = strings.ReplaceAll(target.Expr, "$__rate_interval", "5m")
		}
	}
	require.Greater(t, len(all), 50)
	return all
}

type alert struct{ name, expr, summary string }

func alerts(t testing.TB) (list []alert) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", "grantor.rules.yaml"))
	require.NoError(t, err)
	root, err := yaml.Parser().Unmarshal(text)
	require.NoError(t, err)
	for _, group := range root["groups"].([]any) {
		for _, rule := range group.(map[string]any)["rules"].([]any) {
			r := rule.(map[string]any)
			for key := range r {
				require.Contains(t, []string{"alert", "expr", "for", "labels", "annotations"}, key)
			}
			require.Contains(t, []any{"critical", "warning"}, r["labels"].(map[string]any)["severity"])
			a := alert{r["alert"].(string), r["expr"].(string), r["annotations"].(map[string]any)["summary"].(string)}
			require.NotEmpty(t, a.summary, a.name)
			list = append(list, a)
		}
	}
	require.Greater(t, len(list), 10)
	return list
}

// documented: the manual names every metric and every alert, and no other.
func documented(t testing.TB, samples map[string][]sample) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "observability.md"))
	require.NoError(t, err)
	manual := string(text)
	suffix := regexp.MustCompile(`_(bucket|sum|count)$`)
	known := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(samples)) {
		if family := suffix.ReplaceAllString(name, ""); strings.HasPrefix(name, "grantor_") {
			known[family] = true
			require.Contains(t, manual, "`"+family+"`", "docs/observability.md")
		}
	}
	for _, found := range regexp.MustCompile("`(grantor_[a-z_]+)`").FindAllStringSubmatch(manual, -1) {
		require.True(t, known[found[1]], "docs/observability.md names %s, which is not there", found[1])
	}
	for _, a := range alerts(t) {
		require.Contains(t, manual, "| `"+a.name+"` |")
	}
}
