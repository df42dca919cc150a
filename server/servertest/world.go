package servertest

import (
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/server"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/storage/storagetest"
	"github.com/grantorhq/grantor/users"
)

// Setup is what a test wants to be different.
type Setup struct {
	Storage   storagetest.Setup
	Config    func(*config.Config)
	Passwords users.PasswordOptions // zero values: one cheap pass
	Start     time.Time             // where the clock begins; zero: storagetest's
	Rand      io.Reader             // of the server; nil: crypto/rand
	// Handler goes around the server's own, as something in front of it would.
	Handler func(http.Handler) http.Handler
}

// World is one server and all that it knows.
type World struct {
	*storagetest.Env
	Store       *storage.Store // the server's own
	Server      *server.Server
	Passwords   *users.Passwords
	Keyring     *keys.Secrets
	KeyringText string
	URL         string // where it listens
	Issuer      string
	Log         *Log
	Codec       *grants.Codec // makes what only this server can make

	t       testing.TB
	setup   Setup
	web     *http.Client
	secrets map[string]string // of clients, by id
	broken  bool
	// Where browsers may be sent.
	registered *[]string
	seen       *seen
}

// Issuer is what every World calls itself. Nothing is ever sent there.
const Issuer = "https://as.test"

// Each runs fn on a World of every database.
func Each(t *testing.T, setup Setup, fn func(t *testing.T, w *World)) {
	t.Helper()
	storagetest.EachWith(t, setup.Storage, func(t *testing.T, e *storagetest.Env) { fn(t, start(t, e, setup)) })
}

// New is a World on SQLite, for what does not depend on the database.
func New(t testing.TB, setup Setup) *World {
	t.Helper()
	return start(t, storagetest.SQLite(t, setup.Storage), setup)
}

func start(t testing.TB, e *storagetest.Env, setup Setup) *World {
	t.Helper()
	if !setup.Start.IsZero() {
		e.Clock.Set(setup.Start)
	}
	text, err := keys.GenerateSecret(rand.Reader)
	require.NoError(t, err)
	w := &World{Env: e, Issuer: Issuer, t: t, setup: setup, secrets: map[string]string{}, seen: newSeen(), registered: new([]string)}
	w.seen.add(text)
	w.KeyringText = text
	w.Keyring, err = keys.ParseSecrets(text)
	require.NoError(t, err)
	w.serve()
	w.register()
	return w
}

// Replica is another server on the same database with the same secrets, and the same clock.
func (w *World) Replica() *World {
	w.t.Helper()
	other := *w
	other.serve()
	return &other
}

// WithKeyring is a Replica with other server secrets.
func (w *World) WithKeyring(text string) *World {
	w.t.Helper()
	other := *w
	var err error
	other.Keyring, err = keys.ParseSecrets(text)
	require.NoError(w.t, err)
	other.serve()
	return &other
}

func (w *World) serve() {
	t := w.t
	t.Helper()
	w.Log = newLog()
	w.Store = w.Open(func(o *storage.Options) { o.Log = w.Log.Logger() })
	options := w.setup.Passwords
	if options.Memory == 0 {
		options.Memory, options.Time, options.Threads = 64, 1, 1
	}
	if options.Rand == nil {
		options.Rand = rand.Reader
	}
	var err error
	w.Passwords, err = users.NewPasswords(options)
	require.NoError(t, err)

	settings := config.Default()
	settings.Issuer = w.Issuer
	if w.setup.Config != nil {
		w.setup.Config(&settings)
	}
	w.Issuer = settings.Issuer
	random := w.setup.Rand
	if random == nil {
		random = rand.Reader
	}
	w.Server, err = server.New(t.Context(), server.Deps{
		Config: settings, Store: w.Store, Secrets: w.Keyring, Passwords: w.Passwords,
		Now: w.Clock.Now, Rand: random, Log: w.Log.Logger(), Version: "test",
	})
	require.NoError(t, err)
	w.Codec = codec(t, w.Keyring)

	handler := w.Server.Handler()
	if w.setup.Handler != nil {
		handler = w.setup.Handler(handler)
	}
	front := httptest.NewUnstartedServer(handler)
	front.Config.MaxHeaderBytes = 64 << 10 // as cmd/grantor
	front.Config.ErrorLog = slog.NewLogLogger(w.Log.Logger().Handler(), slog.LevelWarn)
	front.Start()
	w.URL = front.URL
	w.web = &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	log := w.Log
	t.Cleanup(func() {
		w.web.CloseIdleConnections()
		front.Close()
		log.check(t, w.seen)
	})
}

// codec is the server's own: its keys are derived for this purpose.
func codec(t testing.TB, secrets *keys.Secrets) *grants.Codec {
	t.Helper()
	var list []grants.Key
	for _, d := range secrets.Derive("grant tokens") {
		list = append(list, grants.Key{ID: d.ID, Secret: d.Key})
	}
	c, err := grants.NewCodec(list)
	require.NoError(t, err)
	return c
}

// Handler is the server without a listener.
func (w *World) Handler() http.Handler { return w.Server.Handler() }

// Break makes every statement that f names fail, and 503 an answer that is allowed.
// It answers what mends it.
func (w *World) Break(f func(sql string) error) (mend func()) {
	w.broken = true
	w.Tally.Fail(f)
	return func() {
		w.broken = false
		w.Tally.Fail(nil)
	}
}

// BreakAnswers is Break after the database has done what it was told.
func (w *World) BreakAnswers(f func(sql string) error) (mend func()) {
	w.broken = true
	w.Tally.FailAfter(f)
	return func() {
		w.broken = false
		w.Tally.FailAfter(nil)
	}
}

// Overload lets 503 pass without a broken database. It answers what ends that.
func (w *World) Overload() (end func()) {
	w.broken = true
	return func() { w.broken = false }
}

// Statements counts the round trips of do.
func (w *World) Statements(do func()) int {
	w.Tally.Reset()
	do()
	return w.Tally.Count()
}
