//go:build linux

package main

import (
	"context"
	"database/sql"
	"encoding/hex"
	"os"
	"regexp"
	"sync"
	"time"
)

func (st *stage) descriptors() (list []int) {
	for _, r := range st.replicas {
		list = append(list, descriptors(r.pid()))
	}
	return list
}

// measure looks whether descriptors went back, when nobody asks any more. Connections
// to the database are kept on purpose, as many as the pool holds.
func (st *stage) measure(ctx context.Context, before []int) error {
	st.browser.CloseIdleConnections()
	st.front.carrier.CloseIdleConnections()
	const pool, slack = 18, 20
	var now []int
	err := st.until(ctx, 5*time.Second, "descriptors to be closed", func() bool {
		now = st.descriptors()
		for i := range now {
			if now[i] > before[i]+pool+slack {
				return false
			}
		}
		return true
	})
	if err != nil && ctx.Err() == nil {
		st.note(opMeasure, "%v descriptors, and %v when the load began", now, before)
	}
	return ctx.Err()
}

// afterwards stops the replicas, and looks at what they leave: rows and logs.
func (st *stage) afterwards(ctx context.Context, f *finding) error {
	var stopping sync.WaitGroup
	failed := make([]error, len(st.replicas))
	for i, r := range st.replicas {
		stopping.Go(func() { failed[i] = r.stop() })
	}
	stopping.Wait()
	for _, err := range failed {
		if err != nil {
			f.violate(honest, event{}, "%s", err)
		}
	}
	rows, err := st.rows(ctx)
	if err != nil {
		return err
	}
	f.audit(rows)
	for _, r := range st.replicas {
		if err := st.searchLog(r, f); err != nil {
			return err
		}
	}
	return nil
}

func (st *stage) rows(ctx context.Context) (list []row, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	db, err := sql.Open(st.kind, st.source())
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, "SELECT id, generation, revoked_at IS NOT NULL, COALESCE(revoked_reason, '') FROM grants")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id []byte
		var one row
		if err := rows.Scan(&id, &one.generation, &one.revoked, &one.reason); err != nil {
			return nil, err
		}
		one.id = hex.EncodeToString(id)
		list = append(list, one)
	}
	return list, rows.Err()
}

// word is what any secret here is made of.
var word = regexp.MustCompile(`[A-Za-z0-9._~-]{24,}`)

// trouble is not in an id: chance spells it now and then.
var trouble = regexp.MustCompile(`\bpanic\b|WARNING: DATA RACE`)

func (st *stage) searchLog(r *replica, f *finding) error {
	text, err := os.ReadFile(r.log())
	if err != nil {
		return err
	}
	for _, found := range word.FindAll(text, -1) {
		if st.secrets[string(found)] {
			f.violate(noSecrets, event{}, "a token is in the log of %s", r.name)
		}
	}
	if at := trouble.FindIndex(text); at != nil {
		f.violate(noSecrets, event{}, "in the log of %s: %s", r.name, text[at[0]:min(len(text), at[0]+2000)])
	}
	return nil
}
