package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sort"
	"strings"
)

// plan tells the floor server (floor/plan.go has the same type) what to do. It is made
// from Grantor's own answers and its own SQL, so that the two can not drift apart.
type plan struct {
	Database   string
	PublicKey  []byte
	BoxKey     []byte
	Operations []floorOperation
}

type floorOperation struct {
	Name, Method, ClientID string
	Secret                 []byte
	State, SQL             string
	Extra                  []string
	Header                 [][2]string
	Body                   []part
	Refusal                string
}

type part struct{ Kind, Text string }

// bareHandler is the floor's path that only parses a form and writes what
// client_credentials/jwt writes.
const bareHandler = "bare_handler"

func (w *world) serveFloor(ctx context.Context, o options, binary string, counted map[string]counts) (*process, string, error) {
	p := plan{BoxKey: w.secrets.Derive("opaque access tokens")[0].Key}
	if w.pool != nil {
		p.Database = fmt.Sprintf("%s&pool_max_conns=%d", w.url, o.concurrency)
	}
	for _, op := range operations() {
		c, ok := counted[op.name]
		if !ok || !op.hasFloor(w.kind) {
			continue
		}
		f, err := w.floorOperation(op, c)
		if err != nil {
			return nil, "", fmt.Errorf("floor of %s: %w", op.name, err)
		}
		p.Operations = append(p.Operations, f)
		if op.name == "client_credentials/jwt" {
			p.Operations = append(p.Operations, floorOperation{
				Name: bareHandler, Method: http.MethodPost, Header: f.Header, Body: []part{{"text", c.sample.body.String()}},
			})
		}
	}
	var err error
	if p.PublicKey, err = w.publicKey(ctx); err != nil {
		return nil, "", err
	}
	stdin, err := json.Marshal(p)
	if err != nil {
		return nil, "", err
	}
	process, err := start(ctx, filepath.Join(w.dir, "floor.log"), string(stdin), w.env[:1], binary)
	if err != nil {
		return nil, "", err
	}
	return process, strings.TrimSpace(process.line), nil
}

func (w *world) floorOperation(op *operation, c counts) (floorOperation, error) {
	f := floorOperation{Name: op.name, Method: http.MethodPost, State: op.state, SQL: c.sql, Extra: extra(op.state, c.sql)}
	if op.client == "" {
		f.Method = http.MethodGet
	} else {
		f.ClientID = op.client
		sum := sha256.Sum256([]byte(w.clients[op.client].Secret))
		f.Secret = sum[:]
	}
	for name := range c.sample.header {
		if name != "Content-Length" && name != "Date" {
			f.Header = append(f.Header, [2]string{name, c.sample.header.Get(name)})
		}
	}
	sort.Slice(f.Header, func(i, j int) bool { return f.Header[i][0] < f.Header[j][0] })
	if strings.HasPrefix(op.name, "introspect/") && !strings.HasSuffix(op.name, "/active") {
		f.Refusal = inactive
		return f, nil
	}
	var err error
	f.Body, err = w.parts(c.sample.body.Bytes())
	return f, err
}

// extra are the arguments that depend on the registration: the audiences that a
// renewal may still be for.
func extra(state, text string) []string {
	if state == "rotate" && strings.Contains(text, "$8") {
		return []string{" " + issuer + " "}
	}
	return nil
}

// parts cuts an answer at its tokens.
func (w *world) parts(body []byte) (list []part, err error) {
	for _, name := range []string{"access_token", "refresh_token", "id_token"} {
		token := member(body, name)
		if token == nil {
			continue
		}
		before, after, _ := bytes.Cut(body, token)
		p := part{Kind: "refresh"}
		switch {
		case bytes.HasPrefix(token, []byte("ga1_")):
			box, err := w.secrets.NewBox("opaque access tokens", "ga1_")
			if err != nil {
				return nil, err
			}
			plain, err := box.Open(string(token))
			if err != nil {
				return nil, err
			}
			p = part{"sealed", string(plain)}
		case bytes.HasPrefix(token, []byte("eyJ")):
			p = part{"jws", string(token[:bytes.LastIndexByte(token, '.')])}
		}
		list = append(list, part{"text", string(before)}, p)
		body = after
	}
	return append(list, part{"text", string(body)}), nil
}

// publicKey is the one that proves access tokens, from the server's JWKS.
func (w *world) publicKey(ctx context.Context) ([]byte, error) {
	a, err := w.inside.ask(ctx, []byte("GET /.well-known/jwks.json HTTP/1.1\r\nHost: as.example.com\r\n\r\n"))
	if err != nil {
		return nil, err
	}
	shown, err := w.accessTokens(ctx, "jwt", "active")
	if err != nil {
		return nil, err
	}
	head, err := base64.RawURLEncoding.DecodeString(shown[0][:strings.IndexByte(shown[0], '.')])
	if err != nil {
		return nil, err
	}
	var document struct {
		Keys []struct{ Kid, Kty, X, Y string }
	}
	if err := json.Unmarshal(a.body.Bytes(), &document); err != nil {
		return nil, err
	}
	for _, k := range document.Keys {
		if !bytes.Contains(head, []byte(k.Kid)) {
			continue
		}
		x, errX := base64.RawURLEncoding.DecodeString(k.X)
		y, errY := base64.RawURLEncoding.DecodeString(k.Y)
		if err := errors.Join(errX, errY); err != nil {
			return nil, err
		}
		return append(append([]byte{4}, x...), y...), nil // uncompressed: SEC 1 section 2.3.3
	}
	return nil, errors.New("the key that signs access tokens is not published")
}
