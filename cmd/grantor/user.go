package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/grantorhq/grantor/users"
)

func (c *cli) userCommand() *cobra.Command {
	return noun("user", "People who sign in",
		c.userCreate(), c.userUpdate(), c.userImport(), c.userList(), c.userShow(), c.userSetPassword(),
		c.userSwitch("disable", "Refuse the user, and end the sessions of the user for good", desk.DisableUser),
		c.userSwitch("enable", "Accept a disabled user again", desk.EnableUser),
		c.userUnlock(), c.userDelete(),
	)
}

// shownUser is an account as programs see it: claims by their OpenID Connect names,
// the rest as "user import" reads it. It has no room for a hash.
type shownUser struct {
	ID       string `json:"id"` // the subject of tokens
	Username string `json:"username"`
	Email    string `json:"email,omitempty"`
	users.Profile
	Password  string    `json:"password,omitempty"` // only right after it was made
	Disabled  bool      `json:"disabled"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`

	FailedSignIns *int64 `json:"failed_sign_ins,omitempty"` // in a row, where they were asked for
	WaitSeconds   *int64 `json:"wait_seconds,omitempty"`    // before the next attempt is looked at
}

func show(u users.User) shownUser {
	return shownUser{
		ID: u.ID, Username: u.Name, Email: u.Email, Profile: u.Profile, Disabled: !u.DisabledAt.IsZero(),
		CreatedAt: u.CreatedAt.UTC(), UpdatedAt: u.UpdatedAt.UTC(),
	}
}

func (c *cli) userCreate() *cobra.Command {
	var passwordStdin, asJSON bool
	cmd := &cobra.Command{Use: "create NAME", Short: "Make an account; without --password-stdin its password is made and printed once", Args: arguments}
	apply := claimFlags(cmd)
	cmd.Flags().BoolVar(&passwordStdin, "password-stdin", false, "Read the password from standard input")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := users.NewID(c.rand)
		if err != nil {
			return err
		}
		user := users.User{ID: id, Name: strings.TrimSpace(args[0])}
		apply(&user)
		if err := user.Check(); err != nil {
			return err
		}
		if cmd.Flags().Changed("email") {
			if err := users.CheckEmail(user.Email); err != nil {
				return err
			}
		}
		password, err := c.password(passwordStdin)
		if err != nil {
			return err
		}
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			if user.PasswordHash, err = c.hash(ctx, d, password.text); err != nil {
				return err
			}
			if err := d.CreateUser(ctx, user); err != nil {
				return err
			}
			if user, err = d.UserByLogin(ctx, user.ID); err != nil {
				return err
			}
			shown := show(user)
			if password.made {
				shown.Password = password.text
			}
			return c.printAccount(shown, asJSON)
		})
	}
	return cmd
}

// password is one that was read, or one that was made and has to be told.
type password struct {
	text string
	made bool
}

func (c *cli) password(stdin bool) (password, error) {
	if !stdin {
		text, err := newPassword(c.rand)
		return password{text: text, made: true}, err
	}
	text, err := readLine(c.stdin, "password", users.MaxPassword)
	if err != nil {
		return password{}, err
	}
	return password{text: text}, users.CheckPassword(text)
}

func (c *cli) hash(ctx context.Context, d desk, password string) (string, error) {
	passwords, err := c.passwords(d.config)
	if err != nil {
		return "", err
	}
	hash, err := passwords.Hash(ctx, password)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return hash, nil
}

func (c *cli) printAccount(u shownUser, asJSON bool) error {
	if asJSON {
		return writeJSON(c.stdout, u)
	}
	list := [][2]string{{"id", u.ID}, {"name", u.Username}}
	if u.Email != "" {
		list = append(list, [2]string{"email", verified(u.Email, u.EmailVerified)})
	}
	list = append(list, claims(u.Profile)...)
	if u.Password == "" {
		return pairs(c.stdout, list...)
	}
	if err := pairs(c.stdout, append(list, [2]string{"password", u.Password})...); err != nil {
		return err
	}
	_, err := fmt.Fprintln(c.stdout, "The password is not shown again.")
	return err
}

func (c *cli) userList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "list", Short: "List all accounts", Args: arguments}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			all, err := d.Users(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				shown := []shownUser{}
				for _, u := range all {
					shown = append(shown, show(u))
				}
				return writeJSON(c.stdout, shown)
			}
			var rows [][]string
			for _, u := range all {
				rows = append(rows, []string{u.Name, u.Email, enabled(u.DisabledAt), stamp(u.CreatedAt), u.ID})
			}
			return table(c.stdout, []string{"NAME", "EMAIL", "STATE", "CREATED", "ID"}, rows)
		})
	}
	return cmd
}

func (c *cli) userShow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "show USER", Short: "Show one account, by name, address or id", Args: arguments}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	cmd.RunE = c.withUser(func(ctx context.Context, d desk, u users.User) error {
		failures, wait, err := d.Throttle(ctx, u.ID)
		if err != nil {
			return err
		}
		if asJSON {
			shown, seconds := show(u), int64(wait.Seconds())
			shown.FailedSignIns, shown.WaitSeconds = &failures, &seconds
			return writeJSON(c.stdout, shown)
		}
		failed := strconv.FormatInt(failures, 10)
		if wait > 0 {
			failed += fmt.Sprintf(", waits %s (grantor user unlock)", wait.Round(time.Second))
		}
		list := [][2]string{{"id", u.ID}, {"name", u.Name}, {"email", verified(u.Email, u.Profile.EmailVerified)}}
		list = append(list, claims(u.Profile)...)
		return pairs(c.stdout, append(list, [][2]string{
			{"state", enabled(u.DisabledAt)}, {"failed sign-ins", failed}, {"created", stamp(u.CreatedAt)}, {"updated", stamp(u.UpdatedAt)},
		}...)...)
	})
	return cmd
}

// withUser finds the account that the argument names, by name, address or id.
func (c *cli) withUser(do func(ctx context.Context, d desk, u users.User) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			u, err := findUser(ctx, d, args[0])
			if err != nil {
				return err
			}
			return do(ctx, d, u)
		})
	}
}

func findUser(ctx context.Context, d desk, login string) (users.User, error) {
	u, err := d.UserByLogin(ctx, login)
	if errors.Is(err, users.ErrNotFound) {
		err = fmt.Errorf("%w: %s", err, login)
	}
	return u, err
}

func (c *cli) userSetPassword() *cobra.Command {
	var passwordStdin, keep, asJSON bool
	cmd := &cobra.Command{Use: "set-password USER", Short: "Replace a password and end the user's sessions", Args: arguments}
	cmd.Flags().BoolVar(&passwordStdin, "password-stdin", false, "Read the password from standard input instead of making one")
	cmd.Flags().BoolVar(&keep, "keep-sessions", false, "Leave the user's sessions as they are")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		password, err := c.password(passwordStdin)
		if err != nil {
			return err
		}
		return c.withUser(func(ctx context.Context, d desk, u users.User) error {
			hash, err := c.hash(ctx, d, password.text)
			if err != nil {
				return err
			}
			ended, err := d.SetPassword(ctx, u.ID, hash, keep)
			if err != nil {
				return err
			}
			if u, err = d.UserByLogin(ctx, u.ID); err != nil {
				return err
			}
			shown := show(u)
			if password.made {
				shown.Password = password.text
			}
			if err := c.printAccount(shown, asJSON); err != nil || asJSON {
				return err
			}
			_, err = fmt.Fprintf(c.stdout, "%s ended\n", count(ended, "session"))
			return err
		})(cmd, args)
	}
	return cmd
}

func (c *cli) userSwitch(verb, short string, do func(d desk, ctx context.Context, id string) error) *cobra.Command {
	cmd := &cobra.Command{Use: verb + " USER", Short: short, Args: arguments}
	cmd.RunE = c.withUser(func(ctx context.Context, d desk, u users.User) error {
		if err := do(d, ctx, u.ID); err != nil {
			return err
		}
		_, err := fmt.Fprintf(c.stdout, "user %s %sd\n", plain(u.Name), verb)
		return err
	})
	return cmd
}

func (c *cli) userUnlock() *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use: "unlock [USER]", Short: "Forget failed sign-ins, of a user or from an address, so that the next is not delayed",
		Example: `  grantor user unlock alice
  grantor user unlock --address 192.0.2.7          (IPv6: the /64 that it is in)`,
	}
	cmd.Flags().StringVar(&address, "address", "", "`IP` address whose sign-ins are delayed, whoever they are for")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) > 1:
			return &usageError{message: fmt.Sprintf("grantor user unlock takes only USER, not also %q", args[1]), hint: "grantor user unlock --help"}
		case len(args) == 0 && !cmd.Flags().Changed("address"):
			return &usageError{message: "grantor user unlock needs USER or --address", hint: "grantor user unlock --help"}
		case cmd.Flags().Changed("address") && users.AddressAccount(address) == "":
			return &usageError{message: fmt.Sprintf("--address %q is not an IP address", address), hint: "write it like 192.0.2.7 or 2001:db8::7, without a port"}
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			for _, login := range args {
				u, err := findUser(ctx, d, login)
				if err != nil {
					return err
				}
				some, err := d.UnlockUser(ctx, u.ID)
				if err := c.sayUnlocked("user "+u.Name, some, err); err != nil {
					return err
				}
			}
			if address == "" {
				return nil
			}
			some, err := d.UnlockAddress(ctx, address)
			return c.sayUnlocked("address "+strings.TrimPrefix(users.AddressAccount(address), "@"), some, err)
		})
	}
	return cmd
}

func (c *cli) sayUnlocked(who string, some bool, err error) error {
	if err != nil {
		return err
	}
	said := "unlocked"
	if !some {
		said = "has no failed sign-ins"
	}
	_, err = fmt.Fprintf(c.stdout, "%s %s\n", plain(who), said)
	return err
}

func (c *cli) userDelete() *cobra.Command {
	cmd := &cobra.Command{Use: "delete USER", Short: "Delete an account and end its sessions", Args: arguments}
	cmd.RunE = c.withUser(func(ctx context.Context, d desk, u users.User) error {
		ended, err := d.DeleteUser(ctx, u.ID)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.stdout, "user %s deleted, %s ended\n", plain(u.Name), count(ended, "session"))
		return err
	})
	return cmd
}
