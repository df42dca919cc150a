package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/storage"
)

// The database kinds, by the names of -databases.
const (
	postgres = "postgres"
	sqlite   = "sqlite"
)

const (
	issuer       = "https://as.example.com" // the same for every process on a database, whatever its port
	serverSecret = "bench-server-secret-0123456789-abcdefghijklm"
	redirectURI  = "https://app.example.com/callback"
	verifier     = "bench-code-verifier-0123456789-abcdefghijklmnop"
	userName     = "alice"
	tokenLife    = 12 * time.Hour // longer than any run
	codeLife     = 24 * time.Hour // too, so that codes can be made ahead
	sessionLife  = 90 * 24 * time.Hour
)

// world is one database with everything that the operations need in it.
//
// Clients and the user are made by the program's own commands. Grants are copies of
// one that storage.Store.Begin wrote, made in SQL, because a run spends hundreds of
// thousands of them; their refresh tokens and codes come from grants.Codec with the
// server's secrets, which is how the server makes them. Access tokens are the server's
// answers, except those that are revoked one by one: these are signed here with the
// server's key, again for their number.
type world struct {
	kind     string
	url      string // of the database
	dir      string
	env      []string
	binary   string
	cluster  *cluster // PostgreSQL only
	pool     *pgxpool.Pool
	file     *sql.DB // SQLite's one writer
	store    *storage.Store
	secrets  *keys.Secrets
	codec    *grants.Codec
	keys     *keys.Set
	inside   *inside
	chains   map[string]*chainSet
	access   map[string][]string    // access tokens by format and state
	shown    map[string][]grants.ID // their grants
	clients  map[string]credentials
	password string
	userIDs  []string
	columns  string // of grants, without id and user_id
	template map[string]grants.ID
	made     uint64 // grants so far
	began    time.Time

	population map[string]span // the sessions that are there from the beginning, by client
	taken      map[string]int  // chain sets made of them
	chainCount int             // sessions in a chain set
}

type credentials struct{ ID, Secret string }

func (c credentials) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.ID+":"+c.Secret))
}

// registrations are the clients, by id.
var registrations = map[string][]string{
	"machine-jwt":    {"--grant", "client_credentials", "--scope", "orders invoices"},
	"machine-opaque": {"--grant", "client_credentials", "--scope", "orders invoices", "--access-token", "opaque"},
	"app-jwt":        {"--grant", "password", "--grant", "refresh_token", "--scope", "openid profile orders"},
	"app-opaque":     {"--grant", "password", "--grant", "refresh_token", "--scope", "openid profile orders", "--access-token", "opaque"},
	"web": {
		"--grant", "authorization_code", "--grant", "refresh_token", "--scope", "openid profile orders",
		"--redirect-uri", redirectURI, "--id-token-alg", "ES256",
	},
	"api": {"--grant", "client_credentials", "--resource-server"},
}

// site is where a world is.
type site struct {
	dir, binary string
	name        string   // of its folder, and of its database
	cluster     *cluster // nil: SQLite
}

func newWorld(ctx context.Context, o options, at site) (_ *world, err error) {
	w := &world{
		kind: sqlite, dir: filepath.Join(at.dir, at.name), binary: at.binary, cluster: at.cluster, chains: map[string]*chainSet{}, access: map[string][]string{}, shown: map[string][]grants.ID{},
		clients: map[string]credentials{}, template: map[string]grants.ID{},
		population: map[string]span{}, taken: map[string]int{}, chainCount: o.chains,
	}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if err := os.Mkdir(w.dir, 0o711); err != nil { //nolint:gosec // PostgreSQL's user walks through it
		return nil, err
	}
	w.url = "sqlite:" + filepath.Join(w.dir, "grantor.db")
	if w.cluster != nil {
		w.kind, w.url = postgres, w.cluster.URL(at.name)
		if err := w.cluster.create(ctx, at.name); err != nil {
			return nil, err
		}
	}
	w.env = []string{
		"PATH=" + os.Getenv("PATH"), "GRANTOR_DATABASE=" + w.url, "GRANTOR_SECRETS=" + serverSecret, "GRANTOR_ISSUER=" + issuer,
		"GRANTOR_ADDRESS=127.0.0.1:0", "GRANTOR_ACCESS_TOKEN_LIFETIME=" + tokenLife.String(), "GRANTOR_LOG_LEVEL=" + o.logLevel,
		"GRANTOR_DATABASE_TIMEOUT=10s",
	}
	w.env = append(w.env, o.set...)
	if _, err := w.grantor(ctx, "migrate", "up"); err != nil {
		return nil, err
	}
	if err := w.register(ctx); err != nil {
		return nil, err
	}
	if err := w.open(ctx, o); err != nil {
		return nil, err
	}
	return w, w.begin(ctx, o)
}

// grantor runs a command of the program.
func (w *world) grantor(ctx context.Context, args ...string) (string, error) {
	return run(ctx, w.dir, w.env, w.binary, args...)
}

func (w *world) register(ctx context.Context) error {
	for id, flags := range registrations {
		out, err := w.grantor(ctx, append([]string{"client", "create", "--id", id, "--json"}, flags...)...)
		if err != nil {
			return err
		}
		var made struct {
			Secret string `json:"client_secret"`
		}
		if err := json.Unmarshal([]byte(out), &made); err != nil || made.Secret == "" {
			return fmt.Errorf("client create answered no secret: %w", err)
		}
		w.clients[id] = credentials{id, made.Secret}
	}
	out, err := w.grantor(ctx, "user", "create", userName, "--json")
	if err != nil {
		return err
	}
	var made struct{ ID, Password string }
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.Password == "" {
		return fmt.Errorf("user create answered no password: %w", err)
	}
	w.password, w.userIDs = made.Password, []string{made.ID}
	return nil
}

func (w *world) open(ctx context.Context, o options) (err error) {
	if w.secrets, err = keys.ParseSecrets(serverSecret); err != nil {
		return err
	}
	var macs []grants.Key
	for _, d := range w.secrets.Derive("grant tokens") {
		macs = append(macs, grants.Key{ID: d.ID, Secret: d.Key})
	}
	if w.codec, err = grants.NewCodec(macs); err != nil {
		return err
	}
	if w.store, err = storage.Open(ctx, storage.Options{Database: w.url, Timeout: 10 * time.Second, Now: time.Now, Rand: rand.Reader}); err != nil {
		return err
	}
	if w.kind == postgres {
		settings, err := pgxpool.ParseConfig(w.url)
		if err != nil {
			return err
		}
		settings.MaxConns = int32(o.concurrency)
		if w.pool, err = pgxpool.NewWithConfig(ctx, settings); err != nil {
			return err
		}
	} else {
		path, _ := strings.CutPrefix(w.url, "sqlite:")
		if w.file, err = sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"); err != nil {
			return err
		}
		w.file.SetMaxOpenConns(1)
	}
	// It makes the first signing keys, which the others then find.
	if w.inside, err = newInside(ctx, w); err != nil {
		return err
	}
	w.keys, err = w.store.SigningKeys(ctx, w.secrets)
	return err
}

// begin writes the templates through the store, and the grants that are only there.
func (w *world) begin(ctx context.Context, o options) error {
	now := time.Now()
	w.began = now
	who, err := w.store.UserByLogin(ctx, userName)
	if err != nil {
		return err
	}
	// They signed in before they let the client in, and kept that sign-in.
	signedIn := now.Add(-time.Minute)
	browser := storage.Browser{
		UserID: who.ID, Generation: 1, AuthTime: signedIn, CreatedAt: now, ExpiresAt: now.Add(24 * time.Hour), AMR: []string{"pwd"},
		UserAgent: agent, Address: "127.0.0.1",
	}
	if browser.ID, err = grants.NewID(rand.Reader); err != nil {
		return err
	}
	if ok, err := w.store.BeginBrowser(ctx, browser, who.UpdatedAt); err != nil || !ok {
		return errors.Join(errors.New("the sign-in was not begun"), err)
	}
	sum := sha256.Sum256([]byte(verifier))
	for id, g := range map[string]grants.Grant{
		"app-jwt":    {Generation: 1, ExpiresAt: now.Add(sessionLife)},
		"app-opaque": {Generation: 1, ExpiresAt: now.Add(sessionLife)},
		"web": {
			RedirectURI: redirectURI, CodeChallenge: base64.RawURLEncoding.EncodeToString(sum[:]), BrowserID: browser.ID,
			ExpiresAt: now.Add(codeLife), Details: grants.Details{AuthTime: signedIn, Nonce: "bench-nonce-0123456789", ACR: "1"},
		},
	} {
		if g.ID, err = grants.NewID(rand.Reader); err != nil {
			return err
		}
		g.ClientID, g.UserID, g.Scope, g.Audience, g.State = id, who.ID, []string{"openid", "profile", "orders"}, []string{issuer}, grants.Live
		g.CreatedAt, g.RotatedAt, g.CreatedFrom, g.RotatedFrom = now, now, "127.0.0.1", "127.0.0.1"
		g.Details.AMR, g.Details.UserAgent = []string{"pwd"}, agent
		if ok, err := w.store.Begin(ctx, g, who.UpdatedAt); err != nil || !ok {
			return errors.Join(errors.New("a session was not begun"), err)
		}
		w.template[id] = g.ID
	}
	if err := w.copyUsers(ctx, o.users); err != nil {
		return err
	}
	if w.columns, err = w.columnsOf(ctx, "grants", "id", "user_id"); err != nil {
		return err
	}
	for _, client := range []string{"app-jwt", "app-opaque"} {
		if w.population[client], err = w.generate(ctx, client, o.grants/2, now.Add(sessionLife)); err != nil {
			return err
		}
	}
	// A deny-list in use: on an empty one PostgreSQL plans to read it whole, and its
	// backends keep that plan until the table is analyzed again.
	if err := w.fillDenyList(ctx, min(o.grants/10, 100_000)); err != nil {
		return err
	}
	return w.analyze(ctx)
}

// agent is what a session remembers of a Firefox: see session.AgentOf.
const agent = "(X11; Linux) Firefox/140"

var readyLine = regexp.MustCompile(`listening on ([^ ,]+),`)

// serve starts the program, with more environment, and answers its address.
func (w *world) serve(ctx context.Context, env ...string) (p *process, address string, err error) {
	p, err = start(ctx, filepath.Join(w.dir, "grantor.log"), "", append(slices.Clone(w.env), env...), w.binary, "serve")
	if err != nil {
		return nil, "", err
	}
	match := readyLine.FindStringSubmatch(p.line)
	if match == nil {
		p.stop()
		return nil, "", fmt.Errorf("no ready line but %q", p.line)
	}
	return p, match[1], nil
}

// meterOf measures servers on this database, with what they started, and the database.
func (w *world) meterOf(servers ...*process) meter {
	return func() (u usage, err error) {
		for _, p := range servers {
			used, err := treeCPU(p.pid())
			if err != nil {
				return u, err
			}
			u.server += used
		}
		if w.cluster != nil {
			if u.database, err = backendsCPU(w.cluster.PID()); err != nil {
				return u, err
			}
		}
		u.own, err = processCPU(os.Getpid())
		return u, err
	}
}

func (w *world) close() {
	if w.inside != nil {
		w.inside.close()
	}
	if w.store != nil {
		_ = w.store.Close()
	}
	if w.pool != nil {
		w.pool.Close()
	}
	if w.file != nil {
		_ = w.file.Close()
	}
}
