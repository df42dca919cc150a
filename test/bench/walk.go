package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"

	"github.com/grantorhq/grantor/grants"
)

// walk is sessions among which renewals jump about, so many that their tokens are made
// when they are needed: a token is a function of the session and how often it was
// renewed, and an answer that is not exactly the next one ends the run.
type walk struct {
	w           *world
	client      string
	of          span
	generations []uint32
}

func newWalk(w *world, client string, of span) *walk {
	p := &walk{w: w, client: client, of: of, generations: make([]uint32, of.count)}
	for i := range p.generations {
		p.generations[i] = 1
	}
	return p
}

// workers share the sessions out. They live through all steps. laps ends each worker
// after so many times all of its sessions; 0: it jumps about at random without an end.
func (p *walk) workers(clients, laps int) []worker {
	list := make([]worker, clients)
	form := post(tokenPath, p.w.clients[p.client].basic(), "grant_type=refresh_token&refresh_token="+p.w.codec.Mint(grants.Refresh, grants.ID{}, 1))
	head := form[:len(form)-len(p.w.codec.Mint(grants.Refresh, grants.ID{}, 1))]
	for i := range list {
		low, high := p.share(i, clients)
		list[i] = &walker{
			walk: p, head: head, low: low, high: high, left: laps * (high - low), endless: laps == 0,
			random: rand.New(rand.NewPCG(uint64(i), uint64(p.of.count))), // the same places in every run
		}
	}
	return list
}

func (p *walk) share(i, clients int) (low, high int) {
	return i * p.of.count / clients, (i + 1) * p.of.count / clients
}

func (p *walk) id(i int) grants.ID { return grantID(p.of.first + uint64(i)) }

type walker struct {
	*walk
	head      []byte
	low, high int
	at        int
	left      int
	endless   bool
	random    *rand.Rand
	request   []byte
}

func (p *walker) next() []byte {
	switch {
	case p.endless:
		p.at = p.low + p.random.IntN(p.high-p.low)
	case p.left == 0:
		return nil
	default:
		p.left--
		p.at = p.low + p.left%(p.high-p.low)
	}
	token := p.w.codec.Mint(grants.Refresh, p.id(p.at), int64(p.generations[p.at]))
	p.request = append(append(p.request[:0], p.head...), token...)
	return p.request
}

func (p *walker) check(status int, body []byte) error {
	if status != http.StatusOK {
		return unexpected(status, body)
	}
	if string(member(body, "refresh_token")) != p.w.codec.Mint(grants.Refresh, p.id(p.at), int64(p.generations[p.at])+1) {
		return errors.Join(errors.New("not the next token of the session"), unexpected(status, body))
	}
	p.generations[p.at]++
	return nil
}

// bareRotations are the same jumps for the statement alone.
func (p *walk) bareRotations(ctx context.Context, text string, clients int) ([]caller, func(), error) {
	list := make([]caller, clients)
	release := func() {
		for _, c := range list {
			if b, ok := c.(*bareCaller); ok {
				b.conn.Release()
			}
		}
	}
	more := extra("rotate", text)
	for i := range list {
		conn, err := p.w.pool.Acquire(ctx)
		if err != nil {
			release()
			return nil, nil, err
		}
		low, high := p.share(i, clients)
		random := rand.New(rand.NewPCG(uint64(i), uint64(p.of.count)+1))
		list[i] = &bareCaller{conn: conn, text: text, state: "rotate", args: func() []any {
			at := low + random.IntN(high-low)
			p.generations[at]++
			return rotateArgs(p.id(at), int64(p.generations[at])-1, p.client, more)
		}}
	}
	return list, release, nil
}
