//go:build linux

package main

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// end of an account is one thing that an operator does while its sessions are begun,
// renewed and looked at. When the command is back, all of them are over.
type endOfAccount struct {
	client  credentials
	user    account
	command []string
}

// endAccount takes turns: a user is disabled, a user deleted, a client deleted.
func endAccount(ctx context.Context, st *stage) error {
	round := st.rounds.Add(1)
	doomed, err := st.doom(ctx, round)
	if err != nil {
		return err
	}
	st.injected.Add(1)
	var ended atomic.Int64 // when the command was back; 0: it is not
	var mu sync.Mutex
	var begun []*application
	var working sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		working.Go(func() {
			for over := false; !over; {
				select {
				case <-stop:
					over = true // once more, now that it is surely over
				default:
				}
				if a := doomed.begin(st, &ended); a != nil {
					mu.Lock()
					begun = append(begun, a)
					mu.Unlock()
					a.limbo(opRefresh)
					a.introspect()
				}
			}
		})
	}
	pause(ctx, st.chance.between(20*time.Millisecond, 80*time.Millisecond))
	began := st.journal.now()
	_, err = run(ctx, st.dir, st.env, st.world.binary, doomed.command...)
	ended.Store(st.journal.now())
	close(stop)
	working.Wait()
	if err != nil {
		return err
	}
	for _, a := range begun {
		// The row of a session that began beside the deletion of its client may stay live:
		// the client is asked for wherever a grant works (storage, Begin).
		st.journal.write(event{Op: opRevoke, Class: ok, Status: 200, Grant: a.newest.grant, Begin: began, End: ended.Load(), Doomed: doomed.command[0] == "client"})
		a.limbo(opRefresh)
		a.introspect()
	}
	return nil
}

// doom makes whom the round ends.
func (st *stage) doom(ctx context.Context, round int64) (d endOfAccount, err error) {
	name := fmt.Sprintf("doomed%d", round)
	if round%3 == 0 {
		d.user = st.users[0]
		d.client, err = newClient(ctx, st.dir, st.env, st.world.binary, name, "--grant", "password", "--grant", "refresh_token", "--scope", "openid orders")
		d.command = []string{"client", "delete", name}
		return d, err
	}
	d.client = st.web
	var said struct{ ID, Password string }
	err = read(&said)(run(ctx, st.dir, st.env, st.world.binary, "user", "create", name, "--json"))
	d.user = account{id: said.ID, name: name, password: said.Password}
	d.command = []string{"user", "disable", name}
	if round%3 == 1 {
		d.command[1] = "delete"
	}
	return d, err
}

// begin signs in, if it still can.
func (d endOfAccount) begin(st *stage, ended *atomic.Int64) *application {
	a := st.application(st.chance, d.user)
	a.as = &d.client
	over := ended.Load() != 0
	e, body := a.ask(opTry, "/oauth2/token", url.Values{"grant_type": {"password"}, "username": {d.user.name}, "password": {d.user.password}})
	if e.Class != ok {
		st.journal.write(e)
		return nil
	}
	got := a.read(&e, body)
	e.Grant = got.refresh.grant
	a.newest, a.access = got.refresh, got.access
	st.journal.write(e)
	if over {
		st.note(opReturn, "%s signed in at %s after its end", d.user.name, d.client.id)
	}
	return a
}

// limbo renews what may be over: any refusal is right, and an answer is not after the end.
func (a *application) limbo(what op) {
	e, got := a.show(what, a.newest)
	e.Doomed = true
	a.st.journal.write(e)
	if e.Class == ok && e.Wrong == "" {
		a.newest, a.access = got.refresh, got.access
	}
}
