package doctor

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// browser is a person's browser without the person: it keeps cookies and fills in forms.
// It belongs to one goroutine.
type browser struct {
	web     *web
	issuer  string
	header  http.Header // sent with every request
	cookies map[string]*http.Cookie
	set     []*http.Cookie // all that were ever set
}

func (a *attack) browser() *browser {
	return &browser{web: a.web, issuer: a.issuer, header: http.Header{}, cookies: map[string]*http.Cookie{}}
}

func (b *browser) send(ctx context.Context, method, address string, form url.Values) (*answer, error) {
	header := http.Header{"Accept": {"text/html"}}
	for name, values := range b.header {
		header[name] = values
	}
	var pairs []string
	for name, cookie := range b.cookies {
		pairs = append(pairs, name+"="+cookie.Value)
	}
	if len(pairs) > 0 {
		header["Cookie"] = []string{strings.Join(pairs, "; ")}
	}
	if method == http.MethodPost && header.Get("Origin") == "" {
		header["Origin"] = []string{originOf(b.issuer)}
	}
	got, err := b.web.send(ctx, method, address, form, header)
	if err != nil {
		return nil, err
	}
	for _, line := range got.header.Values("Set-Cookie") {
		cookie, err := http.ParseSetCookie(line)
		if err != nil {
			continue
		}
		if cookie.MaxAge < 0 {
			delete(b.cookies, cookie.Name)
			continue
		}
		b.cookies[cookie.Name] = cookie
		b.set = append(b.set, cookie)
	}
	return got, nil
}

func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// pageForm is one form of a page, with its hidden fields.
type pageForm struct {
	action string
	fields url.Values
	names  map[string]bool // of all inputs and buttons
}

var (
	formPattern  = regexp.MustCompile(`(?s)<form([^>]*)>(.*?)</form>`)
	fieldPattern = regexp.MustCompile(`<(?:input|button)([^>]*)>`)
	attribute    = regexp.MustCompile(`([a-z]+)="([^"]*)"`)
)

// forms reads the pages of this server, not any page: they are well-formed.
func forms(page []byte) []pageForm {
	var list []pageForm
	for _, found := range formPattern.FindAllSubmatch(page, -1) {
		f := pageForm{action: attributes(found[1])["action"], fields: url.Values{}, names: map[string]bool{}}
		for _, field := range fieldPattern.FindAllSubmatch(found[2], -1) {
			has := attributes(field[1])
			f.names[has["name"]] = true
			if has["type"] == "hidden" {
				f.fields.Set(has["name"], has["value"])
			}
		}
		list = append(list, f)
	}
	return list
}

func attributes(tag []byte) map[string]string {
	list := map[string]string{}
	for _, pair := range attribute.FindAllSubmatch(tag, -1) {
		list[string(pair[1])] = html.UnescapeString(string(pair[2]))
	}
	return list
}

func formWith(page []byte, name string) (pageForm, bool) {
	for _, f := range forms(page) {
		if f.names[name] {
			return f, true
		}
	}
	return pageForm{}, false
}

// errAway: the server sent the browser to an address that is neither its own nor the guest's.
var errAway = errors.New("the browser was sent to a strange address")

// walk goes from an address through the pages, as the guest, until the client is
// answered, and tells what it was told. stop ends it at the page with that field.
func (b *browser) walk(ctx context.Context, g *guests, address, stop string) (told url.Values, page *answer, at string, err error) {
	method, form := http.MethodGet, url.Values(nil)
	for range 8 {
		got, err := b.send(ctx, method, address, form)
		if err != nil {
			return nil, nil, "", err
		}
		if to := got.location(); to != "" {
			next, err := resolve(address, to)
			switch {
			case err != nil:
				return nil, nil, "", err
			case strings.HasPrefix(next, callback+"?"):
				u, err := url.Parse(next)
				if err != nil {
					return nil, nil, "", err
				}
				return u.Query(), got, address, nil
			case originOf(next) != originOf(b.issuer):
				return nil, got, address, errAway
			}
			method, address, form = http.MethodGet, next, nil
			continue
		}
		if stop != "" {
			if _, found := formWith(got.body, stop); found {
				return nil, got, address, nil
			}
		}
		f, fields := g.fillIn(got.body)
		if fields == nil || got.status != http.StatusOK {
			return nil, got, address, fmt.Errorf("the server shows a page that is neither sign-in nor consent (%s)", got.tell())
		}
		if address, err = resolve(address, f.action); err != nil {
			return nil, nil, "", err
		}
		method, form = http.MethodPost, fields
	}
	return nil, nil, "", errors.New("the pages go round in circles")
}

// fillIn answers the sign-in and the consent page.
func (g *guests) fillIn(page []byte) (pageForm, url.Values) {
	if f, found := formWith(page, "password"); found {
		f.fields.Set("username", g.user)
		f.fields.Set("password", g.password)
		return f, f.fields
	}
	for _, f := range forms(page) {
		if f.names["decision"] && !strings.HasSuffix(f.action, "/login") {
			// The page has a second form, for going on as somebody else. Both have this name.
			f.fields.Set("decision", "allow")
			return f, f.fields
		}
	}
	return pageForm{}, nil
}

func resolve(base, to string) (string, error) {
	from, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	next, err := from.Parse(to)
	if err != nil {
		return "", fmt.Errorf("the server sends the browser to something that is no address")
	}
	return next.String(), nil
}
