package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// cli is one invocation.
type cli struct {
	process
	file string // --config
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "grantor",
		Short: "An OAuth 2.0 and OpenID Connect authorization server",
		Long: `Grantor is an OAuth 2.0 and OpenID Connect authorization server.

Try it:  grantor serve --dev`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownVerb(cmd, args[0])
			}
			return cmd.Help()
		},
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(c.stdin)
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{message: oneLine(err.Error()), hint: cmd.CommandPath() + " --help"}
	})
	root.PersistentFlags().StringVar(&c.file, "config", "", "Settings `FILE` (YAML); also "+config.FileVariable)
	config.AddFlags(root.PersistentFlags(), "database")
	root.AddCommand(
		c.serveCommand(), c.migrateCommand(), c.clientCommand(), c.userCommand(), c.sessionCommand(),
		c.keyCommand(), c.auditCommand(), c.explainCommand(), c.doctorCommand(), c.configCommand(), c.versionCommand(), c.hashWorkerCommand(),
	)
	return root
}

// noun is a command that only holds verbs.
func noun(name, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, Args: cobra.ArbitraryArgs}
	cmd.AddCommand(verbs...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownVerb(cmd, args[0])
		}
		var names []string
		for _, verb := range verbs {
			names = append(names, verb.Name())
		}
		return &usageError{message: cmd.Name() + " needs a verb: " + strings.Join(names, ", "), hint: cmd.CommandPath() + " --help"}
	}
	return cmd
}

func unknownVerb(cmd *cobra.Command, word string) error {
	hint := cmd.CommandPath() + " --help"
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		hint = "did you mean " + cmd.CommandPath() + " " + near[0] + "?"
	}
	return &usageError{message: fmt.Sprintf("%s has no command %q", cmd.CommandPath(), word), hint: hint}
}

// arguments wants exactly the arguments that Use names in capitals.
func arguments(cmd *cobra.Command, args []string) error {
	want := strings.Fields(cmd.Use)[1:]
	if len(args) == len(want) {
		return nil
	}
	message := "needs " + strings.Join(want, " and ")
	if len(want) == 0 {
		message = "takes no argument"
	} else if len(args) > len(want) {
		message = fmt.Sprintf("takes only %s, not also %q", strings.Join(want, " and "), args[len(want)])
	}
	return &usageError{message: cmd.CommandPath() + " " + message, hint: cmd.CommandPath() + " --help"}
}

// settings loads the configuration of any command but serve.
func (c *cli) settings(cmd *cobra.Command) (config.Config, error) { return c.load(cmd, false) }

// load adds to the faults of the settings those that package config can not see: of
// secrets, and of the logo where it will be shown.
func (c *cli) load(cmd *cobra.Command, serving bool) (config.Config, error) {
	cfg, err := config.Load(config.Sources{
		File: c.file, ReadFile: readSettings, Environ: c.environ, Flags: cmd.Flags(), Serving: serving,
	})
	var faults config.Faults
	if err != nil && !errors.As(err, &faults) {
		return cfg, err
	}
	if text := cfg.Secrets.Reveal(); text != "" {
		if _, err := keys.ParseSecrets(text); err != nil {
			faults = append(faults, config.Fault{
				Setting: "secrets", Origin: cfg.Origin("secrets"),
				Problem: "holds an " + err.Error(), Hint: "make one with: openssl rand -base64 32",
			})
		}
	}
	if serving && config.LogoType(cfg.DisplayLogo) != "" {
		var more config.Faults
		if _, err := readLogo(cfg); errors.As(err, &more) {
			faults = append(faults, more...)
		}
	}
	if len(faults) > 0 {
		return cfg, faults
	}
	return cfg, nil
}

// readSettings reads no more than settings can be: --config may name a device.
func readSettings(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("it is a folder")}
	}
	return io.ReadAll(io.LimitReader(f, 1<<20+1))
}

// desk is an open database with what the verbs need beside it.
type desk struct {
	*storage.Store
	config config.Config
}

// withStore opens the database, ready to be used, for one verb.
func (c *cli) withStore(cmd *cobra.Command, fn func(ctx context.Context, d desk) error) error {
	return c.withDatabase(cmd, func(ctx context.Context, d desk) error {
		if err := ready(ctx, d.Store); err != nil {
			return hintDatabase(err)
		}
		return fn(ctx, d)
	})
}

// withDatabase opens the database as it is, whatever its schema.
func (c *cli) withDatabase(cmd *cobra.Command, fn func(ctx context.Context, d desk) error) (err error) {
	cfg, err := c.settings(cmd)
	if err != nil {
		return err
	}
	store, err := c.open(cmd.Context(), cfg, nil, func(o *storage.Options) { o.Actor = c.actor("cli") })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return fn(cmd.Context(), desk{Store: store, config: cfg})
}

// actor is who the audit log says that it was.
func (c *cli) actor(tool string) string {
	if c.operator == "" {
		return tool
	}
	return tool + ": " + c.operator
}

// ready migrates SQLite: one file, one owner, so nobody else has to agree to a new schema.
func ready(ctx context.Context, store *storage.Store) error {
	if store.Dialect() == storage.SQLite {
		if _, err := store.Migrate(ctx); err != nil {
			return err
		}
	}
	return store.CheckSchema(ctx)
}

// open connects without looking at the schema. A verb logs nothing: what it has to
// say is its answer.
func (c *cli) open(ctx context.Context, cfg config.Config, log *slog.Logger, more ...func(*storage.Options)) (*storage.Store, error) {
	options := storage.Options{
		Database: string(cfg.Database), Timeout: cfg.DatabaseTimeout, Connections: cfg.DatabaseConnections,
		UnsafeDatabase: cfg.UnsafeDatabase, Now: c.now, Rand: c.rand, Log: log,
	}
	for _, change := range more {
		change(&options)
	}
	store, err := storage.Open(ctx, options)
	return store, hintDatabase(err)
}

func (c *cli) passwords(cfg config.Config) (*users.Passwords, error) {
	return users.NewPasswords(c.passwordOptions(cfg))
}

func (c *cli) passwordOptions(cfg config.Config) users.PasswordOptions {
	return users.PasswordOptions{
		Memory: uint32(cfg.PasswordMemory), Time: uint32(cfg.PasswordTime), Threads: uint8(cfg.PasswordThreads),
		Concurrent: cfg.PasswordConcurrency, Queue: cfg.PasswordQueue, Rand: c.rand,
	}
}
