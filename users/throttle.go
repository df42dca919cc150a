package users

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"
)

// Throttling is per account, after normalising what was typed: guessing gets slow,
// and nothing locks an account for ever. FreeFailures are free of delay, because
// people mistype and some libraries send every failed request twice; then each
// failure doubles the wait, up to MaxDelay (though who keeps guessing can take that one attempt before the owner does: docs/decisions/0010). An hour without a failure, or signing in,
// forgets them. While an account waits, only one attempt is let through each time
// the wait is over, on all replicas together.
const (
	FreeFailures = 10
	FirstDelay   = time.Second
	MaxDelay     = time.Minute
	ForgetAfter  = time.Hour
)

// Delay is how long an account waits after that many failures in a row.
func Delay(failures int64) time.Duration {
	if failures < FreeFailures {
		return 0
	}
	if failures >= FreeFailures+6 { // 64 s
		return MaxDelay
	}
	return FirstDelay << (failures - FreeFailures)
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
