package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/refusals"
	"github.com/grantorhq/grantor/users"
)

// verifiedFor is how long a chosen secret that was right is not hashed again.
const verifiedFor = 5 * time.Minute

// credentials are what a request says about its client.
type credentials struct {
	id, secret string
	method     clients.AuthMethod
}

// authenticate proves which client calls: RFC 6749 section 2.3. It answers
// invalid_client in one form for every reason, invalid_request for two methods at
// once, users.ErrBusy, and storage.ErrUnavailable.
func (h *Handler) authenticate(ctx context.Context, r *http.Request, form url.Values) (*clients.Fosite, error) {
	sent, err := readCredentials(r, form)
	if err != nil {
		return nil, err
	}
	client, err := h.Store.RegisteredClient(ctx, sent.id)
	if errors.Is(err, clients.ErrNotFound) {
		unknown := invalidClient(refusals.UnknownClient)
		unknown.Facts.Sent = sent.id
		return nil, unknown
	}
	if err != nil {
		return nil, err
	}
	// Only a registered id goes into the log: it is the only text here that a stranger did not choose.
	TrailOf(ctx).Client = sent.id
	c := client.Client
	if c.Public {
		if sent.method != clients.AuthNone {
			return nil, invalidClient("a public client sent a secret")
		}
		return client, nil
	}
	if sent.method == clients.AuthNone {
		return nil, invalidClient("no secret")
	}
	if c.AuthMethod != clients.AuthAny && c.AuthMethod != sent.method {
		return nil, invalidClient("not the registered method")
	}
	return client, h.proveSecret(ctx, c, sent.secret)
}

func readCredentials(r *http.Request, form url.Values) (credentials, error) {
	if form.Get("client_assertion") != "" || form.Get("client_assertion_type") != "" {
		return credentials{}, invalidClient("client assertions are not supported")
	}
	body := credentials{id: form.Get("client_id"), secret: form.Get("client_secret"), method: clients.AuthPost}
	if body.secret == "" {
		body.method = clients.AuthNone
	}
	headers := r.Header.Values("Authorization")
	if len(headers) > 1 {
		return credentials{}, invalidRequest("two Authorization headers")
	}
	var basic string
	if len(headers) == 1 {
		// Another scheme is not client authentication: Dovecot sends the token it asks about as Bearer.
		if scheme, value, _ := strings.Cut(headers[0], " "); strings.EqualFold(scheme, "Basic") {
			basic = strings.TrimSpace(value)
			if basic == "" {
				return credentials{}, invalidClient("empty Basic credentials")
			}
		}
	}
	if basic == "" {
		if body.id == "" {
			return credentials{}, invalidClient("no client credentials")
		}
		return body, nil
	}
	header, err := parseBasic(basic)
	switch {
	case err != nil:
		return credentials{}, err
	case body.secret != "":
		return credentials{}, invalidRequest("two methods of client authentication")
	case body.id != "" && body.id != header.id:
		return credentials{}, invalidRequest("two different client ids")
	}
	return header, nil
}

// parseBasic decodes RFC 7617 and, inside it, the form encoding that RFC 6749
// section 2.3.1 asks for.
func parseBasic(value string) (credentials, error) {
	raw, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return credentials{}, invalidClient("Basic credentials are not base64")
	}
	id, secret, found := strings.Cut(string(raw), ":")
	if !found {
		return credentials{}, invalidClient("Basic credentials without a colon")
	}
	id, errID := url.QueryUnescape(id)
	secret, errSecret := url.QueryUnescape(secret)
	if errID != nil || errSecret != nil || !clean(id) || !clean(secret) || id == "" {
		return credentials{}, invalidClient("Basic credentials are not form-encoded text")
	}
	return credentials{id: id, secret: secret, method: clients.AuthBasic}, nil
}

// proveSecret compares with the live secrets. A generated one is compared at once;
// a chosen one is as costly as a password, so it waits in the same queue.
func (h *Handler) proveSecret(ctx context.Context, c *clients.Client, secret string) error {
	now := h.Now()
	var chosen []clients.Secret
	for _, known := range c.Secrets {
		if !known.Live(now) {
			continue
		}
		if !known.Generated() {
			chosen = append(chosen, known)
			continue
		}
		if known.MatchesGenerated(secret) {
			h.Store.SecretUsed(c.ID, known.ID, now)
			return nil
		}
	}
	for _, known := range chosen {
		right, err := h.proveChosen(ctx, known, secret)
		if err != nil {
			return err
		}
		if right {
			h.Store.SecretUsed(c.ID, known.ID, now)
			return nil
		}
	}
	return invalidClient("wrong secret")
}

func (h *Handler) proveChosen(ctx context.Context, known clients.Secret, secret string) (bool, error) {
	// Salted, so that memory holds nothing that can be looked up; bound to the hash, so that a replaced secret is forgotten.
	proof := sha256.Sum256([]byte(string(h.salt[:]) + known.Hash + "\x00" + secret))
	now := h.Now()
	if at, ok := h.verified.Get(proof); ok && now.Sub(at).Abs() < verifiedFor {
		// In constant use it stays: a storm of wrong secrets must not make the right one queue.
		h.verified.Add(proof, now)
		return true, nil
	}
	right, _, err := h.Passwords.Verify(ctx, known.Hash, secret)
	if errors.Is(err, users.ErrUnknownHash) {
		return false, nil
	}
	if err == nil && right {
		h.verified.Add(proof, now)
	}
	return right, err
}
