package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
)

// operation is one thing that applications do, many times.
type operation struct {
	name   string
	path   string
	client string // who asks; "" = nobody that proves itself
	// What it does to the database: rotate, redeem, access, revoke, deny, begin. Nothing: "",
	// or prove, when a token is refused before.
	state string
	floor bool // there is a floor server for it
	bare  bool // and a bare statement
	// workers makes the clients of one step. They ask at most count requests, where
	// what is asked with is spent.
	workers func(ctx context.Context, w *world, to target, clients, count int) ([]worker, error)
}

// target is whom a step asks.
type target string

const (
	toGrantor target = "grantor"
	toFloor   target = "floor"
	toInside  target = "inside"
	toBare    target = "bare"
)

// hasFloor: the floor server knows PostgreSQL only.
func (o *operation) hasFloor(w *world) bool {
	return o.floor && (w.pool != nil || o.state == "" || o.state == "prove")
}

func (o *operation) at(to target) string {
	if to == toFloor {
		return "/" + o.name
	}
	return o.path
}

const (
	tokenPath      = "/oauth2/token"
	introspectPath = "/oauth2/introspect"
	revokePath     = "/oauth2/revoke"
)

func operations() []*operation {
	list := []*operation{
		fixedPost("client_credentials/jwt", tokenPath, "machine-jwt", "grant_type=client_credentials", `"access_token":"eyJ`, `"token_type":"Bearer"`),
		fixedPost("client_credentials/opaque", tokenPath, "machine-opaque", "grant_type=client_credentials", `"access_token":"ga1_`, `"token_type":"Bearer"`),
		password(),
		refresh("refresh/jwt", "app-jwt", "eyJ"),
		refresh("refresh/opaque", "app-opaque", "ga1_"),
		redeem(),
	}
	for _, format := range []string{"jwt", "opaque"} {
		for _, state := range []string{"active", "revoked", "garbage"} {
			list = append(list, introspect(format, state))
		}
	}
	return append(list, revokeRefresh(), revokeAccess(), userinfo(),
		get("discovery", "/.well-known/openid-configuration", `"issuer":"`+issuer+`"`, `"token_endpoint"`),
		get("jwks", "/.well-known/jwks.json", `"keys":[{`, `"kid"`))
}

// Requests

func post(path, authorization, body string) []byte {
	return []byte("POST " + path + " HTTP/1.1\r\nHost: as.example.com\r\nAuthorization: " + authorization +
		"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body)
}

// repeated asks the same few requests in turn.
type repeated struct {
	requests [][]byte
	at       int
	want     []string // each must be in the body
	whole    string   // if set, the body is this
}

func (r *repeated) next() []byte {
	r.at = (r.at + 1) % len(r.requests)
	return r.requests[r.at]
}

func (r *repeated) check(status int, body []byte) error {
	if status != http.StatusOK {
		return unexpected(status, body)
	}
	if r.whole != "" && string(body) != r.whole {
		return unexpected(status, body)
	}
	for _, want := range r.want {
		if !bytes.Contains(body, []byte(want)) {
			return unexpected(status, body)
		}
	}
	return nil
}

func unexpected(status int, body []byte) error {
	return fmt.Errorf("unexpected answer: %d %.300q", status, body)
}

func repeat(requests [][]byte, clients int, whole string, want ...string) []worker {
	list := make([]worker, clients)
	for i := range list {
		list[i] = &repeated{requests: requests, at: i * len(requests) / clients, want: want, whole: whole}
	}
	return list
}

func fixedPost(name, path, client, form string, want ...string) *operation {
	o := &operation{name: name, path: path, client: client, floor: true}
	o.workers = func(_ context.Context, w *world, to target, clients, _ int) ([]worker, error) {
		return repeat([][]byte{post(o.at(to), w.clients[client].basic(), form)}, clients, "", want...), nil
	}
	return o
}

func get(name, path string, want ...string) *operation {
	o := &operation{name: name, path: path, floor: true}
	o.workers = func(_ context.Context, _ *world, to target, clients, _ int) ([]worker, error) {
		return repeat([][]byte{[]byte("GET " + o.at(to) + " HTTP/1.1\r\nHost: as.example.com\r\n\r\n")}, clients, "", want...), nil
	}
	return o
}

func password() *operation {
	o := &operation{name: "password", path: tokenPath, client: "app-jwt", state: "begin"}
	o.workers = func(_ context.Context, w *world, to target, clients, _ int) ([]worker, error) {
		form := url.Values{"grant_type": {"password"}, "username": {userName}, "password": {w.password}}.Encode()
		return repeat([][]byte{post(o.at(to), w.clients[o.client].basic(), form)}, clients, "", `"access_token":"eyJ`, `"refresh_token":"gr1_`), nil
	}
	return o
}

// Rotation chains

// chainSet is sessions and the newest refresh token of each. It lives through all
// steps against one target, so that its chains go on.
type chainSet struct {
	ids    []grants.ID
	tokens []string
}

// chainSet takes its sessions out of the population, evenly apart, and no two sets take the same.
func (w *world) chainSet(ctx context.Context, key, client string) (*chainSet, error) {
	if set := w.chains[key]; set != nil {
		return set, nil
	}
	all := w.population[client]
	apart := all.count / w.chainCount
	offset := w.taken[client]
	w.taken[client]++
	if offset >= apart {
		// All are taken (there are few sets): others then, of their own.
		ids, err := w.copyGrants(ctx, client, w.chainCount)
		if err != nil {
			return nil, err
		}
		return w.newChainSet(key, ids), w.analyze(ctx)
	}
	ids := make([]grants.ID, w.chainCount)
	for i := range ids {
		ids[i] = grantID(all.first + uint64(i*apart+offset))
	}
	return w.newChainSet(key, ids), nil
}

func (w *world) newChainSet(key string, ids []grants.ID) *chainSet {
	set := &chainSet{ids: ids, tokens: make([]string, len(ids))}
	for i, id := range ids {
		set.tokens[i] = w.codec.Mint(grants.Refresh, id, 1)
	}
	w.chains[key] = set
	return set
}

// chain renews its share of a set, each session with the token of the answer before.
type chain struct {
	head    []byte // of the request, up to the token
	tokens  []string
	at      int
	access  string // what an access token begins with
	request []byte
}

func (c *chain) next() []byte {
	// A stride, so that neighbours in the table are not neighbours in time.
	c.at = (c.at + 7919) % len(c.tokens)
	c.request = append(append(c.request[:0], c.head...), c.tokens[c.at]...)
	return c.request
}

func (c *chain) check(status int, body []byte) error {
	if status != http.StatusOK {
		return unexpected(status, body)
	}
	token := member(body, "refresh_token")
	if !bytes.HasPrefix(member(body, "access_token"), []byte(c.access)) || !bytes.HasPrefix(token, []byte("gr1_")) || string(token) == c.tokens[c.at] {
		return unexpected(status, body)
	}
	c.tokens[c.at] = string(token)
	return nil
}

// member is a text member of a JSON object that has no escapes.
func member(body []byte, name string) []byte {
	at := bytes.Index(body, []byte(`"`+name+`":"`))
	if at < 0 {
		return nil
	}
	rest := body[at+len(name)+4:]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return nil
	}
	return rest[:end]
}

func refresh(name, client, access string) *operation {
	o := &operation{name: name, path: tokenPath, client: client, state: "rotate", floor: true, bare: true}
	o.workers = func(ctx context.Context, w *world, to target, clients, _ int) ([]worker, error) {
		set, err := w.chainSet(ctx, name+" "+string(to), client)
		if err != nil {
			return nil, err
		}
		const form = "grant_type=refresh_token&refresh_token="
		head := post(o.at(to), w.clients[client].basic(), form+set.tokens[0])
		list := make([]worker, clients)
		for i := range list {
			share := set.tokens[i*len(set.tokens)/clients : (i+1)*len(set.tokens)/clients]
			list[i] = &chain{head: head[:len(head)-len(set.tokens[0])], tokens: share, access: access}
		}
		return list, nil
	}
	return o
}

// What can be used once

// spending asks each request once.
type spending struct {
	requests [][]byte
	judge    func(status int, body []byte) error
}

func (s *spending) next() (request []byte) {
	if len(s.requests) == 0 {
		return nil
	}
	request, s.requests = s.requests[0], s.requests[1:]
	return request
}

func (s *spending) check(status int, body []byte) error { return s.judge(status, body) }

func spend(requests [][]byte, clients int, judge func(int, []byte) error) []worker {
	list := make([]worker, clients)
	for i := range list {
		list[i] = &spending{requests: requests[i*len(requests)/clients : (i+1)*len(requests)/clients], judge: judge}
	}
	return list
}

func redeem() *operation {
	o := &operation{name: "code/jwt+id_token", path: tokenPath, client: "web", state: "redeem", floor: true, bare: true}
	o.workers = func(ctx context.Context, w *world, to target, clients, count int) ([]worker, error) {
		ids, err := w.copyGrants(ctx, o.client, count)
		if err != nil {
			return nil, err
		}
		requests := make([][]byte, count)
		for i, id := range ids {
			requests[i] = post(o.at(to), w.clients[o.client].basic(), "grant_type=authorization_code&code="+w.codec.Mint(grants.Code, id, 0)+
				"&redirect_uri="+url.QueryEscape(redirectURI)+"&code_verifier="+verifier)
		}
		return spend(requests, clients, func(status int, body []byte) error {
			for name, prefix := range map[string]string{"access_token": "eyJ", "refresh_token": "gr1_", "id_token": "eyJ"} {
				if status != http.StatusOK || !bytes.HasPrefix(member(body, name), []byte(prefix)) {
					return unexpected(status, body)
				}
			}
			return nil
		}), nil
	}
	return o
}

func nothing(status int, body []byte) error {
	if status != http.StatusOK || len(body) != 0 {
		return unexpected(status, body)
	}
	return nil
}

func revokeRefresh() *operation {
	o := &operation{name: "revoke/refresh_token", path: revokePath, client: "app-jwt", state: "revoke", floor: true, bare: true}
	o.workers = func(ctx context.Context, w *world, to target, clients, count int) ([]worker, error) {
		ids, err := w.copyGrants(ctx, o.client, count)
		if err != nil {
			return nil, err
		}
		requests := make([][]byte, count)
		for i, id := range ids {
			requests[i] = post(o.at(to), w.clients[o.client].basic(), "token="+w.codec.Mint(grants.Refresh, id, 1))
		}
		return spend(requests, clients, nothing), nil
	}
	return o
}

func revokeAccess() *operation {
	o := &operation{name: "revoke/access_token", path: revokePath, client: "app-jwt", state: "deny", floor: true, bare: true}
	o.workers = func(ctx context.Context, w *world, to target, clients, count int) ([]worker, error) {
		tokens, err := w.signedTokens(ctx, count)
		if err != nil {
			return nil, err
		}
		requests := make([][]byte, count)
		for i, token := range tokens {
			requests[i] = post(o.at(to), w.clients[o.client].basic(), "token="+token)
		}
		return spend(requests, clients, nothing), nil
	}
	return o
}

// Access tokens

// shown is how many access tokens are asked about in turn.
const shown = 64

func introspect(format, state string) *operation {
	o := &operation{name: "introspect/" + format + "/" + state, path: introspectPath, client: "api", state: "access", floor: true, bare: true}
	if state == "garbage" {
		o.state, o.bare = "prove", false
	}
	o.workers = func(ctx context.Context, w *world, to target, clients, _ int) ([]worker, error) {
		tokens, err := w.accessTokens(ctx, format, state)
		if err != nil {
			return nil, err
		}
		requests := make([][]byte, len(tokens))
		for i, token := range tokens {
			requests[i] = post(o.at(to), w.clients[o.client].basic(), "token="+token)
		}
		if state != "active" {
			return repeat(requests, clients, inactive), nil
		}
		return repeat(requests, clients, "", `{"active":true`, `"client_id":"app-`+format+`"`, `"username":"`), nil
	}
	return o
}

const inactive = `{"active":false}`

func userinfo() *operation {
	o := &operation{name: "userinfo", path: "/userinfo", state: "access", floor: true, bare: true}
	o.workers = func(ctx context.Context, w *world, to target, clients, _ int) ([]worker, error) {
		tokens, err := w.accessTokens(ctx, "jwt", "active")
		if err != nil {
			return nil, err
		}
		requests := make([][]byte, len(tokens))
		for i, token := range tokens {
			requests[i] = []byte("GET " + o.at(to) + " HTTP/1.1\r\nHost: as.example.com\r\nAuthorization: Bearer " + token + "\r\n\r\n")
		}
		return repeat(requests, clients, "", `"sub":"`), nil
	}
	return o
}

// accessTokens are the server's answers to renewals of sessions of their own, and what
// became of them: revoked with their session, or with a byte changed.
func (w *world) accessTokens(ctx context.Context, format, state string) ([]string, error) {
	if list := w.access[format+state]; list != nil {
		return list, nil
	}
	if state == "garbage" {
		var list []string
		live, err := w.accessTokens(ctx, format, "active")
		for _, token := range live {
			at := len(token) - 20
			other := byte('A')
			if token[at] == 'A' {
				other = 'B'
			}
			list = append(list, token[:at]+string(other)+token[at+1:])
		}
		w.access[format+state] = list
		return list, err
	}
	client := "app-" + format
	ids, err := w.copyGrants(ctx, client, shown)
	if err != nil {
		return nil, err
	}
	basic := w.clients[client].basic()
	var list []string
	for _, id := range ids {
		refresh := w.codec.Mint(grants.Refresh, id, 1)
		a, err := w.inside.ask(ctx, post(tokenPath, basic, "grant_type=refresh_token&refresh_token="+refresh))
		if err != nil {
			return nil, err
		}
		token := member(a.body.Bytes(), "access_token")
		if token == nil {
			return nil, unexpected(a.status, a.body.Bytes())
		}
		list = append(list, string(token))
		if state == "revoked" {
			a, err := w.inside.ask(ctx, post(revokePath, basic, "token="+refresh))
			if err != nil {
				return nil, err
			}
			if err := nothing(a.status, a.body.Bytes()); err != nil {
				return nil, err
			}
		}
	}
	w.access[format+state], w.shown[format+state] = list, ids
	return list, nil
}

// signedTokens are as many access tokens as asked for, like one of the server's but for the jti.
func (w *world) signedTokens(ctx context.Context, count int) ([]string, error) {
	live, err := w.accessTokens(ctx, "jwt", "active")
	if err != nil {
		return nil, err
	}
	payload, err := w.keys.Verify(live[0], keys.TypeAccessToken, time.Now())
	if err != nil {
		return nil, err
	}
	var c struct {
		ID string `json:"jti"`
	}
	if err := json.Unmarshal(payload, &c); err != nil || c.ID == "" {
		return nil, errors.Join(errors.New("no jti"), err)
	}
	signer, err := w.keys.Active(keys.ES256, time.Now())
	if err != nil {
		return nil, err
	}
	list := make([]string, count)
	for i := range list {
		var raw [16]byte
		_, _ = rand.Read(raw[:])
		text := strings.Replace(string(payload), c.ID, base64.RawURLEncoding.EncodeToString(raw[:]), 1)
		if list[i], err = signer.Sign(rand.Reader, keys.TypeAccessToken, []byte(text)); err != nil {
			return nil, err
		}
	}
	return list, nil
}
