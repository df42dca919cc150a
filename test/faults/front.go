//go:build linux

package main

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// front is the load balancer. It asks each replica's /readyz, sends every request to
// one that says yes (to any that listens when none does: their own answer is what is
// tried), and never sends one twice.
type front struct {
	address  string
	replicas []*replica
	server   *http.Server
	carrier  *http.Transport
	ctx      context.Context //nolint:containedctx // of its health checks, which end with it
	cancel   context.CancelFunc
	working  sync.WaitGroup

	// A control makes it worse than it is.
	tamper func(*exchange)
	blind  bool // does not ask /readyz

	mu    sync.Mutex
	ready map[*replica]bool
	turn  int
}

// exchange is a request with its answer, as a control sees it.
type exchange struct {
	path   string
	form   url.Values
	status int // 0: the replica did not answer
	header http.Header
	body   []byte
	by     string
}

// answer replaces what the replica said.
func (x *exchange) answer(status int, body string) {
	x.status, x.body = status, []byte(body)
	x.header = http.Header{"Content-Type": {"application/json"}}
}

const (
	servedBy    = "X-Served-By" // a replica's name
	noAnswer    = "X-No-Answer" // the front made this answer, because there was none
	checkEvery  = 100 * time.Millisecond
	checkWithin = 500 * time.Millisecond
)

func newFront(ctx context.Context, replicas []*replica, c *control) (*front, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &front{
		address: listener.Addr().String(), replicas: replicas, ready: map[*replica]bool{},
		carrier: &http.Transport{MaxIdleConnsPerHost: 500, DisableCompression: true, DialContext: (&net.Dialer{Timeout: time.Second}).DialContext},
	}
	if c != nil {
		f.blind = c.blind
		if c.tamper != nil {
			f.tamper = c.tamper()
		}
	}
	f.ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	f.server = &http.Server{Handler: f, ReadHeaderTimeout: patience}
	f.working.Go(func() { _ = f.server.Serve(listener) })
	for _, r := range replicas {
		f.ready[r] = true
		f.working.Go(func() { f.watch(r) })
	}
	return f, nil
}

func (f *front) close() {
	f.cancel()
	_ = f.server.Close()
	f.working.Wait()
	f.carrier.CloseIdleConnections()
}

func (f *front) watch(r *replica) {
	for pause(f.ctx, checkEvery) {
		up := r.where() != ""
		if up && !f.blind {
			up = f.healthy(r)
		}
		f.mu.Lock()
		f.ready[r] = up
		f.mu.Unlock()
	}
}

// trusts says whether the front sends requests there.
func (f *front) trusts(r *replica) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ready[r]
}

func (f *front) healthy(r *replica) bool {
	ctx, cancel := context.WithTimeout(f.ctx, checkWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.where()+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := f.carrier.RoundTrip(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// choose takes them in turn.
func (f *front) choose() *replica {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn++
	var listening *replica
	for i := range f.replicas {
		r := f.replicas[(f.turn+i)%len(f.replicas)]
		if r.where() == "" {
			continue
		}
		if f.ready[r] {
			return r
		}
		if listening == nil {
			listening = r
		}
	}
	return listening
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	x := &exchange{path: r.URL.Path, header: http.Header{}}
	if to := f.choose(); to != nil {
		f.carry(r, body, to, x)
	}
	if f.tamper != nil {
		x.form, _ = url.ParseQuery(string(body))
		f.tamper(x)
	}
	if x.status == 0 {
		x.header.Set(noAnswer, "1")
		x.status = http.StatusBadGateway
	}
	if x.by != "" {
		x.header.Set(servedBy, x.by)
	}
	x.header.Del("Content-Length") // a control may have changed it
	for name, values := range x.header {
		w.Header()[name] = values
	}
	w.WriteHeader(x.status)
	_, _ = w.Write(x.body) // a client that is gone needs nothing
}

// carry asks one replica. Only an answer that is whole counts.
func (f *front) carry(r *http.Request, body []byte, to *replica, x *exchange) {
	x.by = to.name
	request, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+to.where()+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return
	}
	request.Header = r.Header.Clone()
	request.Header.Del("Connection")
	response, err := f.carrier.RoundTrip(request)
	if err != nil {
		return
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return
	}
	x.status, x.header, x.body = response.StatusCode, response.Header.Clone(), content
}

// dice is chance that comes from the seed, for several goroutines.
type dice struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func newDice(seed, stream uint64) *dice { return &dice{rng: rand.New(rand.NewPCG(seed, stream))} }

func (d *dice) below(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(n)
}

// once in n.
func (d *dice) once(n int) bool { return d.below(n) == 0 }

func (d *dice) between(a, b time.Duration) time.Duration {
	return a + time.Duration(d.below(int(b-a)))
}
