package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/refusals"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

func (c *cli) explainCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "explain REFERENCE", Short: "Say exactly why a request was refused",
		Long: `Say exactly why a request was refused, by the reference that its answer carried:
the member "reference" of the JSON, the error_uri of a redirect, the last line of the
error page. It may be pasted with what stands around it.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 { // more are one that was pasted with blanks
				return &usageError{message: cmd.CommandPath() + " needs REFERENCE", hint: referenceHint}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		reference, err := refusals.Find(strings.Join(args, " "))
		switch {
		case errors.Is(err, refusals.ErrRequestID):
			return &usageError{message: err.Error(), hint: "look for it in the log of the servers, in the field id; " + referenceHint}
		case err != nil:
			return &usageError{message: err.Error(), hint: referenceHint}
		}
		r, err := c.openReference(cmd, reference)
		if err != nil {
			return err
		}
		return c.explain(cmd, r, asJSON)
	}
	return cmd
}

var referenceHint = fmt.Sprintf("a reference is the text of %d characters in an error answer that begins with ge1_", refusals.Length)

// openReference opens a reference with the secrets of the servers. It makes none, as a start would.
func (c *cli) openReference(cmd *cobra.Command, reference string) (refusals.Refusal, error) {
	cfg, err := c.settings(cmd)
	if err != nil {
		return refusals.Refusal{}, err
	}
	secrets, err := c.presentSecrets(cfg)
	if err != nil {
		return refusals.Refusal{}, err
	}
	references, err := refusals.New(secrets)
	if err != nil {
		return refusals.Refusal{}, err
	}
	return references.Open(reference)
}

func (c *cli) presentSecrets(cfg config.Config) (*keys.Secrets, error) {
	if path := cfg.Database.Beside(".secrets"); cfg.Secrets == "" {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, withHint(fmt.Errorf("no server secrets are set, and %s does not exist", path), "give those of the servers: GRANTOR_SECRETS or GRANTOR_SECRETS_FILE")
		}
	}
	return c.serverSecrets(cfg, newLog(c.stderr, cfg))
}

// explain says what the reference knows, also when the database can not be asked: that
// may be why. It fails then all the same.
func (c *cli) explain(cmd *cobra.Command, r refusals.Refusal, asJSON bool) error {
	known, now := refusals.Known{Unasked: true}, ""
	failed := c.withStore(cmd, func(ctx context.Context, d desk) error {
		found, session, err := d.known(ctx, &r, c.now())
		if err == nil {
			known, now = found, session
		}
		return err
	})
	why := refusals.Explain(r, known)
	shown := shownRefusal{
		At: r.At, RequestID: r.Request, Endpoint: r.Route, Error: r.Code, Reason: r.Reason(), ClientID: r.Client, GrantType: r.GrantType,
		Address: r.Address, UserID: r.UserID, SessionNow: now, Why: why.Why, Advice: append([]string{}, why.Advice...),
	}
	if r.Session != (grants.ID{}) {
		shown.SessionID = r.Session.String()
	}
	if asJSON {
		return errors.Join(writeJSON(c.stdout, shown), failed)
	}
	return errors.Join(c.printRefusal(shown), failed)
}

// shownRefusal is an explained refusal as programs see it.
type shownRefusal struct {
	At         time.Time `json:"at"`
	RequestID  string    `json:"request_id"` // the field id of its line in the log
	Endpoint   string    `json:"endpoint"`
	Error      string    `json:"error"`
	Reason     string    `json:"reason"` // the same as in the log
	ClientID   string    `json:"client_id,omitempty"`
	GrantType  string    `json:"grant_type,omitempty"`
	Address    string    `json:"address,omitempty"`
	UserID     string    `json:"user_id,omitempty"`
	SessionID  string    `json:"session_id,omitempty"`
	SessionNow string    `json:"session_now,omitempty"` // live, gone, or why it is over
	Why        []string  `json:"why"`
	Advice     []string  `json:"advice"`
}

func (c *cli) printRefusal(s shownRefusal) error {
	list := [][2]string{
		{"refused", stamp(s.At)},
		{"request", s.RequestID},
		{"endpoint", s.Endpoint},
		{"grant type", s.GrantType},
		{"error", s.Error},
		{"reason", s.Reason},
		{"client", s.ClientID},
		{"from", s.Address},
		{"user id", s.UserID},
		{"session", s.SessionID},
		{"session now", s.SessionNow},
	}
	var given [][2]string
	for _, p := range list {
		if p[1] != "" {
			given = append(given, p)
		}
	}
	if err := pairs(c.stdout, given...); err != nil {
		return err
	}
	parts := []struct {
		head  string
		lines []string
	}{{"why", s.Why}, {"what to do", s.Advice}}
	for _, part := range parts {
		if len(part.lines) == 0 {
			continue
		}
		fmt.Fprintf(c.stdout, "\n%s:\n", part.head)
		for _, line := range part.lines {
			if _, err := fmt.Fprintln(c.stdout, "  "+oneLine(line)); err != nil {
				return err
			}
		}
	}
	return nil
}

// known reads what the database says about a refusal, and how its session is now. It
// completes a client id that the reference had no room for.
func (d desk) known(ctx context.Context, r *refusals.Refusal, now time.Time) (k refusals.Known, session string, err error) {
	if r.Cut && r.Client != "" {
		if err := d.complete(ctx, r); err != nil {
			return k, "", err
		}
	}
	if k.Caller, err = d.clientIfAny(ctx, r.Client+r.Sent); err != nil {
		return k, "", err
	}
	userID, registered := r.UserID, k.Caller
	if r.Session != (grants.ID{}) {
		found, err := d.Session(ctx, r.Session)
		switch {
		case errors.Is(err, grants.ErrNotFound):
			session = "gone"
		case err != nil:
			return k, "", err
		default:
			if found.RedirectURI, found.CodeChallenge, err = d.CodeTerms(ctx, r.Session); err != nil && !errors.Is(err, grants.ErrNotFound) {
				return k, "", err
			}
			marked, err := d.markIdle(ctx, []storage.Session{found}, now)
			if err != nil {
				return k, "", err
			}
			if session = marked[0].Dead; session == "" {
				session = "live"
			}
			if k.Owner, err = d.clientIfAny(ctx, found.ClientID); err != nil {
				return k, "", err
			}
			k.Session, userID, registered = &found.Grant, found.UserID, k.Owner
		}
	}
	k.Limits = grants.Limits{Idle: d.config.RefreshTokenLifetime, Retry: d.config.RetryWindow}
	if registered != nil && registered.RefreshTokenLifetime > 0 {
		k.Limits.Idle = registered.RefreshTokenLifetime
	}
	k.User, err = d.userIfAny(ctx, userID)
	return k, session, err
}

func (d desk) clientIfAny(ctx context.Context, id string) (*clients.Client, error) {
	if id == "" {
		return nil, nil
	}
	found, err := d.Client(ctx, id)
	if errors.Is(err, clients.ErrNotFound) {
		return nil, nil
	}
	return found, err
}

func (d desk) userIfAny(ctx context.Context, id string) (*users.User, error) {
	if id == "" {
		return nil, nil
	}
	found, err := d.UserByLogin(ctx, id)
	// Somebody else may bear the id as a name.
	if errors.Is(err, users.ErrNotFound) || err == nil && found.ID != id {
		return nil, nil
	}
	return &found, err
}

// complete finds the one client whose id begins so.
func (d desk) complete(ctx context.Context, r *refusals.Refusal) error {
	registered, err := d.Clients(ctx)
	if err != nil {
		return err
	}
	var whole []string
	for _, c := range registered {
		if strings.HasPrefix(c.ID, r.Client) {
			whole = append(whole, c.ID)
		}
	}
	if len(whole) == 1 {
		r.Client, r.Cut = whole[0], false
	}
	return nil
}
