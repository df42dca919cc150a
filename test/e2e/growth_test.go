package e2e_test

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/storage/storagetest"
)

// A login is one row, however often it is renewed; and nothing at rest signs anybody in.
func TestGrowth_is_one_row_a_session(t *testing.T) {
	t.Parallel()
	each(t, storagetest.Setup{}, []string{"ISSUER=" + issuer, "LOG_LEVEL=info"}, func(t *testing.T, w *world) {
		const sessions, renewals, workers = 200, 20, 8
		p := w.serve()
		web := w.client("web", "--grant", "password", "--grant", "refresh_token")
		sealed := w.client("sealed", "--grant", "password", "--grant", "refresh_token", "--access-token", "opaque")
		password := w.user("alice")

		began := time.Now()
		turns := make(chan int)
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				for i := range turns {
					as := []credentials{web, sealed}[i%2]
					form := passwordForm("alice", password)
					for n := range renewals + 1 {
						a, err := submit(t.Context(), p.url+"/oauth2/token", as, form)
						if !assert.NoError(t, err) || !assert.Equal(t, http.StatusOK, a.status, "session %d, renewal %d: %s", i, n, a) {
							return
						}
						w.secret(a.field("access_token"), a.field("refresh_token"))
						form = refreshForm(a.field("refresh_token"))
					}
				}
			})
		}
		for i := range sessions {
			turns <- i
		}
		close(turns)
		all.Wait()
		require.False(t, t.Failed())
		t.Logf("%d token requests in %s", sessions*(renewals+1), time.Since(began).Round(time.Millisecond))

		// One access token is denied, and one session ended: these leave no token behind either.
		one, other := w.login(p, web, "alice", password), w.login(p, sealed, "alice", password)
		require.Equal(t, http.StatusOK, post(t, p.url+"/oauth2/revoke", web, tokenForm(one.access)).status)
		require.Equal(t, http.StatusOK, post(t, p.url+"/oauth2/revoke", sealed, tokenForm(other.refresh)).status)

		rows := map[string]int{}
		dump := w.dump(rows)
		require.Equal(t, sessions+2, rows["grants"])
		require.Equal(t, 1, rows["denied_tokens"])
		require.Equal(t, 2, rows["clients"])
		require.Equal(t, 1, rows["users"])
		t.Log(rows)
		// The search finds what is there.
		var list []session
		w.read(&list, "session", "list", "--limit", "1")
		require.Equal(t, map[string]bool{list[0].ID: true}, found(dump, list[0].ID, "not-in-the-database"), "the id of a session is no secret")

		w.mu.Lock()
		defer w.mu.Unlock()
		require.Greater(t, len(w.secrets), 2*sessions*renewals)
		var forbidden []string
		for secret := range w.secrets {
			forbidden = append(forbidden, traces(secret)...)
		}
		require.Empty(t, found(dump, forbidden...), "at rest")
	})
}

// traces are the parts of a secret that would do harm. A session's id is in its
// refresh tokens and at rest, so the first half of those says nothing.
func traces(secret string) []string {
	tail := secret[max(0, len(secret)-22):]
	return []string{tail, hex.EncodeToString([]byte(tail)), base64.StdEncoding.EncodeToString([]byte(tail))}
}

// dump reads all tables, and SQLite's files as they are on disk. It counts rows on the way.
func (w *world) dump(rows map[string]int) []byte {
	t := w.t
	t.Helper()
	db := w.open()
	list := "SELECT name FROM sqlite_master WHERE type = 'table'"
	if w.dialect == "postgres" {
		list = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
	}
	names, err := db.QueryContext(t.Context(), list)
	require.NoError(t, err)
	var tables []string
	for names.Next() {
		var name string
		require.NoError(t, names.Scan(&name))
		tables = append(tables, name)
	}
	require.NoError(t, names.Err())
	require.NoError(t, names.Close())

	var text bytes.Buffer
	for _, table := range tables {
		found, err := db.QueryContext(t.Context(), `SELECT * FROM "`+table+`"`) //nolint:gosec // G202: the name comes from the catalogue
		require.NoError(t, err)
		columns, err := found.Columns()
		require.NoError(t, err)
		for found.Next() {
			rows[table]++
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			require.NoError(t, found.Scan(into...))
			for i, value := range values {
				fmt.Fprintf(&text, "\n%s.%s: ", table, columns[i])
				if raw, ok := value.([]byte); ok {
					fmt.Fprintf(&text, "%s %x %s %s", raw, raw, strings.ToLower(base32ID(raw)), base64.RawURLEncoding.EncodeToString(raw))
					continue
				}
				fmt.Fprint(&text, value)
			}
		}
		require.NoError(t, found.Err())
		require.NoError(t, found.Close())
	}
	if path, ok := strings.CutPrefix(w.url, "sqlite:"); ok {
		for _, suffix := range []string{"", "-wal"} {
			raw, err := os.ReadFile(path + suffix)
			require.NoError(t, err)
			text.Write(raw)
		}
	}
	return text.Bytes()
}

// base32ID is how ids are written.
func base32ID(raw []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw)
}

// found answers which texts occur. They are looked up by their first letters,
// because there are thousands, and megabytes to search.
func found(dump []byte, texts ...string) map[string]bool {
	const letters = 16
	byStart := map[[letters]byte][]string{}
	for _, text := range texts {
		start := [letters]byte([]byte(text))
		byStart[start] = append(byStart[start], text)
	}
	hits := map[string]bool{}
	for i := range len(dump) - letters + 1 {
		for _, text := range byStart[[letters]byte(dump[i:])] {
			if bytes.HasPrefix(dump[i:], []byte(text)) {
				hits[text] = true
			}
		}
	}
	return hits
}
