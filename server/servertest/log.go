package servertest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Log keeps every line, at debug level.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func newLog() *Log { return new(Log) }

// Logger writes JSON into the log.
func (l *Log) Logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// Text is all that was logged.
func (l *Log) Text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Lines are all that was logged, read again.
func (l *Log) Lines(t testing.TB) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for line := range strings.Lines(l.Text()) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &fields), "one line is one JSON object: %q", line)
		lines = append(lines, fields)
	}
	return lines
}

// Requests are the lines of requests.
func (l *Log) Requests(t testing.TB) []map[string]any {
	t.Helper()
	var requests []map[string]any
	for _, line := range l.Lines(t) {
		if line["msg"] == "request" {
			requests = append(requests, line)
		}
	}
	return requests
}

// check is Q-01.
func (l *Log) check(t testing.TB, s *seen) {
	t.Helper()
	l.Lines(t)
	text := l.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	for secret := range s.secrets {
		if at := strings.Index(text, secret); at >= 0 {
			line := text[strings.LastIndexByte(text[:at], '\n')+1:]
			line, _, _ = strings.Cut(line, "\n")
			t.Errorf("Q-01: a secret is in the log: %q in %s", secret, line)
		}
	}
}

// seen collects every secret that a request or an answer carried.
type seen struct {
	mu      sync.Mutex
	secrets map[string]struct{}
}

func newSeen() *seen { return &seen{secrets: map[string]struct{}{}} }

// shortest is the length below which a text is found by chance.
const shortest = 8

func (s *seen) add(secret string) {
	if len(secret) < shortest || len(secret) > 16<<10 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[secret] = struct{}{}
}

func (s *seen) request(r *Request) {
	for _, secret := range secretsOf(r) {
		s.add(secret)
	}
}

func (s *seen) answer(a *Answer) {
	for _, member := range []string{"access_token", "refresh_token", "id_token"} {
		s.add(a.Text(member))
	}
	if to, err := url.Parse(a.Header.Get("Location")); err == nil {
		s.add(to.Query().Get("code"))
		s.add(to.Query().Get("request"))
	}
	for _, cookie := range a.Header.Values("Set-Cookie") {
		_, value, _ := strings.Cut(cookie, "=")
		value, _, _ = strings.Cut(value, ";")
		s.add(value)
	}
}

var sensitive = []string{
	"password", "client_secret", "token", "refresh_token", "access_token", "code", "code_verifier", "client_assertion",
	"id_token_hint", "request", "csrf_token", "current_password", "new_password", "repeat_password",
}

// secretsOf are those that a request carries, in every form in which a log could hold them.
func secretsOf(r *Request) []string {
	var found []string
	add := func(secret string) {
		if len(secret) >= shortest {
			found = append(found, secret)
		}
	}
	for _, text := range []string{r.Body, query(r.Path)} {
		values, _ := url.ParseQuery(text)
		for _, name := range sensitive {
			for _, value := range values[name] {
				add(value)
				add(url.QueryEscape(value))
			}
		}
	}
	for _, header := range r.Header.Values("Authorization") {
		_, value, _ := strings.Cut(header, " ")
		add(value)
		if raw, err := base64.StdEncoding.DecodeString(value); err == nil {
			_, secret, _ := strings.Cut(string(raw), ":")
			add(secret)
		}
	}
	for _, header := range r.Header.Values("Cookie") {
		_, value, _ := strings.Cut(header, "=")
		add(value)
	}
	return found
}

func query(path string) string {
	_, query, _ := strings.Cut(path, "?")
	return query
}
