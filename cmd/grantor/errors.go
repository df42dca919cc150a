package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/config"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/refusals"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// What the program exits with.
const (
	exitGood   = 0
	exitFailed = 1 // it may work another time, or with other data
	exitUsage  = 2 // what was asked for is wrong: the same words never work
)

// usageError is a command, an argument or a flag that is wrong by itself.
type usageError struct {
	message string
	hint    string
}

func (e *usageError) Error() string { return e.message }

// hinted is a failure whose next step is known where it happens.
type hinted struct {
	error
	hint string
}

func (e *hinted) Unwrap() error { return e.error }

func withHint(err error, format string, args ...any) error {
	return &hinted{error: err, hint: fmt.Sprintf(format, args...)}
}

// hints names the next step after an error of a package. The first that fits counts.
func hints() []struct {
	err  error
	hint string
} {
	return []struct {
		err  error
		hint string
	}{
		{clients.ErrNotFound, "grantor client list"},
		{clients.ErrExists, "choose another --id, or change that client: grantor client update"},
		{clients.ErrConflict, "somebody else changed it at the same moment: look at it with grantor client show, then try again"},
		{clients.ErrTooManySecrets, "end one first: grantor client retire-secret"},
		{clients.ErrSecretNotFound, "grantor client show lists the secrets of a client"},
		{clients.ErrInvalid, "grantor client create --help"},
		{users.ErrNotFound, "grantor user list"},
		{users.ErrExists, "choose another name or address; grantor user list shows those in use"},
		{users.ErrConflict, "somebody else changed it at the same moment: look at it with grantor user show, then try again"},
		{users.ErrInvalid, "grantor user create --help"},
		{users.ErrBusy, "try again"},
		{grants.ErrNotFound, "grantor session list --ended"},
		{grants.ErrID, "grantor session list shows the ids"},
		{keys.ErrSeal, "the server secrets are not those that this database was used with: give those in GRANTOR_SECRETS, newest first"},
		{refusals.ErrUnreadable, "it is of another server, or was changed, or the server secret of that time is not configured any more: give it behind the present ones in GRANTOR_SECRETS"},
		{keys.ErrNoKey, "grantor key list"},
		{storage.ErrSchemaOld, "grantor migrate up"},
		{storage.ErrSchemaNew, "a newer grantor has used this database: run that version"},
		{storage.ErrUnsafeDatabase, "turn it on in PostgreSQL, or accept the danger by name in the setting unsafe_database"},
		{storage.ErrClock, "set the clock of this machine and of the database server by NTP"},
		{storage.ErrUnavailable, "is the database running, and is its address right? grantor config show"},
		{syscall.EADDRINUSE, "another program listens there: stop it, or choose another --address"},
		{syscall.EISDIR, "name a file, not a folder"},
		{fs.ErrNotExist, "make the folder, or check the path: grantor config show"},
		{fs.ErrPermission, "choose a port above 1023, or a file and folder that you may write to"},
		{context.Canceled, ""},
	}
}

// report prints an error as its lines and answers what to exit with.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitGood
	}
	var faults config.Faults
	if errors.As(err, &faults) {
		for _, f := range faults {
			say(w, f.Error(), f.Hint)
		}
		return exitUsage
	}
	var usage *usageError
	if errors.As(err, &usage) {
		say(w, usage.message, usage.hint)
		return exitUsage
	}
	say(w, err.Error(), hintOf(err))
	if errors.Is(err, clients.ErrInvalid) || errors.Is(err, users.ErrInvalid) || errors.Is(err, grants.ErrID) {
		return exitUsage
	}
	return exitFailed
}

func hintOf(err error) string {
	var own *hinted
	if errors.As(err, &own) {
		return own.hint
	}
	for _, h := range hints() {
		if errors.Is(err, h.err) {
			return h.hint
		}
	}
	return ""
}

// hintDatabase gives an opening that failed in a way nobody foresaw a next step at least.
func hintDatabase(err error) error {
	if err == nil || hintOf(err) != "" {
		return err
	}
	return withHint(err, "which database is it? grantor config show")
}

func say(w io.Writer, message, hint string) {
	fmt.Fprintln(w, "grantor: "+oneLine(message))
	if hint != "" {
		fmt.Fprintln(w, "hint: "+oneLine(hint))
	}
}
