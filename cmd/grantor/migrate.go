package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func (c *cli) migrateCommand() *cobra.Command {
	return noun("migrate", "The tables of the database", c.migrateUp(), c.migrateStatus())
}

func (c *cli) migrateUp() *cobra.Command {
	cmd := &cobra.Command{Use: "up", Short: "Bring the tables to what this program wants; safe to run several times and at once", Args: arguments}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.withDatabase(cmd, func(ctx context.Context, d desk) error {
			report, err := d.Migrate(ctx)
			if err != nil {
				return hintDatabase(err)
			}
			if report.From == report.To {
				_, err = fmt.Fprintf(c.stdout, "the schema is at version %d already\n", report.To)
				return err
			}
			_, err = fmt.Fprintf(c.stdout, "the schema went from version %d to %d\n", report.From, report.To)
			return err
		})
	}
	return cmd
}

func (c *cli) migrateStatus() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "status", Short: "Print the version that the tables have and the one this program wants; fails when it can not run on them", Args: arguments}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.withDatabase(cmd, func(ctx context.Context, d desk) error {
			v, err := d.Schema(ctx)
			if err != nil {
				return hintDatabase(err)
			}
			if asJSON {
				err = writeJSON(c.stdout, map[string]any{"have": v.Have, "want": v.Want, "current": v.Have == v.Want, "usable": !v.Old() && !v.Foreign()})
			} else {
				err = pairs(c.stdout, [2]string{"have", fmt.Sprint(v.Have)}, [2]string{"want", fmt.Sprint(v.Want)})
			}
			return errors.Join(err, d.CheckSchema(ctx))
		})
	}
	return cmd
}
