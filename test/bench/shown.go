package main

import (
	"context"

	"github.com/grantorhq/grantor/grants"
)

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
