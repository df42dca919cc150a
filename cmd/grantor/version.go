package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (c *cli) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "version", Short: "Print the version of this program", Args: arguments}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	cmd.RunE = func(*cobra.Command, []string) error {
		platform := runtime.GOOS + "/" + runtime.GOARCH
		if asJSON {
			return writeJSON(c.stdout, map[string]string{"version": version(), "go": runtime.Version(), "platform": platform})
		}
		_, err := fmt.Fprintf(c.stdout, "grantor %s (%s, %s)\n", version(), runtime.Version(), platform)
		return err
	}
	return cmd
}

// version is what the build says of itself: a release, or a commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}
