package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/grantorhq/grantor/config"
)

func (c *cli) configCommand() *cobra.Command {
	return noun("config", "What is set, and what can be", c.configCheck(), c.configShow(), c.configDocs())
}

func (c *cli) configCheck() *cobra.Command {
	cmd := &cobra.Command{Use: "check", Short: "Tell all that is wrong with the settings, without starting anything", Args: arguments}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := c.load(cmd, true)
		if err != nil {
			return err
		}
		for _, warning := range cfg.Warnings() {
			fmt.Fprintln(c.stderr, "warning: "+warning)
		}
		_, err = fmt.Fprintln(c.stdout, "the settings are good")
		return err
	}
	return cmd
}

func (c *cli) configShow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "show", Short: "Print the settings that hold and where each came from, without secrets", Args: arguments}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := c.settings(cmd)
		if err != nil {
			return err
		}
		if asJSON {
			return writeJSON(c.stdout, cfg)
		}
		return cfg.Show(c.stdout)
	}
	return cmd
}

func (c *cli) configDocs() *cobra.Command {
	cmd := &cobra.Command{Use: "docs", Short: "Print the manual of all settings (docs/config.md)", Args: arguments}
	cmd.RunE = func(*cobra.Command, []string) error { return config.Manual(c.stdout) }
	return cmd
}
