package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Bounds of one exchange: whatever stands at the issuer must not keep the doctor.
const (
	patience = 10 * time.Second
	maxBody  = 1 << 20
)

// web sends requests. It follows nothing by itself, keeps no cookies and uses no proxy.
type web struct {
	client *http.Client
	now    func() time.Time
	from   fromAddress
}

// fromAddress remembers from which address the last connection was made.
type fromAddress struct {
	mu   sync.Mutex
	text string
}

func (f *fromAddress) set(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text = text
}

func (f *fromAddress) get() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text
}

func (p *Patient) open() *web {
	w := &web{now: p.Now}
	w.client = &http.Client{
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := p.Dial(ctx, network, address)
				if err == nil {
					host, _, _ := net.SplitHostPort(c.LocalAddr().String())
					w.from.set(host)
				}
				return c, err
			},
			TLSClientConfig:     &tls.Config{RootCAs: p.Roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: patience,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 8,
			IdleConnTimeout:     patience,
		},
	}
	return w
}

func (w *web) close() { w.client.CloseIdleConnections() }

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
	asked  time.Time
	took   time.Duration
}

// member is a text of the JSON object, "" when there is none.
func (a *answer) member(name string) string {
	text, _ := a.object()[name].(string)
	return text
}

func (a *answer) object() map[string]any {
	var object map[string]any
	if json.Unmarshal(a.body, &object) != nil {
		return nil
	}
	return object
}

func (a *answer) stored() bool {
	return !strings.Contains(a.header.Get("Cache-Control"), "no-store")
}

func (a *answer) location() string { return a.header.Get("Location") }

// tell names the answer for a finding, without anything of its body but an error code.
func (a *answer) tell() string {
	if code := a.member("error"); code != "" && len(code) < 40 {
		return fmt.Sprintf("%d %s", a.status, code)
	}
	return fmt.Sprint(a.status)
}

func (w *web) get(ctx context.Context, address string) (*answer, error) {
	return w.send(ctx, http.MethodGet, address, nil, nil)
}

func (w *web) post(ctx context.Context, address string, form url.Values, header http.Header) (*answer, error) {
	return w.send(ctx, http.MethodPost, address, form, header)
}

func (w *web) send(ctx context.Context, method, address string, form url.Values, header http.Header) (*answer, error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("User-Agent", "grantor-doctor")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	asked := w.now()
	came, err := w.client.Do(r)
	if err != nil {
		return nil, plainError(err)
	}
	defer came.Body.Close()
	read, err := io.ReadAll(io.LimitReader(came.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", r.URL.Host, err)
	}
	return &answer{status: came.StatusCode, header: came.Header, body: read, asked: asked, took: w.now().Sub(asked)}, nil
}

// plainError drops the URL that net/http puts before every error: it may hold a code.
func plainError(err error) error {
	if wrapped, ok := err.(*url.Error); ok { //nolint:errorlint // it is what Client.Do returns, unwrapped
		return wrapped.Err
	}
	return err
}
