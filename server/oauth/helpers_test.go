package oauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
	"github.com/grantorhq/grantor/server/servertest"
	"github.com/grantorhq/grantor/storage"
	"github.com/grantorhq/grantor/users"
)

// sessions are all, the ended ones too.
func sessions(t *testing.T, w *servertest.World) []storage.Session {
	t.Helper()
	list, err := w.Store.Sessions(t.Context(), storage.SessionFilter{Ended: true})
	require.NoError(t, err)
	return list
}

// session is the row that a refresh token belongs to.
func session(t *testing.T, w *servertest.World, refresh string) storage.Session {
	t.Helper()
	id, _, err := w.Codec.Parse(grants.Refresh, refresh)
	require.NoError(t, err)
	s, err := w.Store.Session(t.Context(), id)
	require.NoError(t, err)
	return s
}

func withBody(r *servertest.Request, body string) *servertest.Request {
	r.Body = body
	return r
}

var errBroken = errors.New("the test broke the database")

// everything is for World.Break: no statement works.
func everything(string) error { return errBroken }

// busy keeps the queue of the password hash full: hashing draws a salt while it has
// its place, and the salt does not come.
type busy struct {
	mu    sync.Mutex
	gate  chan struct{} // nil: open
	asked chan struct{}
}

func newBusy() *busy { return &busy{asked: make(chan struct{}, 8)} }

// options leave one place and one that waits.
func (b *busy) options() users.PasswordOptions {
	return users.PasswordOptions{Memory: 64, Time: 1, Threads: 1, Concurrent: 1, Queue: 1, Rand: b}
}

func (b *busy) Read(p []byte) (int, error) {
	b.mu.Lock()
	gate := b.gate
	b.mu.Unlock()
	if gate != nil {
		b.asked <- struct{}{}
		<-gate
	}
	return rand.Read(p)
}

// fill takes both places until release is called.
func (b *busy) fill(t *testing.T, w *servertest.World) (release func()) {
	t.Helper()
	gate := make(chan struct{})
	b.mu.Lock()
	b.gate = gate
	b.mu.Unlock()
	var hashing sync.WaitGroup
	hash := func() { _, _ = w.Passwords.Hash(t.Context(), "somebody else's password") }
	hashing.Go(hash)
	<-b.asked
	hashing.Go(hash)
	require.Eventually(t, func() bool { return w.Passwords.Waiting() == 1 }, 10*time.Second, time.Millisecond)
	return sync.OnceFunc(func() {
		b.mu.Lock()
		b.gate = nil
		b.mu.Unlock()
		close(gate)
		hashing.Wait()
	})
}

var update = flag.Bool("update", false, "write the golden files")

// counting is a source of bytes that anybody can tell in advance.
type counting struct{}

func (counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i + 1)
	}
	return len(p), nil
}

// part is a segment of a compact JWS, decoded.
func part(t *testing.T, token string, at int) []byte {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	raw, err := base64.RawURLEncoding.DecodeString(parts[at])
	require.NoError(t, err)
	return raw
}

func headerOf(t *testing.T, token string) (header map[string]any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(part(t, token, 0), &header))
	return header
}

// forgeries are section 13 of attacks.md: claims that are right under a signature, or with a typ, that is not.
func forgeries(t *testing.T, w *servertest.World, typ, claims string) map[string]string {
	t.Helper()
	enc := base64.RawURLEncoding.EncodeToString
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ours, err := w.Keys().Active(keys.ES256, w.Clock.Now())
	require.NoError(t, err)
	kid := ours.KeyID()
	// sign is ES256 by the stranger.
	sign := func(header string) string {
		text := enc([]byte(header)) + "." + enc([]byte(claims))
		digest := sha256.Sum256([]byte(text))
		r, s, err := ecdsa.Sign(rand.Reader, stranger, digest[:])
		require.NoError(t, err)
		var raw [64]byte
		r.FillBytes(raw[:32])
		s.FillBytes(raw[32:])
		return text + "." + enc(raw[:])
	}
	mac := func(header string, secret []byte) string {
		text := enc([]byte(header)) + "." + enc([]byte(claims))
		m := hmac.New(sha256.New, secret)
		m.Write([]byte(text))
		return text + "." + enc(m.Sum(nil))
	}
	point, err := stranger.PublicKey.Bytes()
	require.NoError(t, err)
	jwk := fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, enc(point[1:33]), enc(point[33:]))
	public, err := x509.MarshalPKIXPublicKey(w.Keys().List()[0].Private.Public())
	require.NoError(t, err)
	document := w.Send(servertest.Get("/.well-known/jwks.json")).Body
	good := w.Sign(typ, claims)
	parts := strings.Split(good, ".")
	swapped := strings.Split(w.Sign(typ, strings.Replace(claims, "alice", "bobby", 1)), ".")
	return map[string]string{
		"S-01 none":                    enc([]byte(`{"alg":"none","typ":"`+typ+`"}`)) + "." + parts[1] + ".",
		"S-01 None":                    enc([]byte(`{"alg":"None","typ":"`+typ+`","kid":"`+kid+`"}`)) + "." + parts[1] + ".",
		"S-01 our header, no proof":    parts[0] + "." + parts[1] + ".",
		"S-01 our header, two parts":   parts[0] + "." + parts[1],
		"S-02 HS256 by the JWKS":       mac(`{"alg":"HS256","typ":"`+typ+`","kid":"`+kid+`"}`, document),
		"S-02 HS256 by PEM":            mac(`{"alg":"HS256","typ":"`+typ+`","kid":"`+kid+`"}`, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
		"S-02 HS256 by DER":            mac(`{"alg":"HS256","typ":"`+typ+`","kid":"`+kid+`"}`, public),
		"S-02 our header, an HMAC":     parts[0] + "." + parts[1] + "." + strings.Split(mac("{}", public), ".")[2],
		"S-03 kid unknown":             sign(`{"alg":"ES256","typ":"` + typ + `","kid":"unknown"}`),
		"S-03 kid a path":              sign(`{"alg":"ES256","typ":"` + typ + `","kid":"../../../../dev/null"}`),
		"S-03 kid SQL":                 sign(`{"alg":"ES256","typ":"` + typ + `","kid":"x' OR '1'='1"}`),
		"S-03 no kid":                  sign(`{"alg":"ES256","typ":"` + typ + `"}`),
		"S-03 our kid":                 sign(`{"alg":"ES256","typ":"` + typ + `","kid":"` + kid + `"}`),
		"S-04 jwk embedded":            sign(`{"alg":"ES256","typ":"` + typ + `","jwk":` + jwk + `}`),
		"S-04 jwk beside our kid":      sign(`{"alg":"ES256","typ":"` + typ + `","kid":"` + kid + `","jwk":` + jwk + `}`),
		"S-04 jku":                     sign(`{"alg":"ES256","typ":"` + typ + `","jku":"http://127.0.0.1:1/evil"}`),
		"S-04 x5u":                     sign(`{"alg":"ES256","typ":"` + typ + `","x5u":"http://127.0.0.1:1/evil"}`),
		"S-05 crit":                    sign(`{"alg":"ES256","typ":"` + typ + `","kid":"` + kid + `","crit":["evil"],"evil":true}`),
		"S-05 b64":                     sign(`{"alg":"ES256","typ":"` + typ + `","kid":"` + kid + `","crit":["b64"],"b64":false}`),
		"S-06 another token's typ":     w.Sign(map[string]string{keys.TypeAccessToken: keys.TypeJWT, keys.TypeJWT: keys.TypeAccessToken}[typ], claims),
		"S-06 a logout token's typ":    w.Sign("logout+jwt", claims),
		"S-06 no typ":                  sign(`{"alg":"ES256","kid":"` + kid + `"}`),
		"S-09 five segments":           good + "." + parts[2] + "." + parts[2],
		"S-09 four segments":           good + ".",
		"S-09 only dots":               strings.Repeat(".", 50_000),
		"S-09 our head and dots":       parts[0] + strings.Repeat(".", 10_000),
		"S-09 dots in the signature":   good + strings.Repeat(".", 10_000),
		"S-11 two algs in the header":  sign(`{"alg":"none","alg":"ES256","typ":"` + typ + `","kid":"` + kid + `"}`),
		"claims of another token":      parts[0] + "." + swapped[1] + "." + parts[2],
		"signature cut":                good[:len(good)-2],
		"signature all zero":           parts[0] + "." + parts[1] + "." + enc(make([]byte, 64)),
		"padded":                       good + "==",
		"standard base64 in the claim": parts[0] + "." + parts[1] + "=." + parts[2],
		"header with a blank":          enc(append([]byte(" "), part(t, good, 0)...)) + "." + parts[1] + "." + parts[2],
	}
}
