//go:build linux

package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

// control is a program that is wrong on purpose, made of the right one by what stands
// before it or behind it. The fault is injected as ever, and the checker must find
// what the control breaks: one that finds nothing has looked at nothing.
type control struct {
	name    string
	about   string
	expects []invariant // at least one of them must be violated

	tamper   func() func(*exchange)        // answers of the replicas change on their way
	sabotage func(context.Context, *stage) // the database changes behind them
	blind    bool                          // the balancer does not ask /readyz
	onSchema string                        // SQL after a migration
}

var (
	uncommit = &control{
		name: "uncommit", about: "SQL sets generations back, as a database does that loses commits", expects: []invariant{nothing},
		sabotage: repeatedly("UPDATE grants SET generation = generation - 1 WHERE id IN (SELECT id FROM grants WHERE generation > 2 AND revoked_at IS NULL LIMIT 8)"),
	}
	revive = &control{
		name: "revive", about: "SQL takes the end of sessions back", expects: []invariant{noReturn},
		sabotage: repeatedly("UPDATE grants SET revoked_at = NULL, revoked_reason = NULL WHERE revoked_at IS NOT NULL"),
	}
	falseRefusal = &control{
		name: "false-refusal", about: "what should be 503 is invalid_grant", expects: []invariant{nothing, recovers},
		tamper: unavailableBecomes(http.StatusBadRequest, `{"error":"invalid_grant"}`),
	}
	falseSuccess = &control{
		name: "false-success", about: "what should be 503 is 200", expects: []invariant{honest},
		tamper: unavailableBecomes(http.StatusOK, `{}`),
	}
	plainError = &control{
		name: "plain-error", about: "what should be 503 is 500", expects: []invariant{honest},
		tamper: unavailableBecomes(http.StatusInternalServerError, `{"error":"server_error"}`),
	}
	stale  = &control{name: "stale", about: "a renewal is answered with what the one before got", expects: []invariant{oneLive}, tamper: staleAnswers}
	forked = &control{name: "forked", about: "a renewal is answered with a second token of the same generation", expects: []invariant{oneLive}, tamper: forkedAnswers}
	again  = &control{name: "again", about: "a code that was honoured is honoured again", expects: []invariant{once}, tamper: honouredAgain}
	cached = &control{name: "cached", about: "introspection is answered from a cache", expects: []invariant{noReturn}, tamper: cachedIntrospection}

	fewKeys    = &control{name: "few-keys", about: "the JWKS holds only the newest key of an algorithm", expects: []invariant{verifies}, tamper: newestKeys}
	blindFront = &control{name: "blind-front", about: "the balancer does not look at /readyz", expects: []invariant{honest}, blind: true}
)

// repeatedly runs a statement until the load ends. It fails while the database does.
func repeatedly(statement string) func(context.Context, *stage) {
	return func(ctx context.Context, st *stage) {
		for pause(ctx, 50*time.Millisecond) {
			limited, cancel := context.WithTimeout(ctx, time.Second)
			_ = st.exec(limited, statement)
			cancel()
		}
	}
}

func unavailableBecomes(status int, body string) func() func(*exchange) {
	return func() func(*exchange) {
		return func(x *exchange) {
			if x.path == "/oauth2/token" && (x.status == 0 || x.status == http.StatusServiceUnavailable) {
				x.answer(status, body)
			}
		}
	}
}

// renewed is the refresh token that an exchange gave for another, if it is one.
func (x *exchange) renewed() (shown, got refresh, is bool) {
	shown, err := readRefresh(x.form.Get("refresh_token"))
	if err != nil || x.status != http.StatusOK {
		return shown, got, false
	}
	var said struct {
		Refresh string `json:"refresh_token"`
	}
	_ = json.Unmarshal(x.body, &said) // nothing is no token either
	got, err = readRefresh(said.Refresh)
	return shown, got, err == nil
}

func staleAnswers() func(*exchange) {
	var mu sync.Mutex
	last := map[string][]byte{}
	return func(x *exchange) {
		shown, _, is := x.renewed()
		if !is {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		before, known := last[shown.grant]
		last[shown.grant] = x.body
		if known && shown.generation%7 == 0 {
			x.body = before
		}
	}
}

func forkedAnswers() func(*exchange) {
	var mu sync.Mutex
	given := map[string]bool{}
	return func(x *exchange) {
		_, got, is := x.renewed()
		if !is {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if given[got.text] {
			other := byte('A')
			if got.text[len(got.text)-1] == other {
				other = 'B'
			}
			x.body = []byte(strings.Replace(string(x.body), got.text, got.text[:len(got.text)-1]+string(other), 1))
		}
		given[got.text] = true
	}
}

func honouredAgain() func(*exchange) {
	var mu sync.Mutex
	honoured := map[string][]byte{}
	return func(x *exchange) {
		code := x.form.Get("code")
		if x.path != "/oauth2/token" || code == "" {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if before, known := honoured[code]; known && x.status == http.StatusBadRequest {
			x.status, x.body = http.StatusOK, before
		} else if x.status == http.StatusOK {
			honoured[code] = x.body
		}
	}
}

func cachedIntrospection() func(*exchange) {
	var mu sync.Mutex
	active := map[string][]byte{}
	return func(x *exchange) {
		if x.path != "/oauth2/introspect" || x.status != http.StatusOK {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		token := x.form.Get("token")
		if before, known := active[token]; known {
			x.body = before
		} else if strings.Contains(string(x.body), `"active":true`) {
			active[token] = x.body
		}
	}
}

func newestKeys() func(*exchange) {
	return func(x *exchange) {
		var set struct {
			Keys []map[string]any `json:"keys"`
		}
		if x.path != "/.well-known/jwks.json" || json.Unmarshal(x.body, &set) != nil || len(set.Keys) == 0 {
			return
		}
		newest := map[any]map[string]any{}
		for _, key := range set.Keys {
			newest[key["alg"]] = key
		}
		set.Keys = set.Keys[:0]
		for _, key := range newest {
			set.Keys = append(set.Keys, key)
		}
		x.body, _ = json.Marshal(set) // it was JSON before
	}
}
