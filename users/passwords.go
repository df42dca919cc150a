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

	// longestWait is how long somebody may wait for a place and for a worker, in all.
	longestWait = 10 * time.Second
	// A worker has some forty times as long for a hash as it takes, at the defaults' cost. Who
	// has waited that long is hashed for here, by one at a time that then rests for some three
	// times as long. Both are longer where hashes are dearer, and longest for hashes that were
	// made elsewhere: who knows what they cost.
	slowWorker     = time.Second
	slowWorkerMost = 5 * time.Second
	spareRest      = 75 * time.Millisecond
)

// Passwords makes and checks password hashes, a bounded number at a time. Who comes
// when the queue is full gets ErrBusy at once, and who had no turn in 10 s then: a storm of logins costs the logins,
// never the refreshing and introspecting beside them.
type Passwords struct {
	memory, time uint32
	threads      uint8
	rand         io.Reader
	decoder      *crypt.Decoder
	prefix       string   // of every hash with the current parameters
	dummy        string   // a hash with the current parameters that no password has
	workers      *workers // nil: none

	slots   chan struct{} // a place in it is the right to hash
	here    chan struct{} // a place in it is the right to hash here, where there can be no worker
	spare   chan struct{} // the place in it is the right to hash here although there are workers
	slow    time.Duration // after which it is wanted
	rest    time.Duration // after which the next has it
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
		dearer := max(1, float64(p.memory)*float64(p.time)/(defaultMemory*defaultTime))
		p.rest = time.Duration(dearer * float64(spareRest))
		p.slow = min(time.Duration(dearer*float64(slowWorker)), slowWorkerMost)
		p.here = make(chan struct{}, concurrent)
		if p.workers, err = newWorkers(*o.Worker, concurrent); err != nil {
			return nil, err
		}
		concurrent *= 2 // one that each works on, and one that lies ready
	}
	p.slots, p.spare = make(chan struct{}, concurrent), make(chan struct{}, 1)
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

func or[N int | uint32 | uint8](value, otherwise N) N {
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
	ctx, cancel := patience(ctx)
	defer cancel()
	if err := p.enter(ctx); err != nil {
		return "", err
	}
	defer p.leave()
	m := making{time: p.time, memory: p.memory, threads: p.threads}
	if _, err := io.ReadFull(p.rand, m.salt[:]); err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	var key []byte
	err := p.work(ctx, false,
		func(slow time.Duration) (err error) { key, err = p.workers.make(ctx, slow, m, password); return err },
		func() error { key = m.key([]byte(password)); return nil })
	if err != nil {
		return "", err
	}
	return p.encode(m.salt[:], key), nil
}

// work hashes in another process if that can be, and here if not. foreign: it may take long.
func (p *Passwords) work(ctx context.Context, foreign bool, there func(slow time.Duration) error, here func() error) error {
	if p.workers == nil {
		return here()
	}
	slow, rest := p.slow, p.rest
	if foreign {
		slow, rest = slowWorkerMost, slowWorkerMost
	}
	places := p.spare
	switch err := there(slow); {
	case errors.Is(err, errNoWorker):
		places, rest = p.here, 0
	case err != nil && ctx.Err() != nil:
		return p.gaveUp(ctx)
	case !errors.Is(err, errWorkerSlow):
		return err
	}
	select {
	case places <- struct{}{}:
	case <-p.workers.life.Done():
		return ErrBusy
	case <-ctx.Done():
		return p.gaveUp(ctx)
	}
	defer func() {
		if rest == 0 {
			<-places
			return
		}
		time.AfterFunc(rest, func() { <-places })
	}()
	return here()
}

// patience bounds how long somebody waits for their turn.
func patience(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, longestWait, ErrBusy)
}

// gaveUp tells who had enough of waiting: ErrBusy is that it was us.
func (p *Passwords) gaveUp(ctx context.Context) error {
	err := context.Cause(ctx)
	if errors.Is(err, ErrBusy) {
		p.refused.Add(1)
	}
	return err
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
// still answers then, before the password is given to a worker or hashed here, ends it.
// told hears what came of the work before the next one takes its place.
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
	ctx, cancel := patience(ctx)
	defer cancel()
	if err := p.enter(ctx); err != nil {
		return false, false, err
	}
	defer p.leave()
	if err := still(); err != nil {
		return false, false, err
	}
	err = p.work(ctx, !p.current(hash),
		func(slow time.Duration) (err error) {
			ok, err = p.workers.verify(ctx, slow, hash, password)
			return err
		},
		func() (err error) {
			if err := still(); err != nil {
				return err
			}
			if ok, err = digest.MatchAdvanced(password); err != nil {
				err = ErrUnknownHash
			}
			return err
		})
	ok = ok && !nobody
	if err == nil || errors.Is(err, ErrUnknownHash) {
		told(ok)
	}
	return ok, ok && !p.current(hash), err
}

// Close ends the workers. Who still waits for one, and who comes later, gets ErrBusy. It
// returns when they are gone, or ctx is.
func (p *Passwords) Close(ctx context.Context) {
	if p.workers != nil {
		p.workers.close(ctx)
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
	Refused        uint64 // who came when the queue was full, or waited in it for too long
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

// Busy answers ErrBusy when whoever comes now would be turned away, so that they can be
// before anything is read for them.
func (p *Passwords) Busy() error {
	if p.waiting.Load() < p.queue || len(p.slots) < cap(p.slots) {
		return nil
	}
	p.refused.Add(1)
	return ErrBusy
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
		return p.gaveUp(ctx)
	}
}

func (p *Passwords) leave() { <-p.slots }
