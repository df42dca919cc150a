package keys_test

import (
	"crypto/rand"
	"sync"
	"time"

	"github.com/grantorhq/grantor/keys"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// firstKeys are made once for all tests: RSA keys take long.
var firstKeys = sync.OnceValue(func() []keys.Key {
	list, err := keys.Bootstrap(rand.Reader, start)
	if err != nil {
		panic(err)
	}
	return list
})

var firstSet = sync.OnceValue(func() *keys.Set {
	set, err := keys.NewSet(firstKeys())
	if err != nil {
		panic(err)
	}
	return set
})

// pick finds a first key by its place: the RSA keys are costly, so tests share them.
func pick(algorithm string, ordinal int64) keys.Key {
	for _, k := range firstKeys() {
		if k.Algorithm == algorithm && k.Ordinal == ordinal {
			return k
		}
	}
	panic("no such key")
}
