package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/grants"
)

func (c *cli) clientCommand() *cobra.Command {
	return noun("client", "Applications and resource servers that may use this server",
		c.clientCreate(), c.clientList(), c.clientShow(), c.clientUpdate(), c.clientRotateSecret(), c.clientRetireSecret(),
		c.clientSwitch("disable", "Refuse the client and its tokens until it is enabled again", desk.DisableClient),
		c.clientSwitch("enable", "Accept a disabled client again", desk.EnableClient),
		c.clientDelete(),
	)
}

// issued is a client together with a secret that is shown this once.
type issued struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret,omitempty"`
	clients.Metadata
}

// chosenSecretHelp: generated secrets, of letters, digits, - and _, are the same in either form.
const chosenSecretHelp = `A client that sends its secret by HTTP Basic form-encodes it first (RFC 6749 section
2.3.1). OAuth libraries do; curl -u does not. So with a secret from --secret-stdin
that has a % or a +, write %25 and %2B after curl -u, or send it in the body:
curl --data-urlencode client_secret=… Secrets made here need neither.`

func (c *cli) clientCreate() *cobra.Command {
	var r registration
	var id string
	var public, secretStdin, asJSON bool
	cmd := &cobra.Command{
		Use: "create", Short: "Register a client and print its secret once", Args: arguments,
		Long: "Register a client and print its secret once.\n\n" + chosenSecretHelp,
		Example: `  grantor client create --id shop --grant authorization_code --grant refresh_token --scope "openid profile" --redirect-uri https://shop.example.com/callback
  grantor client create --id notes --public --grant authorization_code --grant refresh_token --scope "openid profile" --redirect-uri com.example.notes:/callback --redirect-uri http://127.0.0.1/callback
  grantor client create --id nightly-report --grant client_credentials --scope reports.read
  grantor client create --id orders-api --resource-server --audience https://orders.example.com`,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client := clients.Client{ID: id, Public: public}
		if flag := cmd.Flags().Lookup("redirect-uri"); flag.Changed && len(r.redirectURIs) == 1 && r.redirectURIs[0] == "" {
			return &usageError{message: "--redirect-uri is empty", hint: "leave it out, or give the whole URI"}
		}
		if public && secretStdin {
			return &usageError{message: "a public client has no secret", hint: "leave out --public or --secret-stdin"}
		}
		if !cmd.Flags().Changed("id") {
			var err error
			if client.ID, err = clients.NewID(c.rand); err != nil {
				return err
			}
		}
		r.apply(cmd.Flags(), &client)
		if err := client.Check(); err != nil {
			return err
		}
		chosen := ""
		if secretStdin {
			var err error
			if chosen, err = c.readSecret(); err != nil {
				return err
			}
		}
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			plain := ""
			if !public {
				secret, text, err := c.newSecret(ctx, d.config, chosen)
				if err != nil {
					return err
				}
				client.Secrets, plain = []clients.Secret{secret}, text
			}
			if err := d.CreateClient(ctx, client); err != nil {
				return err
			}
			return c.printIssued(ctx, d, client.ID, plain, asJSON)
		})
	}
	r.declare(cmd.Flags())
	cmd.Flags().StringVar(&id, "id", "", "Client `ID` (default a random one)")
	cmd.Flags().BoolVar(&public, "public", false, "The client runs where it can keep no secret")
	cmd.Flags().BoolVar(&secretStdin, "secret-stdin", false, "Read the secret from standard input instead of making one")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON, in the names of RFC 7591")
	return cmd
}

func (c *cli) readSecret() (string, error) {
	const most = 256
	secret, err := readLine(c.stdin, "client secret", most)
	if err != nil {
		return "", err
	}
	return secret, clients.CheckChosenSecret(secret)
}

// newSecret makes a secret, or hashes a chosen one. Only a made one is told to anybody.
func (c *cli) newSecret(ctx context.Context, cfg config.Config, chosen string) (secret clients.Secret, plain string, err error) {
	if chosen == "" {
		plain, secret, err = clients.GenerateSecret(c.rand, c.now())
		return secret, plain, err
	}
	passwords, err := c.passwords(cfg)
	if err != nil {
		return clients.Secret{}, "", err
	}
	hash, err := passwords.Hash(ctx, chosen)
	if err != nil {
		return clients.Secret{}, "", fmt.Errorf("hash client secret: %w", err)
	}
	secret, err = clients.ChosenSecret(c.rand, hash, c.now())
	return secret, "", err
}

// printIssued shows what the database made of it, and the secret if one was made.
func (c *cli) printIssued(ctx context.Context, d desk, id, secret string, asJSON bool) error {
	client, err := d.Client(ctx, id)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(c.stdout, issued{ClientID: client.ID, ClientSecret: secret, Metadata: client.Metadata(c.now())})
	}
	if secret == "" {
		return pairs(c.stdout, [2]string{"client_id", client.ID})
	}
	if err := pairs(c.stdout, [2]string{"client_id", client.ID}, [2]string{"client_secret", secret}); err != nil {
		return err
	}
	_, err = io.WriteString(c.stdout, "The secret is not shown again.\n")
	return err
}

func (c *cli) clientList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "list", Short: "List all clients", Args: arguments}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			all, err := d.Clients(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				shown := []clients.Metadata{}
				for _, client := range all {
					shown = append(shown, client.Metadata(c.now()))
				}
				return writeJSON(c.stdout, shown)
			}
			var rows [][]string
			for _, client := range all {
				rows = append(rows, []string{client.ID, client.Name, kindOf(client), strings.Join(client.Grants, " "), enabled(client.DisabledAt), stamp(client.CreatedAt)})
			}
			return table(c.stdout, []string{"ID", "NAME", "KIND", "GRANTS", "STATE", "CREATED"}, rows)
		})
	}
	return cmd
}

func kindOf(client clients.Client) string {
	kind := "confidential"
	if client.Public {
		kind = "public"
	}
	if client.ResourceServer {
		kind += ", resource server"
	}
	return kind
}

func enabled(disabledAt time.Time) string {
	if disabledAt.IsZero() {
		return "enabled"
	}
	return "disabled"
}

func (c *cli) clientShow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "show ID", Short: "Show one client", Args: arguments}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON, in the names of RFC 7591")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			client, err := d.Client(ctx, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(c.stdout, client.Metadata(c.now()))
			}
			return c.printClient(*client)
		})
	}
	return cmd
}

func (c *cli) printClient(client clients.Client) error {
	method := string(client.AuthMethod)
	if client.AuthMethod == clients.AuthAny {
		method = "client_secret_basic or client_secret_post"
	}
	err := pairs(c.stdout,
		[2]string{"id", client.ID},
		[2]string{"name", client.Name},
		[2]string{"kind", kindOf(client)},
		[2]string{"state", enabled(client.DisabledAt)},
		[2]string{"authentication", method},
		[2]string{"grants", strings.Join(client.Grants, " ")},
		[2]string{"scope", grants.JoinScope(client.Scope)},
		[2]string{"audience", strings.Join(client.Audience, " ")},
		[2]string{"redirect URIs", strings.Join(client.RedirectURIs, " ")},
		[2]string{"first party", yes(client.FirstParty)},
		[2]string{"PKCE", string(client.PKCE)},
		[2]string{"access token", string(client.AccessToken)},
		[2]string{"access token lifetime", lifetime(client.AccessTokenLifetime)},
		[2]string{"refresh token", string(client.RefreshToken)},
		[2]string{"refresh token lifetime", lifetime(client.RefreshTokenLifetime)},
		[2]string{"session lifetime", lifetime(client.SessionLifetime)},
		[2]string{"allowed origins", strings.Join(client.AllowedOrigins, " ")},
		[2]string{"post-logout redirect URIs", strings.Join(client.PostLogoutRedirectURIs, " ")},
		[2]string{"back-channel logout", client.BackchannelLogoutURI},
		[2]string{"ID token signature", orElse(client.IDTokenAlg, clients.RS256)},
		[2]string{"userinfo signature", orElse(client.UserinfoAlg, "none")},
		[2]string{"client URI", client.ClientURI},
		[2]string{"policy URI", client.PolicyURI},
		[2]string{"terms of service URI", client.TOSURI},
		[2]string{"created", stamp(client.CreatedAt)},
		[2]string{"updated", stamp(client.UpdatedAt)},
		[2]string{"version", fmt.Sprint(client.Version)},
	)
	if err != nil || len(client.Secrets) == 0 {
		return err
	}
	var rows [][]string
	for _, s := range client.Metadata(c.now()).Secrets {
		rows = append(rows, []string{s.SecretID, s.Kind, stamp(s.CreatedAt), stampOf(s.LastUsedAt), stampOf(s.ExpiresAt)})
	}
	fmt.Fprintln(c.stdout)
	return table(c.stdout, []string{"SECRET", "KIND", "CREATED", "LAST USED", "ENDS"}, rows)
}

func orElse(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

func stampOf(t *time.Time) string {
	if t == nil {
		return ""
	}
	return stamp(*t)
}

func lifetime(d time.Duration) string {
	if d == 0 {
		return "default"
	}
	return d.String()
}

func (c *cli) clientUpdate() *cobra.Command {
	var r registration
	var asJSON bool
	cmd := &cobra.Command{
		Use: "update ID", Short: "Change what a client is registered with; what no flag names stays", Args: arguments,
		Example: `  grantor client update shop --redirect-uri https://shop.example.com/callback --redirect-uri https://new.example.com/callback
  grantor client update shop --audience ""             (none any more)
  grantor client update shop --session-lifetime 0      (the default again)`,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			client, err := d.Client(ctx, args[0])
			if err != nil {
				return err
			}
			r.apply(cmd.Flags(), client)
			if err := client.Check(); err != nil {
				return err
			}
			if err := d.UpdateClient(ctx, *client); err != nil {
				return err
			}
			if asJSON {
				return c.printStored(ctx, d, client.ID)
			}
			_, err = fmt.Fprintf(c.stdout, "client %s updated\n", plain(client.ID))
			return err
		})
	}
	r.declare(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the client as JSON")
	return cmd
}

// printStored shows what the database made of a change.
func (c *cli) printStored(ctx context.Context, d desk, id string) error {
	client, err := d.Client(ctx, id)
	if err != nil {
		return err
	}
	return writeJSON(c.stdout, client.Metadata(c.now()))
}

func (c *cli) clientRotateSecret() *cobra.Command {
	var overlap time.Duration
	var secretStdin, asJSON bool
	cmd := &cobra.Command{
		Use: "rotate-secret ID", Short: "Give the client a new secret; the old one ends at once, or after --overlap", Args: arguments,
		Long: "Give the client a new secret; the old one ends at once, or after --overlap.\n\n" + chosenSecretHelp,
	}
	cmd.Flags().DurationVar(&overlap, "overlap", 0, "How long the old secret still works, a `SPAN` such as 24h")
	cmd.Flags().BoolVar(&secretStdin, "secret-stdin", false, "Read the new secret from standard input instead of making one")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if overlap < 0 {
			return &usageError{message: "--overlap is negative", hint: "write a span such as --overlap 24h"}
		}
		chosen := ""
		if secretStdin {
			var err error
			if chosen, err = c.readSecret(); err != nil {
				return err
			}
		}
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			client, err := d.Client(ctx, args[0])
			if err != nil {
				return err
			}
			if client.Public {
				return &usageError{message: fmt.Sprintf("client %q is public and has no secret", client.ID), hint: "grantor client show " + client.ID}
			}
			secret, plain, err := c.newSecret(ctx, d.config, chosen)
			if err != nil {
				return err
			}
			all, err := client.PlanRotation(secret, overlap, c.now())
			if err != nil {
				return err
			}
			if err := d.ReplaceSecrets(ctx, client.ID, client.Version, all); err != nil {
				return err
			}
			return c.printIssued(ctx, d, client.ID, plain, asJSON)
		})
	}
	return cmd
}

func (c *cli) clientRetireSecret() *cobra.Command {
	cmd := &cobra.Command{Use: "retire-secret ID SECRET_ID", Short: "End one of two secrets", Args: arguments}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			id, secretID := args[0], args[1]
			client, err := d.Client(ctx, id)
			if err != nil {
				return err
			}
			keep := slices.DeleteFunc(slices.Clone(client.Secrets), func(s clients.Secret) bool { return s.ID == secretID })
			if len(keep) == len(client.Secrets) {
				return withHint(fmt.Errorf("%w: %s", clients.ErrSecretNotFound, secretID), "grantor client show %s", id)
			}
			left := clients.Client{Secrets: keep}
			if len(left.LiveSecrets(c.now())) == 0 {
				return withHint(fmt.Errorf("secret %s is the last one of client %q", secretID, id),
					"give it a new one with grantor client rotate-secret %s, or stop it with grantor client disable %s", id, id)
			}
			if err := d.ReplaceSecrets(ctx, id, client.Version, keep); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.stdout, "secret %s of client %s ended\n", plain(secretID), plain(id))
			return err
		})
	}
	return cmd
}

func (c *cli) clientSwitch(verb, short string, do func(d desk, ctx context.Context, id string) error) *cobra.Command {
	cmd := &cobra.Command{Use: verb + " ID", Short: short, Args: arguments}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			if err := do(d, ctx, args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.stdout, "client %s %sd\n", plain(args[0]), verb)
			return err
		})
	}
	return cmd
}

func (c *cli) clientDelete() *cobra.Command {
	cmd := &cobra.Command{Use: "delete ID", Short: "Delete a client and end its sessions", Args: arguments}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			sessions, err := d.DeleteClient(ctx, args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.stdout, "client %s deleted, %s ended\n", plain(args[0]), count(sessions, "session"))
			return err
		})
	}
	return cmd
}
