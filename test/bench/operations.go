package main

import (
	"context"
	"net/url"
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
	raw   bool // and a piece of cryptography that takes nearly all of its time
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
	toRaw     target = "raw"
)

// hasFloor: the floor server knows PostgreSQL only, and what needs no database is the
// same on either.
func (o *operation) hasFloor(kind string) bool { return o.floor && kind == postgres }

// hasBare: on SQLite only what commits is held against it, because a server that is a
// library in the same process has no reads worth comparing.
func (o *operation) hasBare(kind string) bool {
	return o.bare && (kind == postgres || o.state != "access")
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
	o := &operation{name: "password", path: tokenPath, client: "app-jwt", state: "begin", bare: true, raw: true}
	o.workers = func(_ context.Context, w *world, to target, clients, _ int) ([]worker, error) {
		form := url.Values{"grant_type": {"password"}, "username": {userName}, "password": {w.password}}.Encode()
		return repeat([][]byte{post(o.at(to), w.clients[o.client].basic(), form)}, clients, "", `"access_token":"eyJ`, `"refresh_token":"gr1_`), nil
	}
	return o
}
