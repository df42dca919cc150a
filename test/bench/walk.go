package main

import (
	"context"
	"errors"
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
			step: stepAround(high - low), jumps: jumps(i),
		}
	}
	return list
}

func (p *walk) share(i, clients int) (low, high int) {
	return i * p.of.count / clients, (i + 1) * p.of.count / clients
}

func (p *walk) id(i int) grants.ID { return grantID(p.of.first + uint64(i)) }

// stepAround is so long that laps around n places come to all of them, and to none near the
// last few: sessions that lie in one page are not renewed in one moment, as they are not in
// life.
func stepAround(n int) int {
	step := max(1, int(0.618*float64(n)))
	for gcd(step, n) > 1 {
		step++
	}
	return step
}

func gcd(a, b int) int {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}

type walker struct {
	*walk
	head      []byte
	low, high int
	at        int
	left      int
	step      int
	endless   bool
	jumps     jumps
	request   []byte
}

func (p *walker) next() []byte {
	switch {
	case p.endless:
		p.at = p.low + p.jumps.below(p.high-p.low)
	case p.left == 0:
		return nil
	default:
		p.left--
		n := p.high - p.low
		p.at = p.low + p.left%n*p.step%n
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

// jumps go to places that look chosen at random and are the same in every run: splitmix64.
type jumps uint64

func (j *jumps) below(n int) int {
	*j += 0x9e3779b97f4a7c15
	z := uint64(*j)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int((z ^ z>>31) % uint64(n))
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
		places := jumps(clients + i)
		list[i] = &bareCaller{conn: conn, text: text, state: "rotate", args: func() []any {
			at := low + places.below(high-low)
			p.generations[at]++
			return rotateArgs(p.id(at), int64(p.generations[at])-1, p.client, more)
		}}
	}
	return list, release, nil
}
