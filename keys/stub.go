// Package keys holds the server's secrets and its signing keys.
package keys

import (
	"crypto"
	"errors"
	"io"
	"log/slog"
	"time"
)

var errTodo = errors.New("not written yet")

var (
	ErrSecret = errors.New("bad server secret")
	ErrSeal   = errors.New("not sealed by this server")
	ErrToken  = errors.New("not a token signed by this server")
	ErrNoKey  = errors.New("no signing key")
)

type Secrets struct{ list []string }

type Derived struct {
	ID  [4]byte
	Key []byte
}

func ParseSecrets(text string) (*Secrets, error)    { return nil, errTodo }
func GenerateSecret(rand io.Reader) (string, error) { return "", errTodo }
func (s *Secrets) Derive(purpose string) []Derived  { return nil }
func (s *Secrets) String() string                   { return "***" }
func (s *Secrets) LogValue() slog.Value             { return slog.StringValue("***") }
func (s *Secrets) Seal(rand io.Reader, plain, context []byte) ([]byte, error) {
	return nil, errTodo
}
func (s *Secrets) Open(sealed, context []byte) (plain []byte, current bool, err error) {
	return nil, false, errTodo
}

const (
	ES256 = "ES256"
	RS256 = "RS256"
)

type Key struct {
	ID         string
	Algorithm  string
	Ordinal    int64
	Private    crypto.Signer
	CreatedAt  time.Time
	ActivateAt time.Time
}

func Generate(rand io.Reader, algorithm string, ordinal int64, now time.Time) (Key, error) {
	return Key{}, errTodo
}
func (k Key) MarshalPrivate() ([]byte, error)                      { return nil, errTodo }
func ParsePrivate(id, algorithm string, pkcs8 []byte) (Key, error) { return Key{}, errTodo }

type State string

const (
	Next    State = "next"
	Active  State = "active"
	Retired State = "retired"
	Gone    State = "gone"
)

const (
	Publish = 8 * time.Second
	Keep    = 24*time.Hour + time.Minute
)

type Set struct{}

type Plan struct {
	Activate string
	At       time.Time
	New      Key
}

type Signer struct{}

func NewSet(list []Key) (*Set, error)                                         { return nil, errTodo }
func (s *Set) Active(algorithm string, now time.Time) (*Signer, error)        { return nil, errTodo }
func (s *Set) State(id string, now time.Time) State                           { return Gone }
func (s *Set) List() []Key                                                    { return nil }
func (s *Set) JWKS(now time.Time) ([]byte, string, error)                     { return nil, "", errTodo }
func (s *Set) Verify(token string, typ string, now time.Time) ([]byte, error) { return nil, errTodo }
func (s *Set) PlanRotation(rand io.Reader, algorithm string, now time.Time) (Plan, error) {
	return Plan{}, errTodo
}
func Bootstrap(rand io.Reader, now time.Time) ([]Key, error) { return nil, errTodo }
func (s *Signer) Sign(rand io.Reader, typ string, payload []byte) (string, error) {
	return "", errTodo
}
