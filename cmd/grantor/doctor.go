package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/doctor"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/storage"
)

func (c *cli) doctorCommand() *cobra.Command {
	var noAttack, asJSON bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Examine a running deployment from outside and from inside, and attack it", Args: arguments,
		Long: `Examine a running deployment from outside and from inside, and attack it.

Run it with the settings of the server, on a machine that reaches both the database
and the issuer. docs/doctor.md explains every check by its name. It exits 1 when a
check failed; warnings alone are no failure.

The attacks are made on the server at the issuer, if its keys are those of this
database, with one user and four clients that exist only for it. Their names begin
with grantor-doctor- and go on with 128 random bits, their password and secrets are
random, and nothing of theirs lives longer than ten minutes. The user signs in; the
clients begin, renew and revoke sessions; twelve wrong passwords are sent for the user.
Nobody else's account, address or session is touched. At the end, and after Ctrl-C,
all of it is removed: the user, the clients, their sign-ins, sessions, consents and
failed sign-ins. What a killed run left is removed by the next one. In the log they
remain. With an audit log, there too.

With --no-attack nothing is written at all.`,
	}
	config.AddFlags(cmd.Flags(), "issuer")
	cmd.Flags().BoolVar(&noAttack, "no-attack", false, "Only look: write nothing, and attack nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON: check, grade, finding, hint, subject")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		findings, err := c.examine(cmd, !noAttack)
		if err != nil {
			return err
		}
		if asJSON {
			err = writeJSON(c.stdout, findings)
		} else {
			err = printFindings(c.stdout, findings)
		}
		if err != nil {
			return err
		}
		failed := int64(0)
		for _, f := range findings {
			if f.Grade == doctor.Fail {
				failed++
			}
		}
		if failed > 0 {
			return withHint(errors.New(count(failed, "finding")+" of the doctor must be mended"), "docs/doctor.md explains every check by its name")
		}
		return nil
	}
	return cmd
}

// examine hands the doctor what it needs, as far as it is there: what is missing is a finding.
func (c *cli) examine(cmd *cobra.Command, attack bool) (_ []doctor.Finding, err error) {
	ctx := cmd.Context()
	p := doctor.Patient{
		Dial: (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		Now:  c.now, Rand: c.rand,
	}
	p.Config, err = c.load(cmd, true)
	if err != nil && !errors.As(err, &p.Faults) {
		return nil, err
	}
	if p.Issuer = p.Config.Issuer; p.Issuer == "" {
		p.Issuer = own(p.Config, p.Config.Address)
	}
	if onlySecrets(p.Faults) {
		p.SecretText, p.Secrets, p.Unread = readSecrets(p.Config, p.Faults)
		p.Private = c.privateFiles(p.Config)
		closeStores, err := c.openPatient(ctx, &p, attack)
		defer closeStores()
		if err != nil {
			return nil, err
		}
	}
	return doctor.Examine(ctx, p), nil
}

func onlySecrets(faults config.Faults) bool {
	for _, f := range faults {
		if f.Setting != "secrets" {
			return false
		}
	}
	return true
}

// openPatient opens the database twice: once only to look, once for the attacks.
func (c *cli) openPatient(ctx context.Context, p *doctor.Patient, attack bool) (closeStores func(), err error) {
	var opened []*storage.Store
	closeStores = func() {
		for _, store := range opened {
			// Nothing is lost: what was to be written was written, and said.
			_ = store.Close()
		}
	}
	open := func(inspect bool) (*storage.Store, error) {
		store, err := c.open(ctx, p.Config, nil, func(o *storage.Options) { o.Inspect, o.Actor = inspect, c.actor("doctor") })
		if err == nil {
			opened = append(opened, store)
		}
		return store, err
	}
	if p.Store, p.Unopened = open(true); p.Unopened != nil {
		p.Store = nil
		return closeStores, nil //nolint:nilerr // the doctor tells it
	}
	if !attack {
		return closeStores, nil
	}
	if p.Passwords, err = c.passwords(p.Config); err != nil {
		return closeStores, err
	}
	p.Guests, err = open(false)
	return closeStores, err
}

// readSecrets reads without making any, whatever the mode of the file: that is a finding
// of its own.
func readSecrets(cfg config.Config, faults config.Faults) (config.Secret, *keys.Secrets, error) {
	if len(faults) > 0 {
		return "", nil, errors.New("they are not usable")
	}
	text := cfg.Secrets
	if text == "" {
		f, err := os.Open(cfg.Database.Beside(".secrets"))
		if err != nil {
			return "", nil, err
		}
		defer f.Close()
		read, err := io.ReadAll(io.LimitReader(f, 1<<20))
		if err != nil {
			return "", nil, err
		}
		text = config.Secret(read)
	}
	secrets, err := keys.ParseSecrets(text.Reveal())
	return text, secrets, err
}

// privateFiles are those that hold the secrets, the database's password or the
// certificate's key, wherever these come from.
func (c *cli) privateFiles(cfg config.Config) []string {
	var list []string
	if cfg.Secrets == "" {
		list = append(list, cfg.Database.Beside(".secrets"))
	}
	password := false
	if u, err := url.Parse(string(cfg.Database)); err == nil && u.User != nil {
		_, password = u.User.Password()
	}
	for _, held := range []struct {
		origin string
		secret bool
	}{{cfg.Origin("secrets"), cfg.Secrets != ""}, {cfg.Origin("database"), password}} {
		switch {
		case !held.secret || held.origin == "" || strings.HasPrefix(held.origin, "--"):
		case strings.HasSuffix(held.origin, "_FILE"):
			list = append(list, c.variable(held.origin))
		case !strings.HasPrefix(held.origin, "GRANTOR_"):
			list = append(list, held.origin) // the settings file
		}
	}
	if cfg.TLSKeyFile != "" {
		list = append(list, cfg.TLSKeyFile)
	}
	return list
}

func (c *cli) variable(name string) string {
	for _, pair := range c.environ {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// printFindings prints a line for each, a hint below where there is something to do, and
// a sum at the end.
func printFindings(w io.Writer, findings []doctor.Finding) error {
	group := map[string]doctor.Group{}
	for _, check := range doctor.Checks() {
		group[check.Name] = check.Group
	}
	sum, last := map[doctor.Grade]int64{}, doctor.Group("")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		if now := group[f.Check]; now != last {
			if last != "" {
				fmt.Fprintln(t)
			}
			fmt.Fprintf(t, "%s\n", now)
			last = now
		}
		sum[f.Grade]++
		text := oneLine(f.Finding)
		if f.Subject != "" {
			text = oneLine(f.Subject) + ": " + text
		}
		fmt.Fprintf(t, "  %-4s\t%s\t%s\n", f.Grade, f.Check, text)
		if f.Hint != "" {
			fmt.Fprintf(t, "      \t\thint: %s\n", oneLine(f.Hint))
		}
	}
	fmt.Fprintf(t, "\n%d ok, %s, %d failed, %d skipped\n", sum[doctor.OK], count(sum[doctor.Warn], "warning"), sum[doctor.Fail], sum[doctor.Skip])
	return t.Flush()
}
