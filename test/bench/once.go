package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
)

func redeem() *operation {
	o := &operation{name: "code/jwt+id_token", path: tokenPath, client: "web", state: "redeem", floor: true, bare: true}
	o.workers = func(ctx context.Context, w *world, to target, clients, count int) ([]worker, error) {
		ids, err := w.copyGrants(ctx, o.client, count)
		if err != nil {
			return nil, err
		}
		requests := make([][]byte, count)
		for i, id := range ids {
			requests[i] = w.redemption(o.at(to), o.client, id)
		}
		return spend(requests, clients, redeemed), nil
	}
	return o
}

func (w *world) redemption(path, client string, id grants.ID) []byte {
	return post(path, w.clients[client].basic(), "grant_type=authorization_code&code="+w.codec.Mint(grants.Code, id, 0)+
		"&redirect_uri="+url.QueryEscape(redirectURI)+"&code_verifier="+verifier)
}

func redeemed(status int, body []byte) error {
	if status != http.StatusOK || !bytes.HasPrefix(member(body, "access_token"), []byte("eyJ")) ||
		!bytes.HasPrefix(member(body, "refresh_token"), []byte("gr1_")) || !bytes.HasPrefix(member(body, "id_token"), []byte("eyJ")) {
		return unexpected(status, body)
	}
	return nil
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
