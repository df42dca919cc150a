package main

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/grantorhq/grantor/config"
)

// certificate is what the server shows in TLS: the two files of the settings, read again
// while it runs. A pair that can not be used is told once and changes nothing.
type certificate struct {
	files config.Config
	now   func() time.Time
	log   *slog.Logger

	shown atomic.Pointer[tls.Certificate]
	// seen is what the files held when they were last looked at, good or bad. Their
	// content is compared, not their times, which a copy may keep.
	seen [sha256.Size]byte
}

// openCertificate reads the files for the first time; nil without an error is a server
// without TLS. What is wrong with them is a fault of the settings.
func openCertificate(cfg config.Config, now func() time.Time, log *slog.Logger) (*certificate, error) {
	if cfg.TLSCertFile == "" {
		return nil, nil
	}
	c := &certificate{files: cfg, now: now, log: log}
	pair, seen, err := c.read()
	if err != nil {
		return nil, err
	}
	c.show(pair, seen)
	return c, nil
}

// reload is for one goroutine at a time.
func (c *certificate) reload() {
	pair, seen, err := c.read()
	switch {
	case seen == c.seen:
	case err != nil:
		c.seen = seen
		c.log.Warn("the new certificate can not be used, the old one stays", "error", oneLine(err.Error()))
	default:
		c.show(pair, seen)
		c.log.Info("reloaded the certificate", "until", pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
}

func (c *certificate) show(pair *tls.Certificate, seen [sha256.Size]byte) {
	c.seen = seen
	c.shown.Store(pair)
	if until := pair.Leaf.NotAfter; c.now().After(until) {
		c.log.Warn("the certificate has expired: clients refuse it", "until", until.UTC().Format(time.RFC3339))
	}
}

// read answers the pair, or what is wrong with it, and in both cases a sum that is
// another one when something has changed.
func (c *certificate) read() (*tls.Certificate, [sha256.Size]byte, error) {
	cert, err := c.readFile("tls_cert_file", c.files.TLSCertFile)
	if err != nil {
		return nil, sha256.Sum256([]byte(err.Error())), err
	}
	key, err := c.readFile("tls_key_file", c.files.TLSKeyFile)
	if err != nil {
		return nil, sha256.Sum256([]byte(err.Error())), err
	}
	certSum, keySum := sha256.Sum256(cert), sha256.Sum256(key)
	seen := sha256.Sum256(append(certSum[:], keySum[:]...))
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		// The errors of crypto/tls say what a file lacks, never what it holds.
		return nil, seen, c.fault("tls_cert_file", fmt.Sprintf("%q and tls_key_file %q: %s", c.files.TLSCertFile, c.files.TLSKeyFile, oneLine(err.Error())),
			"give a PEM file with the certificate first and its chain behind it, and the PEM file of its key")
	}
	return &pair, seen, nil
}

func (c *certificate) readFile(setting, path string) ([]byte, error) {
	content, err := readSettings(path)
	if err == nil && len(content) > 1<<20 {
		err = errors.New("is larger than 1 MiB")
	}
	if err != nil {
		if reason := new(fs.PathError); errors.As(err, &reason) {
			err = reason.Err // the path is said already
		}
		return nil, c.fault(setting, fmt.Sprintf("%q can not be read: %v", path, err), "name a PEM file that the user who runs grantor may read")
	}
	return content, nil
}

func (c *certificate) fault(setting, problem, hint string) error {
	return config.Faults{{Setting: setting, Origin: c.files.Origin(setting), Problem: problem, Hint: hint}}
}

// config is that of the listener. Versions, ciphers and curves are Go's choice, which
// moves with the compiler; 1.2 is its least, too, and written down so that it stays so.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.shown.Load(), nil },
	}
}
