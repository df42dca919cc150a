package e2e_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
)

// person is somebody at a browser who signs in and allows what they are asked. The
// browser keeps cookies, shows no scripts, and says where its forms come from.
type person struct {
	t              testing.TB
	name, password string
	browser        *http.Client
	signedIn       int // times that the password was typed
	asked          int // times that consent was
}

// newPerson sits down at a new browser. From is the address that it calls from, "" for any.
func newPerson(t testing.TB, name, password, from string) *person {
	t.Helper()
	dialer := &net.Dialer{}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	transport := &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &person{t: t, name: name, password: password, browser: &http.Client{
		Timeout: patience, Transport: transport, Jar: &jar{cookies: map[string]*http.Cookie{}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// jar keeps what it is given for the one server that there is. It minds neither ports,
// because replicas have several, nor Secure: in front of those that call themselves
// https there would be a proxy.
type jar struct {
	mu      sync.Mutex
	cookies map[string]*http.Cookie
}

func (j *jar) SetCookies(_ *url.URL, cookies []*http.Cookie) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range cookies {
		if c.MaxAge < 0 {
			delete(j.cookies, c.Name)
			continue
		}
		j.cookies[c.Name] = c
	}
}

func (j *jar) Cookies(*url.URL) (list []*http.Cookie) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range j.cookies {
		list = append(list, c)
	}
	return list
}

// form is one of a page, as it would be sent.
type form struct {
	action  string
	fields  url.Values // without buttons
	buttons []string   // the values of their names
}

// arrival is where the browser leaves the server for the client: by a redirect, or with
// a form that is posted there.
type arrival struct {
	at   *url.URL
	form url.Values // nil: by a redirect
}

// values are what the client reads.
func (a arrival) values() url.Values {
	if a.form != nil {
		return a.form
	}
	return a.at.Query()
}

// visit follows an address and does what the pages want, until the browser leaves.
func (p *person) visit(address string) arrival {
	t := p.t
	t.Helper()
	at, err := url.Parse(address)
	require.NoError(t, err)
	server := at.Host
	a := p.get(at)
	for range 12 {
		if to := a.header.Get("Location"); to != "" {
			require.Equal(t, http.StatusSeeOther, a.status)
			if at, err = at.Parse(to); err != nil || at.Host != server {
				require.NoError(t, err)
				return arrival{at: at}
			}
			a = p.get(at)
			continue
		}
		f := p.press(a.body)
		at, err = at.Parse(f.action)
		require.NoError(t, err)
		if at.Host != server {
			return arrival{at: at, form: f.fields}
		}
		a = p.submit(at, f.fields)
	}
	require.Fail(t, "the pages go round in circles")
	return arrival{}
}

func (p *person) get(at *url.URL) answer {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, at.String(), nil)
	require.NoError(p.t, err)
	a, err := do(p.browser, r)
	require.NoError(p.t, err)
	return a
}

func (p *person) submit(at *url.URL, fields url.Values) answer {
	p.t.Helper()
	a, err := p.trySubmit(p.t.Context(), at, fields)
	require.NoError(p.t, err)
	return a
}

// trySubmit posts a form as its page does. It fails only when no answer came.
func (p *person) trySubmit(ctx context.Context, at *url.URL, fields url.Values) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), strings.NewReader(fields.Encode()))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", at.Scheme+"://"+at.Host)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return do(p.browser, r)
}

// forms are those of a page.
func forms(page []byte) (list []*form) {
	var f *form
	tokens := html.NewTokenizer(bytes.NewReader(page))
	for tokens.Next() != html.ErrorToken {
		token := tokens.Token()
		attribute := map[string]string{}
		for _, a := range token.Attr {
			attribute[a.Key] = a.Val
		}
		name := attribute["name"]
		switch {
		case token.Type == html.EndTagToken && token.Data == "form":
			f = nil
		case token.Type == html.EndTagToken:
		case token.Data == "form":
			f = &form{action: attribute["action"], fields: url.Values{}}
			list = append(list, f)
		case f == nil || name == "":
		case token.Data == "input":
			f.fields.Set(name, attribute["value"])
		case token.Data == "button":
			f.buttons = append(f.buttons, attribute["value"])
		}
	}
	return list
}

// press fills in the form that takes the person further: the last one that asks for a
// password, offers to allow, or offers nothing else.
func (p *person) press(page []byte) *form {
	p.t.Helper()
	list := forms(page)
	require.NotEmpty(p.t, list, "a page without a way on: %s", page)
	f := list[len(list)-1]
	switch {
	case f.fields.Has("password"):
		p.signedIn++
		f.fields.Set("username", p.name)
		f.fields.Set("password", p.password)
	case slices.Contains(f.buttons, "allow"):
		p.asked++
		f.fields.Set("decision", "allow")
	}
	return f
}
