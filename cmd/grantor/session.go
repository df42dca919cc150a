package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage"
)

func (c *cli) sessionCommand() *cobra.Command {
	return noun("session", "Who is signed in where, and ending it", c.sessionList(), c.sessionShow(), c.sessionRevoke())
}

// shownSession is a session as programs see it.
type shownSession struct {
	ID          string     `json:"id"`
	User        string     `json:"user"`
	UserID      string     `json:"user_id"`
	ClientID    string     `json:"client_id"`
	Scope       string     `json:"scope"`
	Audience    []string   `json:"audience"`
	Since       time.Time  `json:"since"`
	From        string     `json:"from"`
	LastRenewal *time.Time `json:"last_renewal"`
	RenewedFrom string     `json:"renewed_from,omitempty"`
	Renewals    int64      `json:"renewals"`
	ExpiresAt   time.Time  `json:"expires_at"`
	Ended       string     `json:"ended"` // why it is over; "" = it is not
	EndedAt     *time.Time `json:"ended_at"`
	EndedFrom   string     `json:"ended_from,omitempty"`
	UserAgent   string     `json:"user_agent,omitempty"`
	AuthTime    *time.Time `json:"auth_time,omitempty"`
	AMR         []string   `json:"amr,omitempty"`
}

func describe(s storage.Session) shownSession {
	shown := shownSession{
		ID: s.ID.String(), User: s.UserName, UserID: s.UserID, ClientID: s.ClientID,
		Scope: grants.JoinScope(s.Scope), Audience: append([]string{}, s.Audience...),
		Since: s.CreatedAt.UTC(), From: s.CreatedFrom, Renewals: max(s.Generation-1, 0),
		ExpiresAt: s.ExpiresAt.UTC(), Ended: s.Dead, EndedAt: optional(s.RevokedAt), EndedFrom: s.RevokedFrom,
		UserAgent: s.Details.UserAgent, AuthTime: optional(s.Details.AuthTime), AMR: s.Details.AMR,
	}
	if shown.Renewals > 0 {
		shown.LastRenewal, shown.RenewedFrom = optional(s.RotatedAt), s.RotatedFrom
	}
	return shown
}

// lastFrom is the address that the session was last heard of.
func (s shownSession) lastFrom() string {
	if s.RenewedFrom != "" {
		return s.RenewedFrom
	}
	return s.From
}

func (c *cli) sessionList() *cobra.Command {
	var user, client string
	var ended, asJSON bool
	var limit int
	cmd := &cobra.Command{Use: "list", Short: "List sessions: who, which client, since when, last renewal, from where", Args: arguments}
	cmd.Flags().StringVar(&user, "user", "", "Only those of this `USER` (name, address or id)")
	cmd.Flags().StringVar(&client, "client", "", "Only those at this `CLIENT`")
	cmd.Flags().BoolVar(&ended, "ended", false, "Also those that have ended, with the reason")
	cmd.Flags().IntVar(&limit, "limit", 1000, "At most so `MANY`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 1 {
			return &usageError{message: fmt.Sprintf("--limit %d lists nothing", limit), hint: "use a number above 0"}
		}
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			filter := storage.SessionFilter{ClientID: client, Ended: ended, Limit: limit}
			if cmd.Flags().Changed("user") {
				u, err := findUser(ctx, d, user)
				if err != nil {
					return err
				}
				filter.UserID = u.ID
			}
			if cmd.Flags().Changed("client") {
				if _, err := d.Client(ctx, client); err != nil {
					return err
				}
			}
			found, err := d.Sessions(ctx, filter)
			if err != nil {
				return err
			}
			if found, err = d.markIdle(ctx, found, c.now()); err != nil {
				return err
			}
			if !ended {
				found = slices.DeleteFunc(found, func(s storage.Session) bool { return s.Dead != "" })
			}
			return c.printSessions(found, ended, asJSON)
		})
	}
	return cmd
}

// markIdle tells which sessions were not renewed in time. The limit is the client's
// or the server's, so the row alone does not know.
func (d desk) markIdle(ctx context.Context, list []storage.Session, now time.Time) ([]storage.Session, error) {
	registered, err := d.Clients(ctx)
	if err != nil {
		return nil, err
	}
	limits := make(map[string]time.Duration, len(registered))
	for _, c := range registered {
		if limits[c.ID] = c.RefreshTokenLifetime; c.RefreshTokenLifetime == 0 {
			limits[c.ID] = d.config.RefreshTokenLifetime
		}
	}
	for i, s := range list {
		if limit, known := limits[s.ClientID]; known && s.Dead == "" && !s.RotatedAt.Add(limit).After(now) {
			list[i].Dead = "idle"
		}
	}
	return list, nil
}

func (c *cli) printSessions(found []storage.Session, ended, asJSON bool) error {
	shown := []shownSession{}
	for _, s := range found {
		shown = append(shown, describe(s))
	}
	if asJSON {
		return writeJSON(c.stdout, shown)
	}
	head := []string{"ID", "USER", "CLIENT", "SINCE", "LAST RENEWAL", "FROM"}
	if ended {
		head = append(head, "ENDED")
	}
	var rows [][]string
	for _, s := range shown {
		row := []string{s.ID, s.User, s.ClientID, stamp(s.Since), stampOf(s.LastRenewal), s.lastFrom()}
		if ended {
			row = append(row, s.Ended)
		}
		rows = append(rows, row)
	}
	return table(c.stdout, head, rows)
}

func (c *cli) sessionShow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "show ID", Short: "Show one session, and why it ended", Args: arguments}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := grants.ParseID(args[0])
		if err != nil {
			return fmt.Errorf("%q is %w", args[0], err)
		}
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			found, err := d.Session(ctx, id)
			if err != nil {
				return err
			}
			marked, err := d.markIdle(ctx, []storage.Session{found}, c.now())
			if err != nil {
				return err
			}
			s := describe(marked[0])
			if asJSON {
				return writeJSON(c.stdout, s)
			}
			state := "live"
			if s.Ended != "" {
				state = "ended: " + s.Ended
			}
			return pairs(c.stdout,
				[2]string{"id", s.ID}, [2]string{"state", state}, [2]string{"ended", stampOf(s.EndedAt)}, [2]string{"ended from", s.EndedFrom},
				[2]string{"user", s.User}, [2]string{"user id", s.UserID}, [2]string{"client", s.ClientID},
				[2]string{"scope", s.Scope}, [2]string{"audience", strings.Join(s.Audience, " ")},
				[2]string{"since", stamp(s.Since)}, [2]string{"from", s.From},
				[2]string{"last renewal", stampOf(s.LastRenewal)}, [2]string{"renewed from", s.RenewedFrom},
				[2]string{"renewals", fmt.Sprint(s.Renewals)}, [2]string{"expires", stamp(s.ExpiresAt)},
				[2]string{"user agent", s.UserAgent}, [2]string{"signed in by", strings.Join(s.AMR, " ")}, [2]string{"signed in", stampOf(s.AuthTime)},
			)
		})
	}
	return cmd
}

func (c *cli) sessionRevoke() *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use: "revoke [ID]", Short: "End one session, or with --user all of a user; it counts at once",
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("user") == (len(args) == 1) || len(args) > 1 {
				return &usageError{message: cmd.CommandPath() + " needs one ID, or --user USER", hint: "grantor session list shows the ids"}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "End all sessions of this `USER` (name, address or id)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.revokeAll(cmd, user)
		}
		id, err := grants.ParseID(args[0])
		if err != nil {
			return fmt.Errorf("%q is %w", args[0], err)
		}
		return c.withStore(cmd, func(ctx context.Context, d desk) error {
			if err := d.RevokeSession(ctx, id, grants.ReasonAdmin); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.stdout, "session %s ended\n", id)
			return err
		})
	}
	return cmd
}

func (c *cli) revokeAll(cmd *cobra.Command, login string) error {
	return c.withStore(cmd, func(ctx context.Context, d desk) error {
		u, err := findUser(ctx, d, login)
		if err != nil {
			return err
		}
		ended, err := d.RevokeUserSessions(ctx, u.ID, grants.ReasonAdmin)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.stdout, "%s of user %s ended\n", count(ended, "session"), plain(u.Name))
		return err
	})
}
