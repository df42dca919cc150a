// Package users says what an account is and how its password is checked.
//
// It promises that a password is never kept, that a foreign hash (bcrypt, scrypt,
// pbkdf2, argon2) verifies and is reported as outdated, that checking an unknown
// user costs what checking a wrong password costs, and that hashing never takes
// more than its share of the machine: beyond its queue it answers ErrBusy.
//
// passwords.go is who may hash, hashes.go what can be read. A server hashes in
// processes of their own (docs/decisions/0018): worker.go is the server's side of them,
// worker_serve.go theirs, worker_frames.go what they say.
//
// Storage keeps accounts; server/oauth and the command line check passwords.
// It never reads a database, a request or the environment.
package users

import (
	"errors"
	"fmt"
	"time"
)

// Errors that stores and password checks answer.
var (
	ErrNotFound = errors.New("user not found")
	ErrExists   = errors.New("user already exists")
	// ErrConflict: somebody else changed the account since it was read.
	ErrConflict = errors.New("user was changed meanwhile")
	// ErrWrongPassword: the name, or the password, or both. It says no more on purpose.
	ErrWrongPassword = errors.New("wrong name or password")
	// ErrBusy: more passwords wait to be hashed than the queue holds, or for too long. Try again later.
	ErrBusy = errors.New("password hashing is busy")
	// ErrInvalid is wrapped by every fault of a name, address or password.
	ErrInvalid = errors.New("invalid user")
	// ErrUnknownHash: the stored hash is of no kind that is supported.
	ErrUnknownHash = errors.New("unknown password hash")
)

// WrongPasswordError is ErrWrongPassword with what only the operator may know. Its text
// is the same, and no answer tells more.
type WrongPasswordError struct {
	UserID   string // whose password it was not; "": nobody has the name
	Disabled bool
}

func (*WrongPasswordError) Error() string { return ErrWrongPassword.Error() }

// Unwrap makes it an ErrWrongPassword.
func (*WrongPasswordError) Unwrap() error { return ErrWrongPassword }

// User is one account.
type User struct {
	ID           string // the subject of tokens: random, never reused
	Name         string // as the administrator wrote it, trimmed
	Email        string // "" = none
	PasswordHash string // PHC or modular crypt string; "" = can not sign in by password
	Profile      Profile

	CreatedAt  time.Time
	UpdatedAt  time.Time
	DisabledAt time.Time // zero: enabled
}

// Check says what is wrong with an account that is to be stored, wrapping
// ErrInvalid. The password hash is not looked at: see Passwords.CheckHash.
func (u User) Check() error {
	if err := CheckID(u.ID); err != nil {
		return err
	}
	if err := CheckName(u.Name); err != nil {
		return err
	}
	if u.Email != "" {
		if err := CheckEmail(u.Email); err != nil {
			return err
		}
	}
	if u.Profile.EmailVerified && u.Email == "" {
		return fmt.Errorf("%w: email_verified needs an e-mail address", ErrInvalid)
	}
	return CheckProfile(u.Profile)
}
