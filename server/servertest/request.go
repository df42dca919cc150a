package servertest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/keys"
)

// Request is one request before it is sent.
type Request struct {
	Method, Path string
	Header       http.Header
	Body         string
}

// Form is a correct POST of a form. Pairs are name, value, name, value, …
func Form(path string, pairs ...string) *Request {
	return &Request{
		Method: http.MethodPost, Path: path, Body: Encode(pairs...),
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	}
}

// Get is a request without a body.
func Get(path string) *Request {
	return &Request{Method: http.MethodGet, Path: path, Header: http.Header{}}
}

// Encode writes pairs as a form, in their order.
func Encode(pairs ...string) string {
	parts := make([]string, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		parts = append(parts, url.QueryEscape(pairs[i])+"="+url.QueryEscape(pairs[i+1]))
	}
	return strings.Join(parts, "&")
}

// Set sets a header.
func (r *Request) Set(name, value string) *Request {
	r.Header.Set(name, value)
	return r
}

// Basic adds client authentication as RFC 6749 section 2.3.1 writes it.
func (r *Request) Basic(id, secret string) *Request {
	return r.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret))))
}

// Basic is the header that a confidential client of the World proves itself with.
func (w *World) Basic(client string) string {
	return Form("/").Basic(client, w.secrets[client]).Header.Get("Authorization")
}

// Bearer adds an access token.
func (r *Request) Bearer(token string) *Request { return r.Set("Authorization", "Bearer "+token) }

// As adds what that client of the World proves itself with.
func (w *World) As(r *Request, client string) *Request {
	if secret, ok := w.secrets[client]; ok {
		return r.Basic(client, secret)
	}
	if r.Body != "" {
		r.Body += "&"
	}
	r.Body += Encode("client_id", client)
	return r
}

// Send sends a request and looks at the answer.
func (w *World) Send(r *Request) *Answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), r.Method, w.URL+r.Path, strings.NewReader(r.Body))
	require.NoError(w.t, err)
	if r.Body == "" {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	req.Header = r.Header
	if host := r.Header.Get("Host"); host != "" {
		req.Host = host
	}
	w.seen.request(r)
	answer, err := w.web.Do(req)
	require.NoError(w.t, err)
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	require.NoError(w.t, err)
	a := &Answer{Status: answer.StatusCode, Header: answer.Header, Body: body, t: w.t}
	if bytes.HasPrefix(body, []byte("{")) {
		_ = json.Unmarshal(body, &a.JSON)
	}
	w.look(r, a)
	return a
}

// Post sends a form as a client.
func (w *World) Post(path, client string, pairs ...string) *Answer {
	w.t.Helper()
	return w.Send(w.As(Form(path, pairs...), client))
}

// Token asks the token endpoint as a client.
func (w *World) Token(client string, pairs ...string) *Answer {
	w.t.Helper()
	return w.Post("/oauth2/token", client, pairs...)
}

// TryLogin is a password grant.
func (w *World) TryLogin(client, user string, pairs ...string) *Answer {
	w.t.Helper()
	return w.Token(client, append([]string{"grant_type", "password", "username", user, "password", Password(user)}, pairs...)...)
}

// Login is a password grant that must succeed.
func (w *World) Login(client, user string, pairs ...string) *Answer {
	w.t.Helper()
	return w.TryLogin(client, user, pairs...).Require(http.StatusOK)
}

// Refresh shows a refresh token.
func (w *World) Refresh(client, token string, pairs ...string) *Answer {
	w.t.Helper()
	return w.Token(client, append([]string{"grant_type", "refresh_token", "refresh_token", token}, pairs...)...)
}

// Introspect asks as a client about a token.
func (w *World) Introspect(client, token string, pairs ...string) *Answer {
	w.t.Helper()
	return w.Post("/oauth2/introspect", client, append([]string{"token", token}, pairs...)...)
}

// Active is what the resource server rs hears about a token.
func (w *World) Active(token string) bool {
	w.t.Helper()
	a := w.Introspect("rs", token).Require(http.StatusOK)
	active, _ := a.JSON["active"].(bool)
	return active
}

// Revoke ends a token as a client.
func (w *World) Revoke(client, token string, pairs ...string) *Answer {
	w.t.Helper()
	return w.Post("/oauth2/revoke", client, append([]string{"token", token}, pairs...)...)
}

// Userinfo asks with an access token.
func (w *World) Userinfo(token string) *Answer {
	w.t.Helper()
	return w.Send(Get("/userinfo").Bearer(token))
}

// Keys are the server's signing keys, as any other replica loads them.
func (w *World) Keys() *keys.Set {
	w.t.Helper()
	set, err := w.Store.SigningKeys(w.t.Context(), w.Keyring)
	require.NoError(w.t, err)
	return set
}

// Sign makes a token that is signed as the server signs.
func (w *World) Sign(typ string, payload string) string {
	w.t.Helper()
	signer, err := w.Keys().Active(keys.ES256, w.Clock.Now())
	require.NoError(w.t, err)
	token, err := signer.Sign(zeros{}, typ, []byte(payload))
	require.NoError(w.t, err)
	w.seen.add(token)
	return token
}

// zeros is a source for signatures whose quality does not matter.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}
