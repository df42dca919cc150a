package browser_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// front is a proxy before a program: its address is known before the program runs, it
// can speak TLS, and it sees what passes.
type front struct {
	t   *testing.T
	url string

	mu      sync.Mutex
	target  *url.URL
	passed  []exchange
	gate    *gate
	secrets map[string]string // every token that a token endpoint answered, with what it is
}

// exchange is one request with its answer.
type exchange struct {
	method, path, grant string
	status              int
}

func newFront(t *testing.T, secure bool) *front {
	t.Helper()
	f := &front{t: t, secrets: map[string]string{}}
	server := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			f.mu.Lock()
			defer f.mu.Unlock()
			r.SetURL(f.target)
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
		Transport:      f,
		ModifyResponse: f.note,
	})
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

// before says which program it stands before.
func (f *front) before(address string) {
	target, err := url.Parse(address)
	require.NoError(f.t, err)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.target = target
}

// RoundTrip lets a request through, together with others if a test wants it so.
func (f *front) RoundTrip(r *http.Request) (*http.Response, error) {
	form, err := peek(r)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	gate := f.gate
	f.mu.Unlock()
	if gate != nil && form.Get("grant_type") == "refresh_token" {
		gate.wait()
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.passed = append(f.passed, exchange{r.Method, r.URL.Path, form.Get("grant_type"), answer.StatusCode})
	}
	return answer, err
}

func peek(r *http.Request) (url.Values, error) {
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body)) // whatever else it is has no grant_type
	return form, nil
}

// note keeps the tokens, to look for them where they must not be.
func (f *front) note(answer *http.Response) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, cookie := range answer.Cookies() {
		if cookie.Value != "" {
			f.secrets[cookie.Value] = "the cookie " + cookie.Name
		}
	}
	if answer.Request.URL.Path != "/oauth2/token" {
		return nil
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	var tokens map[string]any
	if json.Unmarshal(body, &tokens) != nil {
		return nil
	}
	for _, name := range []string{"access_token", "refresh_token", "id_token"} {
		if token, ok := tokens[name].(string); ok {
			f.secrets[token] = name
		}
	}
	return nil
}

// tokens are all that passed, with what they are.
func (f *front) tokens() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]string{}
	for token, what := range f.secrets {
		all[token] = what
	}
	return all
}

// grants counts the answers of the token endpoint to a grant type.
func (f *front) grants(grant string, status int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	count := 0
	for _, e := range f.passed {
		if e.grant == grant && e.status == status {
			count++
		}
	}
	return count
}

// together makes the next so many renewals arrive at once.
func (f *front) together(renewals int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gate = &gate{missing: renewals, open: make(chan struct{})}
}

// gate opens when as many wait as it was made for, and stays open.
type gate struct {
	mu      sync.Mutex
	missing int
	open    chan struct{}
}

func (g *gate) wait() {
	g.mu.Lock()
	if g.missing--; g.missing == 0 {
		close(g.open)
	}
	g.mu.Unlock()
	<-g.open
}
