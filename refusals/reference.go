package refusals

import (
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
)

// Errors of this package.
var (
	// ErrReference: the text holds no reference.
	ErrReference = errors.New("not a reference")
	// ErrRequestID: the text is the id of a request, which only the log knows.
	ErrRequestID = errors.New("that is the id of a request, not a reference")
	// ErrUnreadable: a reference, but not one that these secrets made, or a damaged one.
	ErrUnreadable = errors.New("the reference can not be opened")
)

const (
	purpose = "references"
	prefix  = "ge1_" // kind and version, like those of package grants

	// plainLen is what every refusal is filled up to: the length of a reference says
	// nothing. It makes References of 196 characters.
	plainLen = 100
	idLen    = 10 // bytes of a request id
)

// Length of every reference.
const Length = len(prefix) + (4+24+plainLen+16)*4/3

// References seals and opens them.
type References struct{ box *keys.Box }

// New seals with the newest of the server secrets and opens what any of them sealed.
func New(secrets *keys.Secrets) (*References, error) {
	box, err := secrets.NewBox(purpose, prefix)
	if err != nil {
		return nil, err
	}
	return &References{box: box}, nil
}

// Seal makes the reference of a refusal.
func (s *References) Seal(rand io.Reader, r Refusal) (string, error) {
	var plain [plainLen]byte
	encode(&plain, r)
	return s.box.Seal(rand, plain[:])
}

// Open reads what Seal made, from a text as Find wants it. It answers ErrReference,
// ErrRequestID and ErrUnreadable.
func (s *References) Open(text string) (Refusal, error) {
	reference, err := Find(text)
	if err != nil {
		return Refusal{}, err
	}
	plain, err := s.box.Open(reference)
	if err != nil {
		return Refusal{}, ErrUnreadable
	}
	return decode(plain)
}

// Find finds a reference in what somebody copied: the whole JSON, an address with its
// parameters, lines that a mail program broke.
func Find(text string) (string, error) {
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			return -1
		}
		return r
	}, text)
	if decoded, err := url.QueryUnescape(text); err == nil {
		text = decoded
	}
	start := strings.Index(text, prefix)
	switch {
	case start < 0 && isRequestID(strings.Trim(text, `"',.;:`)):
		return "", ErrRequestID
	case start < 0:
		return "", ErrReference
	case len(text)-start < Length:
		return "", fmt.Errorf("%w: it is cut off, a whole one has %d characters", ErrReference, Length)
	}
	reference := text[start : start+Length]
	if strings.ContainsFunc(reference, func(r rune) bool { return !strings.ContainsRune(alphabet, r) }) {
		return "", ErrReference
	}
	return reference, nil
}

// alphabet is base64url's.
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

var requestIDs = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func isRequestID(text string) bool {
	raw, err := requestIDs.DecodeString(text)
	return err == nil && len(raw) == idLen
}

// What a record holds beside what all of them do. The order is that of the record.
const (
	hasSession = 1 << iota
	hasRow
	hasTerms
	hasUser
	hasWait
	hasEnded
	unproven // the client is the one that was sent
	cut
)

// encode writes the record that a reference seals:
//
//	cause | code | route | grant type | flags | ms since 1970 (6) | request id (10) | address
//	session (16), generation shown | its generation, ms since it was renewed, from where, ms until it ends
//	marks of redirect URI and challenge (4 + 4) | user | ms to wait | ms since it expired
//	client id: what is left, and its end is cut
func encode(plain *[plainLen]byte, r Refusal) {
	b := append(plain[:0], indexOf(numbered, r.Cause), indexOf(codes, r.Code), indexOf(routes, r.Route), indexOf(grantTypes, r.GrantType), 0)
	var flags byte
	at := r.At.UnixMilli()
	b = append(b, byte(at>>40), byte(at>>32), byte(at>>24), byte(at>>16), byte(at>>8), byte(at))
	var id [idLen]byte
	if isRequestID(r.Request) {
		_, _ = requestIDs.Decode(id[:], []byte(r.Request))
	}
	b = append(b, id[:]...)
	b = appendAddress(b, r.Address)
	if r.Session != (grants.ID{}) {
		flags |= hasSession
		b = append(b, r.Session[:]...)
		b = binary.AppendUvarint(b, uint64(r.Shown))
	}
	if r.Row != nil {
		flags |= hasRow
		b = binary.AppendUvarint(b, uint64(r.Row.Generation))
		b = binary.AppendVarint(b, r.Row.RotatedAt.UnixMilli()-at)
		b = binary.AppendVarint(b, r.Row.ExpiresAt.UnixMilli()-at)
		b = appendAddress(b, r.Row.RotatedFrom)
	}
	if r.Terms != nil {
		flags |= hasTerms
		b = append(append(b, r.Terms.RedirectURI[:]...), r.Terms.Challenge[:]...)
	}
	if n := len(r.UserID); n > 0 && n <= maxUser {
		flags |= hasUser
		b = append(append(b, byte(n)), r.UserID...)
	}
	if r.Wait > 0 {
		flags |= hasWait
		b = binary.AppendUvarint(b, uint64(r.Wait.Milliseconds()))
	}
	if !r.Ended.IsZero() {
		flags |= hasEnded
		b = binary.AppendVarint(b, r.Ended.UnixMilli()-at)
	}
	client := r.Client
	if client == "" && r.Sent != "" {
		flags |= unproven
		client = r.Sent
	}
	if len(b) >= plainLen {
		// Numbers that no real session has: what is certain is told.
		r.Facts = Facts{}
		encode(plain, r)
		return
	}
	if left := plainLen - 1 - len(b); r.Cut || len(client) > left {
		flags |= cut
		client = client[:min(len(client), left)]
	}
	b = append(append(b, byte(len(client))), client...)
	clear(plain[len(b):])
	plain[4] = flags
}

// maxUser is the longest user id that is told: UUIDs are, and those that we draw.
const maxUser = 36

func appendAddress(b []byte, text string) []byte {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return append(b, 0)
	}
	raw := ip.WithZone("").AsSlice()
	return append(append(b, byte(len(raw))), raw...)
}

// decode reads a record. What has no meaning in this version is left out.
func decode(plain []byte) (Refusal, error) {
	d := decoder{rest: plain}
	head := d.take(5)
	if head == nil {
		return Refusal{}, ErrUnreadable
	}
	flags := head[4]
	r := Refusal{Cause: at(numbered, head[0]), Code: at(codes, head[1]), Route: at(routes, head[2]), GrantType: at(grantTypes, head[3])}
	var ms int64
	for _, b := range d.take(6) {
		ms = ms<<8 | int64(b)
	}
	r.At = time.UnixMilli(ms).UTC()
	since := func() time.Time { return time.UnixMilli(ms + d.varint()).UTC() }
	if id := d.take(idLen); [idLen]byte(id) != ([idLen]byte{}) {
		r.Request = requestIDs.EncodeToString(id)
	}
	r.Address = d.address()
	if flags&hasSession != 0 {
		r.Session, r.Shown = grants.ID(d.take(len(r.Session))), int64(d.uvarint())
	}
	if flags&hasRow != 0 {
		r.Row = &Row{Generation: int64(d.uvarint()), RotatedAt: since(), ExpiresAt: since(), RotatedFrom: d.address()}
	}
	if flags&hasTerms != 0 {
		r.Terms = &Terms{RedirectURI: Mark(d.take(len(Mark{}))), Challenge: Mark(d.take(len(Mark{})))}
	}
	if flags&hasUser != 0 {
		r.UserID = string(d.text())
	}
	if flags&hasWait != 0 {
		r.Wait = time.Duration(d.uvarint()) * time.Millisecond
	}
	if flags&hasEnded != 0 {
		r.Ended = since()
	}
	client := string(d.text())
	if flags&unproven != 0 {
		r.Sent = client
	} else {
		r.Client = client
	}
	r.Cut = flags&cut != 0
	if d.short {
		return Refusal{}, ErrUnreadable
	}
	return r, nil
}

// decoder takes pieces off a record, and remembers whether it was too short for one. It
// answers zeros then, of the length that was asked for.
type decoder struct {
	rest  []byte
	short bool
}

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.rest, d.short = nil, true
		return make([]byte, n)
	}
	piece := d.rest[:n]
	d.rest = d.rest[n:]
	return piece
}

func (d *decoder) text() []byte { return d.take(int(d.take(1)[0])) }

func (d *decoder) address() string {
	raw := d.text()
	ip, ok := netip.AddrFromSlice(raw)
	if !ok {
		return ""
	}
	return ip.String()
}

func (d *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(d.rest)
	d.skip(size)
	return n
}

func (d *decoder) varint() int64 {
	n, size := binary.Varint(d.rest)
	d.skip(size)
	return n
}

func (d *decoder) skip(size int) {
	if size <= 0 {
		d.rest, d.short = nil, true
		return
	}
	d.rest = d.rest[size:]
}
