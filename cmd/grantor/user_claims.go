package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/grantorhq/grantor/users"
)

// claimFlags adds the flags of an account's claims. What it answers writes those that
// were given into an account, and reports whether any was. The claims without a flag come by "user import".
func claimFlags(cmd *cobra.Command) (apply func(*users.User) (given bool)) {
	flags := cmd.Flags()
	var given users.User
	p := &given.Profile
	set := map[string]func(*users.User){}
	text := func(value *string, name, usage string, write func(*users.User)) {
		flags.StringVar(value, name, "", usage)
		set[name] = write
	}
	text(&given.Email, "email", "E-mail `ADDRESS`, which also signs in", func(u *users.User) {
		// What was verified is the address, not the account.
		if u.Email != given.Email {
			u.Profile.EmailVerified = false
		}
		u.Email = given.Email
	})
	text(&p.Name, "full-name", "`NAME` in full (claim name)", func(u *users.User) { u.Profile.Name = p.Name })
	text(&p.GivenName, "given-name", "Given `NAME`", func(u *users.User) { u.Profile.GivenName = p.GivenName })
	text(&p.FamilyName, "family-name", "Family `NAME`", func(u *users.User) { u.Profile.FamilyName = p.FamilyName })
	text(&p.Picture, "picture", "`URL` of a picture", func(u *users.User) { u.Profile.Picture = p.Picture })
	text(&p.Locale, "locale", "Language `TAG`, like en-US", func(u *users.User) { u.Profile.Locale = p.Locale })
	text(&p.Zoneinfo, "zoneinfo", "Time `ZONE`, like Europe/Berlin", func(u *users.User) { u.Profile.Zoneinfo = p.Zoneinfo })
	text(&p.PhoneNumber, "phone", "Phone `NUMBER`, like +49 30 123456", func(u *users.User) {
		if u.Profile.PhoneNumber != p.PhoneNumber {
			u.Profile.PhoneNumberVerified = false
		}
		u.Profile.PhoneNumber = p.PhoneNumber
	})
	flags.BoolVar(&p.EmailVerified, "email-verified", false, "Somebody has verified that the address is the user's")
	flags.BoolVar(&p.PhoneNumberVerified, "phone-verified", false, "Somebody has verified that the number is the user's")
	return func(u *users.User) (some bool) {
		for name, write := range set {
			if flags.Changed(name) {
				write(u)
				some = true
			}
		}
		// After the address and the number, which take their marks with them.
		if flags.Changed("email-verified") {
			u.Profile.EmailVerified, some = p.EmailVerified, true
		}
		if flags.Changed("phone-verified") {
			u.Profile.PhoneNumberVerified, some = p.PhoneNumberVerified, true
		}
		return some
	}
}

func (c *cli) userUpdate() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "update USER", Short: "Change the address and claims that are given; an empty one is taken away", Args: arguments,
		Long: `Change the address and claims that are given; an empty one is taken away.

A new address or phone number is not verified, unless the same command says so.`,
	}
	apply := claimFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !apply(new(users.User)) {
			return &usageError{message: "grantor user update needs something to change", hint: cmd.CommandPath() + " --help"}
		}
		return c.withUser(func(ctx context.Context, d desk, u users.User) error {
			apply(&u)
			if err := u.Check(); err != nil {
				return err
			}
			if err := d.UpdateUser(ctx, u); err != nil {
				return err
			}
			u, err := d.UserByLogin(ctx, u.ID)
			if err != nil {
				return err
			}
			return c.printAccount(show(u), asJSON)
		})(cmd, args)
	}
	return cmd
}

// claims are those of a profile that are there, for people.
func claims(p users.Profile) (list [][2]string) {
	for _, claim := range [][2]string{
		{"full name", p.Name},
		{"given name", p.GivenName},
		{"middle name", p.MiddleName},
		{"family name", p.FamilyName},
		{"nickname", p.Nickname},
		{"profile", p.Profile},
		{"picture", p.Picture},
		{"website", p.Website},
		{"gender", p.Gender},
		{"birthdate", p.Birthdate},
		{"zoneinfo", p.Zoneinfo},
		{"locale", p.Locale},
		{"phone", verified(p.PhoneNumber, p.PhoneNumberVerified)},
		{"address", p.Address.Formatted},
		{"street", p.Address.StreetAddress},
		{"locality", p.Address.Locality},
		{"region", p.Address.Region},
		{"postal code", p.Address.PostalCode},
		{"country", p.Address.Country},
	} {
		if claim[1] != "" {
			list = append(list, claim)
		}
	}
	return list
}

func verified(text string, is bool) string {
	if text != "" && is {
		return text + " (verified)"
	}
	return text
}
