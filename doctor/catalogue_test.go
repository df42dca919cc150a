package doctor_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/doctor"
)

// docs/doctor.md has the catalogue's lines, all of them and no others, in its order.
func TestPageHasEveryCheck(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/doctor.md")
	require.NoError(t, err)
	written := regexp.MustCompile("(?m)^(?:## .*|\\| `.*)$").FindAllString(string(page), -1)
	var wanted []string
	last := doctor.Group("")
	for _, check := range doctor.Checks() {
		if check.Group != last {
			wanted, last = append(wanted, "## Checks: "+string(check.Group)), check.Group
		}
		wanted = append(wanted, "| `"+check.Name+"` | "+check.Good+" | "+check.Why+" |")
	}
	require.Equal(t, wanted, written)
}

func TestCheckNamesAreUniqueAndForScripts(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, check := range doctor.Checks() {
		require.Regexp(t, `^[a-z]+(-[a-z0-9]+)*$`, check.Name)
		require.False(t, seen[check.Name], check.Name)
		seen[check.Name] = true
		require.NotEmpty(t, check.Good)
		require.NotEmpty(t, check.Why)
	}
}

func TestStrength(t *testing.T) {
	t.Parallel()
	for _, drawn := range []string{
		"nT8fQ2vYx0LrKc5uJ7bGqWm3HdZsE1aP9oViXtRyUeA", // base64url
		"3f8a1c9e07b2d46f5e8139ab7c20d4f6",            // 128 bits in hex
		"k7wq2mzx5rv3tn6ybc4hd7jfp2gse5alu3oi",        // base32
	} {
		require.GreaterOrEqual(t, doctor.Strength(drawn), 96.0, drawn)
	}
	for _, made := range []string{
		"aaaaaaaabbbbbbbbccccccccddddddddeeeeeeeeffffffff", "abcdefghijklmnopqrstuvwxyz0123456789", "correct-horse-correct-horse-correct-horse",
		"changeme-changeme-changeme-changeme-12", "12345678901234567890123456789012", "secretsecretsecretsecretsecretsecret", "My-Server-Secret-My-Server-Secret",
	} {
		require.Less(t, doctor.Strength(made), 64.0, made)
	}
}
