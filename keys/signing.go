package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"time"
)

// The algorithms, by their JWA names (RFC 7518 section 3.1). RS256 is there because
// OpenID Connect obliges every relying party to know it; ES256 is what we prefer.
const (
	ES256 = "ES256"
	RS256 = "RS256"
)

// rsaBits is what NIST SP 800-57 still allows; more would only make signing slower.
const rsaBits = 2048

// Algorithms lists all algorithms, in the order in which they are published.
func Algorithms() []string { return []string{ES256, RS256} }

// Key is one signing key. Its Ordinal counts the keys of its algorithm and is never
// used twice, which makes starting and rotating a compare-and-set in storage.
type Key struct {
	ID         string // RFC 7638 thumbprint of the public key: the kid
	Algorithm  string
	Ordinal    int64
	Private    crypto.Signer
	CreatedAt  time.Time
	ActivateAt time.Time // zero: not planned yet
}

// Generate makes a key that is not planned yet.
func Generate(rand io.Reader, algorithm string, ordinal int64, now time.Time) (Key, error) {
	private, err := generate(rand, algorithm)
	if err != nil {
		return Key{}, fmt.Errorf("generate %s key: %w", algorithm, err)
	}
	id, err := thumbprint(private.Public())
	if err != nil {
		return Key{}, fmt.Errorf("generate %s key: %w", algorithm, err)
	}
	return Key{ID: id, Algorithm: algorithm, Ordinal: ordinal, Private: private, CreatedAt: now}, nil
}

func generate(rand io.Reader, algorithm string) (crypto.Signer, error) {
	switch algorithm {
	case ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand)
	case RS256:
		return rsa.GenerateKey(rand, rsaBits)
	}
	return nil, fmt.Errorf("%w: unknown algorithm %q", ErrKey, algorithm)
}

// MarshalPrivate writes the private key as PKCS#8, to be sealed at once.
func (k Key) MarshalPrivate() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.Private)
	if err != nil {
		return nil, fmt.Errorf("write signing key %s: %w", k.ID, err)
	}
	return der, nil
}

// ParsePrivate reads what MarshalPrivate wrote. The caller fills in the ordinal and
// the times. It answers ErrKey when the key is not the one that id names.
func ParsePrivate(id, algorithm string, pkcs8 []byte) (Key, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		// The cause stays out: it might quote the bytes.
		return Key{}, fmt.Errorf("read signing key %s: %w: not PKCS#8", id, ErrKey)
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return Key{}, fmt.Errorf("read signing key %s: %w: it can not sign", id, ErrKey)
	}
	k := Key{ID: id, Algorithm: algorithm, Private: private}
	if err := k.check(); err != nil {
		return Key{}, fmt.Errorf("read signing key %s: %w", id, err)
	}
	return k, nil
}

// check refuses a key that does not fit its algorithm or its name.
func (k Key) check() error {
	if k.Private == nil {
		return fmt.Errorf("%w: it is empty", ErrKey)
	}
	switch public := k.Private.Public().(type) {
	case *ecdsa.PublicKey:
		if k.Algorithm != ES256 || public.Curve != elliptic.P256() {
			return fmt.Errorf("%w: %s needs another kind of key", ErrKey, k.Algorithm)
		}
	case *rsa.PublicKey:
		if k.Algorithm != RS256 || public.N.BitLen() != rsaBits {
			return fmt.Errorf("%w: %s needs another kind of key", ErrKey, k.Algorithm)
		}
	}
	id, err := thumbprint(k.Private.Public())
	if err != nil {
		return err
	}
	if id != k.ID {
		return fmt.Errorf("%w: its thumbprint is %s", ErrKey, id)
	}
	return nil
}

// String names the key by what is public of it.
func (k Key) String() string { return k.Algorithm + " key " + k.ID }

// Format hides the private part from every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// LogValue hides the private part from slog.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText hides the private part from encoders.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// members are the required members of the public JWK, in the lexicographic order
// that RFC 7638 section 3.2 hashes. All values are base64url or fixed: no escaping.
func members(public crypto.PublicKey) (string, error) {
	b64 := base64.RawURLEncoding.EncodeToString
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		point, err := p.Bytes()
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrKey, err)
		}
		half := (len(point) - 1) / 2
		return `"crv":"P-256","kty":"EC","x":"` + b64(point[1:1+half]) + `","y":"` + b64(point[1+half:]) + `"`, nil
	case *rsa.PublicKey:
		return `"e":"` + b64(big.NewInt(int64(p.E)).Bytes()) + `","kty":"RSA","n":"` + b64(p.N.Bytes()) + `"`, nil
	}
	return "", fmt.Errorf("%w: neither EC nor RSA", ErrKey)
}

func thumbprint(public crypto.PublicKey) (string, error) {
	m, err := members(public)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte("{" + m + "}"))
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}
