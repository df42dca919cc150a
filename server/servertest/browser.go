package servertest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
)

// Browser is a person's browser without the person: it keeps cookies whatever their
// Secure attribute (a World listens on http and calls itself https), follows nothing by
// itself, and fills in the forms of the pages that it is shown.
type Browser struct {
	Header  http.Header // sent with every request
	Cookies map[string]*http.Cookie
	w       *World
}

// Page is what the browser shows: an answer, and the forms in it.
type Page struct {
	*Answer
	Forms []PageForm
	b     *Browser
}

// PageForm is one form of a page, as it would be sent.
type PageForm struct {
	Action, Method string
	Fields         url.Values // with a value: hidden ones and what is filled in
	Names          []string   // of all inputs
	Buttons        []Button
}

// Button is a submit button with a name.
type Button struct{ Name, Value string }

// Browser is a new one without cookies.
func (w *World) Browser() *Browser {
	return &Browser{w: w, Header: http.Header{}, Cookies: map[string]*http.Cookie{}}
}

// Verifier is the code_verifier of every request that Authorize makes.
const Verifier = "a-verifier-that-is-long-enough-for-RFC-7636-x"

// Challenge is its S256 challenge.
func Challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Callback is where every client of the World with codes wants them.
const Callback = "https://app.test/cb"

// AuthorizeQuery is a correct authorization request, with what pairs change or add. A value
// of "-" takes a parameter out.
func AuthorizeQuery(client string, pairs ...string) url.Values {
	q := url.Values{
		"response_type": {"code"}, "client_id": {client}, "redirect_uri": {Callback}, "scope": {"openid"}, "state": {"a state"},
		"nonce": {"a nonce"}, "code_challenge": {Challenge(Verifier)}, "code_challenge_method": {"S256"},
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "-" {
			q.Del(pairs[i])
			continue
		}
		q.Set(pairs[i], pairs[i+1])
	}
	return q
}

// Get shows a page.
func (b *Browser) Get(path string) *Page { return b.send(Get(path)) }

// Post sends a form that need not be on any page.
func (b *Browser) Post(path string, pairs ...string) *Page { return b.send(Form(path, pairs...)) }

// Authorize sends a correct authorization request, changed by pairs as in AuthorizeQuery.
func (b *Browser) Authorize(client string, pairs ...string) *Page {
	return b.Get("/oauth2/auth?" + AuthorizeQuery(client, pairs...).Encode())
}

// SignIn signs a user in at the account page.
func (b *Browser) SignIn(user string) *Page {
	b.w.t.Helper()
	page := b.Get("/login").Require(http.StatusOK).Submit("username", user, "password", Password(user))
	page.Require(http.StatusSeeOther)
	return page
}

func (b *Browser) send(r *Request) *Page {
	t := b.w.t
	t.Helper()
	for name, values := range b.Header {
		if r.Header.Get(name) == "" {
			r.Header[name] = values
		}
	}
	for _, c := range b.Cookies {
		r.Header.Add("Cookie", c.Name+"="+c.Value)
	}
	a := b.w.Send(r)
	for _, line := range a.Header.Values("Set-Cookie") {
		c, err := http.ParseSetCookie(line)
		require.NoError(t, err)
		if c.MaxAge < 0 {
			delete(b.Cookies, c.Name)
			continue
		}
		b.Cookies[c.Name] = c
	}
	p := &Page{Answer: a, b: b}
	if strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
		p.Forms = forms(a.Body)
	}
	return p
}

// Require ends the test when the status is another one.
func (p *Page) Require(status int) *Page {
	p.t.Helper()
	p.Answer.Require(status)
	return p
}

// Location is where the page sends the browser, "" for nowhere.
func (p *Page) Location() string { return p.Header.Get("Location") }

// Follow goes where the page sends the browser, which must be a page of the server.
func (p *Page) Follow() *Page {
	p.t.Helper()
	p.Require(http.StatusSeeOther)
	require.True(p.t, strings.HasPrefix(p.Location(), "/"), "leads away: %s", p.Location())
	return p.b.Get(p.Location())
}

// Form is the one with a field or button of that name.
func (p *Page) Form(name string) PageForm {
	p.t.Helper()
	for _, f := range p.Forms {
		for _, n := range f.Names {
			if n == name {
				return f
			}
		}
	}
	require.Failf(p.t, "no such form", "no form with %s on: %s", name, p.Body)
	return PageForm{}
}

// Submit sends the form that has the first name of pairs, with its hidden fields, and
// pairs filled in or pressed.
func (p *Page) Submit(pairs ...string) *Page {
	p.t.Helper()
	f := p.Form(pairs[0])
	require.Equal(p.t, "post", f.Method)
	fields := url.Values{}
	for name, values := range f.Fields {
		fields[name] = values
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		fields.Set(pairs[i], pairs[i+1])
	}
	return p.b.send(&Request{
		Method: http.MethodPost, Path: f.Action, Body: fields.Encode(),
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	})
}

// Answered is what a client reads from the redirect, or from the form, that answers it.
func (p *Page) Answered() url.Values {
	p.t.Helper()
	if p.Location() == "" {
		f := p.Form("iss")
		return f.Fields
	}
	u, err := url.Parse(p.Location())
	require.NoError(p.t, err)
	require.NotEmpty(p.t, u.Scheme, "no answer yet: %s", p.Location())
	values := u.Query()
	if u.Fragment != "" {
		values, err = url.ParseQuery(u.EscapedFragment())
		require.NoError(p.t, err)
	}
	return values
}

// Code is the code in the answer.
func (p *Page) Code() string {
	p.t.Helper()
	code := p.Answered().Get("code")
	require.NotEmpty(p.t, code, "%s %s", p.Location(), p.Body)
	return code
}

// Through walks a person through the pages that are shown until the client is answered:
// signs in as user and allows what is asked.
func (p *Page) Through(user string) *Page {
	p.t.Helper()
	for range 4 {
		switch {
		case strings.HasPrefix(p.Location(), "/login"):
			p = p.Follow().Submit("username", user, "password", Password(user))
		case strings.HasPrefix(p.Location(), "/consent"):
			p = p.Follow().Submit("decision", "allow")
		default:
			return p
		}
	}
	require.Fail(p.t, "the pages go round in circles")
	return nil
}

// Redeem shows a code as a client, with what pairs change or add.
func (w *World) Redeem(client, code string, pairs ...string) *Answer {
	w.t.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {Callback}, "code_verifier": {Verifier}}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "-" {
			form.Del(pairs[i])
			continue
		}
		form.Set(pairs[i], pairs[i+1])
	}
	return w.Send(w.As(&Request{
		Method: http.MethodPost, Path: "/oauth2/token", Body: form.Encode(),
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	}, client))
}

// Obtain is a whole code flow of a user at a client, in a new browser: the tokens.
func (w *World) Obtain(client, user string, pairs ...string) *Answer {
	w.t.Helper()
	return w.Redeem(client, w.Browser().Authorize(client, pairs...).Through(user).Code()).Require(http.StatusOK)
}

// forms reads the forms of a page.
func forms(page []byte) []PageForm {
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		return nil
	}
	var list []PageForm
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if n.Data == "form" {
			list = append(list, PageForm{Action: attribute(n, "action"), Method: strings.ToLower(attribute(n, "method")), Fields: url.Values{}})
			continue
		}
		name := attribute(n, "name")
		if len(list) == 0 || name == "" || !within(n, "form") {
			continue
		}
		f := &list[len(list)-1]
		switch n.Data {
		case "input", "select", "textarea":
			f.Names = append(f.Names, name)
			if value := attribute(n, "value"); value != "" {
				f.Fields.Set(name, value)
			}
		case "button":
			f.Names = append(f.Names, name)
			f.Buttons = append(f.Buttons, Button{Name: name, Value: attribute(n, "value")})
		}
	}
	return list
}

func within(n *html.Node, element string) bool {
	for parent := range n.Ancestors() {
		if parent.Type == html.ElementNode && parent.Data == element {
			return true
		}
	}
	return false
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
