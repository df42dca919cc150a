package servertest

import (
	"crypto/rand"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/users"
)

// What the clients of a World may ask for.
const (
	API      = "https://api.test"
	OtherAPI = "https://other.test"
	Origin   = "https://app.test"
)

// Chosen is the secret of the client "chosen", as a person would choose it.
const Chosen = "a secret that Erika chose"

// Native is where a program on the device listens, on any port.
const Native = "http://127.0.0.1/cb"

var (
	users0 = []string{"alice", "bob"}
	scopes = []string{"read", "write", "openid", "profile", "email"}
)

// Password is a user's.
func Password(name string) string { return "the password of " + name }

func population() []clients.Client {
	circle := []string{clients.GrantPassword, clients.GrantRefreshToken}
	code := append([]string{clients.GrantAuthorizationCode}, circle...)
	back := []string{Callback}
	public := []string{clients.GrantAuthorizationCode, clients.GrantRefreshToken}
	audience := []string{API, OtherAPI}
	machine := []string{clients.GrantClientCredentials}
	return []clients.Client{
		{ID: "c1", Grants: code, RedirectURIs: back, Scope: scopes, Audience: audience, AllowedOrigins: []string{Origin}},
		{ID: "c2", Grants: code, RedirectURIs: back, Scope: scopes, Audience: audience},
		{ID: "cc", Grants: machine, Scope: []string{"read", "write", "openid"}, Audience: audience},
		{ID: "pw", Grants: circle, Scope: scopes, Audience: audience},
		{ID: "once", Grants: []string{clients.GrantPassword}, Scope: scopes, Audience: audience},
		{ID: "sealed", Grants: append(slices.Clone(circle), clients.GrantClientCredentials), Scope: scopes, Audience: audience, AccessToken: clients.Opaque},
		{ID: "p1", Public: true, Grants: circle, Scope: scopes, Audience: audience},
		{ID: "b1", Public: true, Grants: circle, Scope: scopes, RefreshToken: clients.DeliverCookie, AllowedOrigins: []string{Origin}},
		{ID: "basic", AuthMethod: clients.AuthBasic, Grants: machine},
		{ID: "post", AuthMethod: clients.AuthPost, Grants: machine},
		{ID: "own", Name: "Our own", Grants: code, RedirectURIs: back, Scope: scopes, FirstParty: true},
		{ID: "two", Name: "Two Ways", Grants: code, RedirectURIs: []string{Callback, "https://app.test/cb2?x=1"}, Scope: scopes},
		{ID: "old", Grants: code, RedirectURIs: back, Scope: scopes, PKCE: clients.PKCEOptional},
		{ID: "n1", Public: true, Grants: public, RedirectURIs: []string{Native}, Scope: scopes},
		{ID: "spa", Public: true, Grants: public, RedirectURIs: back, Scope: scopes, RefreshToken: clients.DeliverCookie, AllowedOrigins: []string{Origin}},
		{ID: "rs", ResourceServer: true},
		{ID: "rs-api", ResourceServer: true, Audience: []string{API}},
		{ID: "rs-other", ResourceServer: true, Audience: []string{OtherAPI}},
	}
}

// register makes the clients and users. They are there before anything is counted.
func (w *World) register() {
	w.t.Helper()
	for _, c := range population() {
		w.AddClient(c)
	}
	hash, err := w.Passwords.Hash(w.t.Context(), Chosen)
	require.NoError(w.t, err)
	secret, err := clients.ChosenSecret(rand.Reader, hash, w.Clock.Now())
	require.NoError(w.t, err)
	w.create(clients.Client{ID: "chosen", Grants: []string{clients.GrantClientCredentials}, Scope: []string{"read"}, Secrets: []clients.Secret{secret}})
	w.keepSecret("chosen", Chosen)
	for _, name := range users0 {
		w.AddUser(name)
	}
}

// AddClient registers a client with a generated secret, if it is confidential.
func (w *World) AddClient(c clients.Client) {
	w.t.Helper()
	if !c.Public {
		plain, secret, err := clients.GenerateSecret(rand.Reader, w.Clock.Now())
		require.NoError(w.t, err)
		c.Secrets = []clients.Secret{secret}
		w.keepSecret(c.ID, plain)
	}
	w.create(c)
}

func (w *World) keepSecret(id, plain string) {
	w.secrets[id] = plain
	w.seen.add(plain)
}

// SetSecret makes a client of the test show another secret from now on.
func (w *World) SetSecret(id, plain string) { w.keepSecret(id, plain) }

// Secret is what a client shows.
func (w *World) Secret(id string) string { return w.secrets[id] }

func (w *World) create(c clients.Client) {
	w.t.Helper()
	c.SetDefaults()
	require.NoError(w.t, c.Check())
	w.returns(c)
	require.NoError(w.t, w.Store.CreateClient(w.t.Context(), c))
}

// returns remembers where browsers may be sent for a client.
func (w *World) returns(c clients.Client) {
	*w.registered = append(append(*w.registered, c.RedirectURIs...), c.PostLogoutRedirectURIs...)
}

// UpdateClient changes a registration, as an administrator on this replica.
func (w *World) UpdateClient(id string, change func(*clients.Client)) {
	w.t.Helper()
	c, err := w.Store.Client(w.t.Context(), id)
	require.NoError(w.t, err)
	change(c)
	require.NoError(w.t, c.Check())
	w.returns(*c)
	require.NoError(w.t, w.Store.UpdateClient(w.t.Context(), *c))
}

// UserID is the subject of a user's tokens.
func UserID(name string) string { return "id-of-" + name }

// AddUser makes an account with the password that Password says.
func (w *World) AddUser(name string) {
	w.t.Helper()
	hash, err := w.Passwords.Hash(w.t.Context(), Password(name))
	require.NoError(w.t, err)
	w.seen.add(Password(name))
	w.seen.add(hash)
	require.NoError(w.t, w.Store.CreateUser(w.t.Context(), users.User{
		ID: UserID(name), Name: name, Email: name + "@app.test", PasswordHash: hash,
	}))
}
