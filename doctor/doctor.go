// Package doctor examines a running deployment: from outside, as clients and browsers
// meet it, and from inside, as its settings and its database tell.
//
//	catalogue.go  every check: its name, what good looks like, and the reason for it
//	chart.go      what was found
//	outside.go    what anybody can see who knows the issuer; tls.go the certificate
//	database.go   durability, schema, housekeeping; sqlite.go the file
//	secrets.go    settings, server secrets, signing keys; strength.go how guessable a secret is
//	clients.go    registrations, held against RFC 9700
//	attacks.go    what a server must withstand, tried on the live one; guests.go who tries it
//	browser.go    a person's browser, and the client's side of a code flow; web.go below it
//
// It promises that nothing is written anywhere unless Guests is set; that what it makes
// then has random names and ends by itself soon, and is removed before Examine returns,
// however the attacks went; and that no finding holds a secret.
//
// A check that did not run says so: what nobody looked at is never called good.
//
// cmd/grantor calls Examine and prints. The package never reads the environment, a
// flag or a clock.
package doctor

import (
	"context"
	"crypto/x509"
	"io"
	"net"
	"time"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// Patient is a deployment, with the instruments to examine it.
type Patient struct {
	Config config.Config
	Faults config.Faults // of the settings; with others than of secrets nothing else is looked at
	Issuer string        // where clients find it

	Store    *storage.Store // opened with Inspect; nil: Unopened says why
	Unopened error
	Secrets  *keys.Secrets // nil: Unread says why
	Unread   error
	// SecretText is what Secrets was made of, to look at its strength.
	SecretText config.Secret
	Private    []string // files that nobody else should read

	// Guests is where the attacks make their clients and their user; nil: no attacks.
	Guests    *storage.Store
	Passwords *users.Passwords

	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
	Roots *x509.CertPool // nil: those of this machine
	Now   func() time.Time
	Rand  io.Reader
}

// Examine looks at everything and tells all that was found, in the order of Checks. It
// returns soon after ctx ends, with what it has, and with nothing left behind.
func Examine(ctx context.Context, p Patient) []Finding {
	c := newChart()
	p.checkSettings(c)
	if c.has("settings", Fail) {
		c.stop("the settings can not be used")
		return c.findings()
	}
	known := p.checkInside(ctx, c)
	p.checkSecrets(c)
	p.checkFiles(c)

	w := p.open()
	defer w.close()
	meta, ok := p.checkOutside(ctx, c, w, known)
	p.checkAttacks(ctx, c, w, meta, ok)
	return c.findings()
}

// checkInside looks into the database. It answers the signing keys, none where the schema
// is not known.
func (p *Patient) checkInside(ctx context.Context, c *chart) []storage.KeyFact {
	p.checkSQLite(c)
	const hint = "is it running, and is its address right? grantor config show"
	if p.Store == nil {
		c.fail("database-reachable", hint, "it can not be opened: %v", p.Unopened)
		c.stopDatabase("the database can not be opened")
		return nil
	}
	asked := p.Now()
	facts, err := p.Store.Facts(ctx)
	if err != nil {
		c.fail("database-reachable", hint, "it does not answer: %v", err)
		c.stopDatabase("the database does not answer")
		return nil
	}
	checkFacts(c, facts, p.Config, asked, p.Now())
	is, err := p.Store.Schema(ctx)
	if err != nil {
		c.fail("database-schema", "grantor migrate status", "its version can not be read: %v", err)
	} else {
		checkSchema(c, is.Have, is.Want, is.Foreign())
	}
	if err != nil || is.Old() || is.Foreign() {
		c.stopDatabase("the schema is not this program's")
		return nil
	}
	p.checkBacklog(ctx, c)
	p.checkHashes(ctx, c)
	list, err := p.Store.Clients(ctx)
	if err != nil {
		c.stopGroup(Clients, "they can not be read: "+err.Error())
	} else {
		checkClients(c, list, p.Config, p.Now())
	}
	return p.checkKeys(ctx, c)
}
