package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/users"
)

const (
	demoClient = "demo"
	demoUser   = "alice"
)

// demo is what `serve --dev` makes and keeps in a private file beside the
// database, so that the next start prints the same lines.
type demo struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	User         string `json:"user"`
	Password     string `json:"password"`
}

// prepareDemo makes client and user, or finds them. Where the kept secret or
// password does not fit what is stored, because the file or the database was lost,
// a new one is set.
func (c *cli) prepareDemo(ctx context.Context, d desk, passwords *users.Passwords) (demo, error) {
	path := d.config.Database.Beside(".dev.json")
	kept := demo{ClientID: demoClient, User: demoUser}
	text, err := readPrivate(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(text, &kept); err != nil {
			kept = demo{}
		}
		kept.ClientID, kept.User = demoClient, demoUser
	case !errors.Is(err, fs.ErrNotExist):
		return demo{}, fmt.Errorf("demo credentials: %w", err)
	}
	if kept.ClientSecret, err = c.prepareDemoClient(ctx, d, kept.ClientSecret); err != nil {
		return demo{}, fmt.Errorf("demo client: %w", err)
	}
	if kept.Password, err = c.prepareDemoUser(ctx, d, passwords, kept.Password); err != nil {
		return demo{}, fmt.Errorf("demo user: %w", err)
	}
	text, err = json.MarshalIndent(kept, "", "  ")
	if err != nil {
		return demo{}, fmt.Errorf("demo credentials: %w", err)
	}
	if err := replacePrivate(path, append(text, '\n')); err != nil {
		return demo{}, fmt.Errorf("keep demo credentials: %w", err)
	}
	return kept, nil
}

func (c *cli) prepareDemoClient(ctx context.Context, d desk, kept string) (secret string, err error) {
	client, err := d.Client(ctx, demoClient)
	if err == nil {
		for _, s := range client.LiveSecrets(c.now()) {
			if kept != "" && s.MatchesGenerated(kept) {
				return kept, nil
			}
		}
	} else if !errors.Is(err, clients.ErrNotFound) {
		return "", err
	}
	plain, made, err := clients.GenerateSecret(c.rand, c.now())
	if err != nil {
		return "", err
	}
	if client != nil {
		all, err := client.PlanRotation(made, 0, c.now())
		if err != nil {
			return "", err
		}
		return plain, d.ReplaceSecrets(ctx, client.ID, client.Version, all)
	}
	fresh := clients.Client{
		ID: demoClient, Name: "Demo",
		Grants:     []string{clients.GrantPassword, clients.GrantRefreshToken, clients.GrantClientCredentials},
		Scope:      []string{"openid", "profile", "email"},
		FirstParty: true, ResourceServer: true,
		Secrets: []clients.Secret{made},
	}
	fresh.SetDefaults()
	if err := fresh.Check(); err != nil {
		return "", err
	}
	return plain, d.CreateClient(ctx, fresh)
}

func (c *cli) prepareDemoUser(ctx context.Context, d desk, passwords *users.Passwords, kept string) (password string, err error) {
	user, err := d.UserByLogin(ctx, demoUser)
	known := err == nil
	if !known && !errors.Is(err, users.ErrNotFound) {
		return "", err
	}
	if known && kept != "" {
		ok, _, err := passwords.Verify(ctx, user.PasswordHash, kept)
		if err != nil || ok {
			return kept, err
		}
	}
	password, err = newPassword(c.rand)
	if err != nil {
		return "", err
	}
	hash, err := passwords.Hash(ctx, password)
	if err != nil {
		return "", err
	}
	if known {
		// The sessions stay: whoever lost the file did not lose the database.
		const keepSessions = true
		_, err = d.SetPassword(ctx, user.ID, hash, keepSessions)
		return password, err
	}
	id, err := users.NewID(c.rand)
	if err != nil {
		return "", err
	}
	return password, d.CreateUser(ctx, users.User{
		ID: id, Name: demoUser, Email: "alice@example.com", PasswordHash: hash,
	})
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

# An API that verifies the token without asking: go run ./examples/resource-server
`

// tourOf is the tour with its values. None of them needs quoting in a shell:
// secrets and passwords are letters, digits, - and _, and the issuer was checked.
func tourOf(issuer string, d demo) string {
	return strings.NewReplacer("ISSUER", issuer, "CLIENT", d.ClientID+":"+d.ClientSecret, "PASSWORD", d.Password).Replace(tour)
}
