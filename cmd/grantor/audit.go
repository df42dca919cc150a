package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/grantorhq/grantor/audit"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

func (c *cli) auditCommand() *cobra.Command {
	return noun("audit", "What happened, and proof that nobody changed the record of it", c.auditList(), c.auditExport(), c.auditVerify())
}

// shownEvent is an event as programs see it.
type shownEvent struct {
	Number   int64     `json:"number"`
	At       time.Time `json:"at"`
	Event    string    `json:"event"`
	ClientID string    `json:"client_id,omitempty"`
	UserID   string    `json:"user_id,omitempty"`
	Session  string    `json:"session,omitempty"`
	Address  string    `json:"address,omitempty"`
	Actor    string    `json:"actor,omitempty"`
	Detail   string    `json:"detail,omitempty"`
}

func describeEvent(e audit.Event) shownEvent {
	shown := shownEvent{
		Number: e.Number, At: e.At.UTC(), Event: e.Name, ClientID: e.ClientID, UserID: e.UserID, Address: e.Address, Actor: e.Actor, Detail: e.Detail,
	}
	if len(e.Session) == len(grants.ID{}) {
		shown.Session = grants.ID(e.Session).String()
	}
	return shown
}

// auditFlags are what list and export ask for in the same words.
type auditFlags struct {
	event, user, client, session, address, since, until string
	after                                               int64
}

func (f *auditFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.event, "event", "", "Only this `EVENT`, such as session.begun, or all of a kind: session")
	flags.StringVar(&f.user, "user", "", "Only those about this `USER` (name, address or id, also of one who is gone)")
	flags.StringVar(&f.client, "client", "", "Only those about this `CLIENT`")
	flags.StringVar(&f.session, "session", "", "Only those about this session `ID`")
	flags.StringVar(&f.address, "address", "", "Only those from this IP `ADDRESS`")
	flags.StringVar(&f.since, "since", "", "Only from this `TIME` on: 2026-01-31T12:00:00Z, 2026-01-31, or a span back from now: 24h")
	flags.StringVar(&f.until, "until", "", "Only up to this `TIME`")
	flags.Int64Var(&f.after, "after", 0, "Only those with a higher `NUMBER`")
}

func (f *auditFlags) filter(ctx context.Context, d desk, now time.Time) (filter storage.AuditFilter, err error) {
	filter = storage.AuditFilter{After: f.after, Name: strings.TrimSuffix(f.event, "."), ClientID: f.client, Address: f.address}
	if filter.Since, err = instant("since", f.since, now); err != nil {
		return filter, err
	}
	if filter.Until, err = instant("until", f.until, now); err != nil {
		return filter, err
	}
	if f.session != "" {
		if filter.Session, err = grants.ParseID(f.session); err != nil {
			return filter, fmt.Errorf("%q is %w", f.session, err)
		}
	}
	if f.user == "" {
		return filter, nil
	}
	found, err := d.UserByLogin(ctx, f.user)
	if errors.Is(err, users.ErrNotFound) { // gone, and asked for by id
		filter.UserID = f.user
		return filter, nil
	}
	filter.UserID = found.ID
	return filter, err
}

func instant(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if span, err := time.ParseDuration(text); err == nil && span >= 0 {
		return now.Add(-span), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, &usageError{message: fmt.Sprintf("--%s %q is no time", flag, text), hint: "write 2026-01-31T12:00:00Z, 2026-01-31, or a span back from now such as 24h"}
}

func (c *cli) auditList() *cobra.Command {
	var f auditFlags
	var limit int
	var asJSON bool
	cmd := &cobra.Command{Use: "list", Short: "List what happened, the newest first", Args: arguments}
	f.add(cmd)
	cmd.Flags().IntVar(&limit, "limit", 100, "At most so `MANY`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 1 {
			return &usageError{message: fmt.Sprintf("--limit %d lists nothing", limit), hint: "use a number above 0"}
		}
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			filter, err := f.filter(ctx, d, c.now())
			if err != nil {
				return err
			}
			filter.Newest = true
			shown := []shownEvent{}
			err = d.AuditEvents(ctx, filter, func(e audit.Event) (bool, error) {
				shown = append(shown, describeEvent(e))
				return len(shown) < limit, ctx.Err()
			})
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(c.stdout, shown)
			}
			return c.printEvents(ctx, d, shown)
		})
	}
	return cmd
}

func (c *cli) printEvents(ctx context.Context, d desk, list []shownEvent) error {
	names := map[string]string{"": ""}
	var rows [][]string
	for _, e := range list {
		if _, known := names[e.UserID]; !known {
			names[e.UserID] = e.UserID
			found, err := d.UserByLogin(ctx, e.UserID)
			if err == nil && found.ID == e.UserID { // who is gone, or never was, goes by the id
				names[e.UserID] = found.Name
			} else if err != nil && !errors.Is(err, users.ErrNotFound) {
				return err
			}
		}
		rows = append(rows, []string{
			strconv.FormatInt(e.Number, 10), stamp(e.At), e.Event, names[e.UserID], e.ClientID, e.Session, e.Address, e.Actor, shorten(e.Detail),
		})
	}
	return table(c.stdout, []string{"NUMBER", "AT", "EVENT", "USER", "CLIENT", "SESSION", "FROM", "BY", "DETAIL"}, rows)
}

// shorten keeps a registration from filling the screen. --json has all of it.
func shorten(text string) string {
	const most = 80
	if shown := []rune(text); len(shown) > most {
		return string(shown[:most-1]) + "…"
	}
	return text
}

func (c *cli) auditExport() *cobra.Command {
	var f auditFlags
	cmd := &cobra.Command{
		Use: "export", Short: "Print what happened as JSON lines, the oldest first", Args: arguments,
		Long: `Print what happened as JSON lines, the oldest first.

To follow the log, give the number of the last line as --after next time. A number
may appear a moment after a higher one, while its statement is still being
committed: to miss none, start a minute back with --since instead, and drop the
numbers that you have.`,
	}
	f.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			filter, err := f.filter(ctx, d, c.now())
			if err != nil {
				return err
			}
			out := bufio.NewWriter(c.stdout)
			err = d.AuditEvents(ctx, filter, func(e audit.Event) (bool, error) {
				line, err := json.Marshal(describeEvent(e))
				if err == nil {
					_, err = out.WriteString(escapeRunes(string(line), hostile) + "\n")
				}
				return true, errors.Join(err, ctx.Err())
			})
			return errors.Join(err, out.Flush())
		})
	}
	return cmd
}

func (c *cli) auditVerify() *cobra.Command {
	var expect string
	var retired []string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "verify", Short: "Check that no event was removed, changed or put in later; fails when one was", Args: arguments,
		Long: `Check that no event was removed, changed or put in later; fails when one was.

Servers seal the log every second with a server secret, so that who can write to the
database alone can not make a seal. They can cut off the end of the log; a server that
runs notices that, and so do you: write down the last seal (this verb prints it, servers
log it every minute), keep it elsewhere, and give it as --expect next time.`,
	}
	cmd.Flags().StringVar(&expect, "expect", "", "A seal that was written down before, as `NUMBER:HASH`; fails when it is not there as it was")
	cmd.Flags().StringArrayVar(&retired, "retired-key", nil, "The `ID` of a key that was yours and whose server secret is gone: of its seals only the chain is checked; repeat for more")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := audit.Verifier{Retired: retired}
		if expect != "" {
			number, hash, _ := strings.Cut(expect, ":")
			var err error
			if v.Expect, err = strconv.ParseInt(number, 10, 64); err == nil {
				v.ExpectHash, err = audit.ParseHash(hash)
			}
			if err != nil || v.Expect < 1 {
				return &usageError{message: fmt.Sprintf("--expect %q is not the number and hash of a seal", expect), hint: "give what grantor audit verify printed: 812:kH3…"}
			}
		}
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			secrets, err := c.sharedSecrets(d)
			if err != nil {
				return err
			}
			v.Keys = storage.AuditKeys(secrets)
			report, err := d.VerifyAudit(ctx, &v)
			if err != nil {
				return err
			}
			return c.printVerified(report, asJSON)
		})
	}
	return cmd
}

var errTampered = errors.New("the audit log is not as it was written")

func (c *cli) printVerified(r audit.Report, asJSON bool) error {
	var err error
	if asJSON {
		if r.Problems == nil {
			r.Problems = []string{}
		}
		err = writeJSON(c.stdout, r)
	} else {
		head := ""
		if r.Head > 0 {
			head = fmt.Sprintf("%d:%s", r.Head, r.Hash)
		}
		list := [][2]string{
			{"events", strconv.FormatInt(r.Events, 10)},
			{"not sealed yet", strconv.FormatInt(r.Unsealed, 10)},
			{"absent numbers", strconv.FormatInt(r.Absent, 10)},
			{"seals", strconv.FormatInt(r.Seals, 10)},
			{"by retired keys", strconv.FormatInt(r.Foreign, 10)},
			{"last seal", head},
			{"sealed at", stamp(r.At)},
		}
		for _, p := range r.Problems {
			list = append(list, [2]string{"problem", p})
		}
		err = pairs(c.stdout, list...)
	}
	if err == nil && len(r.Problems) > 0 {
		return withHint(fmt.Errorf("%w: %s", errTampered, count(int64(len(r.Problems)), "problem")), "compare with an export or a backup; docs/audit.md says what each problem means")
	}
	return err
}
