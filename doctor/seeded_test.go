package doctor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/doctor"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
)

// seed is one misconfiguration of a healthy deployment.
type seed struct {
	check  string
	name   string
	grade  doctor.Grade
	setup  func(*servertest.Setup)
	change func(t *testing.T, d *deployment)
	attack bool
	own    bool     // it spoils the server or the database for the others
	also   []string // checks that must find it, too: one cause may have several effects
}

func seeds() []seed {
	return []seed{
		{check: "issuer-reachable", name: "nobody listens", grade: doctor.Fail, change: func(_ *testing.T, d *deployment) {
			d.patient.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
		}, also: []string{"tls-certificate"}},
		{check: "issuer-reachable", name: "the proxy keeps /.well-known to itself", grade: doctor.Fail, change: answer("/.well-known/oauth-authorization-server", 404, "")},
		{check: "issuer-equal", name: "the server has another issuer", grade: doctor.Fail, setup: func(s *servertest.Setup) {
			before := s.Config
			s.Config = func(c *config.Config) { before(c); c.Issuer = "https://www.example.com" }
		}},
		{check: "endpoints", name: "the proxy does not pass revocation on", grade: doctor.Fail, change: answer("/oauth2/revoke", 404, "")},
		{check: "jwks", name: "the server works on another database", grade: doctor.Fail, change: answer("/.well-known/jwks.json", 200, `{"keys":[{"kid":"of another"}]}`)},
		{check: "ready", name: "the server drains", grade: doctor.Fail, own: true, change: func(_ *testing.T, d *deployment) { d.Server.Drain() }},
		{check: "tls-certificate", name: "signed by itself", grade: doctor.Fail, change: func(_ *testing.T, d *deployment) { d.patient.Roots = x509.NewCertPool() }, also: []string{"issuer-reachable"}},
		{check: "tls-expiry", name: "ended yesterday", grade: doctor.Fail, change: certificate(-24 * time.Hour), also: []string{"issuer-reachable"}},
		{check: "tls-expiry", name: "ends next week", grade: doctor.Warn, change: certificate(7 * 24 * time.Hour)},
		{check: "tls-version", name: "TLS 1.0 is accepted", grade: doctor.Fail, change: func(_ *testing.T, d *deployment) {
			d.tls = func(c *tls.Config) { c.MinVersion = tls.VersionTLS10 }
		}},
		{check: "tls-hsts", name: "not sent", grade: doctor.Warn, change: header("Strict-Transport-Security", "")},
		{check: "plain-http", name: "port 80 serves the same", grade: doctor.Warn, change: func(_ *testing.T, d *deployment) { d.http = d.Handler() }},
		{check: "clock-server", name: "a minute ahead", grade: doctor.Fail, change: func(_ *testing.T, d *deployment) {
			d.patient.Now = func() time.Time { return time.Now().Add(time.Minute) }
		}},
		{check: "no-store", name: "a cache in front", grade: doctor.Fail, change: header("Cache-Control", "public, max-age=60")},
		{check: "challenge", name: "the proxy drops it", grade: doctor.Fail, change: header("WWW-Authenticate", "")},
		{check: "page-headers", name: "the proxy has its own policy", grade: doctor.Fail, change: header("Content-Security-Policy", "default-src 'self'")},
		{check: "private-paths", name: "metrics at the public address", grade: doctor.Fail, change: answer("/metrics", 200, "# TYPE requests counter\n")},
		{check: "proxy-forged", name: "everybody is a proxy", grade: doctor.Fail, setup: proxies("0.0.0.0/0", "::/0"), attack: true},
		{check: "proxy-forged", name: "everybody is a proxy, by the settings", grade: doctor.Fail, change: func(_ *testing.T, d *deployment) {
			d.patient.Config.TrustedProxies = config.Networks{netip.MustParsePrefix("0.0.0.0/0")}
		}, also: []string{"settings"}},
		{check: "proxy-trusted", name: "the proxy is not named at the server", grade: doctor.Fail, setup: proxies(), attack: true},
		{check: "proxy-trusted", name: "no proxy is named in the settings", grade: doctor.Fail, change: func(_ *testing.T, d *deployment) { d.patient.Config.TrustedProxies = nil }},
		{check: "proxy-trusted", name: "the proxy does not say for whom", grade: doctor.Fail, attack: true, change: func(_ *testing.T, d *deployment) {
			d.around = func(http.Handler) http.Handler { return straight(d.URL) }
		}},

		{check: "database-reachable", name: "the file is gone", grade: doctor.Fail, change: func(_ *testing.T, d *deployment) {
			d.patient.Store, d.patient.Unopened = nil, errors.New("no such file")
		}},
		{check: "database-schema", name: "older", grade: doctor.Fail, change: func(t *testing.T, d *deployment) {
			execute(t, d, `DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)`)
		}, own: true, also: []string{"ready"}},
		{check: "database-schema", name: "newer", grade: doctor.Fail, change: func(t *testing.T, d *deployment) {
			execute(t, d, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`)
			execute(t, d, `UPDATE compatibility SET least = 99999`)
		}, own: true, also: []string{"ready"}},
		{check: "database-schema", name: "newer, and this program can run on it", grade: doctor.Warn, change: func(t *testing.T, d *deployment) {
			execute(t, d, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`)
		}, own: true},
		{check: "housekeeping", name: "nobody does it", grade: doctor.Warn, change: func(t *testing.T, d *deployment) {
			long := time.Now().Add(-48 * time.Hour)
			_, err := d.Store.Begin(t.Context(), grants.Grant{
				ID: grants.ID{1}, ClientID: "shop", UserID: servertest.UserID("alice"), State: grants.Live, Generation: 1,
				CreatedAt: long, RotatedAt: long, ExpiresAt: long.Add(time.Hour),
			}, time.Unix(-1, 0))
			require.NoError(t, err)
		}, own: true},
		{check: "sqlite-file", name: "everybody may read it", grade: doctor.Fail, own: true, change: func(t *testing.T, d *deployment) {
			require.NoError(t, os.Chmod(d.patient.Config.Database.File(), 0o644))
		}},
		{check: "sqlite-journal", name: "made by another tool", grade: doctor.Fail, change: func(t *testing.T, d *deployment) {
			path := filepath.Join(t.TempDir(), "copy.db")
			execute(t, d, `VACUUM INTO '`+path+`'`)
			store, err := storage.Open(t.Context(), storage.Options{Database: "sqlite:" + path, Inspect: true, Now: time.Now, Rand: rand.Reader})
			require.NoError(t, err)
			t.Cleanup(func() { _ = store.Close() })
			d.patient.Store = store
		}},

		{check: "settings", name: "a weak password hash", grade: doctor.Warn, change: func(_ *testing.T, d *deployment) { d.patient.Config.PasswordMemory = 1024 }},
		{check: "settings", name: "not usable", grade: doctor.Fail, change: func(_ *testing.T, d *deployment) {
			d.patient.Faults = config.Faults{{Setting: "issuer", Problem: "is http", Hint: "write https"}}
		}},
		{check: "secret-strength", name: "one letter", grade: doctor.Fail, change: func(_ *testing.T, d *deployment) {
			_, err := keys.ParseSecrets(strings.Repeat("a", 40))
			d.patient.Faults = config.Faults{{Setting: "secrets", Problem: "holds an " + err.Error(), Hint: "make one"}}
			d.patient.SecretText, d.patient.Secrets, d.patient.Unread = "", nil, err
		}},
		{check: "secret-strength", name: "a keyboard", grade: doctor.Fail, change: secretText("Changeme-0123456789-changeme-0123456789")},
		{check: "secret-strength", name: "a sentence", grade: doctor.Warn, change: secretText("my-horse-likes-blue-batteries-in-the-rain-of-april")},
		{check: "secret-count", name: "old ones are still there", grade: doctor.Warn, change: func(t *testing.T, d *deployment) {
			d.patient.SecretText += config.Secret("," + secret(t) + "," + secret(t))
		}},
		{check: "secret-files", name: "everybody may read them", grade: doctor.Fail, change: private(0o644)},
		{check: "secret-files", name: "a group may read them", grade: doctor.Warn, change: private(0o640)},
		{check: "secret-opens", name: "of another database", grade: doctor.Fail, change: func(t *testing.T, d *deployment) {
			var err error
			d.patient.SecretText = config.Secret(secret(t))
			d.patient.Secrets, err = keys.ParseSecrets(d.patient.SecretText.Reveal())
			require.NoError(t, err)
		}},
		{check: "secret-opens", name: "sealed with the one before", grade: doctor.Warn, change: func(t *testing.T, d *deployment) {
			var err error
			d.patient.SecretText = config.Secret(secret(t) + "," + d.KeyringText)
			d.patient.Secrets, err = keys.ParseSecrets(d.patient.SecretText.Reveal())
			require.NoError(t, err)
		}},
		{check: "key-age", name: "a hundred days", grade: doctor.Warn, setup: func(s *servertest.Setup) { s.Start = time.Now().Add(-100 * 24 * time.Hour) }},
		{check: "key-next", name: "removed by hand", grade: doctor.Fail, change: func(t *testing.T, d *deployment) {
			execute(t, d, `DELETE FROM signing_keys WHERE activate_at IS NULL AND algorithm = 'ES256'`)
		}, own: true, also: []string{"jwks"}},

		{check: "client-registration", name: "an unknown grant", grade: doctor.Fail, change: client(func(c *clients.Client) { c.Grants = append(c.Grants, "implicit") })},
		{check: "client-pkce", name: "a public client without", grade: doctor.Fail, change: client(func(c *clients.Client) { c.Public, c.PKCE = true, clients.PKCEOptional })},
		{check: "client-pkce", name: "a confidential client without", grade: doctor.Warn, change: client(func(c *clients.Client) { c.PKCE = clients.PKCEOptional })},
		{check: "client-password-grant", name: "registered", grade: doctor.Warn, change: client(func(c *clients.Client) { c.Grants = append(c.Grants, clients.GrantPassword) })},
		{check: "client-redirect-uri", name: "http", grade: doctor.Fail, change: client(func(c *clients.Client) { c.RedirectURIs = []string{"http://shop.example.com/callback"} })},
		{check: "client-redirect-uri", name: "a pattern", grade: doctor.Fail, change: client(func(c *clients.Client) { c.RedirectURIs = []string{"https://*.example.com/callback"} })},
		{check: "client-redirect-uri", name: "localhost", grade: doctor.Fail, change: client(func(c *clients.Client) { c.Public, c.RedirectURIs = true, []string{"http://localhost/callback"} })},
		{check: "client-redirect-uri", name: "a scheme without a dot", grade: doctor.Fail, change: client(func(c *clients.Client) { c.Public, c.RedirectURIs = true, []string{"shop:/callback"} })},
		{check: "client-redirect-uri", name: "a confidential client on the device", grade: doctor.Warn, change: client(func(c *clients.Client) { c.RedirectURIs = []string{"http://127.0.0.1/callback"} })},
		{check: "client-refresh-token", name: "scripts get it", grade: doctor.Warn, change: client(func(c *clients.Client) { c.AllowedOrigins = []string{"https://shop.example.com"} })},
		{check: "client-access-token", name: "a day", grade: doctor.Warn, change: client(func(c *clients.Client) { c.AccessTokenLifetime = 24 * time.Hour })},
		{check: "client-session", name: "ten years", grade: doctor.Warn, change: client(func(c *clients.Client) { c.SessionLifetime = 3650 * 24 * time.Hour })},
		{check: "client-introspection", name: "about every token", grade: doctor.Warn, change: client(func(c *clients.Client) { c.ResourceServer, c.Audience = true, nil })},
		{check: "client-secret-age", name: "nobody can be it", grade: doctor.Warn, change: client(func(c *clients.Client) { c.Secrets = nil })},
		{check: "client-secret-age", name: "never used in two years", grade: doctor.Warn, change: client(func(c *clients.Client) { c.Secrets[0].CreatedAt = time.Now().Add(-2 * 366 * 24 * time.Hour) })},
		{check: "client-secret-age", name: "used for two years", grade: doctor.Warn, change: client(func(c *clients.Client) {
			c.Secrets[0].CreatedAt, c.Secrets[0].LastUsedAt = time.Now().Add(-2*366*24*time.Hour), time.Now()
		})},
		{check: "client-secret-age", name: "of a disabled client", grade: doctor.Warn, change: client(func(c *clients.Client) { c.DisabledAt = time.Now() })},
		{check: "client-secret-chosen", name: "by a person", grade: doctor.Warn, change: client(func(c *clients.Client) { c.Secrets[0].Hash = "$argon2id$v=19$m=64,t=1,p=1$c2FsdA$a2V5" })},
	}
}

// Every misconfiguration is found by the name of its check, and by no other check than
// those that it says.
func TestSeededMisconfigurations(t *testing.T) {
	t.Parallel()
	common := servertest.New(t, shared())
	forget(t, common)
	for _, s := range seeds() {
		t.Run(s.check+": "+s.name, func(t *testing.T) {
			w := common
			if s.own || s.setup != nil {
				setup := shared()
				if s.setup != nil {
					s.setup(&setup)
				}
				w = servertest.New(t, setup)
				forget(t, w)
			}
			d := deploy(w)
			if s.change != nil {
				s.change(t, d)
			}
			found := d.examine(t, s.attack)
			require.Contains(t, checks(wrong(found)), s.check, "%v", wrong(found))
			for _, f := range wrong(found) {
				if f.Check == s.check {
					require.Equal(t, s.grade, f.Grade, "%v", f)
					continue
				}
				require.Contains(t, s.also, f.Check, "it was found by the way: %v", f)
			}
			for _, check := range s.also {
				require.Contains(t, checks(wrong(found)), check)
			}
		})
	}
}

// What only PostgreSQL can have.
func TestSeededMisconfigurationsOfPostgres(t *testing.T) {
	t.Parallel()
	setup := shared()
	setup.Storage = storagetest.Setup{OwnServer: true, Settings: []string{"fsync=off", "synchronous_commit=on", "full_page_writes=on", "max_connections=30"}}
	storagetest.EachWith(t, setup.Storage, func(t *testing.T, e *storagetest.Env) {
		if e.Dialect != storage.Postgres {
			return
		}
		store := func(parameter string) *storage.Store {
			return e.Open(func(o *storage.Options) { o.Inspect, o.Database = true, o.Database+parameter })
		}
		plain := store("")
		for _, c := range []struct {
			check   string
			grade   doctor.Grade
			patient doctor.Patient
		}{
			{"database-durable", doctor.Fail, doctor.Patient{Store: plain}},
			{"database-durable", doctor.Warn, doctor.Patient{Store: plain, Config: config.Config{UnsafeDatabase: []string{"fsync"}}}},
			{"database-connections", doctor.Warn, doctor.Patient{Store: plain, Config: config.Config{DatabaseConnections: 20}}},
			{"database-connections", doctor.Fail, doctor.Patient{Store: plain, Config: config.Config{DatabaseConnections: 40}}},
			{"database-writable", doctor.Fail, doctor.Patient{Store: store(option(e.URL, "default_transaction_read_only=on"))}},
			{"clock-database", doctor.Fail, doctor.Patient{Store: plain, Now: func() time.Time { return time.Now().Add(5 * time.Second) }}},
		} {
			if c.patient.Now == nil {
				c.patient.Now = time.Now
			}
			c.patient.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, io.EOF }
			found := of(doctor.Examine(t.Context(), c.patient), c.check)
			require.Len(t, found, 1)
			require.Equal(t, c.grade, found[0].Grade, "%v", found)
		}
	})
}

// A check that can not fail looks at nothing.
func TestEveryCheckWasSeenToFail(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{
		// In tests of their own.
		"database-durable": true, "database-connections": true, "database-writable": true, "clock-database": true, "database-version": true, "attack-removal": true,
		// It only counts: old hashes are made anew by their owners.
		"password-hashes": true,
		// It needs a network filesystem.
		"sqlite-filesystem": true,
	}
	for _, s := range seeds() {
		seen[s.check] = true
	}
	for _, b := range breakages() {
		seen[b.check] = true
	}
	for _, check := range doctor.Checks() {
		require.True(t, seen[check.Name], "%s has no misconfiguration that it finds", check.Name)
	}
}

func option(database, setting string) string {
	if strings.Contains(database, "?") {
		return "&" + setting
	}
	return "?" + setting
}

func proxies(list ...string) func(*servertest.Setup) {
	return func(s *servertest.Setup) {
		before := s.Config
		s.Config = func(c *config.Config) {
			before(c)
			c.TrustedProxies = nil
			for _, network := range list {
				c.TrustedProxies = append(c.TrustedProxies, netip.MustParsePrefix(network))
			}
		}
	}
}

// straight passes everything on without a word of who asked.
func straight(to string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out, err := http.NewRequestWithContext(r.Context(), r.Method, to+r.URL.RequestURI(), r.Body)
		if err != nil {
			return
		}
		out.Header, out.Host = r.Header.Clone(), r.Host
		out.Header.Del("X-Forwarded-For")
		got, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			return
		}
		defer got.Body.Close()
		for name, values := range got.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(got.StatusCode)
		_, _ = io.Copy(w, got.Body)
	})
}

func answer(path string, status int, body string) func(*testing.T, *deployment) {
	return func(_ *testing.T, d *deployment) {
		d.around = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != path {
					next.ServeHTTP(w, r)
					return
				}
				w.WriteHeader(status)
				_, _ = io.WriteString(w, body)
			})
		}
	}
}

func header(name, value string) func(*testing.T, *deployment) {
	return func(_ *testing.T, d *deployment) {
		d.around = func(next http.Handler) http.Handler {
			return recorded(next, func(_ *http.Request, a *httptest.ResponseRecorder) {
				if a.Header().Get(name) == "" {
					return
				}
				a.Header().Set(name, value)
			})
		}
	}
}

func certificate(left time.Duration) func(*testing.T, *deployment) {
	return func(t *testing.T, d *deployment) {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		plan := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"example.com"},
			NotBefore: time.Now().Add(left - 90*24*time.Hour), NotAfter: time.Now().Add(left),
			BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		}
		raw, err := x509.CreateCertificate(rand.Reader, plan, plan, private.Public(), private)
		require.NoError(t, err)
		made, err := x509.ParseCertificate(raw)
		require.NoError(t, err)
		d.patient.Roots = x509.NewCertPool()
		d.patient.Roots.AddCert(made)
		d.tls = func(c *tls.Config) {
			c.Certificates = []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: private}}
		}
	}
}

// execute changes the database behind everybody's back.
func execute(t *testing.T, d *deployment, statement string) {
	t.Helper()
	_, err := storagetest.Database(t, d.Env.URL).ExecContext(t.Context(), statement)
	require.NoError(t, err)
}

func secretText(text config.Secret) func(*testing.T, *deployment) {
	return func(_ *testing.T, d *deployment) { d.patient.SecretText = text }
}

func secret(t *testing.T) string {
	t.Helper()
	text, err := keys.GenerateSecret(rand.Reader)
	require.NoError(t, err)
	return text
}

func private(mode os.FileMode) func(*testing.T, *deployment) {
	return func(t *testing.T, d *deployment) {
		path := filepath.Join(t.TempDir(), "secrets")
		require.NoError(t, os.WriteFile(path, []byte("kept"), 0o600))
		require.NoError(t, os.Chmod(path, mode))
		d.patient.Private = []string{path}
	}
}

// client registers one as no command of today would: rows outlive rules.
func client(change func(*clients.Client)) func(*testing.T, *deployment) {
	return func(t *testing.T, d *deployment) {
		_, kept, err := clients.GenerateSecret(rand.Reader, time.Now())
		require.NoError(t, err)
		c := good("risky")
		c.Secrets = []clients.Secret{kept}
		c.SetDefaults()
		change(&c)
		if c.Public {
			c.Secrets, c.AuthMethod = nil, clients.AuthNone
		}
		require.NoError(t, d.Store.CreateClient(t.Context(), c))
		t.Cleanup(func() {
			_, err := d.Store.DeleteClient(context.WithoutCancel(t.Context()), c.ID)
			require.NoError(t, err)
		})
	}
}
