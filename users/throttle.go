package users

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// Throttling is per account, after normalising what was typed, and per address:
// guessing gets slow, and nothing locks an account for ever. FreeFailures are free of
// delay, because people mistype and some libraries send every failed request twice; then
// each failure doubles the wait, up to MaxDelay. An hour without a failure, or signing
// in, forgets them. While an account waits, only one attempt is let through each time
// the wait is over, on all replicas together.
//
// Who keeps guessing can take that one attempt before the owner does. So a device that
// the owner signed in from before has failures of its own: neither the account's nor the
// address's keep it out.
//
// An address has many more free failures, because many people may share one, and signing
// in does not forget them: who has an account could reset them at will. Nor does it put
// off that they are forgotten. Behind a confidential client at the token endpoint no
// address is counted: it would be the application's server, which all its users share.
const (
	FreeFailures        = 10
	FreeAddressFailures = 100
	FirstDelay          = time.Second
	MaxDelay            = time.Minute
	ForgetAfter         = time.Hour
)

// Delay is how long an account, or a known device, waits after that many failures in a row.
func Delay(failures int64) time.Duration { return delay(failures - FreeFailures) }

// AddressDelay is how long an address waits after that many failures.
func AddressDelay(failures int64) time.Duration { return delay(failures - FreeAddressFailures) }

func delay(over int64) time.Duration {
	switch {
	case over < 0:
		return 0
	case over >= 6: // 64 s
		return MaxDelay
	}
	return FirstDelay << over
}

// ThrottledError refuses an attempt unseen: too many failed before it.
type ThrottledError struct{ Wait time.Duration }

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("too many wrong passwords, wait %s", e.Wait.Round(time.Second))
}

// NobodysAccount is what failures for a name that nobody has are counted under. It
// hides the name: people type passwords there.
func NobodysAccount(login string) string {
	sum := sha256.Sum256([]byte(NormalizeName(login)))
	return "?" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// AddressAccount is what failures from an address are counted under: the whole of an
// IPv4 address, the 64 bits of an IPv6 address that one household has. It is "" for what
// is no address: nothing is counted under it.
func AddressAccount(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return "@" + ip.String()
	}
	return "@" + netip.PrefixFrom(ip, 64).Masked().String()
}

// RetryAfter is the wait in whole seconds, rounded up: who comes back then is let through.
func (e *ThrottledError) RetryAfter() string {
	return strconv.FormatInt(max(int64((e.Wait+time.Second-1)/time.Second), 1), 10)
}
