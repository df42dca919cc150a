package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// SIGTERM: /readyz says no first, what is in flight is answered, exit 0.
func TestSIGTERMDrains(t *testing.T) {
	env := environ("sqlite:"+filepath.Join(t.TempDir(), "grantor.db"), "GRANTOR_DRAIN_TIMEOUT=100s")
	p := startOutside(t, env, "serve", "--address", "127.0.0.1:0")
	status, _ := get(t, p.issuer+"/readyz")
	require.Equal(t, http.StatusOK, status)

	finish := halfRequest(t, p.issuer)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool {
		status, _ := get(t, p.issuer+"/readyz")
		return status == http.StatusServiceUnavailable
	}, 9*time.Second, 10*time.Millisecond, "in the first tenth of the drain /readyz is answered, with no")
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(p.issuer, "http://"))
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	}, patience, 20*time.Millisecond, "then nobody new is let in")

	require.Equal(t, http.StatusUnauthorized, finish(), "the request in flight gets its own answer")
	require.NoError(t, p.end(t), "exit 0")
}

// A request that never ends does not keep the program alive beyond the limit.
func TestTheDrainHasALimit(t *testing.T) {
	env := environ("sqlite:"+filepath.Join(t.TempDir(), "grantor.db"), "GRANTOR_DRAIN_TIMEOUT=300ms")
	p := startOutside(t, env, "serve", "--address", "127.0.0.1:0")
	halfRequest(t, p.issuer)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	began := time.Now()
	require.NoError(t, p.end(t))
	require.Less(t, time.Since(began), 10*time.Second)
	require.Contains(t, p.log.String(), "requests in flight were cut off")
}

// Who is in a hurry sends the signal twice.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	env := environ("sqlite:"+filepath.Join(t.TempDir(), "grantor.db"), "GRANTOR_DRAIN_TIMEOUT=10m")
	p := startOutside(t, env, "serve", "--address", "127.0.0.1:0")
	halfRequest(t, p.issuer)
	require.NoError(t, p.Process.Signal(syscall.SIGINT))
	require.Eventually(t, func() bool { return strings.Contains(p.log.String(), "stopping") }, patience, 10*time.Millisecond)
	require.NoError(t, p.Process.Signal(syscall.SIGINT))
	require.Error(t, p.end(t))
	require.Equal(t, syscall.SIGINT, p.ProcessState.Sys().(syscall.WaitStatus).Signal())
}

// H-02: a header block of a megabyte is refused, and the server goes on.
func TestAHugeHeaderBlockIsRefused(t *testing.T) {
	p := startInside(t, environ("sqlite:"+filepath.Join(t.TempDir(), "grantor.db")), "serve", "--address", "127.0.0.1:0")
	request, err := http.NewRequest(http.MethodGet, p.issuer+"/healthz", nil)
	require.NoError(t, err)
	request.Header.Set("X-Huge", strings.Repeat("x", 1<<20))
	answer, err := http.DefaultClient.Do(request)
	if err == nil { // the server may close before all was sent
		_ = answer.Body.Close()
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, answer.StatusCode)
	}
	status, _ := get(t, p.issuer+"/healthz")
	require.Equal(t, http.StatusOK, status)
	require.Zero(t, p.stop(t))
}

// halfRequest begins a token request and answers the function that sends its rest
// and tells the status.
func halfRequest(t *testing.T, issuer string) func() int {
	t.Helper()
	return halfPost(t, issuer, "grant_type=client_credentials&client_id=nobody&client_secret=nothing")
}

func halfPost(t *testing.T, issuer, body string) func() int {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(issuer, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = fmt.Fprintf(c, "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(body))
	require.NoError(t, err)
	reader := bufio.NewReader(c)
	// 100 Continue is sent when the handler begins to read: from then on the request is in flight.
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	line, err := reader.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "100 Continue")
	_, err = reader.ReadString('\n')
	require.NoError(t, err)
	return func() int {
		_, err := fmt.Fprint(c, body)
		require.NoError(t, err)
		answer, err := http.ReadResponse(reader, nil)
		require.NoError(t, err)
		defer answer.Body.Close()
		return answer.StatusCode
	}
}
