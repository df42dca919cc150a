package storage

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/grantorhq/grantor/audit"
	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/keys"
)

// AuditKeys are what seals of the audit log are made with: the first makes, all verify.
func AuditKeys(secrets *keys.Secrets) []audit.Key {
	var list []audit.Key
	for _, d := range secrets.Derive("audit log") {
		list = append(list, audit.Key{ID: fmt.Sprintf("%x", d.ID), Secret: d.Key})
	}
	return list
}

// Nearly all events are written by triggers, see migrations. record writes what those can
// not see, in the transaction that it reports.
func (s *Store) record(tx *gorm.DB, name, userID, address, detail string) error {
	return tx.Exec(`INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail) VALUES (?, ?, ?, '', ?, ?, ?, ?)`,
		micros(s.now()), name, s.actor, userID, []byte{}, address, detail).Error
}

const eventColumns = `number, at, event, actor, client_id, user_id, session, address, detail`

func scanEvent(rows *sql.Rows) (e audit.Event, err error) {
	var at int64
	err = rows.Scan(&e.Number, &at, &e.Name, &e.Actor, &e.ClientID, &e.UserID, &e.Session, &e.Address, &e.Detail)
	e.At = fromMicros(at)
	return e, err
}

// AuditFilter says which events to read. Empty fields do not restrict.
type AuditFilter struct {
	After        int64 // only later numbers
	Newest       bool  // the newest first; else the oldest
	Name         string
	UserID       string
	ClientID     string
	Session      grants.ID
	Address      string
	Since, Until time.Time // both included
}

func (f AuditFilter) wants(e audit.Event) bool {
	return (f.Name == "" || e.Name == f.Name || strings.HasPrefix(e.Name, f.Name+".")) &&
		(f.UserID == "" || e.UserID == f.UserID) && (f.ClientID == "" || e.ClientID == f.ClientID) &&
		(f.Session == grants.ID{} || string(e.Session) == string(f.Session[:])) && (f.Address == "" || e.Address == f.Address) &&
		(f.Since.IsZero() || !e.At.Before(f.Since)) && (f.Until.IsZero() || !e.At.After(f.Until))
}

// auditPage is how many events one statement reads, whatever it is looking for: the log has
// no index but its numbers, so that writing it costs little, and no statement takes long.
const auditPage = 2000

// disorder is how far the times of neighbours may be apart: they are the database's clock,
// and a number is older than its commit.
const disorder = time.Minute

// AuditEvents hands the events to read, until that answers false or an error.
func (s *Store) AuditEvents(ctx context.Context, f AuditFilter, read func(audit.Event) (bool, error)) error {
	query, edge := `SELECT `+eventColumns+` FROM audit_events WHERE number > $1 ORDER BY number LIMIT $2`, f.After
	if f.Newest {
		query, edge = `SELECT `+eventColumns+` FROM audit_events WHERE number < $1 ORDER BY number DESC LIMIT $2`, int64(1)<<62
	}
	for {
		list, err := many(ctx, s, s.read, "read audit log", query, []any{edge, auditPage}, scanEvent)
		if err != nil {
			return err
		}
		for _, e := range list {
			edge = e.Number
			if f.Newest && (e.Number <= f.After || !f.Since.IsZero() && e.At.Before(f.Since.Add(-disorder))) {
				return nil
			}
			if !f.wants(e) {
				continue
			}
			if more, err := read(e); err != nil || !more {
				return err
			}
		}
		if len(list) < auditPage {
			return nil
		}
	}
}

const sealColumns = `number, at, reached, events, waiting, digests, previous, hash, key_id, mac`

func scanSeal(rows *sql.Rows) (seal audit.Seal, err error) {
	var at int64
	var events, waiting string
	var previous, hash []byte
	if err := rows.Scan(&seal.Number, &at, &seal.Reached, &events, &waiting, &seal.Digests, &previous, &hash, &seal.KeyID, &seal.MAC); err != nil {
		return seal, err
	}
	seal.At = fromMicros(at)
	// What can not be read was not written by us: it is left out, and the hash does not fit.
	_ = json.Unmarshal([]byte(events), &seal.Events)
	_ = json.Unmarshal([]byte(waiting), &seal.Waiting)
	copy(seal.Previous[:], previous)
	copy(seal.Hash[:], hash)
	return seal, nil
}

func (s *Store) seals(ctx context.Context, rest string, args ...any) ([]audit.Seal, error) {
	return many(ctx, s, s.read, "read audit seals", `SELECT `+sealColumns+` FROM audit_seals `+rest, args, scanSeal)
}

// of is a condition for what a seal waits for, and for its own.
func of(ranges []audit.Range) string {
	var text strings.Builder
	for _, r := range ranges {
		fmt.Fprintf(&text, " OR number BETWEEN %d AND %d", r.From, r.To)
	}
	return text.String()
}

const insertSeal = `INSERT INTO audit_seals (` + sealColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`

// SealAudit seals what is not sealed yet, up to audit.MostEvents events, and counts them.
// Of several replicas that do so at once one succeeds, and the others count none.
func (s *Store) SealAudit(ctx context.Context, key audit.Key) (seal audit.Seal, sealed int, err error) {
	newest, err := s.seals(ctx, `ORDER BY number DESC LIMIT 1`)
	if err != nil {
		return audit.Seal{}, 0, err
	}
	var last audit.Seal
	if len(newest) > 0 {
		last = newest[0]
	}
	if err := s.knows(last, key); err != nil {
		return audit.Seal{}, 0, err
	}
	events, err := s.unsealed(ctx, last)
	if err != nil || len(events) == 0 {
		return last, 0, err
	}
	seal = audit.Next(last, events, s.now().Truncate(time.Microsecond), key)
	owned, waiting := seal.Lists()
	changed, err := s.exec(ctx, "seal audit log", insertSeal, seal.Number, micros(seal.At), seal.Reached, owned, waiting, seal.Digests,
		seal.Previous[:], seal.Hash[:], seal.KeyID, seal.MAC)
	if err != nil || changed == 0 {
		return audit.Seal{}, 0, err
	}
	return seal, len(events), s.knows(seal, key)
}

// ErrAuditCut: the last seal is not the one that this store saw or made before, or not by
// the server secret that it names. What follows must not be sealed: that would vouch for it.
var ErrAuditCut = errors.New("the end of the audit log was cut off or replaced")

// knows takes note of the newest seal, which is never pruned.
func (s *Store) knows(newest audit.Seal, key audit.Key) error {
	s.auditMu.Lock()
	defer s.auditMu.Unlock()
	head := s.auditHead
	if newest.Number < head.Number || newest.Number == head.Number && newest.Hash != head.Hash || newest.Number > 0 && newest.KeyID == key.ID && !newest.By(key) {
		return fmt.Errorf("%w: seal %d was the last one, and it is %d", ErrAuditCut, head.Number, newest.Number)
	}
	s.auditHead = newest
	return nil
}

// unsealed are the events that the last seal waits for, and those after what it reached. Two
// statements: SQLite would look through all of the log for an OR.
func (s *Store) unsealed(ctx context.Context, last audit.Seal) (list []audit.Event, err error) {
	if waits := waitsOf(last); len(waits) > 0 {
		list, err = many(ctx, s, s.read, "read audit log",
			`SELECT `+eventColumns+` FROM audit_events WHERE number >= $1 AND number <= $2 AND (1 = 0`+of(waits)+`) ORDER BY number LIMIT $3`,
			[]any{waits[0].From, last.Reached, audit.MostEvents}, scanEvent)
		if err != nil {
			return nil, err
		}
	}
	more, err := many(ctx, s, s.read, "read audit log", `SELECT `+eventColumns+` FROM audit_events WHERE number > $1 ORDER BY number LIMIT $2`,
		[]any{last.Reached, audit.MostEvents - len(list)}, scanEvent)
	return append(list, more...), err
}

// waitsOf are in the order of their numbers.
func waitsOf(seal audit.Seal) []audit.Range {
	waits := make([]audit.Range, 0, len(seal.Waiting))
	for _, w := range seal.Waiting {
		waits = append(waits, w.Range)
	}
	slices.SortFunc(waits, func(a, b audit.Range) int { return cmp.Compare(a.From, b.From) })
	return waits
}

// sealPage is how many seals are read at once: of a busy server they hold 20,000 events.
const sealPage = 20

// VerifyAudit reads the whole chain, and once more when it was pruned meanwhile.
func (s *Store) VerifyAudit(ctx context.Context, v *audit.Verifier) (report audit.Report, err error) {
	const first = `ORDER BY number LIMIT 1`
	for range 3 {
		before, err := s.seals(ctx, first)
		if err != nil {
			return audit.Report{}, err
		}
		again := *v
		if report, err = s.verifyAudit(ctx, &again); err != nil {
			return audit.Report{}, err
		}
		after, err := s.seals(ctx, first)
		if err != nil {
			return audit.Report{}, err
		}
		if len(before) == len(after) && (len(before) == 0 || before[0].Number == after[0].Number) {
			break
		}
	}
	return report, nil
}

func (s *Store) verifyAudit(ctx context.Context, v *audit.Verifier) (audit.Report, error) {
	reached, number := int64(math.MinInt64), int64(0)
	for {
		list, err := s.seals(ctx, `WHERE number > $1 ORDER BY number LIMIT $2`, number, sealPage)
		if err != nil {
			return audit.Report{}, err
		}
		for _, seal := range list {
			events, err := s.sealedEvents(ctx, reached, seal)
			if err != nil {
				return audit.Report{}, err
			}
			v.Seal(seal, events)
			number, reached = seal.Number, max(reached, seal.Reached)
		}
		if len(list) < sealPage {
			break
		}
	}
	err := s.AuditEvents(ctx, AuditFilter{After: reached}, func(e audit.Event) (bool, error) {
		v.Unsealed([]audit.Event{e})
		return true, nil
	})
	if err != nil {
		return audit.Report{}, err
	}
	return v.End(), nil
}

// sealedEvents are a seal's own, and what else there is above what was reached before it.
func (s *Store) sealedEvents(ctx context.Context, reached int64, seal audit.Seal) (list []audit.Event, err error) {
	late := make([]audit.Range, 0, 1)
	for _, r := range seal.Events {
		if r.From <= reached {
			late = append(late, audit.Range{From: r.From, To: min(r.To, reached)})
		}
	}
	edge := reached // a bound that is no lower than it must be: SQLite begins to look there
	for _, r := range late {
		edge = min(edge, r.From-1)
	}
	for {
		page, err := many(ctx, s, s.read, "read audit log",
			`SELECT `+eventColumns+` FROM audit_events WHERE number > $1 AND (number > $2 AND number <= $3`+of(late)+`) ORDER BY number LIMIT $4`,
			[]any{edge, reached, seal.Reached, auditPage}, scanEvent)
		if err != nil {
			return nil, err
		}
		if list = append(list, page...); len(page) < auditPage {
			return list, nil
		}
		edge = page[len(page)-1].Number
		if len(list) > mostStrays {
			return nil, fmt.Errorf("seal %d: more than %d events that no seal has", seal.Number, mostStrays)
		}
	}
}

// mostStrays bounds what one seal is read with.
const mostStrays = 1_000_000

var errPruned = errors.New("somebody else deleted them")

// PruneAudit deletes events that were sealed before, and their seals, a few thousand events
// at a time. In the same transaction it reports that, so that the chain can be verified from
// where it begins then. It counts events.
func (s *Store) PruneAudit(ctx context.Context, before time.Time, key audit.Key) (total int64, err error) {
	for ctx.Err() == nil {
		// Never the last one: the next is made from it.
		old, err := s.seals(ctx, `WHERE at < $1 AND number < (SELECT max(number) FROM audit_seals) ORDER BY number LIMIT $2`, micros(before), sealPage)
		if err != nil {
			return total, err
		}
		chosen, events := -1, 0
		for i, seal := range old {
			if events += seal.Size(); events > 4*audit.MostEvents {
				break
			}
			chosen = i
		}
		if chosen < 0 {
			return total, nil
		}
		deleted, err := s.prune(ctx, old[chosen], chosen+1, key)
		total += deleted
		if err != nil {
			return total, err
		}
	}
	return total, ctx.Err()
}

func (s *Store) prune(ctx context.Context, upTo audit.Seal, seals int, key audit.Key) (deleted int64, err error) {
	detail, err := audit.Prune(upTo, key)
	if err != nil {
		return 0, err
	}
	err = s.transaction(ctx, "prune audit log", func(tx *gorm.DB) error {
		gone := tx.Exec(`DELETE FROM audit_seals WHERE number <= ?`, upTo.Number)
		if gone.Error != nil {
			return gone.Error
		}
		if gone.RowsAffected != int64(seals) {
			return errPruned
		}
		// What it waited for belongs to a later seal, if it came.
		gone = tx.Exec(`DELETE FROM audit_events WHERE number <= ? AND NOT (1 = 0`+of(waitsOf(upTo))+`)`, upTo.Reached)
		if deleted = gone.RowsAffected; gone.Error != nil {
			return gone.Error
		}
		return s.record(tx, audit.EventPruned, "", "", detail)
	})
	if errors.Is(err, errPruned) {
		return 0, nil
	}
	return deleted, err
}
