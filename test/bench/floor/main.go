// Command floor is what Grantor is measured against: net/http and pgx, and nothing
// that Grantor is for. For each operation it parses the same form, compares the same
// secret by SHA-256, proves the same access token, runs the same single statement
// with a prepared plan, makes the same signature, and writes the same bytes. No
// client registry, no MAC, no rules, no log. What it is to do comes as JSON on
// standard input (plan.go); its address is the first line that it prints.
package main

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/crypto/chacha20poly1305"
)

type server struct {
	plan  plan
	pool  *pgxpool.Pool // nil without a database
	key   *ecdsa.PrivateKey
	box   cipher.AEAD
	proof *ecdsa.PublicKey // of the access tokens that are shown
}

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	s := new(server)
	if err := json.NewDecoder(os.Stdin).Decode(&s.plan); err != nil {
		return err
	}
	var err error
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	if s.box, err = chacha20poly1305.NewX(s.plan.BoxKey); err != nil {
		return err
	}
	if s.proof, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), s.plan.PublicKey); err != nil {
		return err
	}
	if s.plan.Database != "" {
		if s.pool, err = pgxpool.New(ctx, s.plan.Database); err != nil {
			return err
		}
	}
	routes := http.NewServeMux()
	for _, o := range s.plan.Operations {
		routes.HandleFunc(o.Method+" /"+o.Name, func(w http.ResponseWriter, r *http.Request) {
			if err := s.serve(w, r, &o); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	return (&http.Server{Handler: routes, ReadHeaderTimeout: 15 * time.Second}).Serve(listener)
}

var errRefused = errors.New("refused")

func (s *server) serve(w http.ResponseWriter, r *http.Request, o *operation) error {
	var form url.Values
	if o.Method == http.MethodPost {
		if err := r.ParseForm(); err != nil {
			return err
		}
		form = r.PostForm
	}
	if o.ClientID != "" {
		id, secret, _ := r.BasicAuth()
		sum := sha256.Sum256([]byte(secret))
		if id != o.ClientID || subtle.ConstantTimeCompare(sum[:], o.Secret) != 1 {
			return errRefused
		}
	}
	body := make([]byte, 0, 2048)
	next, err := s.state(r, form, o)
	switch {
	case errors.Is(err, errRefused) && o.Refusal != "":
		body = append(body, o.Refusal...)
	case err != nil:
		return err
	default:
		for _, part := range o.Body {
			if body, err = s.append(body, part, next); err != nil {
				return err
			}
		}
	}
	header := w.Header()
	for _, h := range o.Header {
		header[h[0]] = []string{h[1]}
	}
	_, _ = w.Write(body)
	return nil
}

// state does what the operation does to the database. It answers the next refresh token.
func (s *server) state(r *http.Request, form url.Values, o *operation) (next string, err error) {
	now := time.Now().UnixMicro()
	switch o.State {
	case "":
		return "", nil
	case "rotate":
		raw, generation, err := parse(form.Get("refresh_token"))
		if err != nil {
			return "", err
		}
		idle := now - (14 * 24 * time.Hour).Microseconds()
		return mint(raw, generation+1), s.one(r.Context(), o, raw[4:20], now, generation, o.ClientID, "", idle, "127.0.0.1")
	case "redeem":
		raw, _, err := parse(form.Get("code"))
		if err != nil {
			return "", err
		}
		sum := sha256.Sum256([]byte(form.Get("code_verifier")))
		challenge := base64.RawURLEncoding.EncodeToString(sum[:])
		return mint(raw, 1), s.one(r.Context(), o, raw[4:20], now, o.ClientID, form.Get("redirect_uri"), challenge, "127.0.0.1", (90 * 24 * time.Hour).Microseconds())
	case "revoke":
		raw, _, err := parse(form.Get("token"))
		if err != nil {
			return "", err
		}
		return "", s.one(r.Context(), o, raw[4:20], now, o.ClientID, "127.0.0.1")
	}
	// The rest shows an access token.
	token := form.Get("token")
	if token == "" {
		token, _ = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	c, err := s.prove(token)
	if err != nil {
		return "", err
	}
	if o.State == "deny" {
		_, err := s.pool.Exec(r.Context(), o.SQL, c.ID, c.Expires*1e6, c.ClientID)
		return "", err
	}
	grant, err := base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding).DecodeString(c.Grant)
	if err != nil {
		return "", err
	}
	return "", s.one(r.Context(), o, grant, now, c.ID, c.ClientID)
}

// one runs the statement and reads its one row, every column by its type.
func (s *server) one(ctx context.Context, o *operation, args ...any) error {
	for _, text := range o.Extra {
		args = append(args, text)
	}
	rows, err := s.pool.Query(ctx, o.SQL, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var numbers [24]*int64
	var texts [24]*string
	var blobs [24][]byte
	var flags [24]bool
	var dest [24]any
	fields := rows.FieldDescriptions()
	found := 0
	for rows.Next() {
		for i, f := range fields {
			switch f.DataTypeOID {
			case pgtype.Int8OID:
				dest[i] = &numbers[i]
			case pgtype.ByteaOID:
				dest[i] = &blobs[i]
			case pgtype.BoolOID:
				dest[i] = &flags[i]
			default:
				dest[i] = &texts[i]
			}
		}
		if err := rows.Scan(dest[:len(fields)]...); err != nil {
			return err
		}
		found++
	}
	if err := rows.Err(); err != nil {
		return err
	}
	// Of an access token the row always comes: denied first, its client second, its grant's columns NULL when dead.
	if found != 1 || o.State == "access" && (flags[0] || !flags[1] || texts[len(fields)-1] == nil) {
		return errRefused
	}
	return nil
}

// A refresh token or code: kind, then key id (4), grant id (16), generation (8), MAC (32), which is not looked at.
func parse(token string) (raw []byte, generation int64, err error) {
	_, text, ok := strings.Cut(token, "_")
	raw, err = base64.RawURLEncoding.DecodeString(text)
	if !ok || err != nil || len(raw) != 60 {
		return nil, 0, errors.New("not a token")
	}
	return raw, int64(binary.BigEndian.Uint64(raw[20:28])), nil
}

func mint(raw []byte, generation int64) string {
	binary.BigEndian.PutUint64(raw[20:28], uint64(generation))
	return "gr1_" + base64.RawURLEncoding.EncodeToString(raw)
}

type claims struct {
	ID       string `json:"jti"`
	Grant    string `json:"gid"`
	ClientID string `json:"client_id"`
	Expires  int64  `json:"exp"`
}

func (s *server) prove(token string) (c claims, err error) {
	if text, ok := strings.CutPrefix(token, "ga1_"); ok {
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(raw) < 28 {
			return c, errRefused
		}
		plain, err := s.box.Open(nil, raw[4:28], raw[28:], []byte("ga1_"))
		if err != nil {
			return c, errRefused
		}
		return c, json.Unmarshal(plain, &c)
	}
	last := strings.LastIndexByte(token, '.')
	if last < 0 {
		return c, errRefused
	}
	signature, err := base64.RawURLEncoding.DecodeString(token[last+1:])
	if err != nil || len(signature) != 64 {
		return c, errRefused
	}
	digest := sha256.Sum256([]byte(token[:last]))
	if !ecdsa.VerifyASN1(s.proof, digest[:], toDER(signature)) {
		return c, errRefused
	}
	_, payload, _ := strings.Cut(token[:last], ".")
	plain, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(plain, &c)
}

func (s *server) append(body []byte, p part, refresh string) ([]byte, error) {
	switch p.Kind {
	case "jws":
		digest := sha256.Sum256([]byte(p.Text))
		der, err := ecdsa.SignASN1(rand.Reader, s.key, digest[:])
		if err != nil {
			return nil, err
		}
		raw := fromDER(der)
		body = append(append(body, p.Text...), '.')
		return base64.RawURLEncoding.AppendEncode(body, raw[:]), nil
	case "sealed":
		sealed := make([]byte, 28, len(p.Text)+44)
		_, _ = rand.Read(sealed[4:])
		sealed = s.box.Seal(sealed, sealed[4:28], []byte(p.Text), []byte("ga1_"))
		return base64.RawURLEncoding.AppendEncode(append(body, "ga1_"...), sealed), nil
	case "refresh":
		return append(body, refresh...), nil
	}
	return append(body, p.Text...), nil
}

// ASN.1 of a signature: 30 len, 02 len r, 02 len s. All lengths take one byte.
func fromDER(der []byte) (raw [64]byte) {
	r := der[4 : 4+der[3]]
	s := der[6+len(r):]
	for i, n := range [][]byte{r, s} {
		n = bytes.TrimLeft(n, "\x00")
		copy(raw[32*(i+1)-len(n):], n)
	}
	return raw
}

func toDER(raw []byte) []byte {
	der := append(make([]byte, 0, 72), 0x30, 0)
	for _, n := range [][]byte{raw[:32], raw[32:]} {
		n = bytes.TrimLeft(n, "\x00")
		pad := 0
		if len(n) == 0 || n[0] >= 0x80 {
			pad = 1
		}
		der = append(der, 0x02, byte(len(n)+pad))
		der = append(append(der, make([]byte, pad)...), n...)
	}
	der[1] = byte(len(der) - 2)
	return der
}
