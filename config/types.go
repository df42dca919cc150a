package config

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
)

// masked is what a secret looks like wherever it could be seen.
const masked = "***"

// Secret is text that no log, error, JSON or format verb shows.
type Secret string

// Reveal is the only way to the text.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// Format keeps every verb from printing it: %x and %d do not ask String.
func (s Secret) Format(f fmt.State, verb rune) { fmt.Fprintf(f, fmt.FormatString(f, verb), s.String()) }

// LogValue keeps slog from printing it.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps encoders from printing it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Database is a database's address. It prints without its password; string(d) has it.
type Database string

const sqlitePrefix = "sqlite:"

// File is the path of an SQLite database, "" for another one.
func (d Database) File() string {
	path, ok := strings.CutPrefix(string(d), sqlitePrefix)
	if !ok {
		return ""
	}
	return path
}

// Beside is the path of a companion file: next to an SQLite database and named
// after it, else in the working directory.
func (d Database) Beside(suffix string) string {
	if file := d.File(); file != "" {
		return file + suffix
	}
	return "." + string(filepath.Separator) + "grantor" + suffix
}

// The password ends at the last @ of the whole text, not of the host: a password
// whose @ or / was not escaped must not be shown either.
var (
	userPassword  = regexp.MustCompile(`^([a-z]+://[^:/@?]*):.*@`)
	queryPassword = regexp.MustCompile(`(?i)([?&](?:ssl)?password=)[^&#]*`)
)

func (d Database) String() string {
	if d.File() != "" {
		return string(d)
	}
	text := userPassword.ReplaceAllString(string(d), "$1:"+masked+"@")
	return queryPassword.ReplaceAllString(text, "${1}"+masked)
}

// Format keeps every verb from printing the password.
func (d Database) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, fmt.FormatString(f, verb), d.String())
}

// LogValue keeps slog from printing the password.
func (d Database) LogValue() slog.Value { return slog.StringValue(d.String()) }

// MarshalText keeps encoders from printing the password.
func (d Database) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
