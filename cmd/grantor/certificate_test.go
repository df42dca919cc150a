package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/config"
)

// pairFiles are the two files of a certificate that the test can replace.
type pairFiles struct {
	cert, key string
	roots     *x509.CertPool // trusts every certificate that was written here
}

func newPairFiles(t *testing.T) *pairFiles {
	t.Helper()
	folder := t.TempDir()
	return &pairFiles{cert: filepath.Join(folder, "cert.pem"), key: filepath.Join(folder, "key.pem"), roots: x509.NewCertPool()}
}

func (p *pairFiles) write(t *testing.T, serial int64, until time.Time) {
	t.Helper()
	cert, key := p.make(t, serial, until)
	require.NoError(t, os.WriteFile(p.cert, cert, 0o600))
	require.NoError(t, os.WriteFile(p.key, key, 0o600))
}

func (p *pairFiles) make(t *testing.T, serial int64, until time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	plan := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "grantor test"},
		NotBefore: time.Unix(0, 0), NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, plan, plan, private.Public(), private)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(raw)
	require.NoError(t, err)
	p.roots.AddCert(parsed)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

func (p *pairFiles) environ(t *testing.T, more ...string) []string {
	t.Helper()
	return environ("sqlite:"+filepath.Join(t.TempDir(), "grantor.db"), append(more, "GRANTOR_TLS_CERT_FILE="+p.cert, "GRANTOR_TLS_KEY_FILE="+p.key)...)
}

// serial is that of the certificate which a new connection is shown.
func (p *pairFiles) serial(t *testing.T, issuer string) int64 {
	t.Helper()
	c, err := tls.Dial("tcp", strings.TrimPrefix(issuer, "https://"), &tls.Config{RootCAs: p.roots})
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func distant() time.Time { return time.Now().AddDate(1, 0, 0) }

func TestServeSpeaksTLS(t *testing.T) {
	files := newPairFiles(t)
	files.write(t, 7, distant())
	p := startInside(t, files.environ(t), "serve", "--address", "127.0.0.1:0")
	require.True(t, strings.HasPrefix(p.issuer, "https://127.0.0.1:"), p.issuer)

	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: files.roots}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	answer, err := client.Get(p.issuer + "/.well-known/openid-configuration")
	require.NoError(t, err)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Equal(t, 2, answer.ProtoMajor)
	require.Contains(t, string(body), `"`+p.issuer+`/oauth2/token"`)

	huge, err := http.NewRequest(http.MethodGet, p.issuer+"/healthz", nil)
	require.NoError(t, err)
	huge.Header.Set("X-Huge", strings.Repeat("x", 1<<20))
	answer, err = client.Do(huge)
	if err == nil { // Go's client may already see by the server's settings that it is too much
		_ = answer.Body.Close()
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, answer.StatusCode)
	}

	one := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: files.roots, NextProtos: []string{"http/1.1"}}}, Timeout: patience}
	answer, err = one.Get(p.issuer + "/healthz")
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, 1, answer.ProtoMajor)

	_, err = tls.Dial("tcp", strings.TrimPrefix(p.issuer, "https://"), &tls.Config{RootCAs: files.roots, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	require.ErrorContains(t, err, "protocol version")
	status, _ := get(t, strings.Replace(p.issuer, "https:", "http:", 1)+"/healthz")
	require.Equal(t, http.StatusBadRequest, status, "http at the https port")
	transport.CloseIdleConnections()
	require.Zero(t, p.stop(t))
}

// Nobody who takes their time over the handshake stays.
func TestASlowHandshakeIsEnded(t *testing.T) {
	files := newPairFiles(t)
	files.write(t, 1, distant())
	shown, err := openCertificate(config.Config{TLSCertFile: files.cert, TLSKeyFile: files.key}, time.Now, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	door := newGate(listener, 10)
	web := newWeb(t.Context(), http.NotFoundHandler(), slog.New(slog.DiscardHandler), limits{header: 2 * time.Second, read: time.Hour, write: time.Hour, idle: time.Hour})
	web.ConnState = door.track
	go func() { _ = (&service{certificate: shown}).serve(web, door) }()
	defer func() { _ = web.Close() }()
	h := &hall{address: listener.Addr().String(), gate: door}
	go drip(h.connect(t), "\x16\x03\x01\x3f\xff"+strings.Repeat("x", 10000))
	h.waits(t, 1)
	h.isOpen(t, 0)
}

func TestACertificateIsReloaded(t *testing.T) {
	files := newPairFiles(t)
	files.write(t, 1, distant())
	var told bytes.Buffer
	log := slog.New(slog.NewTextHandler(&told, nil))
	c, err := openCertificate(config.Config{TLSCertFile: files.cert, TLSKeyFile: files.key}, time.Now, log)
	require.NoError(t, err)
	serial := func() int64 {
		shown, err := c.config().GetCertificate(nil)
		require.NoError(t, err)
		return shown.Leaf.SerialNumber.Int64()
	}
	lines := func(text string) int { return strings.Count(told.String(), text) }

	c.reload()
	require.Empty(t, told.String(), "nothing has changed, nothing is said")

	// Renewed by a program that keeps times: only the content tells.
	info, err := os.Stat(files.cert)
	require.NoError(t, err)
	files.write(t, 2, distant())
	for _, path := range []string{files.cert, files.key} {
		require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
	}
	c.reload()
	require.EqualValues(t, 2, serial())
	require.Equal(t, 1, lines("reloaded the certificate"))

	// Half written: the certificate of one, the key of the other.
	cert, key := files.make(t, 3, distant())
	require.NoError(t, os.WriteFile(files.cert, cert, 0o600))
	for range 3 {
		c.reload()
	}
	require.EqualValues(t, 2, serial())
	require.Equal(t, 1, lines("level=WARN"), "told once: %s", &told)
	require.Equal(t, 1, lines("the old one stays"))
	require.NoError(t, os.WriteFile(files.key, key, 0o600))
	c.reload()
	require.EqualValues(t, 3, serial())

	for name, spoil := range map[string]func() error{
		"gone":       func() error { return os.Remove(files.key) },
		"no PEM":     func() error { return os.WriteFile(files.key, []byte("hunter2 is no key"), 0o600) },
		"no content": func() error { return os.WriteFile(files.cert, nil, 0o600) },
	} {
		before := lines("level=WARN")
		require.NoError(t, spoil(), name)
		c.reload()
		c.reload()
		require.EqualValues(t, 3, serial(), name)
		require.Equal(t, before+1, lines("level=WARN"), "%s: %s", name, &told)
	}
	require.NotContains(t, told.String(), "hunter2")

	// What has expired is shown all the same: the operator chose it.
	files.write(t, 4, time.Now().Add(-time.Hour))
	c.reload()
	require.EqualValues(t, 4, serial())
	require.Equal(t, 1, lines("the certificate has expired"))
}

func TestTheCertificateIsLookedAtByItself(t *testing.T) {
	files := newPairFiles(t)
	files.write(t, 1, distant())
	log := slog.New(slog.DiscardHandler)
	c, err := openCertificate(config.Config{TLSCertFile: files.cert, TLSKeyFile: files.key}, time.Now, log)
	require.NoError(t, err)
	tick := make(chan time.Time)
	r := &reloader{certificate: c, log: log}
	go r.run(t.Context(), nil, tick)
	files.write(t, 2, distant())
	tick <- time.Now()
	tick <- time.Now() // the first one is done when the second is taken
	require.EqualValues(t, 2, c.shown.Load().Leaf.SerialNumber.Int64())
}

// SIGHUP: the certificate and the log level are read again, the rest is named and left,
// a broken file changes nothing, and the process lives.
func TestSIGHUPReadsAgain(t *testing.T) {
	files := newPairFiles(t)
	files.write(t, 1, distant())
	settings := filepath.Join(t.TempDir(), "grantor.yaml")
	write := func(text string) { require.NoError(t, os.WriteFile(settings, []byte(text), 0o600)) }
	write("log_level: warn\naddress: 127.0.0.1:0\n")
	p := startOutside(t, files.environ(t), "serve", "--config", settings)
	hangUp := func(want string, times int) {
		t.Helper()
		require.NoError(t, p.Process.Signal(syscall.SIGHUP))
		require.Eventually(t, func() bool { return strings.Count(p.log.String(), want) == times }, patience, 5*time.Millisecond, "%s: %s", want, p.log)
	}
	require.EqualValues(t, 1, files.serial(t, p.issuer))

	write("log_level: info\naddress: 127.0.0.1:1\nretry_window: 5s\nconnections: 10000\n")
	files.write(t, 2, distant())
	hangUp("reloaded the certificate", 1)
	require.EqualValues(t, 2, files.serial(t, p.issuer))
	require.Contains(t, p.log.String(), "read the settings again")
	require.Contains(t, p.log.String(), `settings="address retry_window"`, "what has the same value is not named")

	write("log_level: loud\n")
	hangUp("the old ones stay", 1)
	write("log_level: error\naddress: 127.0.0.1:0\n")
	require.NoError(t, os.WriteFile(files.cert, []byte("broken"), 0o600))
	require.NoError(t, p.Process.Signal(syscall.SIGHUP))
	// Two in a row, because a line may come after the answer.
	silent := 0
	require.Eventually(t, func() bool {
		if silent++; logs(t, files, p) {
			silent = 0
		}
		return silent == 2
	}, patience, 20*time.Millisecond, "level error logs no request")
	write("log_level: debug\naddress: 127.0.0.1:0\n")
	hangUp("log_level=debug", 1)
	require.Eventually(t, func() bool { return logs(t, files, p) }, patience, 5*time.Millisecond)
	require.EqualValues(t, 2, files.serial(t, p.issuer), "the broken one was not taken")

	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.end(t))
}

// logs says whether a request leaves a line.
func logs(t *testing.T, files *pairFiles, p *outside) bool {
	t.Helper()
	before := len(p.log.String())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: files.roots}, DisableKeepAlives: true}, Timeout: patience}
	answer, err := client.Get(p.issuer + "/nothing-here")
	require.NoError(t, err)
	id := answer.Header.Get("X-Request-Id")
	require.NoError(t, answer.Body.Close())
	require.NotEmpty(t, id)
	return strings.Contains(p.log.String()[before:], id)
}

func TestServeRefusesABrokenCertificate(t *testing.T) {
	files := newPairFiles(t)
	files.write(t, 1, distant())
	cert, err := os.ReadFile(files.cert)
	require.NoError(t, err)
	_, otherKey := files.make(t, 2, distant())
	for name, pair := range map[string]struct{ cert, key []byte }{
		"another key": {cert, otherKey},
		"no key":      {cert, []byte("hunter2")},
		"empty":       {nil, nil},
		"swapped":     {otherKey, cert},
	} {
		require.NoError(t, os.WriteFile(files.cert, pair.cert, 0o600))
		require.NoError(t, os.WriteFile(files.key, pair.key, 0o600))
		var out, log bytes.Buffer
		code := run(t.Context(), []string{"serve", "--address", "127.0.0.1:0"}, process{environ: files.environ(t), stdin: strings.NewReader(""), stdout: &out, stderr: &log, now: time.Now, rand: rand.Reader})
		require.NotZero(t, code, name)
		said := log.String()[strings.Index(log.String(), "grantor: "):]
		require.Equal(t, 2, strings.Count(said, "\n"), "one line and a hint: %s", said)
		require.Contains(t, log.String(), fmt.Sprintf("tls_cert_file (GRANTOR_TLS_CERT_FILE) %q", files.cert), name)
		require.NotContains(t, log.String(), "hunter2")
		require.Empty(t, out.String())
	}
}
