package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"io"
)

// What is sealed at rest is
//
//	version (1) | key id (4) | nonce (12) | AES-256-GCM ciphertext and tag
//
// The version and the key id are authenticated together with the context, so that
// a row can not be moved to another place or read as another version.
//
// Nonces are random, so one secret may seal at most 2^32 things (NIST SP 800-38D,
// section 8.3). That is far beyond what rests in a database of keys, but not beyond
// what a busy token endpoint makes: tokens have their own way.
const (
	sealVersion   = 1
	sealHeaderLen = 1 + keyIDLen
	sealNonceLen  = 12
)

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return aead, nil
}

// Seal encrypts plain under the current secret. The context (for example the kind
// and id of the row) is not stored, but must be the same to open it again.
func (s *Secrets) Seal(rand io.Reader, plain, context []byte) ([]byte, error) {
	with := s.seal[0]
	out := make([]byte, sealHeaderLen+sealNonceLen, sealHeaderLen+sealNonceLen+len(plain)+with.aead.Overhead())
	out[0] = sealVersion
	copy(out[1:], with.id[:])
	nonce := out[sealHeaderLen:]
	if _, err := io.ReadFull(rand, nonce); err != nil {
		return nil, fmt.Errorf("draw nonce: %w", err)
	}
	return with.aead.Seal(out, nonce, plain, sealed(out[:sealHeaderLen], context)), nil
}

// Open decrypts what Seal made with any of the secrets. current is false when it
// was an older one: the caller should seal it again, or it is lost when that secret
// goes. It answers ErrSeal for everything else.
func (s *Secrets) Open(data, context []byte) (plain []byte, current bool, err error) {
	if len(data) < sealHeaderLen+sealNonceLen || data[0] != sealVersion {
		return nil, false, ErrSeal
	}
	header, rest := data[:sealHeaderLen], data[sealHeaderLen:]
	for i, with := range s.seal {
		if [keyIDLen]byte(header[1:]) != with.id {
			continue
		}
		plain, err = with.aead.Open(nil, rest[:sealNonceLen], rest[sealNonceLen:], sealed(header, context))
		if err == nil {
			return plain, i == 0, nil
		}
	}
	return nil, false, ErrSeal
}

func sealed(header, context []byte) []byte {
	return append(append(make([]byte, 0, len(header)+len(context)), header...), context...)
}
