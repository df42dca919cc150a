package storage

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/grantorhq/grantor/grants"
)

// ending says which of a user's sign-ins and sessions end together, and why. It ends
// them inside a transaction, with the notices for the clients that want to know.
type ending struct {
	userID   string
	reason   grants.Reason
	at       time.Time
	browsers string // which sign-ins, as a condition on browsers; "" = none
	sessions string // which sessions, as a condition on grants
	args     []any  // of either condition
}

// all is everything that a user has.
func all(userID string, why grants.Reason, at time.Time) ending {
	return ending{userID: userID, reason: why, at: at, browsers: "1 = 1", sessions: "1 = 1"}
}

// others is everything but one sign-in and what began there.
func others(userID string, keep grants.ID, why grants.Reason, at time.Time) ending {
	return ending{userID: userID, reason: why, at: at, browsers: "id <> ?", sessions: "(sid IS NULL OR sid <> ?)", args: []any{idValue(keep)}}
}

// notOffline spares what a user allowed to go on without them (OpenID Connect Core
// section 11), but not a code: nobody has its tokens yet.
const notOffline = ` AND (generation = 0 OR replace(' ' || scope || ' ', ' offline_access ', '') = ' ' || scope || ' ')`

// end does it, and counts both. The sign-ins go first: a session that is being inserted
// for one of them holds its row (Begin), so that the update afterwards sees it.
func (s *Store) end(tx *gorm.DB, e ending) (sessions, browsers int64, err error) {
	left := map[grants.ID]bool{}
	if e.browsers != "" {
		args := append([]any{e.userID}, e.args...)
		err := each(tx, `DELETE FROM browsers WHERE user_id = ? AND `+e.browsers+` RETURNING id`, args, func(scan func(...any) error) error {
			var raw []byte
			if err := scan(&raw); err != nil {
				return err
			}
			id, err := scanID(raw)
			left[id] = true
			return err
		})
		if err != nil {
			return 0, 0, err
		}
	}
	partings := map[parting]bool{}
	args := append([]any{micros(e.at), string(e.reason), e.userID}, e.args...)
	const update = `UPDATE grants SET revoked_at = ?, revoked_reason = ? WHERE user_id = ? AND revoked_at IS NULL AND `
	err = each(tx, update+e.sessions+` RETURNING client_id, sid, generation`, args, func(scan func(...any) error) error {
		sessions++
		return part(scan, partings, nil)
	})
	if err != nil {
		return 0, 0, err
	}
	if len(left) > 0 {
		// Those that may go on offline, and those that ended before in some other way.
		const others = `SELECT client_id, sid, MAX(generation) FROM grants WHERE user_id = ? AND sid IS NOT NULL GROUP BY client_id, sid`
		err := each(tx, others, []any{e.userID}, func(scan func(...any) error) error { return part(scan, partings, left) })
		if err != nil {
			return 0, 0, err
		}
	}
	return sessions, int64(len(left)), s.fileNotices(tx, e, partings)
}

// parting is one client's part in one sign-in that is over.
type parting struct {
	clientID string
	browser  grants.ID
}

func (p parting) compare(other parting) int {
	return cmp.Or(strings.Compare(p.clientID, other.clientID), bytes.Compare(p.browser[:], other.browser[:]))
}

// mostPartings bounds the statements; it is far more than one user has.
const mostPartings = 1000

// part notes a parting: never of a code that nobody redeemed, whose client knows of no
// session, and of sign-ins in only, if that is not nil.
func part(scan func(...any) error, noted map[parting]bool, only map[grants.ID]bool) error {
	var p parting
	var raw []byte
	var generation int64
	if err := scan(&p.clientID, &raw, &generation); err != nil {
		return err
	}
	if generation == 0 || raw == nil || len(noted) == mostPartings {
		return nil
	}
	var err error
	if p.browser, err = scanID(raw); err == nil && (only == nil || only[p.browser]) {
		noted[p] = true
	}
	return err
}

// each runs a statement of a transaction and reads what it answers, to the end.
func each(tx *gorm.DB, query string, args []any, read func(scan func(...any) error) error) (err error) {
	rows, err := tx.Raw(query, args...).Rows()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := read(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// fileNotices files one for each client that is registered to be told.
func (s *Store) fileNotices(tx *gorm.DB, e ending, partings map[parting]bool) error {
	if len(partings) == 0 {
		return nil
	}
	wants, err := s.wantNotices(tx, partings)
	if err != nil {
		return err
	}
	var values strings.Builder
	var args []any
	// In one order always, or two endings of one user could wait for each other.
	for _, p := range slices.SortedFunc(maps.Keys(partings), parting.compare) {
		if !wants[p.clientID] {
			continue
		}
		id, err := grants.NewID(s.rand)
		if err != nil {
			return err
		}
		if len(args) > 0 {
			values.WriteString(", ")
		}
		values.WriteString("(?, ?, ?, ?, 0, ?, ?)")
		args = append(args, idValue(id), p.clientID, e.userID, idValue(p.browser), micros(e.at), micros(e.at))
	}
	if len(args) == 0 {
		return nil
	}
	return tx.Exec(fmt.Sprintf(insertNotices, values.String()), args...).Error
}

// wantNotices reads the registrations in the transaction, not from the cache: filling
// that could take a second connection while this one is held.
func (s *Store) wantNotices(tx *gorm.DB, partings map[parting]bool) (map[string]bool, error) {
	ids := make([]string, 0, len(partings))
	for p := range partings {
		ids = append(ids, p.clientID)
	}
	var rows []clientRow
	if err := tx.Where("id IN ? AND disabled_at IS NULL", grants.Distinct(ids)).Find(&rows).Error; err != nil {
		return nil, err
	}
	wants := make(map[string]bool, len(rows))
	for _, row := range rows {
		c, err := row.client(nil)
		if err != nil {
			// Nobody must stay signed in because one client's registration is broken.
			s.log.WarnContext(tx.Statement.Context, "client is not told of a sign-out", "client", row.ID, "error", err)
			continue
		}
		wants[row.ID] = c.BackchannelLogoutURI != ""
	}
	return wants, nil
}
