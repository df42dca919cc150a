package e2e_test

import (
	"bytes"
	"database/sql"
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
		var working sync.WaitGroup
		for range workers {
			working.Go(func() {
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
		working.Wait()
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
	db := storagetest.Database(w.t, w.url)
	list := "SELECT name FROM sqlite_master WHERE type = 'table'"
	if w.dialect == "postgres" {
		list = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
	}
	var text bytes.Buffer
	for _, name := range all(t, db, list) {
		table := name[0].(string)
		for _, row := range all(t, db, `SELECT * FROM "`+table+`"`) {
			rows[table]++
			for _, value := range row {
				if raw, ok := value.([]byte); ok {
					fmt.Fprintf(&text, "%s %x %s %s\n", raw, raw, strings.ToLower(base32ID(raw)), base64.RawURLEncoding.EncodeToString(raw))
					continue
				}
				fmt.Fprintln(&text, value)
			}
		}
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

// all rows of a query, whatever their columns.
func all(t testing.TB, db *sql.DB, query string) (rows [][]any) {
	t.Helper()
	found, err := db.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer func() { _ = found.Close() }()
	columns, err := found.Columns()
	require.NoError(t, err)
	for found.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(t, found.Scan(into...))
		rows = append(rows, values)
	}
	require.NoError(t, found.Err())
	return rows
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
