package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/refusals"
	"github.com/grantorhq/grantor/users"
)

var (
	advised = regexp.MustCompile(`grantor((?: [a-z][a-z-]*){1,2})`)
	flagged = regexp.MustCompile(`--[a-z-]+`)
)

// What grantor explain advises can be typed.
func TestExplain_advises_commands_and_flags_that_exist(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	c := &clients.Client{ID: "photos", DisabledAt: now}
	u := &users.User{ID: "u1", Name: "alice", DisabledAt: now}
	tried := map[string]bool{}
	for _, cause := range refusals.Causes() {
		for _, k := range []refusals.Known{
			{},
			{Caller: c, Owner: c, User: u, Session: &grants.Grant{ExpiresAt: now}},
			{Caller: c, Owner: c, Session: &grants.Grant{ExpiresAt: now.Add(time.Hour)}},
			{User: u, Session: &grants.Grant{ExpiresAt: now.Add(time.Hour)}},
		} {
			r := refusals.Refusal{At: now, Cause: cause, Facts: refusals.Facts{Session: grants.ID{1}, Shown: 1, UserID: "u1"}}
			for _, advice := range refusals.Explain(r, k).Advice {
				flags := map[string]bool{"--public": true, "--resource-server": true} // said of a registration
				for _, found := range advised.FindAllStringSubmatch(advice, -1) {
					cmd, _, err := (&cli{}).root().Find(strings.Fields(found[1]))
					require.NoError(t, err, advice)
					require.False(t, cmd.HasSubCommands(), advice)
					tried[cmd.CommandPath()] = true
					cmd.Flags().VisitAll(func(f *pflag.Flag) { flags["--"+f.Name] = true })
				}
				for _, flag := range flagged.FindAllString(advice, -1) {
					require.True(t, flags[flag], "%s: %s", flag, advice)
				}
			}
		}
	}
	require.Greater(t, len(tried), 8)
}
