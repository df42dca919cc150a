//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"golang.org/x/net/html"
)

// A person at a browser signs in by the authorization code flow: pages, a redirect with
// a code, and the code for tokens. The browser stays signed in, so only the first time
// wants a password.

const callback = "https://app.example.com/callback"

// browser keeps cookies for the one server that there is.
type browser struct {
	cookies  map[string]string
	signedIn bool // the server said so: it must not ask for the password again
}

// request is one for a code, with what proves later that it was ours.
type authorization struct {
	code     string
	grant    string
	verifier string
	nonce    string
}

// byCode is a login.
func (a *application) byCode(ctx context.Context) bool {
	for ctx.Err() == nil {
		if asked, is := a.authorize(ctx); is && a.redeem(ctx, asked) {
			return true
		}
		a.rest(ctx)
	}
	return false
}

// authorize walks the pages until the browser leaves with a code.
func (a *application) authorize(ctx context.Context) (asked authorization, is bool) {
	asked.verifier, asked.nonce = a.random(43), a.random(20)
	challenge := sha256.Sum256([]byte(asked.verifier))
	at := "/oauth2/auth?" + url.Values{
		"response_type": {"code"}, "client_id": {a.st.web.id}, "redirect_uri": {callback}, "scope": {"openid orders"}, "nonce": {asked.nonce}, "state": {a.random(20)},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode()
	var form url.Values
	for range 8 {
		e, body, to := a.visit(at, form)
		typed := form.Has("password")
		form = nil
		if e.Class == ok && to == "" {
			if at, form = a.fill(body); form == nil {
				e.Wrong = "a page without a way on"
			} else if a.browser.signedIn {
				e.Class, e.Error = refused, "login_required"
			}
		}
		if left, isCallback := strings.CutPrefix(to, callback+"?"); isCallback {
			asked.code, asked.grant = arrived(&e, left)
			e.Grant = asked.grant
			a.st.secret(asked.code)
		} else if to != "" {
			a.browser.signedIn = a.browser.signedIn || typed
			at = to
		}
		a.st.journal.write(e)
		if e.Class != ok || e.Wrong != "" || asked.code != "" || ctx.Err() != nil {
			break
		}
	}
	return asked, asked.code != ""
}

// arrived reads what the client is told.
func arrived(e *event, query string) (code, grant string) {
	said, err := url.ParseQuery(query)
	if err != nil {
		e.Wrong = "a redirect that can not be read"
		return "", ""
	}
	// A redirect has no status of its own: RFC 6749 section 4.1.2.1 has this word for 503.
	if said.Get("error") == "temporarily_unavailable" {
		e.Class, e.Cause = unknown, said.Get("error")
		return "", ""
	}
	if grant, err = readCode(said.Get("code")); err != nil {
		e.Wrong = fmt.Sprintf("a redirect with the error %q instead of a code", said.Get("error"))
		return "", ""
	}
	return said.Get("code"), grant
}

// redeem shows the code until there is a fact: sometimes twice at once, as a browser does
// that sends a click twice, and sometimes once more when it is spent.
func (a *application) redeem(ctx context.Context, asked authorization) bool {
	for ctx.Err() == nil {
		times := 1
		twice := a.st.fault.habits.twice > 0
		if twice && a.chance.once(4) {
			times = 2
		}
		outcome, got := a.redeemAtOnce(asked, times)
		switch outcome {
		case ok:
			a.newest, a.access, a.spent = got.refresh, got.access, nil
			if twice && a.chance.once(4) {
				a.redeemAtOnce(asked, 1)
			}
			return true
		case refused:
			return false // it may have been honoured, and the answer lost: ask for another one
		}
		a.rest(ctx)
	}
	return false
}

// redeemAtOnce answers ok when one of them was honoured.
func (a *application) redeemAtOnce(asked authorization, times int) (outcome class, got pair) {
	var mu sync.Mutex
	var all sync.WaitGroup
	outcome = refused
	for range times {
		all.Go(func() {
			e, body := a.ask(opRedeem, "/oauth2/token", url.Values{
				"grant_type": {"authorization_code"}, "code": {asked.code}, "redirect_uri": {callback}, "code_verifier": {asked.verifier},
			})
			e.Grant = asked.grant
			var one pair
			if e.Class == ok {
				one = a.read(&e, body)
				if e.Wrong == "" && (one.refresh.grant != asked.grant || one.refresh.generation != 1 || nonceOf(body) != asked.nonce) {
					e.Wrong = "tokens of another request"
				}
			}
			a.st.journal.write(e)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case e.Class == ok && e.Wrong == "":
				outcome, got = ok, one
			case e.Class == unknown && outcome != ok:
				outcome = unknown
			}
		})
	}
	all.Wait()
	return outcome, got
}

func nonceOf(body []byte) string {
	var said struct {
		IDToken string `json:"id_token"`
	}
	if json.Unmarshal(body, &said) != nil {
		return ""
	}
	c, _ := readClaims(said.IDToken) // what can not be read has none
	return c.Nonce
}

// visit asks for a page, or posts its form. It answers where the browser is sent, "" to
// stay.
func (a *application) visit(at string, form url.Values) (e event, body []byte, to string) {
	e = event{Op: opAuthorize, Begin: a.st.journal.now()}
	ctx, cancel := context.WithTimeout(context.Background(), a.st.patience())
	defer cancel()
	method := http.MethodGet
	if form != nil {
		method = http.MethodPost
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+a.st.front.address+at, strings.NewReader(form.Encode()))
	if err != nil {
		e.Class, e.Cause = unknown, err.Error()
		return e, nil, ""
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Origin", issuer)
		request.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for name, value := range a.browser.cookies {
		request.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	body, header, err := a.send(&e, request)
	e.End = a.st.journal.now()
	if err != nil {
		e.Class, e.Cause = unknown, cause(err)
		return e, nil, ""
	}
	for _, c := range (&http.Response{Header: header}).Cookies() {
		a.browser.cookies[c.Name] = c.Value
		if c.MaxAge < 0 {
			delete(a.browser.cookies, c.Name)
		}
	}
	to = header.Get("Location")
	return e, body, strings.TrimPrefix(to, issuer)
}

// fill takes the form of a page that wants the password, or none.
func (a *application) fill(page []byte) (action string, fields url.Values) {
	tokens := html.NewTokenizer(strings.NewReader(string(page)))
	for tokens.Next() != html.ErrorToken {
		token := tokens.Token()
		attribute := map[string]string{}
		for _, one := range token.Attr {
			attribute[one.Key] = one.Val
		}
		switch {
		case token.Type == html.EndTagToken:
		case token.Data == "form":
			action, fields = attribute["action"], url.Values{}
		case token.Data == "input" && fields != nil && attribute["name"] != "":
			fields.Set(attribute["name"], attribute["value"])
		}
	}
	if !fields.Has("password") {
		return "", nil
	}
	fields.Set("username", a.user.name)
	fields.Set("password", a.user.password)
	return action, fields
}

// random is text that nobody needs to be unable to guess.
func (a *application) random(length int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	text := make([]byte, length)
	for i := range text {
		text[i] = letters[a.chance.below(len(letters))]
	}
	return string(text)
}
