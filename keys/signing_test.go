package keys_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/keys"
)

func TestGenerate(t *testing.T) {
	for _, algorithm := range keys.Algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			k := pick(algorithm, 2)
			require.Equal(t, algorithm, k.Algorithm)
			require.Equal(t, start, k.CreatedAt)
			require.True(t, k.ActivateAt.IsZero())

			foreign := jose.JSONWebKey{Key: k.Private.Public()}
			sum, err := foreign.Thumbprint(crypto.SHA256)
			require.NoError(t, err)
			require.Equal(t, base64.RawURLEncoding.EncodeToString(sum), k.ID, "RFC 7638, as another library reads it")
		})
	}
	require.Equal(t, 2048, pick(keys.RS256, 1).Private.Public().(*rsa.PublicKey).N.BitLen(), "W-02")

	_, err := keys.Generate(rand.Reader, "HS256", 1, start)
	require.ErrorIs(t, err, keys.ErrKey)
}

func TestMarshalParsePrivate(t *testing.T) {
	for _, algorithm := range keys.Algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			k := pick(algorithm, 1)
			der, err := k.MarshalPrivate()
			require.NoError(t, err)

			got, err := keys.ParsePrivate(k.ID, algorithm, der)
			require.NoError(t, err)
			require.Equal(t, k.ID, got.ID)
			require.Equal(t, algorithm, got.Algorithm)
			require.True(t, got.Private.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Private.Public()))

			_, err = keys.ParsePrivate(pick(algorithm, 2).ID, algorithm, der)
			require.ErrorIs(t, err, keys.ErrKey, "the id of another key")
			_, err = keys.ParsePrivate(k.ID, algorithm, der[:len(der)-1])
			require.ErrorIs(t, err, keys.ErrKey, "cut")
			for _, other := range append(keys.Algorithms(), "none", "") {
				if other != algorithm {
					_, err = keys.ParsePrivate(k.ID, other, der)
					require.ErrorIs(t, err, keys.ErrKey, "algorithm %q", other)
				}
			}
		})
	}
}

func TestParsePrivateRefusesOtherKinds(t *testing.T) {
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	for _, c := range []struct {
		name, algorithm string
		private         crypto.Signer
	}{
		{"Ed25519", keys.ES256, edwards}, {"P-384", keys.ES256, p384}, {"RSA 1024 (W-02)", keys.RS256, short},
	} {
		t.Run(c.name, func(t *testing.T) {
			der, err := x509.MarshalPKCS8PrivateKey(c.private)
			require.NoError(t, err)
			sum, err := (&jose.JSONWebKey{Key: c.private.Public()}).Thumbprint(crypto.SHA256)
			require.NoError(t, err)
			_, err = keys.ParsePrivate(base64.RawURLEncoding.EncodeToString(sum), c.algorithm, der)
			require.ErrorIs(t, err, keys.ErrKey)
		})
	}
}
