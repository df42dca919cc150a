package doctor_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/doctor"
	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
)

// issuer is a name in the certificate of httptest.
const issuer = "https://example.com"

// deployment is a server behind a proxy that speaks TLS and names its callers, with a
// doctor who comes from another address of this machine.
type deployment struct {
	*servertest.World
	patient doctor.Patient
	proxy   *httptest.Server
	// What tests change before they examine.
	around func(http.Handler) http.Handler // what else is in front; nil: nothing
	http   http.Handler                    // what answers at port 80; nil: nobody
	tls    func(*tls.Config)
}

// healthy is what every seeded misconfiguration differs from in one point.
func healthy() servertest.Setup {
	return servertest.Setup{
		Storage: storagetest.Setup{OwnServer: true, Settings: storagetest.Durable},
		Config: func(c *config.Config) {
			c.Issuer = issuer
			c.TrustedProxies = config.Networks{netip.MustParsePrefix("127.0.0.1/32")}
		},
	}
}

// shared is healthy on the server that all tests share, which keeps nothing when it
// crashes: database-durable says so, and unsound passes it over.
func shared() servertest.Setup {
	s := healthy()
	s.Storage = storagetest.Setup{}
	return s
}

func deploy(w *servertest.World) *deployment {
	d := &deployment{World: w}
	d.patient = doctor.Patient{
		Config: config.Default(), Issuer: issuer,
		Store:   w.Open(func(o *storage.Options) { o.Inspect = true }),
		Secrets: w.Keyring, SecretText: config.Secret(w.KeyringText),
		Passwords: w.Passwords, Now: time.Now, Rand: rand.Reader, Dial: d.dial,
	}
	healthy().Config(&d.patient.Config)
	d.patient.Config.Database = config.Database(w.Env.URL)
	return d
}

// forget removes what servertest registers for other tests, and leaves two clients that
// nobody can object to.
func forget(t *testing.T, w *servertest.World) {
	t.Helper()
	list, err := w.Store.Clients(t.Context())
	require.NoError(t, err)
	for _, c := range list {
		_, err := w.Store.DeleteClient(t.Context(), c.ID)
		require.NoError(t, err)
	}
	w.AddClient(good("shop"))
	w.AddClient(clients.Client{ID: "api", ResourceServer: true, Audience: []string{"https://api.test"}})
}

func good(id string) clients.Client {
	return clients.Client{
		ID: id, Grants: []string{clients.GrantAuthorizationCode, clients.GrantRefreshToken}, Scope: []string{"openid"},
		RedirectURIs: []string{"https://shop.example.com/callback"},
	}
}

// start puts the proxy up, as the test wants it by now.
func (d *deployment) start(t *testing.T) {
	t.Helper()
	behind, err := url.Parse(d.URL)
	require.NoError(t, err)
	var handler http.Handler = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(behind)
			r.Out.Host = r.In.Host
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
			r.SetXForwarded()
		},
		ModifyResponse: func(a *http.Response) error {
			a.Header.Set("Strict-Transport-Security", "max-age=63072000") // servers on loopback send none
			return nil
		},
		ErrorLog: discard,
	}
	if d.around != nil {
		handler = d.around(handler)
	}
	d.proxy = httptest.NewUnstartedServer(handler)
	d.proxy.Config.ErrorLog = discard
	if d.tls != nil {
		d.proxy.TLS = &tls.Config{}
		d.tls(d.proxy.TLS)
	}
	d.proxy.StartTLS()
	t.Cleanup(d.proxy.Close)
	if d.patient.Roots == nil {
		d.patient.Roots = x509.NewCertPool()
		d.patient.Roots.AddCert(d.proxy.Certificate())
	}
}

// dial leads the names of this deployment to its ports, from an address that is not the
// proxy's.
func (d *deployment) dial(ctx context.Context, network, address string) (net.Conn, error) {
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	switch {
	case address == "example.com:443":
		return from.DialContext(ctx, network, d.proxy.Listener.Addr().String())
	case address == "example.com:80" && d.http != nil:
		here, there := net.Pipe()
		go func() { _ = http.Serve(&once{c: there}, d.http) }()
		return piped{here}, nil
	}
	return nil, errors.New("nobody listens at " + address)
}

// examine runs the doctor, with attacks or without.
func (d *deployment) examine(t *testing.T, attack bool) []doctor.Finding {
	t.Helper()
	if d.proxy == nil {
		d.start(t)
	}
	if attack && d.patient.Guests == nil {
		d.patient.Guests = d.Open()
	}
	found := doctor.Examine(t.Context(), d.patient)
	for _, f := range found {
		require.NotContains(t, fmt.Sprint(f), d.KeyringText, "a finding tells a secret")
		require.NotEmpty(t, f.Finding, f.Check)
		require.Equal(t, f.Grade == doctor.Warn || f.Grade == doctor.Fail, f.Hint != "", "what is wrong has a hint, nothing else: %v", f)
	}
	return found
}

// wrong are the findings that somebody has to do something about.
func wrong(found []doctor.Finding) (list []doctor.Finding) {
	for _, f := range found {
		if f.Grade == doctor.Fail || f.Grade == doctor.Warn {
			list = append(list, f)
		}
	}
	return list
}

func unsound(found []doctor.Finding) (list []doctor.Finding) {
	for _, f := range wrong(found) {
		if f.Check != "database-durable" {
			list = append(list, f)
		}
	}
	return list
}

func of(found []doctor.Finding, check string) (list []doctor.Finding) {
	for _, f := range found {
		if f.Check == check {
			list = append(list, f)
		}
	}
	return list
}

// contents is every row of every table, but for what counts changes and what is there to
// remember them.
func contents(t *testing.T, w *servertest.World) map[string][]string {
	t.Helper()
	tables := `SELECT tablename FROM pg_tables WHERE schemaname = 'public'`
	if w.Dialect == "sqlite" {
		tables = `SELECT name FROM sqlite_master WHERE type = 'table'`
	}
	db := storagetest.Database(t, w.Env.URL)
	all := map[string][]string{}
	for _, row := range rows(t, db, tables) {
		table := strings.Trim(row, "[]")
		if table == "revisions" || table == "sqlite_sequence" || strings.HasPrefix(table, "audit") {
			continue
		}
		all[table] = rows(t, db, `SELECT * FROM `+table)
	}
	require.NotEmpty(t, all["users"])
	return all
}

func rows(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	result, err := db.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer func() { require.NoError(t, result.Close()) }()
	names, err := result.Columns()
	require.NoError(t, err)
	var list []string
	for result.Next() {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(t, result.Scan(into...))
		list = append(list, fmt.Sprint(values))
	}
	require.NoError(t, result.Err())
	sort.Strings(list)
	return list
}
