package main

import (
	"bytes"
	"context"
	"net/http"

	"github.com/grantorhq/grantor/grants"
)

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

func refresh(name, client, access string) *operation {
	o := &operation{name: name, path: tokenPath, client: client, state: "rotate", floor: true, bare: true}
	o.workers = func(ctx context.Context, w *world, to target, clients, _ int) ([]worker, error) {
		set, err := w.chainSet(ctx, name+" "+string(to), client)
		if err != nil {
			return nil, err
		}
		const form = "grant_type=refresh_token&refresh_token="
		head := post(o.at(to), w.clients[client].basic(), form+set.tokens[0])
		if to == toInside {
			// A session's first renewal runs a statement that forgets more. What is counted, and
			// what the floor runs, is the one of all others.
			set = &chainSet{tokens: set.tokens[:1]}
		}
		list := make([]worker, clients)
		for i := range list {
			share := set.tokens[i*len(set.tokens)/clients : (i+1)*len(set.tokens)/clients]
			list[i] = &chain{head: head[:len(head)-len(set.tokens[0])], tokens: share, access: access}
		}
		return list, nil
	}
	return o
}
