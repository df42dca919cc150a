package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/users"
)

const (
	demoClient = "demo"
	demoUser   = "alice"
	demoFile   = ".dev.json" // beside the database
	demoEmail  = "alice@example.com"
	demoApp    = "spa" // examples/spa, where it listens when nothing else is said
	demoOrigin = "http://127.0.0.1:9091"

	// exampleIssuer is where the examples look when they are not told.
	exampleIssuer = "http://127.0.0.1:8080"
)

// demo is what `serve --dev` keeps in a private file beside the database, so that the
// next start prints the same lines. The file comes first, client and user are made
// from it: whoever has an alice without such a file, or one whose password is not the
// file's, has one that this program did not make, and keeps it as it is.
type demo struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	User         string `json:"user"`
	Password     string `json:"password"`
}

// prepareDemo makes credentials, client and user, or finds them. Nothing is made before
// all that is there was found to be the demo's. Of starts at the same moment, one makes
// each of the three and the others find it.
func (c *cli) prepareDemo(ctx context.Context, d desk, passwords *users.Passwords) (demo, error) {
	path := d.config.Database.Beside(demoFile)
	// The rows are read before the file: who makes them makes the file first.
	there, err := readDemoRows(ctx, d)
	if err != nil {
		return demo{}, err
	}
	text, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		if there.client != nil || there.user != nil {
			return demo{}, notOurs("the database has "+there.what()+", and "+path+" does not exist", path)
		}
		text, err = c.makeDemo(path)
	}
	if err != nil {
		return demo{}, fmt.Errorf("demo credentials: %w", err)
	}
	kept, err := parseDemo(text)
	if err != nil {
		return demo{}, withHint(fmt.Errorf("%s: %w", path, err), "remove the file; if the database is only a demo, remove that too")
	}
	if err := c.settleDemo(ctx, d, passwords, kept, there); err != nil {
		return demo{}, err
	}
	return kept, createDemoApp(ctx, d)
}

// settleDemo makes what is missing, and looks again when somebody else was faster with it.
func (c *cli) settleDemo(ctx context.Context, d desk, passwords *users.Passwords, kept demo, there demoRows) error {
	const most = 3 // one for the client, one for the user
	for attempt := 1; ; attempt++ {
		if err := there.fit(ctx, kept, passwords, c.now(), d.config.Database.Beside(demoFile)); err != nil {
			return err
		}
		err := c.completeDemo(ctx, d, passwords, kept, there)
		if attempt == most || !errors.Is(err, clients.ErrExists) && !errors.Is(err, users.ErrExists) {
			return err
		}
		if there, err = readDemoRows(ctx, d); err != nil {
			return err
		}
	}
}

// demoRows are what the database has under the demo's names; nil is nothing.
type demoRows struct {
	client *clients.Client
	user   *users.User
}

func readDemoRows(ctx context.Context, d desk) (demoRows, error) {
	var there demoRows
	client, err := d.Client(ctx, demoClient)
	switch {
	case err == nil:
		there.client = client
	case !errors.Is(err, clients.ErrNotFound):
		return demoRows{}, err
	}
	for _, login := range []string{demoUser, demoEmail} { // the address may be another's
		user, err := d.UserByLogin(ctx, login)
		switch {
		case err == nil:
			there.user = &user
			return there, nil
		case !errors.Is(err, users.ErrNotFound):
			return demoRows{}, err
		}
	}
	return there, nil
}

func (r demoRows) what() string {
	switch {
	case r.user == nil:
		return "a client " + demoClient
	case r.client == nil:
		return "a user " + r.user.Name
	}
	return "a client " + demoClient + " and a user " + r.user.Name
}

// fit refuses rows that were not made from these credentials.
func (r demoRows) fit(ctx context.Context, kept demo, passwords *users.Passwords, now time.Time, path string) error {
	if r.client != nil && !slices.ContainsFunc(r.client.LiveSecrets(now), func(s clients.Secret) bool { return s.MatchesGenerated(kept.ClientSecret) }) {
		return notOurs("client "+demoClient+" has another secret than "+path, path)
	}
	if r.user == nil {
		return nil
	}
	ok, _, err := passwords.Verify(ctx, r.user.PasswordHash, kept.Password)
	if err == nil && !ok {
		return notOurs("user "+r.user.Name+" has another password than "+path, path)
	}
	return err
}

func (c *cli) completeDemo(ctx context.Context, d desk, passwords *users.Passwords, kept demo, there demoRows) error {
	if there.client == nil {
		if err := c.createDemoClient(ctx, d, kept.ClientSecret); err != nil {
			return fmt.Errorf("make the demo client: %w", err)
		}
	}
	if there.user == nil {
		if err := c.createDemoUser(ctx, d, passwords, kept.Password); err != nil {
			return fmt.Errorf("make the demo user: %w", err)
		}
	}
	return nil
}

// createDemoApp registers the example's page. It has no secret, so one that is there
// already may stay as somebody made it.
func createDemoApp(ctx context.Context, d desk) error {
	app := clients.Client{
		ID: demoApp, Name: "Browser application", Public: true,
		Grants:                 []string{clients.GrantAuthorizationCode, clients.GrantRefreshToken},
		Scope:                  []string{"openid", "profile", "email"},
		RedirectURIs:           []string{demoOrigin + "/"},
		PostLogoutRedirectURIs: []string{demoOrigin + "/"},
		AllowedOrigins:         []string{demoOrigin},
		RefreshToken:           clients.DeliverCookie,
	}
	app.SetDefaults()
	if err := app.Check(); err != nil {
		return err
	}
	if err := d.CreateClient(ctx, app); err != nil && !errors.Is(err, clients.ErrExists) {
		return fmt.Errorf("make the demo's browser application: %w", err)
	}
	return nil
}

func notOurs(what, path string) error {
	return withHint(fmt.Errorf("--dev did not make what is here: %s", what),
		"leave out --dev, or name another --database; if all this is only a demo: grantor client delete %s, grantor user delete %s, and remove %s", demoClient, demoUser, path)
}

// makeDemo draws credentials and keeps them, or reads those of whoever was first.
func (c *cli) makeDemo(path string) ([]byte, error) {
	secret, _, err := clients.GenerateSecret(c.rand, c.now())
	if err != nil {
		return nil, err
	}
	password, err := newPassword(c.rand)
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(demo{ClientID: demoClient, ClientSecret: secret, User: demoUser, Password: password}, "", "  ")
	if err != nil {
		return nil, err
	}
	err = createPrivate(path, append(text, '\n'))
	if errors.Is(err, fs.ErrExist) {
		return readPrivate(path)
	}
	return text, err
}

var (
	generatedForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
	passwordForm  = regexp.MustCompile(`^[a-z2-7]{24}$`)
)

// parseDemo reads what makeDemo wrote and nothing else: it ends up in lines to paste.
func parseDemo(text []byte) (demo, error) {
	var kept demo
	if err := json.Unmarshal(text, &kept); err != nil {
		return demo{}, errors.New("it holds no demo credentials")
	}
	if kept.ClientID != demoClient || kept.User != demoUser || !generatedForm.MatchString(kept.ClientSecret) || !passwordForm.MatchString(kept.Password) {
		return demo{}, errors.New("it holds other credentials than those of a demo")
	}
	return kept, nil
}

func (c *cli) createDemoClient(ctx context.Context, d desk, plain string) error {
	raw, err := base64.RawURLEncoding.DecodeString(plain)
	if err != nil {
		return err
	}
	// The bits of the secret were drawn when the file was made.
	again, secret, err := clients.GenerateSecret(io.MultiReader(bytes.NewReader(raw), c.rand), c.now())
	if err != nil {
		return err
	}
	if again != plain {
		return errors.New("the kept secret is not a generated one")
	}
	fresh := clients.Client{
		ID: demoClient, Name: "Demo",
		Grants:     []string{clients.GrantPassword, clients.GrantRefreshToken, clients.GrantClientCredentials},
		Scope:      []string{"openid", "profile", "email"},
		FirstParty: true, ResourceServer: true,
		Secrets: []clients.Secret{secret},
	}
	fresh.SetDefaults()
	if err := fresh.Check(); err != nil {
		return err
	}
	return d.CreateClient(ctx, fresh)
}

func (c *cli) createDemoUser(ctx context.Context, d desk, passwords *users.Passwords, password string) error {
	hash, err := passwords.Hash(ctx, password)
	if err != nil {
		return err
	}
	id, err := users.NewID(c.rand)
	if err != nil {
		return err
	}
	return d.CreateUser(ctx, users.User{ID: id, Name: demoUser, Email: demoEmail, PasswordHash: hash})
}

// tour is the first minute: the whole circle, for pasting into sh, bash or zsh. No
// line needs more than curl and sed. An interactive zsh takes comments for commands,
// so they hold nothing that it would expand or wait to see closed.
const tour = `
# The whole circle of a login. Paste it into another terminal, block by block
issuer=ISSUER client=CLIENT password=PASSWORD
pick() { printf '%s' "$answer" | sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }

# Log in as alice: an access token and a refresh token
answer=$(curl -sS -u "$client" -d grant_type=password -d username=alice -d "password=$password" -d scope=openid+profile+email "$issuer/oauth2/token"); printf '%s\n' "$answer"
access=$(pick access_token) refresh=$(pick refresh_token)

# Call an API with the access token
curl -sS -H "Authorization: Bearer $access" "$issuer/userinfo"; echo

# Renew: the refresh token is traded for a new pair
answer=$(curl -sS -u "$client" -d grant_type=refresh_token -d "refresh_token=$refresh" "$issuer/oauth2/token"); printf '%s\n' "$answer"
access=$(pick access_token) refresh=$(pick refresh_token)

# Introspect: ask the server about the new access token
curl -sS -u "$client" -d "token=$access" "$issuer/oauth2/introspect"; echo

# Revoke the refresh token: the login ends
curl -sS -o /dev/null -w 'revoked, HTTP %{http_code}\n' -u "$client" -d "token=$refresh" "$issuer/oauth2/revoke"

# Introspect again: the access token ended with it
curl -sS -u "$client" -d "token=$access" "$issuer/oauth2/introspect"; echo

# An API that verifies the token without asking: go run ./examples/resource-serverELSEWHERE
# A page that signs alice in, with the password above: go run ./examples/spaELSEWHERE
# What alice sees of it all: ISSUER/account
`

// tourOf is the tour with its values. None of them needs quoting in a shell:
// secrets and passwords are letters, digits, - and _, and the issuer was checked.
func tourOf(issuer string, d demo) string {
	elsewhere := ""
	if issuer != exampleIssuer {
		elsewhere = " -issuer " + issuer
	}
	return strings.NewReplacer("ELSEWHERE", elsewhere, "ISSUER", issuer, "CLIENT", d.ClientID+":"+d.ClientSecret, "PASSWORD", d.Password).Replace(tour)
}
