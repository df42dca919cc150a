package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/crypto/argon2"

	"github.com/grantorhq/grantor/grants"
)

// bareCaller runs an operation's statement by itself, with new arguments each time.
type bareCaller struct {
	conn  *pgxpool.Conn // PostgreSQL
	stmt  *sql.Stmt     // SQLite
	text  string
	args  func() []any // nil: nothing left
	state string
}

func (b *bareCaller) call(ctx context.Context) (bool, error) {
	args := b.args()
	if args == nil {
		return false, nil
	}
	var found int
	if b.stmt != nil {
		rows, err := b.stmt.QueryContext(ctx, args...) //nolint:rowserrcheck // countRows does
		if err != nil {
			return false, err
		}
		defer func() { _ = rows.Close() }()
		if found, err = countRows(rows); err != nil {
			return false, err
		}
	} else {
		rows, err := b.conn.Query(ctx, b.text, args...)
		if err != nil {
			return false, err
		}
		defer rows.Close()
		if found, err = countRows(rows); err != nil {
			return false, err
		}
	}
	if want := b.state != "deny" && b.state != "begin"; want != (found == 1) {
		return false, fmt.Errorf("the bare statement %s answered %d rows", b.state, found)
	}
	return true, nil
}

// countRows reads to the end: a row of RETURNING arrives before its commit.
func countRows(rows interface {
	Next() bool
	Err() error
},
) (n int, err error) {
	for rows.Next() {
		n++
	}
	return n, rows.Err()
}

// bareStep measures an operation's statement on its database, without Grantor. SQLite
// has one writer, so one goroutine writes as fast as it goes; four read.
func (w *world) bareStep(ctx context.Context, op *operation, text string, clients, count int, s step) (sample, error) {
	var reader *sql.DB
	if w.kind == sqlite {
		clients = 1
		if op.state == "access" {
			clients = 4
			var err error
			if reader, err = sql.Open("sqlite", "file:"+w.url[len("sqlite:"):]+"?_pragma=busy_timeout(10000)&_pragma=query_only(1)"); err != nil {
				return sample{}, err
			}
			defer func() { _ = reader.Close() }()
			reader.SetMaxOpenConns(clients)
		}
	}
	makers, err := w.bareArgs(ctx, op, extra(op.state, text), clients, count)
	if err != nil {
		return sample{}, err
	}
	for _, args := range makers {
		b := &bareCaller{text: text, args: args, state: op.state}
		switch {
		case w.kind == postgres:
			if b.conn, err = w.pool.Acquire(ctx); err != nil {
				return sample{}, err
			}
			defer b.conn.Release()
		case reader != nil:
			b.stmt, err = reader.PrepareContext(ctx, text)
		default:
			b.stmt, err = w.file.PrepareContext(ctx, text)
		}
		if err != nil {
			return sample{}, err
		}
		if b.stmt != nil {
			defer func() { _ = b.stmt.Close() }()
		}
		s.callers = append(s.callers, b)
	}
	s.meter = w.meterOf()
	return s.run(ctx)
}

// bareArgs gives each caller what makes its arguments.
func (w *world) bareArgs(ctx context.Context, op *operation, extra []string, clients, count int) ([]func() []any, error) {
	list := make([]func() []any, clients)
	now := func() int64 { return time.Now().UnixMicro() }
	switch op.state {
	case "rotate":
		set, err := w.chainSet(ctx, op.name+" bare", op.client)
		if err != nil {
			return nil, err
		}
		for i := range list {
			low, high := i*len(set.ids)/clients, (i+1)*len(set.ids)/clients
			at := 0
			list[i] = func() []any {
				at = (at + 7919) % (high - low)
				id, generation, err := w.codec.Parse(grants.Refresh, set.tokens[low+at])
				if err != nil {
					return nil
				}
				set.tokens[low+at] = w.codec.Mint(grants.Refresh, id, generation+1)
				return rotateArgs(id, generation, op.client, extra)
			}
		}
	case "redeem", "revoke":
		ids, err := w.copyGrants(ctx, op.client, count)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256([]byte(verifier))
		challenge := base64.RawURLEncoding.EncodeToString(sum[:])
		for i := range list {
			mine := ids[i*len(ids)/clients : (i+1)*len(ids)/clients]
			list[i] = func() []any {
				if len(mine) == 0 {
					return nil
				}
				id := mine[0]
				mine = mine[1:]
				if op.state == "revoke" {
					return []any{id[:], now(), op.client, "127.0.0.1"}
				}
				return []any{id[:], now(), op.client, redirectURI, challenge, "127.0.0.1", (90 * 24 * time.Hour).Microseconds()}
			}
		}
	case "access":
		format, state := "jwt", "active" // of userinfo
		if parts := strings.Split(op.name, "/"); len(parts) == 3 {
			format, state = parts[1], parts[2]
		}
		ids := w.shown[format+state]
		if ids == nil {
			return nil, fmt.Errorf("no access tokens for %s", op.name)
		}
		for i := range list {
			at := i * len(ids) / clients
			list[i] = func() []any {
				at = (at + 1) % len(ids)
				return []any{ids[at][:], now(), "AAAAAAAAAAAAAAAAAAAAAA", "app-" + format}
			}
		}
	case "deny":
		for i := range list {
			list[i] = func() []any { return []any{rand.Text()[:22], now() + tokenLife.Microseconds(), op.client} }
		}
	case "begin":
		if err := w.beginArgs(ctx, op, list); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("no bare statement for %q", op.state)
	}
	return list, nil
}

func rotateArgs(id grants.ID, generation int64, client string, extra []string) []any {
	now := time.Now().UnixMicro()
	args := []any{id[:], now, generation, client, "", now - (14 * 24 * time.Hour).Microseconds(), "127.0.0.1"}
	for _, text := range extra {
		args = append(args, text)
	}
	return args
}

// beginArgs are those of a session like the client's template.
func (w *world) beginArgs(ctx context.Context, op *operation, list []func() []any) error {
	var scope, audience, details string
	const text = `SELECT scope, audience, details FROM grants WHERE id = $1`
	id := w.template[op.client]
	var row interface{ Scan(dest ...any) error }
	if w.kind == sqlite {
		row = w.file.QueryRowContext(ctx, text, id[:])
	} else {
		row = w.pool.QueryRow(ctx, text, id[:])
	}
	if err := row.Scan(&scope, &audience, &details); err != nil {
		return err
	}
	for i := range list {
		list[i] = func() []any {
			id, now := [16]byte{}, time.Now()
			_, _ = rand.Read(id[:])
			return []any{
				id[:], op.client, w.userIDs[0], scope, audience, string(grants.Live), 1, "", "", "", now.UnixMicro(), now.Add(sessionLife).UnixMicro(), "127.0.0.1", details, -1,
			}
		}
	}
	return nil
}

// rawCaller is a piece of cryptography.
type rawCaller func() error

func (f rawCaller) call(context.Context) (bool, error) { return true, f() }

// rawOperations are what no server can do without, on every processor at once.
func rawOperations() (map[string]func() rawCaller, error) {
	digest := sha256.Sum256([]byte("a JWS signing input"))
	es, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	signature, err := ecdsa.SignASN1(rand.Reader, es, digest[:])
	if err != nil {
		return nil, err
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	each := func(f func() error) func() rawCaller { return func() rawCaller { return f } }
	return map[string]func() rawCaller{
		"ES256 sign": each(func() error { _, err := ecdsa.SignASN1(rand.Reader, es, digest[:]); return err }),
		"ES256 verify": each(func() error {
			if !ecdsa.VerifyASN1(&es.PublicKey, digest[:], signature) {
				return errors.New("a signature is wrong")
			}
			return nil
		}),
		"RS256 2048 sign": each(func() error { _, err := rsa.SignPKCS1v15(rand.Reader, rs, crypto.SHA256, digest[:]); return err }),
		"Ed25519 sign":    each(func() error { _, err := ed.Sign(rand.Reader, digest[:], crypto.Hash(0)); return err }),
	}, nil
}

// argon2id has Grantor's own parameters.
func argon2id() rawCaller {
	return func() error {
		argon2.IDKey([]byte("a password of some length"), []byte("16 bytes of salt"), 2, 19456, 1, 32)
		return nil
	}
}

// cryptography is measured alone, when nothing else is.
func (b *benchmark) cryptography(ctx context.Context) error {
	all, err := rawOperations()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		res := &rawResult{Name: name}
		b.r.Raw = append(b.r.Raw, res)
		progress("raw %s", name)
		for range b.o.rounds {
			m, err := rawStep(ctx, all[name], step{warm: b.o.warm, duration: b.o.share(4)})
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			m.summarize()
			res.Samples = append(res.Samples, m)
		}
	}
	return nil
}

func rawStep(ctx context.Context, maker func() rawCaller, s step) (sample, error) {
	for range runtime.GOMAXPROCS(0) {
		s.callers = append(s.callers, maker())
	}
	s.meter = func() (u usage, err error) {
		u.own, err = processCPU(os.Getpid())
		return u, err
	}
	return s.run(ctx)
}
