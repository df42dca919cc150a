package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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

	population map[string]span // the sessions that are there from the beginning, by client
	taken      map[string]int  // chain sets made of them
	chainCount int             // sessions in a chain set
}

// span is a run of grant numbers.
type span struct {
	first uint64
	count int
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

func newWorld(ctx context.Context, o options, kind, dir, binary string) (_ *world, err error) {
	w := &world{
		kind: kind, dir: filepath.Join(dir, kind), binary: binary, chains: map[string]*chainSet{}, access: map[string][]string{}, shown: map[string][]grants.ID{},
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
	if kind == postgres {
		if w.cluster, err = startCluster(ctx, w.dir); err != nil {
			return nil, err
		}
		w.url = w.cluster.url("grantor")
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
	who, err := w.store.UserByLogin(ctx, userName)
	if err != nil {
		return err
	}
	browser := storage.Browser{
		UserID: who.ID, Generation: 1, AuthTime: now, CreatedAt: now, ExpiresAt: now.Add(24 * time.Hour), AMR: []string{"pwd"},
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
		"app-jwt":    {Generation: 1, ExpiresAt: now.Add(90 * 24 * time.Hour)},
		"app-opaque": {Generation: 1, ExpiresAt: now.Add(90 * 24 * time.Hour)},
		// A code: it may be redeemed for longer than 60 seconds, so that they can be made ahead.
		"web": {
			RedirectURI: redirectURI, CodeChallenge: base64.RawURLEncoding.EncodeToString(sum[:]), BrowserID: browser.ID,
			ExpiresAt: now.Add(24 * time.Hour), Details: grants.Details{Nonce: "bench-nonce-0123456789", ACR: "1"},
		},
	} {
		if g.ID, err = grants.NewID(rand.Reader); err != nil {
			return err
		}
		g.ClientID, g.UserID, g.Scope, g.Audience, g.State = id, who.ID, []string{"openid", "profile", "orders"}, []string{issuer}, grants.Live
		g.CreatedAt, g.RotatedAt, g.CreatedFrom, g.RotatedFrom = now, now, "127.0.0.1", "127.0.0.1"
		g.Details.AuthTime, g.Details.AMR, g.Details.UserAgent = now, []string{"pwd"}, agent
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
		w.population[client] = span{w.made + 1, o.grants / 2}
		if _, err = w.copyGrants(ctx, client, o.grants/2); err != nil {
			return err
		}
	}
	// A deny-list in use: on an empty one PostgreSQL plans to read it whole, and its
	// backends keep that plan until the table is analyzed again.
	if err := w.fillDenyList(ctx, o.grants/10); err != nil {
		return err
	}
	return w.analyze(ctx)
}

func (w *world) fillDenyList(ctx context.Context, count int) error {
	const statement = `INSERT INTO denied_tokens (jti, expires_at) VALUES ($1, $2)`
	ends := time.Now().Add(tokenLife).UnixMicro()
	if w.kind == sqlite {
		return w.inTransaction(ctx, statement, count, func(int) []any { return []any{rand.Text(), ends} })
	}
	list := make([]string, count)
	for i := range list {
		list[i] = rand.Text()
	}
	_, err := w.pool.Exec(ctx, `INSERT INTO denied_tokens (jti, expires_at) SELECT unnest($1::text[]), $2`, list, ends)
	return err
}

const agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

// grantID is the number's id: the same in every run, and as good as random to an index.
func grantID(number uint64) grants.ID {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("bench"), number))
	return grants.ID(sum[:16])
}

// copyGrants adds that many copies of a client's template, spread over the users.
func (w *world) copyGrants(ctx context.Context, client string, count int) ([]grants.ID, error) {
	ids := make([]grants.ID, count)
	for i := range ids {
		w.made++
		ids[i] = grantID(w.made)
	}
	from := w.template[client]
	if w.kind == sqlite {
		return ids, w.inTransaction(ctx, `INSERT INTO grants (id, user_id, `+w.columns+`) SELECT ?, ?, `+w.columns+` FROM grants WHERE id = ?`,
			count, func(i int) []any { return []any{ids[i][:], w.userIDs[i%len(w.userIDs)], from[:]} })
	}
	const batch = 10000
	for begin := 0; begin < count; begin += batch {
		part := ids[begin:min(begin+batch, count)]
		raw, owners := make([][]byte, len(part)), make([]string, len(part))
		for i := range part {
			raw[i], owners[i] = part[i][:], w.userIDs[(begin+i)%len(w.userIDs)]
		}
		// The template is one row; the rest of its columns are the copies'.
		if _, err := w.pool.Exec(ctx, `INSERT INTO grants (id, user_id, `+w.columns+`) SELECT n.id, n.owner, `+w.columns+`
 FROM (SELECT `+w.columns+` FROM grants WHERE id = $1) t, unnest($2::bytea[], $3::text[]) AS n (id, owner)`, from[:], raw, owners); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// copyUsers makes as many users as there shall be, like the one that the program made.
func (w *world) copyUsers(ctx context.Context, count int) error {
	columns, err := w.columnsOf(ctx, "users", "id", "name", "name_key")
	if err != nil {
		return err
	}
	from := w.userIDs[0]
	for i := 1; i < count; i++ {
		w.userIDs = append(w.userIDs, fmt.Sprintf("bench-user-%013d", i))
	}
	if w.kind == sqlite {
		return w.inTransaction(ctx, `INSERT INTO users (id, name, name_key, `+columns+`) SELECT ?, ?, ?, `+columns+` FROM users WHERE id = ?`,
			len(w.userIDs)-1, func(i int) []any { id := w.userIDs[i+1]; return []any{id, id, id, from} })
	}
	_, err = w.pool.Exec(ctx, `INSERT INTO users (id, name, name_key, `+columns+`) SELECT n.id, n.id, n.id, `+columns+`
 FROM (SELECT `+columns+` FROM users WHERE id = $1) t, unnest($2::text[]) AS n (id)`, from, w.userIDs[1:])
	return err
}

func (w *world) inTransaction(ctx context.Context, statement string, count int, args func(int) []any) error {
	tx, err := w.file.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	prepared, err := tx.PrepareContext(ctx, statement)
	if err != nil {
		return err
	}
	defer func() { _ = prepared.Close() }()
	for i := range count {
		if _, err := prepared.ExecContext(ctx, args(i)...); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (w *world) columnsOf(ctx context.Context, table string, without ...string) (string, error) {
	var list string
	var err error
	if w.kind == sqlite {
		err = w.file.QueryRowContext(ctx, `SELECT group_concat(name, ',') FROM pragma_table_info(?)`, table).Scan(&list)
	} else {
		err = w.pool.QueryRow(ctx, `SELECT string_agg(column_name, ',') FROM information_schema.columns WHERE table_name = $1`, table).Scan(&list)
	}
	var kept []string
	for _, name := range strings.Split(list, ",") {
		if !strings.Contains(","+strings.Join(without, ",")+",", ","+name+",") {
			kept = append(kept, name)
		}
	}
	return strings.Join(kept, ", "), err
}

// analyze lets the planner know the tables, as autovacuum would soon.
func (w *world) analyze(ctx context.Context) error {
	if w.kind == sqlite {
		return nil
	}
	_, err := w.pool.Exec(ctx, "VACUUM ANALYZE")
	return err
}

var readyLine = regexp.MustCompile(`listening on ([^ ,]+),`)

// serve starts the program and answers its address.
func (w *world) serve(ctx context.Context) (p *process, address string, err error) {
	p, err = start(ctx, filepath.Join(w.dir, "grantor.log"), "", w.env, w.binary, "serve")
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

// meterOf measures servers on this database, and the database.
func (w *world) meterOf(servers ...*process) meter {
	return func() (u usage, err error) {
		for _, p := range servers {
			used, err := processCPU(p.pid())
			if err != nil {
				return u, err
			}
			u.server += used
		}
		if w.cluster != nil {
			if u.database, err = treeCPU(w.cluster.pid()); err != nil {
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
	if w.cluster != nil {
		w.cluster.stop()
	}
}
