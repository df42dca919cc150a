package browser_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/storage/storagetest"
)

// world is one database, and a server on it behind a front.
type world struct {
	t      *testing.T
	front  *front
	issuer string
	dir    string
	env    []string
}

// newWorld is one on a SQLite of its own. Settings are GRANTOR_ variables without the prefix.
func newWorld(t *testing.T, settings ...string) *world {
	t.Helper()
	needChromium(t)
	return serve(t, "sqlite:"+filepath.Join(t.TempDir(), "grantor.db"), false, settings...)
}

// newSecureWorld is one whose issuer is https, by the front.
func newSecureWorld(t *testing.T, settings ...string) *world {
	t.Helper()
	needChromium(t)
	return serve(t, "sqlite:"+filepath.Join(t.TempDir(), "grantor.db"), true, settings...)
}

// each is for a test that runs on both databases.
func each(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	needChromium(t)
	storagetest.EachWith(t, storagetest.Setup{}, func(t *testing.T, e *storagetest.Env) {
		require.NoError(t, e.Store.Close())
		fn(t, serve(t, e.URL, false))
	})
}

var readyLine = regexp.MustCompile(`^grantor is ready: (\S+) \((?:listening on ([^ ,]+), )?`)

func serve(t *testing.T, database string, secure bool, settings ...string) *world {
	t.Helper()
	w := &world{t: t, front: newFront(t, secure), dir: t.TempDir()}
	w.issuer = w.front.url
	w.env = []string{
		"PATH=" + os.Getenv("PATH"),
		"GRANTOR_DATABASE=" + database,
		"GRANTOR_ISSUER=" + w.issuer,
		"GRANTOR_SECRETS=browser-test-secret-0123456789-abcdefghijklm",
		"GRANTOR_TRUSTED_PROXIES=127.0.0.1",
		// Hashing is not what is tried here, and a slow machine is no fault.
		"GRANTOR_PASSWORD_MEMORY=64", "GRANTOR_PASSWORD_TIME=1", "GRANTOR_DATABASE_TIMEOUT=10s", "GRANTOR_DRAIN_TIMEOUT=1s",
		// The throw-away server has them off.
		"GRANTOR_UNSAFE_DATABASE=fsync,synchronous_commit,full_page_writes",
	}
	for _, s := range settings {
		w.env = append(w.env, "GRANTOR_"+s)
	}
	if secure {
		// Programs that call the issuer believe the certificate of httptest.
		server := httptest.NewTLSServer(nil)
		server.Close()
		bundle := filepath.Join(w.dir, "ca.pem")
		require.NoError(t, os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
		w.env = append(w.env, "SSL_CERT_FILE="+bundle)
	}
	match := readyLine.FindStringSubmatch(launch(t, grantor, w.dir, w.env, "serve", "--address", "127.0.0.1:0"))
	require.NotNil(t, match)
	w.front.before("http://" + match[2])
	return w
}

// run is a command that an administrator gives beside the server.
func (w *world) run(args ...string) string {
	w.t.Helper()
	built, err := programs()
	require.NoError(w.t, err)
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(built, grantor), args...)
	var out, errout bytes.Buffer
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = w.env, w.dir, &out, &errout
	require.NoError(w.t, cmd.Run(), "grantor %v: %s", args, &errout)
	return out.String()
}

// client registers one and answers its secret.
func (w *world) client(id string, flags ...string) (secret string) {
	w.t.Helper()
	var made struct {
		ClientSecret string `json:"client_secret"`
	}
	require.NoError(w.t, json.Unmarshal([]byte(w.run(append([]string{"client", "create", "--json", "--id", id}, flags...)...)), &made))
	return made.ClientSecret
}

// user makes an account and answers its password.
func (w *world) user(name string, flags ...string) (password string) {
	w.t.Helper()
	var made struct{ Password string }
	require.NoError(w.t, json.Unmarshal([]byte(w.run(append([]string{"user", "create", name, "--json"}, flags...)...)), &made))
	require.NotEmpty(w.t, made.Password)
	return made.Password
}

// alice is the one whom the tests are about.
func (w *world) alice() (password string) {
	w.t.Helper()
	return w.user("alice", "--full-name", "Alice Müller", "--email", "alice@example.com", "--email-verified")
}

// signIn fills in the page that the tab is at.
func (b *tab) signIn(name, password string) {
	b.t.Helper()
	b.find(".page-sign_in")
	b.fill("#username", name)
	b.fill("#password", password)
	b.submit("main form:has(#password) button")
}
