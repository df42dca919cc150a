//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// answerLimit is how long a client waits. A replica that is not stopped answers
// within tooLate, with 503 if it must.
const (
	answerLimit = 8 * time.Second
	tooLate     = 5 * time.Second
)

// application is an honest client with one session at a time. It always shows its
// newest token, shows it again when no answer came, and does one thing after the
// other, except where it says so.
type application struct {
	st     *stage
	chance *dice
	user   account
	newest refresh
	access string
	spent  []refresh // tokens that came before, the newest last

	browser browser
	as      *credentials // nil: the client web
}

type account struct{ id, name, password string }

type credentials struct{ id, secret string }

// habits are what an application does, each once in so many turns; 0: never.
type habits struct {
	introspect, twice, revoke, replay, verify, hangUp int
	leave                                             int // forgets its session, which stays, and signs in anew
}

// work goes on until ctx ends, and then brings its last request to an end.
func (a *application) work(ctx context.Context) {
	for ctx.Err() == nil {
		if a.newest.text == "" && !a.login(ctx) {
			return
		}
		h := a.st.fault.habits
		rolls := func(n int) bool { return n > 0 && a.chance.once(n) }
		switch {
		case rolls(h.revoke):
			a.revoke(ctx)
		case rolls(h.replay) && len(a.spent) > 1:
			a.replay(ctx)
		case rolls(h.leave):
			a.newest, a.access, a.spent = refresh{}, "", nil
		case rolls(h.introspect):
			a.introspect()
		case rolls(h.verify):
			a.verify()
		case rolls(h.twice):
			a.twice()
		case rolls(h.hangUp):
			a.hangUp(ctx)
		default:
			a.refresh()
		}
		if a.st.calm() {
			pause(ctx, a.chance.between(time.Millisecond, 20*time.Millisecond))
		}
	}
}

// settle shows the newest token until there is a fact, after the faults are over:
// nobody may be locked out, nothing that was ended may live.
func (a *application) settle(limit time.Duration) bool {
	if a.newest.text == "" {
		return true
	}
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if a.refresh() != unknown {
			a.introspect()
			a.verify()
			return true
		}
	}
	return false
}

// login is by password or by code, as it comes.
func (a *application) login(ctx context.Context) bool {
	if a.chance.once(2) {
		return a.byCode(ctx)
	}
	for ctx.Err() == nil {
		e, body := a.ask(opLogin, "/oauth2/token", url.Values{"grant_type": {"password"}, "username": {a.user.name}, "password": {a.user.password}})
		if e.Class == ok {
			got := a.read(&e, body)
			if e.Wrong == "" && got.refresh.generation != 1 {
				e.Wrong = fmt.Sprintf("a session begins with generation %d", got.refresh.generation)
			}
			e.Grant = got.refresh.grant
			a.newest, a.access, a.spent = got.refresh, got.access, nil
		}
		a.st.journal.write(e)
		if e.Class == ok {
			return e.Wrong == ""
		}
		pause(ctx, a.chance.between(10*time.Millisecond, 60*time.Millisecond))
	}
	return false
}

// refresh shows the newest token once.
func (a *application) refresh() class {
	e, got := a.show(opRefresh, a.newest)
	a.st.journal.write(e)
	a.take(e, got)
	return e.Class
}

// twice is two tabs that share a token: both ask at once, and go on with what came.
func (a *application) twice() {
	var events [2]event
	var answers [2]pair
	var tabs sync.WaitGroup
	for i := range events {
		tabs.Go(func() { events[i], answers[i] = a.show(opRefresh, a.newest) })
	}
	tabs.Wait()
	shown := a.newest
	for i, e := range events {
		a.st.journal.write(e)
		if a.newest == shown {
			a.take(e, answers[i])
		}
	}
}

// replay shows a token whose successor was used: a thief does that. It must be
// refused, and then the session is over for everybody.
func (a *application) replay(ctx context.Context) {
	old := a.spent[a.chance.below(len(a.spent)-1)]
	for ctx.Err() == nil {
		e, got := a.show(opReplay, old)
		a.st.journal.write(e)
		if e.Class == ok { // already a violation; whoever holds this must not make another
			a.take(e, got)
			return
		}
		if e.Class == refused {
			break
		}
		a.rest(ctx)
	}
	a.bury(ctx)
}

// revoke ends the session, and looks whether it is over.
func (a *application) revoke(ctx context.Context) {
	for ctx.Err() == nil {
		e, _ := a.ask(opRevoke, "/oauth2/revoke", url.Values{"token": {a.newest.text}})
		e.Grant, e.Shown = a.newest.grant, a.newest.generation
		a.st.journal.write(e)
		if e.Class != unknown {
			break
		}
		a.rest(ctx)
	}
	a.bury(ctx)
}

// bury leaves a session that was ended, after a last look. Some are remembered for
// the end of the stage.
func (a *application) bury(ctx context.Context) {
	a.st.remember(a)
	if ctx.Err() == nil {
		a.introspect()
		a.refresh()
	}
	a.newest, a.access, a.spent = refresh{}, "", nil
}

func (a *application) introspect() {
	if a.access == "" {
		return
	}
	e, body := a.ask(opIntrospect, "/oauth2/introspect", url.Values{"token": {a.access}})
	e.Grant = a.newest.grant
	if e.Class == ok {
		var said struct {
			Active  *bool  `json:"active"`
			Subject string `json:"sub"`
			Client  string `json:"client_id"`
		}
		switch err := json.Unmarshal(body, &said); {
		case err != nil || said.Active == nil:
			e.Wrong = "200 without an answer"
		case *said.Active && (said.Subject != a.user.id || said.Client != a.client().id):
			e.Wrong = "somebody else's token is described"
		default:
			e.Active = *said.Active
		}
	}
	a.st.journal.write(e)
}

// verify holds the newest access token against the keys that each replica publishes.
func (a *application) verify() {
	if a.st.fault.habits.verify == 0 || a.access == "" {
		return
	}
	e := event{Begin: a.st.journal.now(), Op: opVerify, Grant: a.newest.grant}
	set, by, err := a.st.fetchKeys(context.Background())
	e.By = by
	switch {
	case err != nil:
		e.Class, e.Cause = unknown, cause(err)
	default:
		e.Class = ok
		if err := verify(a.access, set); err != nil {
			e.Wrong = err.Error()
		}
	}
	e.End = a.st.journal.now()
	a.st.journal.write(e)
}

// hangUp begins a renewal and goes away somewhere in its middle, then asks again.
func (a *application) hangUp(ctx context.Context) {
	to := a.st.replicas[a.chance.below(len(a.st.replicas))]
	e := event{Begin: a.st.journal.now(), Op: opRefresh, Class: unknown, Grant: a.newest.grant, Shown: a.newest.generation, By: to.name}
	e.Cause = a.leave(ctx, to.where())
	e.End = a.st.journal.now()
	a.st.journal.write(e)
}

// leave writes some bytes of a request and reads some of its answer.
func (a *application) leave(ctx context.Context, address string) (cause string) {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.newest.text}, "client_id": {a.st.web.id}, "client_secret": {a.st.web.secret}}.Encode()
	request := fmt.Sprintf("POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", len(form), form)
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return "no connection"
	}
	defer conn.Close()
	if a.chance.once(2) {
		_ = conn.(*net.TCPConn).SetLinger(0) // a reset instead of a farewell
	}
	a.st.injected.Add(1)
	if a.chance.once(2) {
		n := a.chance.below(len(request))
		_, _ = io.WriteString(conn, request[:n])
		return "hung up while asking"
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return "no connection"
	}
	_ = conn.SetReadDeadline(time.Now().Add(a.chance.between(0, 30*time.Millisecond)))
	_, _ = io.CopyN(io.Discard, conn, int64(a.chance.below(600)))
	return "hung up before the answer's end"
}

func (a *application) rest(ctx context.Context) {
	pause(ctx, a.chance.between(20*time.Millisecond, 120*time.Millisecond))
}

// pair is what the token endpoint gives.
type pair struct {
	access  string
	refresh refresh
}

func (a *application) show(what op, token refresh) (event, pair) {
	e, body := a.ask(what, "/oauth2/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.text}})
	e.Grant, e.Shown = token.grant, token.generation
	var got pair
	if e.Class == ok {
		got = a.read(&e, body)
		if e.Wrong == "" && got.refresh.grant != token.grant {
			e.Wrong = "a token of another session"
		}
	}
	return e, got
}

// take goes on with what an answer brought.
func (a *application) take(e event, got pair) {
	switch {
	case e.Class == ok && e.Wrong == "":
		a.spent = append(a.spent[max(0, len(a.spent)-8):], a.newest)
		a.newest, a.access = got.refresh, got.access
	case e.Class == refused || e.Wrong != "":
		a.newest, a.access, a.spent = refresh{}, "", nil // signs in again, as people must
	default:
		time.Sleep(a.chance.between(20*time.Millisecond, 120*time.Millisecond))
	}
}

// read takes a pair out of a 200, and looks whose it is.
func (a *application) read(e *event, body []byte) (got pair) {
	var said struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Seconds int    `json:"expires_in"`
	}
	if json.Unmarshal(body, &said) != nil || said.Access == "" || said.Seconds <= 0 {
		e.Wrong = "200 without tokens"
		return got
	}
	a.st.secret(said.Access, said.Refresh)
	token, err := readRefresh(said.Refresh)
	if err != nil {
		e.Wrong = "200 without a refresh token"
		return got
	}
	whose, err := readClaims(said.Access)
	if err != nil || whose.Subject != a.user.id || whose.Client != a.client().id {
		e.Wrong = "somebody else's access token"
	}
	e.Got, e.Token = token.generation, fingerprint(token.text)
	return pair{said.Access, token}
}

// ask sends one form through the front and says what is known afterwards.
func (a *application) ask(what op, path string, form url.Values) (event, []byte) {
	e := event{Op: what, Begin: a.st.journal.now()}
	body, err := a.post(&e, path, form)
	e.End = a.st.journal.now()
	if err != nil {
		e.Class, e.Cause = unknown, cause(err)
	}
	return e, body
}

func (a *application) client() credentials {
	if a.as != nil {
		return *a.as
	}
	return a.st.web
}

func (a *application) post(e *event, path string, form url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), a.st.patience())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+a.st.front.address+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	as := a.client()
	if path == "/oauth2/introspect" {
		as = a.st.api
	}
	request.SetBasicAuth(as.id, as.secret)
	body, _, err := a.send(e, request)
	return body, err
}

// send writes into e what is known of the answer.
func (a *application) send(e *event, request *http.Request) ([]byte, http.Header, error) {
	response, err := a.st.browser.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(bufio.NewReader(response.Body))
	if err != nil {
		return nil, nil, err
	}
	e.By = response.Header.Get(servedBy)
	if response.Header.Get(noAnswer) != "" {
		return nil, nil, errNobody
	}
	e.Status, e.Retry = response.StatusCode, response.Header.Get("Retry-After") != ""
	var said struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal(body, &said) // not every body is JSON
	e.Error = said.Error
	switch {
	case e.Status == http.StatusOK || e.Status == http.StatusSeeOther:
		e.Class = ok
	case e.Status >= 400 && e.Status < 500:
		e.Class = refused
	default:
		e.Class, e.Cause = unknown, fmt.Sprint(e.Status)
	}
	return body, response.Header, nil
}

var errNobody = errors.New("no replica answered")

func cause(err error) string {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, errNobody):
		return err.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		return timedOut
	}
	return "connection lost"
}

const timedOut = "timed out"
