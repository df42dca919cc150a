package users

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-crypt/crypt"
	"github.com/go-crypt/crypt/algorithm"
	"golang.org/x/crypto/argon2"
)

// PasswordOptions say how new hashes are made and how much of the machine hashing
// may take. Zero values are the defaults.
type PasswordOptions struct {
	Memory     uint32 // KiB; 0 = 19456
	Time       uint32 // passes; 0 = 2
	Threads    uint8  // lanes; 0 = 1
	Concurrent int    // hashes at once; 0 = as many as processors
	Queue      int    // that may wait; 0 = 16 for each at once
	Rand       io.Reader
	Worker     *WorkerOptions // nil: hash in this process. Else Close ends it
}

// The defaults are the first choice of the OWASP password storage cheat sheet: about
// 40 ms, 19 MiB. With one lane, as many as processors at once fill the machine.
const (
	defaultMemory  = 19456
	defaultTime    = 2
	defaultThreads = 1
	defaultQueue   = 16

	saltLen   = 16
	keyLength = 32
)

// Passwords makes and checks password hashes, a bounded number at a time. Who comes
// when the queue is full gets ErrBusy at once: a storm of logins costs the logins,
// never the refreshing and introspecting beside them.
type Passwords struct {
	memory, time uint32
	threads      uint8
	rand         io.Reader
	decoder      *crypt.Decoder
	prefix       string  // of every hash with the current parameters
	dummy        string  // a hash with the current parameters that no password has
	worker       *worker // nil: none

	slots   chan struct{} // a place in it is the right to hash
	queue   int64
	waiting atomic.Int64
	refused atomic.Uint64
}

// NewPasswords refuses parameters that it would refuse in a stored hash.
func NewPasswords(o PasswordOptions) (*Passwords, error) {
	p := &Passwords{
		memory: or(o.Memory, defaultMemory), time: or(o.Time, defaultTime), threads: or(o.Threads, defaultThreads),
		rand: o.Rand,
	}
	concurrent := or(o.Concurrent, runtime.GOMAXPROCS(0))
	p.queue = int64(or(o.Queue, defaultQueue*concurrent))
	switch {
	case p.rand == nil:
		return nil, errors.New("password hashing: no source of randomness")
	case concurrent < 1 || p.queue < 0:
		return nil, errors.New("password hashing: concurrency and queue can not be negative")
	case !argon2Affordable(int(p.memory), int(p.time), int(p.threads)):
		return nil, fmt.Errorf("password hashing: memory must be 8 KiB per thread to %d KiB, memory times passes at most %d KiB, threads at most %d",
			maxMemory, maxMemoryWork, maxLanes)
	}
	if o.Worker != nil {
		var err error
		if p.worker, err = newWorker(*o.Worker); err != nil {
			return nil, err
		}
	}
	if p.worker != nil {
		concurrent++ // the one that lies ready at the worker, which does not begin it
	}
	p.slots = make(chan struct{}, concurrent)
	p.prefix = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$", argon2.Version, p.memory, p.time, p.threads)

	var random [saltLen + keyLength]byte
	if _, err := io.ReadFull(p.rand, random[:]); err != nil {
		return nil, fmt.Errorf("password hashing: %w", err)
	}
	p.dummy = p.encode(random[:saltLen], random[saltLen:])
	var err error
	p.decoder, err = newDecoder()
	return p, err
}

func or[N int | uint32 | uint8 | time.Duration](value, otherwise N) N {
	if value == 0 {
		return otherwise
	}
	return value
}

func (p *Passwords) encode(salt, key []byte) string {
	enc := base64.RawStdEncoding
	return p.prefix + enc.EncodeToString(salt) + "$" + enc.EncodeToString(key)
}

// Hash makes an argon2id hash in PHC form. It answers ErrBusy, or the context's
// error, without having hashed. It does not know the rules for new passwords: see
// CheckPassword.
func (p *Passwords) Hash(ctx context.Context, password string) (string, error) {
	if !hashable(password) {
		return "", fmt.Errorf("%w: the password can not be hashed", ErrInvalid)
	}
	if err := p.enter(ctx); err != nil {
		return "", err
	}
	defer p.leave()
	m := making{time: p.time, memory: p.memory, threads: p.threads}
	if _, err := io.ReadFull(p.rand, m.salt[:]); err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	key, err := p.make(m, password)
	if err != nil {
		return "", err
	}
	return p.encode(m.salt[:], key), nil
}

func (p *Passwords) make(m making, password string) ([]byte, error) {
	if p.worker != nil {
		if key, err := p.worker.make(m, password); !errors.Is(err, errNoWorker) {
			return key, err
		}
	}
	return m.key([]byte(password)), nil
}

func (m making) key(password []byte) []byte {
	return argon2.IDKey(password, m.salt[:], m.time, m.memory, m.threads, keyLength)
}

// Verify checks a password against a stored hash. outdated is true when it is right
// and its hash should be made anew: another algorithm, or other parameters.
//
// The hash "" is of somebody who does not exist or has no password: it takes as long
// as a wrong password, so that the time tells nothing, and is always false. Errors are
// ErrBusy, ErrUnknownHash, or the context's.
func (p *Passwords) Verify(ctx context.Context, hash, password string) (ok, outdated bool, err error) {
	return p.VerifyIf(ctx, hash, password, func() error { return nil }, func(bool) {})
}

// VerifyIf is Verify for who may change their mind while they wait for their turn: what
// still answers then, right before the work, ends it. told hears what came of the work
// before the next one has its turn.
func (p *Passwords) VerifyIf(ctx context.Context, hash, password string, still func() error, told func(ok bool)) (ok, outdated bool, err error) {
	if !hashable(password) {
		return false, false, nil
	}
	nobody := hash == ""
	if nobody {
		hash = p.dummy
	}
	digest, err := read(p.decoder, hash)
	if err != nil {
		return false, false, err
	}
	if err := p.enter(ctx); err != nil {
		return false, false, err
	}
	defer p.leave()
	if err := still(); err != nil {
		return false, false, err
	}
	ok, err = p.match(digest, hash, password)
	ok = ok && !nobody
	if err == nil || errors.Is(err, ErrUnknownHash) {
		told(ok)
	}
	return ok, ok && !p.current(hash), err
}

func (p *Passwords) match(digest algorithm.Digest, hash, password string) (bool, error) {
	if p.worker != nil {
		if ok, err := p.worker.verify(hash, password); !errors.Is(err, errNoWorker) {
			return ok, err
		}
	}
	ok, err := digest.MatchAdvanced(password)
	if err != nil {
		return false, ErrUnknownHash
	}
	return ok, nil
}

// Close ends the worker. Who still waits for it, and who comes later, gets ErrBusy. It
// returns when the worker is gone, or ctx is.
func (p *Passwords) Close(ctx context.Context) {
	if p.worker != nil {
		p.worker.close(ctx)
	}
}

func (p *Passwords) current(hash string) bool {
	return strings.HasPrefix(hash, p.prefix) && len(hash) == len(p.dummy)
}

// CheckHash says whether Verify could read a hash, for imports. It answers ErrUnknownHash.
func (p *Passwords) CheckHash(hash string) error {
	_, err := read(p.decoder, hash)
	return err
}

// Waiting is how many wait for their turn at this moment.
func (p *Passwords) Waiting() int { return int(p.waiting.Load()) }

// PasswordStats is how busy hashing is.
type PasswordStats struct {
	Running, Slots int
	Waiting, Queue int
	Refused        uint64 // who came when the queue was full
}

// Stats looks at this moment.
func (p *Passwords) Stats() PasswordStats {
	return PasswordStats{Running: len(p.slots), Slots: cap(p.slots), Waiting: p.Waiting(), Queue: int(p.queue), Refused: p.refused.Load()}
}

// hashable refuses what no stored password can be. bcrypt repeats the password up to
// its 72 bytes with a NUL after each: one that holds a NUL could equal a shorter one.
func hashable(password string) bool {
	return len(password) <= MaxPassword && !strings.ContainsRune(password, 0)
}

func (p *Passwords) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > p.queue {
		p.refused.Add(1)
		return ErrBusy
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Passwords) leave() { <-p.slots }
