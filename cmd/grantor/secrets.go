package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/storage"
)

// serverSecrets are those of the settings; without any, those of a private file
// that the first start makes.
func (c *cli) serverSecrets(cfg config.Config, log *slog.Logger) (*keys.Secrets, error) {
	if text := cfg.Secrets.Reveal(); text != "" {
		return keys.ParseSecrets(text)
	}
	path := cfg.Database.Beside(".secrets")
	text, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = c.makeSecrets(path, log)
	}
	if err != nil {
		return nil, fmt.Errorf("server secrets: %w", err)
	}
	secrets, err := keys.ParseSecrets(string(text))
	if err != nil {
		return nil, withHint(fmt.Errorf("%s holds an %w", path, err), "one secret of 32 characters or more to a line, the newest first")
	}
	return secrets, nil
}

// sharedSecrets are the server secrets for a verb. Beside an SQLite file it may make
// them, as a start would. For PostgreSQL it does not: this folder need not be the
// servers', and a file of other secrets would wait there for the next start.
func (c *cli) sharedSecrets(d desk) (*keys.Secrets, error) {
	if path := d.config.Database.Beside(".secrets"); d.Dialect() != storage.SQLite && d.config.Secrets == "" {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, withHint(fmt.Errorf("no server secrets are set, and %s does not exist", path), "give those of the servers: GRANTOR_SECRETS or GRANTOR_SECRETS_FILE")
		}
	}
	return c.serverSecrets(d.config, newLog(c.stderr, d.config))
}

// makeSecrets generates the file, or reads the one of whoever was first.
func (c *cli) makeSecrets(path string, log *slog.Logger) ([]byte, error) {
	secret, err := keys.GenerateSecret(c.rand)
	if err != nil {
		return nil, err
	}
	text := []byte(secret + "\n")
	switch err := createPrivate(path, text); {
	case errors.Is(err, fs.ErrExist):
		return readPrivate(path)
	case err != nil:
		return nil, withHint(fmt.Errorf("make %s: %w", path, err), "let grantor write there, or set GRANTOR_SECRETS_FILE")
	}
	log.Warn("generated server secrets: every replica must have the same, and a backup of the database is worth nothing without them", "file", path)
	return text, nil
}

// readPrivate reads a small file that nobody else may read.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a plain file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, withHint(fmt.Errorf("%s can be read by others (mode %04o)", path, mode), "chmod 600 %s, and if others had access make new secrets", path)
	}
	return io.ReadAll(io.LimitReader(f, 1<<20))
}

// createPrivate makes a file whole or not at all. It answers fs.ErrExist when the
// file is there already: of several processes that start at once, link(2) lets
// exactly one win, and nobody ever sees half a file.
func createPrivate(path string, content []byte) error {
	temporary, err := writeTemporary(path, content)
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	return os.Link(temporary, path)
}

func writeTemporary(path string, content []byte) (name string, err error) {
	// CreateTemp makes files of mode 0600.
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}
