package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// metadata is what the issuer publishes about itself, fetched when it is needed and
// kept. So this server starts before the issuer does, and verifies while it is down.
type metadata struct {
	issuer string
	client *http.Client
	now    func() time.Time

	mu        sync.Mutex
	document  document
	keys      jose.JSONWebKeySet
	fetchedAt time.Time
	triedAt   time.Time
}

// document is the part of RFC 8414 and OpenID Connect Discovery that matters here.
type document struct {
	Issuer                string `json:"issuer"`
	JWKSURI               string `json:"jwks_uri"`
	IntrospectionEndpoint string `json:"introspection_endpoint"`
}

const (
	refreshKeys = time.Minute     // a key that was taken back is refused after this
	keepKeys    = time.Hour       // how long the keys of an issuer that is down count
	betweenTry  = 1 * time.Second // tokens with invented key ids must not make us flood the issuer
)

// key answers the key of that id. A new one is fetched: issuers publish a key before
// they sign with it.
func (m *metadata) key(ctx context.Context, id string) (jose.JSONWebKey, error) {
	// Held while fetching, on purpose: one fetch serves all who wait.
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.keys.Key(id)
	age := m.now().Sub(m.fetchedAt)
	if len(found) == 1 && age < refreshKeys {
		return found[0], nil
	}
	if m.now().Sub(m.triedAt) >= betweenTry {
		m.triedAt = m.now()
		if err := m.fetch(ctx); err != nil && (len(found) != 1 || age >= keepKeys) {
			return jose.JSONWebKey{}, err
		}
		found = m.keys.Key(id)
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case m.fetchedAt.IsZero():
		return jose.JSONWebKey{}, fmt.Errorf("no keys of %s yet", m.issuer)
	default:
		return jose.JSONWebKey{}, errToken // signed with a key that the issuer does not know
	}
}

func (m *metadata) fetch(ctx context.Context) error {
	if err := m.discover(ctx); err != nil {
		return err
	}
	var keys jose.JSONWebKeySet
	if err := m.get(ctx, m.document.JWKSURI, &keys); err != nil {
		return err
	}
	m.keys, m.fetchedAt = keys, m.now()
	return nil
}

// introspection answers the endpoint's address.
func (m *metadata) introspection(ctx context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.discover(ctx); err != nil {
		return "", err
	}
	return m.document.IntrospectionEndpoint, nil
}

func (m *metadata) discover(ctx context.Context) error {
	if m.document.Issuer != "" {
		return nil
	}
	var d document
	if err := m.get(ctx, m.issuer+"/.well-known/openid-configuration", &d); err != nil {
		return err
	}
	// RFC 8414 section 3.3: else anybody could say where our keys are.
	if d.Issuer != m.issuer {
		return fmt.Errorf("%s says that it is the issuer %q", m.issuer, d.Issuer)
	}
	m.document = d
	return nil
}

func (m *metadata) get(ctx context.Context, url string, into any) error {
	// Others wait for this answer too, so it does not end with this request.
	request, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	return send(m.client, request, into)
}

// maxAnswer is more than any honest answer is.
const maxAnswer = 1 << 20

func send(client *http.Client, request *http.Request, into any) error {
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", request.Method, request.URL, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("%s %s: %w", request.Method, request.URL, err)
	}
	return nil
}
