package oauth

import (
	"encoding/json"
	"strconv"
	"strings"
)

// What every request writes and reads is written and read by hand: encoding/json takes
// several times as long, and a hundred pieces of memory to read the claims of one token.
// Nothing is decided here. What is written is byte for byte what encoding/json writes,
// and what is not in the form that this server writes is left to encoding/json to read.

// object is a JSON object that is being written, without its closing brace.
type object []byte

// newObject has room for that many bytes, so that it need not grow.
func newObject(room int) object { return append(make(object, 0, room), '{') }

func (o object) name(name string) object {
	if o[len(o)-1] != '{' {
		o = append(o, ',')
	}
	o = append(o, '"')
	o = append(o, name...)
	return append(o, '"', ':')
}

func (o object) truth(name string, value bool) object {
	return strconv.AppendBool(o.name(name), value)
}

func (o object) number(name string, value int64) object {
	return strconv.AppendInt(o.name(name), value, 10)
}

func (o object) text(name, value string) object { return appendText(o.name(name), value) }

func (o object) list(name string, values []string) object {
	o = o.name(name)
	if values == nil {
		return append(o, "null"...)
	}
	o = append(o, '[')
	for i, value := range values {
		if i > 0 {
			o = append(o, ',')
		}
		o = appendText(o, value)
	}
	return append(o, ']')
}

// textIf, numberIf and listIf leave out what is empty.
func (o object) textIf(name, value string) object {
	if value == "" {
		return o
	}
	return o.text(name, value)
}

func (o object) numberIf(name string, value int64) object {
	if value == 0 {
		return o
	}
	return o.number(name, value)
}

func (o object) listIf(name string, values []string) object {
	if len(values) == 0 {
		return o
	}
	return o.list(name, values)
}

// audience writes a type of its own: see there.
func (o object) audience(name string, values audience) object {
	if len(values) == 1 {
		return o.text(name, values[0])
	}
	return o.list(name, values)
}

func (o object) end() []byte { return append(o, '}') }

// appendText quotes what needs no escape, which is nearly everything, and asks encoding/json about the rest.
func appendText(b []byte, text string) []byte {
	if !unescaped(text) {
		quoted, _ := json.Marshal(text) // text always encodes
		return append(b, quoted...)
	}
	b = append(b, '"')
	b = append(b, text...)
	return append(b, '"')
}

// unescaped text stands in JSON as it is, within HTML too.
func unescaped(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ' || c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

// encode is what json.Marshal makes of the claims.
func (c *claims) encode() []byte {
	return newObject(512).
		text("iss", c.Issuer).text("sub", c.Subject).audience("aud", c.Audience).text("client_id", c.ClientID).textIf("scope", c.Scope).
		text("jti", c.ID).textIf("gid", c.Grant).number("iat", c.Issued).number("exp", c.Expires).numberIf("nbf", c.NotBefore).
		numberIf("auth_time", c.AuthTime).listIf("amr", c.AMR).end()
}

func (t *tokenResponse) encode() []byte {
	return newObject(192+len(t.AccessToken)+len(t.RefreshToken)+len(t.IDToken)+len(t.Scope)).
		text("access_token", t.AccessToken).text("token_type", t.TokenType).number("expires_in", t.ExpiresIn).
		textIf("refresh_token", t.RefreshToken).textIf("id_token", t.IDToken).textIf("scope", t.Scope).end()
}

func (i *introspection) encode() []byte {
	o := newObject(640).
		truth("active", i.Active).textIf("scope", i.Scope).textIf("client_id", i.ClientID).textIf("username", i.Username).
		textIf("token_type", i.TokenType).numberIf("exp", i.Expires).numberIf("iat", i.Issued).textIf("sub", i.Subject)
	if len(i.Audience) > 0 {
		o = o.audience("aud", i.Audience)
	}
	return o.textIf("iss", i.Issuer).textIf("jti", i.ID).numberIf("auth_time", i.AuthTime).end()
}

// decode reads what encode wrote. It reports false for everything else, and what the
// claims hold then is of no use. One order of members means that none is there twice.
func (c *claims) decode(payload string) bool {
	in := reader{rest: payload, before: '{'}
	c.Issuer, c.Subject, c.Audience, c.ClientID, c.Scope = in.text("iss"), in.text("sub"), in.audience("aud"), in.text("client_id"), in.text("scope")
	c.ID, c.Grant, c.Issued, c.Expires, c.NotBefore = in.text("jti"), in.text("gid"), in.number("iat"), in.number("exp"), in.number("nbf")
	c.AuthTime, c.AMR = in.number("auth_time"), in.list("amr")
	return !in.odd && in.before == ',' && in.rest == "}"
}

// reader takes the members of an object one after the other. Each may be absent.
type reader struct {
	rest   string
	before byte // the next name
	odd    bool // met what is not in our form
}

func (r *reader) has(name string) bool {
	n, t := len(name), r.rest
	if len(t) < n+4 || t[0] != r.before || t[1] != '"' || t[2:2+n] != name || t[2+n:4+n] != `":` {
		return false
	}
	r.rest, r.before = t[4+n:], ','
	return true
}

func (r *reader) text(name string) string {
	if !r.has(name) {
		return ""
	}
	return r.value()
}

func (r *reader) value() string {
	rest, quoted := strings.CutPrefix(r.rest, `"`)
	value, rest, ended := strings.Cut(rest, `"`)
	if !quoted || !ended || !unescaped(value) {
		r.odd = true
		return ""
	}
	r.rest = rest
	return value
}

func (r *reader) number(name string) int64 {
	if !r.has(name) {
		return 0
	}
	n := 0
	for n < len(r.rest) && '0' <= r.rest[n] && r.rest[n] <= '9' {
		n++
	}
	digits := r.rest[:n]
	value, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > 1 && digits[0] == '0' {
		r.odd = true
		return 0
	}
	r.rest = r.rest[n:]
	return value
}

func (r *reader) list(name string) []string {
	if !r.has(name) {
		return nil
	}
	var values []string
	for separator := "["; !r.odd && strings.HasPrefix(r.rest, separator); separator = "," {
		r.rest = r.rest[1:]
		values = append(values, r.value())
	}
	rest, ended := strings.CutPrefix(r.rest, "]")
	if values == nil || !ended {
		r.odd = true
	}
	r.rest = rest
	return values
}

func (r *reader) audience(name string) audience {
	if strings.HasPrefix(r.rest, `,"`+name+`":"`) {
		return audience{r.text(name)}
	}
	return r.list(name)
}
