package storage

import (
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/grantorhq/grantor/clients"
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

// end does it. The sign-ins go first: a session that is being inserted for one of them
// holds its row (Begin), so that the update afterwards sees it.
func (s *Store) end(tx *gorm.DB, e ending) (sessions, browsers int64, err error) {
	left := map[grants.ID]bool{}
	if e.browsers != "" {
		if left, err = deleteBrowsers(tx, e); err != nil {
			return 0, 0, err
		}
	}
	result := tx.Exec(`UPDATE grants SET revoked_at = ?, revoked_reason = ? WHERE user_id = ? AND revoked_at IS NULL AND `+e.sessions,
		append([]any{micros(e.at), string(e.reason), e.userID}, e.args...)...)
	if result.Error != nil {
		return 0, 0, result.Error
	}
	if len(left) == 0 && result.RowsAffected == 0 {
		return 0, 0, nil
	}
	return result.RowsAffected, int64(len(left)), s.fileNotices(tx, e, left)
}

func deleteBrowsers(tx *gorm.DB, e ending) (left map[grants.ID]bool, err error) {
	rows, err := tx.Raw(`DELETE FROM browsers WHERE user_id = ? AND `+e.browsers+` RETURNING id`, append([]any{e.userID}, e.args...)...).Rows()
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	left = map[grants.ID]bool{}
	for rows.Next() {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			return nil, err
		}
		id, err := scanID(raw)
		if err != nil {
			return nil, err
		}
		left[id] = true
	}
	return left, rows.Err()
}

// fileNotices files one for each client that had a session of a sign-in that ended, or
// whose session of a sign-in ended now, if it is registered to be told.
func (s *Store) fileNotices(tx *gorm.DB, e ending, left map[grants.ID]bool) error {
	list, err := partings(tx, e, left)
	if err != nil || len(list) == 0 {
		return err
	}
	wants, err := s.wantNotices(tx, list)
	if err != nil {
		return err
	}
	var values strings.Builder
	var args []any
	for _, p := range list {
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

// parting is one client's part in one sign-in that is over.
type parting struct {
	clientID string
	browser  grants.ID
}

// mostPartings bounds one statement; it is far more than one user has.
const mostPartings = 1000

func partings(tx *gorm.DB, e ending, left map[grants.ID]bool) (list []parting, err error) {
	// Never a code that nobody redeemed: its client knows of no session.
	rows, err := tx.Raw(`SELECT client_id, sid, MAX(CASE WHEN revoked_at = ? AND revoked_reason = ? THEN 1 ELSE 0 END)
 FROM grants WHERE user_id = ? AND sid IS NOT NULL AND generation > 0 GROUP BY client_id, sid ORDER BY MAX(created_at) DESC`,
		micros(e.at), string(e.reason), e.userID).Rows()
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var p parting
		var raw []byte
		var now int
		if err := rows.Scan(&p.clientID, &raw, &now); err != nil {
			return nil, err
		}
		if p.browser, err = scanID(raw); err != nil {
			return nil, err
		}
		if (now == 1 || left[p.browser]) && len(list) < mostPartings {
			list = append(list, p)
		}
	}
	return list, rows.Err()
}

// wantNotices reads the registrations in the transaction, not from the cache: filling
// that could take a second connection while this one is held.
func (s *Store) wantNotices(tx *gorm.DB, list []parting) (map[string]bool, error) {
	ids := make([]string, len(list))
	for i, p := range list {
		ids[i] = p.clientID
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
		wants[row.ID] = tellable(c)
	}
	return wants, nil
}

func tellable(c clients.Client) bool { return c.BackchannelLogoutURI != "" }
