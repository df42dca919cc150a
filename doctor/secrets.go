package doctor

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/storage"
)

// checkSettings tells what package config found. Faults of secrets are told as those.
func (p *Patient) checkSettings(c *chart) {
	for _, f := range p.Faults {
		if f.Setting == "secrets" {
			c.fail("secret-strength", f.Hint, "%s", f.Error())
			continue
		}
		c.of(f.Setting).fail("settings", f.Hint, "%s", f.Error())
	}
	for _, warning := range p.Config.Warnings() {
		setting, _, _ := strings.Cut(warning, " ")
		c.of(setting).warn("settings", "grantor config show says where it is set, docs/config.md what it does", "%s", warning)
	}
	c.settle("settings")
}

// checkSecrets looks at the secrets themselves. No finding says more than their place.
func (p *Patient) checkSecrets(c *chart) {
	list := strings.Fields(strings.ReplaceAll(p.SecretText.Reveal(), ",", " "))
	if len(list) == 0 {
		if !c.has("secret-strength", Fail) {
			c.skip("secret-strength", "they can not be read: %v", p.Unread)
		}
		c.skip("secret-count", "they can not be read: %v", p.Unread)
		return
	}
	const hint = "make one with: openssl rand -base64 32, and bring it in as docs/operations.md says"
	for i, secret := range list {
		switch bits := strength(secret); {
		case bits < guessable:
			c.fail("secret-strength", hint, "number %d of %d can be guessed: it has about %.0f bits", i+1, len(list), bits)
		case bits < weak:
			c.warn("secret-strength", hint, "number %d of %d looks as if a person made it: it has about %.0f bits", i+1, len(list), bits)
		}
	}
	c.settle("secret-strength")
	switch {
	case len(list) > 2:
		c.warn("secret-count", "remove those whose tokens have ended (session_lifetime after they were first no more)", "there are %d", len(list))
	case len(list) == 2:
		c.good("secret-count", "there are two: remove the old one when its tokens have ended")
	}
	c.settle("secret-count")
}

// orchestrated are where container engines put secrets: only the container sees them there.
const orchestrated = "/run/secrets/"

// checkFiles looks at the modes of files that hold secrets.
func (p *Patient) checkFiles(c *chart) {
	for _, path := range p.Private {
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || strings.HasPrefix(strings.TrimPrefix(path, "/var"), orchestrated) {
			continue
		}
		switch mode := info.Mode().Perm(); {
		case mode&0o007 != 0:
			c.of(path).fail("secret-files", "chmod 600 "+path+", and if others had access make new secrets", "%s can be read by everybody on this machine (mode %04o)", path, mode)
		case mode&0o070 != 0:
			c.of(path).warn("secret-files", "chmod 600 "+path+", unless the group is the server's alone", "%s can be read by its group (mode %04o)", path, mode)
		}
	}
	c.settle("secret-files")
}

func (p *Patient) checkKeys(ctx context.Context, c *chart) []storage.KeyFact {
	list, err := p.Store.KeyFacts(ctx, p.Secrets)
	if err != nil {
		for _, check := range []string{"secret-opens", "key-age", "key-next"} {
			c.skip(check, "the signing keys can not be read: %v", err)
		}
		return nil
	}
	if p.Secrets == nil {
		c.skip("secret-opens", "the server secrets can not be read: %v", p.Unread)
	}
	checkKeys(c, list, p.Secrets != nil, p.Now())
	return list
}

// maxKeyAge is how long one key should sign.
const maxKeyAge = 90 * 24 * time.Hour

func checkKeys(c *chart, list []storage.KeyFact, tried bool, now time.Time) {
	if len(list) == 0 {
		for _, check := range []string{"secret-opens", "key-age", "key-next"} {
			c.skip(check, "there are no keys yet: the first server that starts makes them")
		}
		return
	}
	for _, k := range list {
		switch {
		case !tried:
		case !k.Opens:
			c.of(k.ID).fail("secret-opens", "give the secrets that this database was used with: GRANTOR_SECRETS, newest first", "%s key %s can not be opened with the server secrets", k.Algorithm, k.ID)
		case !k.Current:
			c.of(k.ID).warn("secret-opens", "restart a server before you remove the old secret: it seals the keys again", "%s key %s is still sealed with an older server secret", k.Algorithm, k.ID)
		}
	}
	c.settle("secret-opens")
	for _, algorithm := range keys.Algorithms() {
		own := slices.DeleteFunc(slices.Clone(list), func(k storage.KeyFact) bool { return k.Algorithm != algorithm })
		checkTurns(c, algorithm, own, now)
	}
	c.settle("key-age", "key-next")
}

// checkTurns looks at the keys of one algorithm, by ordinal.
func checkTurns(c *chart, algorithm string, list []storage.KeyFact, now time.Time) {
	var signing time.Time
	next := false
	for _, k := range list {
		if k.ActivateAt.IsZero() || k.ActivateAt.After(now) {
			next = true
		} else if k.ActivateAt.After(signing) {
			signing = k.ActivateAt
		}
	}
	if !signing.IsZero() && now.Sub(signing) > maxKeyAge {
		c.of(algorithm).warn("key-age", "grantor key rotate", "the %s key has signed for %d days", algorithm, now.Sub(signing)/(24*time.Hour))
	}
	if !next {
		c.of(algorithm).fail("key-next", "grantor key list; the next key was removed by hand: restore it from a backup", "there is no next %s key", algorithm)
	}
}
