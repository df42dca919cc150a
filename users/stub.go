package users

import (
	"context"
	"errors"
	"io"
)

var errTodo = errors.New("not written yet")

const MaxPassword = 1024

func NewID(rand io.Reader) (string, error) { return "", errTodo }
func NormalizeName(name string) string     { return name }
func CheckName(name string) error          { return errTodo }
func CheckEmail(email string) error        { return errTodo }
func CheckPassword(password string) error  { return errTodo }

type Passwords struct{}
type PasswordOptions struct {
	Memory     uint32
	Time       uint32
	Threads    uint8
	Concurrent int
	Queue      int
	Rand       io.Reader
}

func NewPasswords(o PasswordOptions) (*Passwords, error)                       { return nil, errTodo }
func (p *Passwords) Hash(ctx context.Context, password string) (string, error) { return "", errTodo }
func (p *Passwords) Verify(ctx context.Context, hash, password string) (ok, outdated bool, err error) {
	return false, false, errTodo
}
func (p *Passwords) CheckHash(hash string) error { return errTodo }
func (p *Passwords) Waiting() int                { return 0 }
