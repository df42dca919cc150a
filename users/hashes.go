package users

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"

	"github.com/go-crypt/crypt"
	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/pbkdf2"
	"github.com/go-crypt/crypt/algorithm/scrypt"
)

// Bounds of what one check may cost. A hash is data: without bounds, one imported
// row could take the memory of the machine or a core for a day. They hold for our
// own parameters too, so that a hash made yesterday can be read after any change.
const (
	maxHash       = 512       // characters
	maxMemory     = 256 << 10 // KiB at once
	maxMemoryWork = 1 << 20   // KiB, times passes
	maxLanes      = 16
	maxBcryptCost = 15        // about 2 s
	maxIterations = 5_000_000 // of pbkdf2: about 1 s
	minKey        = 16        // bytes: a shorter one would let wrong passwords in
)

// The hashes that are read, each in the one form in which its tools write it.
var (
	argon2Form = regexp.MustCompile(`^\$argon2id?\$v=19\$m=(\d{1,7}),t=(\d{1,4}),p=(\d{1,3})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$`)
	bcryptForm = regexp.MustCompile(`^\$2[aby]\$(\d\d)\$[A-Za-z0-9./]{53}$`)
	scryptForm = regexp.MustCompile(`^\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,3})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$`)
	pbkdf2Form = regexp.MustCompile(`^\$pbkdf2(?:-sha256|-sha512)?\$(\d{1,7})\$([A-Za-z0-9./]+)\$([A-Za-z0-9./]+)$`)
)

// newDecoder knows the wanted kinds only. The library's ready-made decoders would
// read "$plaintext$" as well.
func newDecoder() (*crypt.Decoder, error) {
	d := crypt.NewDecoder()
	standard := bcrypt.DecodeVariant(bcrypt.VariantStandard)
	for name, decode := range map[string]algorithm.DecodeFunc{
		"argon2id":      argon2.DecodeVariant(argon2.VariantID),
		"argon2i":       argon2.DecodeVariant(argon2.VariantI),
		"2a":            standard,
		"2b":            standard,
		"2y":            standard,
		"scrypt":        scrypt.DecodeVariant(scrypt.VariantScrypt),
		"pbkdf2":        pbkdf2.DecodeVariant(pbkdf2.VariantSHA1),
		"pbkdf2-sha256": pbkdf2.DecodeVariant(pbkdf2.VariantSHA256),
		"pbkdf2-sha512": pbkdf2.DecodeVariant(pbkdf2.VariantSHA512),
	} {
		if err := d.RegisterDecodeFunc(name, decode); err != nil {
			return nil, fmt.Errorf("password hash %s: %w", name, err)
		}
	}
	return d, nil
}

// read understands a stored hash, or answers ErrUnknownHash. The hash is no part of
// the error: it is a secret.
func read(d *crypt.Decoder, hash string) (algorithm.Digest, error) {
	if len(hash) > maxHash || !affordable(hash) {
		return nil, ErrUnknownHash
	}
	digest, err := d.Decode(hash)
	if err != nil {
		return nil, ErrUnknownHash
	}
	return digest, nil
}

func affordable(hash string) bool {
	if m := argon2Form.FindStringSubmatch(hash); m != nil {
		return argon2Affordable(number(m[1]), number(m[2]), number(m[3])) && keyLen(m[5]) >= minKey
	}
	if m := bcryptForm.FindStringSubmatch(hash); m != nil {
		cost := number(m[1])
		return cost >= 4 && cost <= maxBcryptCost
	}
	if m := scryptForm.FindStringSubmatch(hash); m != nil {
		ln, r, p := number(m[1]), number(m[2]), number(m[3])
		if ln < 1 || ln > 20 || r < 1 || p < 1 {
			return false
		}
		memory := r << ln / 8 // 128 r N bytes, in KiB
		return memory <= maxMemory && memory*p <= maxMemoryWork && keyLen(m[5]) >= minKey
	}
	if m := pbkdf2Form.FindStringSubmatch(hash); m != nil {
		iterations := number(m[1])
		return iterations >= 1 && iterations <= maxIterations && keyLen(m[3]) >= minKey
	}
	return false
}

func argon2Affordable(memory, passes, lanes int) bool {
	return lanes >= 1 && lanes <= maxLanes && passes >= 1 &&
		memory >= 8*lanes && memory <= maxMemory && memory*passes <= maxMemoryWork
}

// number reads digits that a form has counted: it can not fail or overflow.
func number(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}

func keyLen(text string) int { return base64.RawStdEncoding.DecodedLen(len(text)) }
