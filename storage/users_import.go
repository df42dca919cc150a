package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/users"
)

// ImportError says which of the users of an import could not be stored.
type ImportError struct {
	Index int
	Err   error // wraps users.ErrExists
}

func (e *ImportError) Error() string { return fmt.Sprintf("user %d of the import: %v", e.Index, e.Err) }

// Unwrap gives the reason.
func (e *ImportError) Unwrap() error { return e.Err }

// importBatch is the number of rows that one statement inserts: ten parameters each,
// and SQLite takes 32766.
const importBatch = 500

// errRehearsed takes back an import that was only tried.
var errRehearsed = errors.New("the import was only tried")

// ImportUsers stores all of the accounts, or none, in one transaction. It answers
// *ImportError, for the first account of the list whose id, name or address is taken:
// by an account, by another of the list, or, for an id, by a client, whose own tokens
// have that subject (RFC 9068 section 5).
//
// Each statement has the deadline of every statement, the whole of them as many as
// there are batches: SQLite's other writers wait meanwhile.
func (s *Store) ImportUsers(ctx context.Context, list []users.User) error {
	return s.importUsers(ctx, list, nil)
}

// RehearseImport answers what ImportUsers would, and changes nothing.
func (s *Store) RehearseImport(ctx context.Context, list []users.User) error {
	err := s.importUsers(ctx, list, errRehearsed)
	if errors.Is(err, errRehearsed) {
		return nil
	}
	return err
}

func (s *Store) importUsers(ctx context.Context, list []users.User, finally error) error {
	now := s.now()
	rows := make([]userRow, len(list))
	for i, u := range list {
		var err error
		if rows[i], err = toUserRow(u, now); err != nil {
			return &ImportError{Index: i, Err: err}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout*time.Duration(2+len(rows)/importBatch)) // beginning and committing count too
	defer cancel()
	// What is no failure of the database leaves the transaction beside it.
	var refused error
	err := s.retry(ctx, "import users", func(ctx context.Context) error {
		refused = nil
		return s.write.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			for start := 0; start < len(rows) && refused == nil; start += importBatch {
				var err error
				if refused, err = s.importRows(ctx, tx, rows[start:min(start+importBatch, len(rows))], start, now); err != nil {
					return err
				}
			}
			if refused == nil {
				refused = finally
			}
			return refused
		})
	})
	if refused != nil {
		return refused
	}
	return err
}

// importRows inserts one batch. refused is what is wrong with the list itself.
func (s *Store) importRows(ctx context.Context, tx *gorm.DB, rows []userRow, first int, now time.Time) (refused, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var args, ids []any
	var values, marks strings.Builder
	for i, row := range rows {
		if i > 0 {
			values.WriteString(", ")
			marks.WriteString(", ")
		}
		values.WriteString("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
		marks.WriteString("?")
		args = append(args, row.ID, row.Name, row.NameKey, row.Email, row.EmailKey, row.PasswordHash, row.Profile, row.CreatedAt, row.UpdatedAt, row.DisabledAt)
		ids = append(ids, row.ID)
	}
	// A failed insert would not say which row it was. This one answers those that it took.
	var took, clients []string
	insert := `INSERT INTO users (id, name, name_key, email, email_key, password_hash, profile, created_at, updated_at, disabled_at) VALUES ` +
		values.String() + ` ON CONFLICT DO NOTHING RETURNING id`
	tx = tx.WithContext(ctx)
	if err := tx.Raw(insert, args...).Scan(&took).Error; err != nil {
		return nil, err
	}
	if err := tx.Raw(`SELECT id FROM clients WHERE id IN (`+marks.String()+`)`, ids...).Scan(&clients).Error; err != nil {
		return nil, err
	}
	stored, isClient := set(took), set(clients)
	for i, row := range rows {
		if isClient[row.ID] {
			return &ImportError{Index: first + i, Err: fmt.Errorf("%w: a client has the id", users.ErrExists)}, nil
		}
		if !stored[row.ID] {
			return &ImportError{Index: first + i, Err: fmt.Errorf("%w: its id, name or e-mail address is taken", users.ErrExists)}, nil
		}
		delete(stored, row.ID) // the same id once more is another row
	}
	// A login in the moment of DeleteUser may have left a session to an id that comes back.
	end := `UPDATE grants SET revoked_at = ?, revoked_reason = ? WHERE revoked_at IS NULL AND user_id IN (` + marks.String() + `)`
	return nil, tx.Exec(end, append([]any{micros(now), string(grants.ReasonUserDisabled)}, ids...)...).Error
}

func set(list []string) map[string]bool {
	members := make(map[string]bool, len(list))
	for _, text := range list {
		members[text] = true
	}
	return members
}
