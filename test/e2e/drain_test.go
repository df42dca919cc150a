package e2e_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/storage/storagetest"
)

// F-21: SIGTERM under load. /readyz turns first, so that a load balancer looks
// elsewhere; requests are answered for a while after that, and each that was begun
// before; the exit code is 0.
func TestDrain_under_Concurrent_load(t *testing.T) {
	t.Parallel()
	each(t, storagetest.Setup{}, []string{"ISSUER=" + issuer, "DRAIN_TIMEOUT=60s", "LOG_LEVEL=info"}, func(t *testing.T, w *world) {
		p := w.serve()
		web := w.client("web", "--grant", "password", "--grant", "refresh_token", "--grant", "client_credentials")
		password := w.user("alice")
		const workers = 12

		// The balancer believes /readyz, and the workers the balancer, if not at once:
		// as many requests as there are workers come when it has said no.
		var ready atomic.Bool
		ready.Store(true)
		balanced := make(chan struct{})
		go func() {
			defer close(balanced)
			for ready.Load() {
				a, err := fetch(t.Context(), p.url+"/readyz", "")
				ready.Store(err == nil && a.status == http.StatusOK)
			}
		}()

		var answered, afterwards atomic.Int64
		last := make([]string, workers)
		var working sync.WaitGroup
		for i := range workers {
			last[i] = w.login(p, web, "alice", password).refresh
			working.Go(func() {
				for n := 0; ready.Load() || afterwards.Load() < workers; n++ {
					form := clientForm()
					if n%2 == 0 {
						form = refreshForm(last[i])
					}
					late := !ready.Load()
					a, err := submit(t.Context(), p.url+"/oauth2/token", web, form)
					if !assert.NoError(t, err, "a request in flight was dropped") || !assert.Equal(t, http.StatusOK, a.status, "%s", a) {
						return
					}
					w.secret(a.field("access_token"), a.field("refresh_token"))
					if n%2 == 0 {
						last[i] = a.field("refresh_token")
					}
					answered.Add(1)
					if late {
						afterwards.Add(1)
					}
				}
			})
		}
		require.Eventually(t, func() bool { return answered.Load() > 200 || t.Failed() }, patience, tick)
		// These are begun, and take until after everything else.
		slow := make([]func() answer, 4)
		for i := range slow {
			slow[i] = halfSent(t, p, web, clientForm())
		}

		p.terminate(t)
		working.Wait()
		<-balanced
		require.False(t, t.Failed())
		require.GreaterOrEqual(t, afterwards.Load(), int64(workers))
		require.Eventually(t, func() bool {
			conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
			if err == nil {
				_ = conn.Close()
			}
			return err != nil
		}, patience, tick, "nobody new is let in")
		for _, finish := range slow {
			w.tokensOf(finish())
		}
		require.Zero(t, p.await(t), "exit 0\n%s", p.log.tail())
		require.NotContains(t, p.log.String(), "cut off")
		t.Logf("%d answered, %d of them begun after /readyz said no", answered.Load(), afterwards.Load())

		// What was answered last is what the next start knows.
		q := w.serve()
		for _, token := range last {
			w.renew(q, web, token)
		}
	})
}

// halfSent begins a token request, and answers the function that sends its rest.
func halfSent(t testing.TB, p *program, as credentials, form url.Values) func() answer {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(p.url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	form.Set("client_id", as.ID)
	form.Set("client_secret", as.Secret)
	body := form.Encode()
	_, err = fmt.Fprintf(conn, "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(body))
	require.NoError(t, err)
	reader := bufio.NewReader(conn)
	// It is sent when the handler begins to read: from here on the request is in flight.
	line, err := reader.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "100 Continue")
	_, err = reader.ReadString('\n')
	require.NoError(t, err)
	return func() answer {
		t.Helper()
		_, err := fmt.Fprint(conn, body)
		require.NoError(t, err)
		response, err := http.ReadResponse(reader, nil)
		require.NoError(t, err)
		defer func() { _ = response.Body.Close() }()
		a, err := whole(response)
		require.NoError(t, err)
		return a
	}
}
