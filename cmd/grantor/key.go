package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/grantorhq/grantor/keys"
)

func (c *cli) keyCommand() *cobra.Command {
	return noun("key", "Keys that sign tokens", c.keyList(), c.keyRotate())
}

// shownKey is a signing key as programs see it: its public name and its turn.
type shownKey struct {
	KID        string     `json:"kid"`
	Algorithm  string     `json:"alg"`
	State      keys.State `json:"state"`
	CreatedAt  time.Time  `json:"created_at"`
	ActiveFrom *time.Time `json:"active_from"` // null: not planned yet
}

func (c *cli) keyList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "list", Short: "List the signing keys and when each becomes active", Args: arguments}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			secrets, err := c.sharedSecrets(d)
			if err != nil {
				return err
			}
			set, err := d.SigningKeys(ctx, secrets)
			if err != nil {
				return fmt.Errorf("list keys: %w", err)
			}
			return c.printKeys(set, asJSON)
		})
	}
	return cmd
}

func (c *cli) keyRotate() *cobra.Command {
	var algorithm string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "rotate", Short: "Let the next key sign, as soon as everybody can know it, and make another next one", Args: arguments,
	}
	cmd.Flags().StringVar(&algorithm, "algorithm", "", "Only keys of this `NAME`: ES256 or RS256 (default both)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the keys as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if algorithm != "" && !slices.Contains(keys.Algorithms(), algorithm) {
			return &usageError{message: fmt.Sprintf("there are no keys for algorithm %q", algorithm), hint: "use one of " + strings.Join(keys.Algorithms(), ", ")}
		}
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			secrets, err := c.sharedSecrets(d)
			if err != nil {
				return err
			}
			set, err := d.RotateKeys(ctx, secrets, algorithm)
			if err != nil {
				return fmt.Errorf("rotate keys: %w", err)
			}
			return c.printKeys(set, asJSON)
		})
	}
	return cmd
}

func (c *cli) printKeys(set *keys.Set, asJSON bool) error {
	shown := []shownKey{}
	for _, k := range set.List() {
		shown = append(shown, shownKey{
			KID: k.ID, Algorithm: k.Algorithm, State: set.State(k.ID, c.now()),
			CreatedAt: k.CreatedAt.UTC(), ActiveFrom: optional(k.ActivateAt),
		})
	}
	if asJSON {
		return writeJSON(c.stdout, shown)
	}
	var rows [][]string
	for _, k := range shown {
		rows = append(rows, []string{k.KID, k.Algorithm, string(k.State), stampOf(k.ActiveFrom), stamp(k.CreatedAt)})
	}
	return table(c.stdout, []string{"KID", "ALGORITHM", "STATE", "ACTIVE FROM", "CREATED"}, rows)
}
