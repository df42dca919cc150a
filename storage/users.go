package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/users"
)

type userRow struct {
	ID           string `gorm:"primaryKey"`
	Name         string
	NameKey      string
	Email        string
	EmailKey     string
	PasswordHash string
	Profile      string
	CreatedAt    int64 `gorm:"autoCreateTime:false"`
	UpdatedAt    int64 `gorm:"autoUpdateTime:false"`
	DisabledAt   *int64
}

func (userRow) TableName() string { return "users" }

// profile is a users.Profile as it is stored. A golden file pins the layout.
type profile struct {
	Version int `json:"v"`
	users.Profile
}

const profileVersion = 1

func encodeProfile(p users.Profile) (string, error) {
	text, err := json.Marshal(profile{Version: profileVersion, Profile: p})
	if err != nil {
		return "", fmt.Errorf("encode profile: %w", err)
	}
	return string(text), nil
}

func decodeProfile(userID, text string) (users.Profile, error) {
	var p profile
	if err := json.Unmarshal([]byte(text), &p); err != nil || p.Version != profileVersion {
		return users.Profile{}, fmt.Errorf("%w: profile of user %s can not be read (layout %d)", ErrUnavailable, userID, p.Version)
	}
	return p.Profile, nil
}

func toUserRow(u users.User, now time.Time) (userRow, error) {
	text, err := encodeProfile(u.Profile)
	return userRow{
		ID: u.ID, Name: u.Name, NameKey: users.NormalizeName(u.Name), Email: u.Email, EmailKey: users.NormalizeName(u.Email),
		PasswordHash: u.PasswordHash, Profile: text, CreatedAt: micros(now), UpdatedAt: micros(now), DisabledAt: optional(u.DisabledAt),
	}, err
}

func (row userRow) user() (users.User, error) {
	claims, err := decodeProfile(row.ID, row.Profile)
	return users.User{
		ID: row.ID, Name: row.Name, Email: row.Email, PasswordHash: row.PasswordHash, Profile: claims,
		CreatedAt: fromMicros(row.CreatedAt), UpdatedAt: fromMicros(row.UpdatedAt), DisabledAt: fromOptional(row.DisabledAt),
	}, err
}

// CreateUser stores a new account. It answers users.ErrExists when the name or the
// address is taken, in any spelling.
func (s *Store) CreateUser(ctx context.Context, u users.User) error {
	row, err := toUserRow(u, s.now())
	if err != nil {
		return err
	}
	err = s.unit(ctx, "create user", func(ctx context.Context) error {
		return s.write.WithContext(ctx).Create(&row).Error
	})
	if errors.Is(err, errDuplicate) {
		return fmt.Errorf("%w: %s", users.ErrExists, u.Name)
	}
	return err
}

// A name wins over somebody else's address that reads the same, and both over an id.
const selectUser = `SELECT id, name, email, password_hash, profile, created_at, updated_at, disabled_at FROM users
 WHERE name_key = $1 OR (email_key = $1 AND email_key <> '') OR id = $2
 ORDER BY CASE WHEN name_key = $1 THEN 0 WHEN email_key = $1 THEN 1 ELSE 2 END LIMIT 1`

// UserByLogin finds an account by name or address in any spelling, or by id. It
// answers users.ErrNotFound.
func (s *Store) UserByLogin(ctx context.Context, login string) (users.User, error) {
	if !storable(login) {
		return users.User{}, users.ErrNotFound
	}
	var row userRow
	found, err := s.one(ctx, s.read, "read user", selectUser, []any{users.NormalizeName(login), login},
		&row.ID, &row.Name, &row.Email, &row.PasswordHash, &row.Profile, &row.CreatedAt, &row.UpdatedAt, &row.DisabledAt)
	if err != nil {
		return users.User{}, err
	}
	if !found {
		return users.User{}, users.ErrNotFound
	}
	return row.user()
}

// Users lists all, by name.
func (s *Store) Users(ctx context.Context) ([]users.User, error) {
	var rows []userRow
	err := s.unit(ctx, "list users", func(ctx context.Context) error {
		rows = nil
		return s.read.WithContext(ctx).Order("name_key").Find(&rows).Error
	})
	if err != nil {
		return nil, err
	}
	list := make([]users.User, len(rows))
	for i, row := range rows {
		if list[i], err = row.user(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

const updateUser = `UPDATE users SET email = $3, email_key = $4, profile = $5, updated_at = $6 WHERE id = $1 AND updated_at = $2`

// UpdateUser writes the address and the profile, nothing else, over the account as
// it was read: UpdatedAt says when that was. It answers users.ErrConflict when
// somebody else was faster, users.ErrExists when the address is taken, and
// users.ErrNotFound.
func (s *Store) UpdateUser(ctx context.Context, u users.User) error {
	now := s.now()
	if !now.After(u.UpdatedAt) {
		now = u.UpdatedAt.Add(time.Microsecond) // so that two changes in one instant, or after the clock was set back, are told apart
	}
	row, err := toUserRow(u, now)
	if err != nil {
		return err
	}
	count, err := s.exec(ctx, "update user", updateUser, u.ID, micros(u.UpdatedAt), row.Email, row.EmailKey, row.Profile, row.UpdatedAt)
	if errors.Is(err, errDuplicate) {
		return fmt.Errorf("%w: %s", users.ErrExists, u.Email)
	}
	if err != nil || count == 1 {
		return err
	}
	return s.conflict(ctx, u.ID)
}

// laterUpdatedAt is the updated_at of a change: later than the one before, even if it was made
// in the same instant or the clock was set back. Whoever compares it sees every change.
const laterUpdatedAt = `CASE WHEN updated_at >= ? THEN updated_at + 1 ELSE ? END`

// SetPassword replaces the hash and, unless they may stay, ends the user's sign-ins and
// sessions in the same transaction. It answers users.ErrNotFound.
func (s *Store) SetPassword(ctx context.Context, userID, hash string, keepSessions bool) (ended int64, err error) {
	reason := grants.ReasonPasswordChanged
	if keepSessions {
		reason = ""
	}
	return s.changeUser(ctx, "set password", userID, reason, func(tx *gorm.DB) *gorm.DB {
		now := micros(s.now())
		return tx.Exec(`UPDATE users SET password_hash = ?, updated_at = `+laterUpdatedAt+` WHERE id = ?`, hash, now, now, userID)
	})
}

// ChangePassword replaces the hash of an account as it was when its owner's password was
// checked: its UpdatedAt was checked. All sign-ins and sessions end with it but the sign-in
// to keep, which is where the owner is, and what began there. It answers the account's new
// UpdatedAt, users.ErrConflict when somebody else was faster, and users.ErrNotFound.
func (s *Store) ChangePassword(ctx context.Context, userID, hash string, checked time.Time, keep grants.ID) (updatedAt time.Time, err error) {
	now := s.now()
	updatedAt = now.Truncate(time.Microsecond)
	if !updatedAt.After(checked) {
		updatedAt = checked.Add(time.Microsecond)
	}
	found := false
	err = s.transaction(ctx, "change password", func(tx *gorm.DB) error {
		result := tx.Exec(`UPDATE users SET password_hash = ?, updated_at = ? WHERE id = ? AND updated_at = ? AND disabled_at IS NULL`,
			hash, micros(updatedAt), userID, micros(checked))
		if found = result.RowsAffected == 1; result.Error != nil || !found {
			return result.Error
		}
		_, _, err := s.end(tx, others(userID, keep, grants.ReasonPasswordChanged, now))
		return err
	})
	if err != nil {
		return time.Time{}, err
	}
	if !found {
		return time.Time{}, s.conflict(ctx, userID)
	}
	return updatedAt, nil
}

// conflict is why a change of an account as it was read did not happen.
func (s *Store) conflict(ctx context.Context, userID string) error {
	var known int
	found, err := s.one(ctx, s.read, "read user", `SELECT 1 FROM users WHERE id = $1`, []any{userID}, &known)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%w: %s", users.ErrNotFound, userID)
	}
	return fmt.Errorf("%w: %s", users.ErrConflict, userID)
}

// upgradePassword replaces an outdated hash by a better one of the same password.
// Losing the race against another change is fine.
func (s *Store) upgradePassword(ctx context.Context, userID, from, to string) error {
	_, err := s.exec(ctx, "upgrade password", `UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2`, userID, from, to)
	return err
}

// DisableUser shuts an account: no sign-in, and nothing it allowed works, on any
// replica, from this statement on. Its sessions end for good.
func (s *Store) DisableUser(ctx context.Context, userID string) error {
	_, err := s.changeUser(ctx, "disable user", userID, grants.ReasonUserDisabled, func(tx *gorm.DB) *gorm.DB {
		now := micros(s.now())
		return tx.Exec(`UPDATE users SET disabled_at = COALESCE(disabled_at, ?), updated_at = `+laterUpdatedAt+` WHERE id = ?`, now, now, now, userID)
	})
	return err
}

// EnableUser lets an account sign in again; ended sessions stay ended. It answers
// users.ErrNotFound.
func (s *Store) EnableUser(ctx context.Context, userID string) error {
	// A program of before may have left a session that was dead only because of it.
	_, err := s.changeUser(ctx, "enable user", userID, grants.ReasonUserDisabled, func(tx *gorm.DB) *gorm.DB {
		now := micros(s.now())
		return tx.Exec(`UPDATE users SET disabled_at = NULL, updated_at = `+laterUpdatedAt+` WHERE id = ?`, now, now, userID)
	})
	return err
}

// DeleteUser ends the account's sessions and forgets it, and what it allowed. Ids are
// never used again.
func (s *Store) DeleteUser(ctx context.Context, userID string) (ended int64, err error) {
	return s.changeUser(ctx, "delete user", userID, grants.ReasonUserDisabled, func(tx *gorm.DB) *gorm.DB {
		result := tx.Where("id = ?", userID).Delete(&userRow{})
		if result.Error != nil {
			return result
		}
		if err := tx.Exec(`DELETE FROM consents WHERE user_id = ?`, userID).Error; err != nil {
			_ = result.AddError(err)
		}
		return result
	})
}

// changeUser changes one account and, for a reason, ends its sign-ins and sessions with
// it. The account is changed first: what is begun meanwhile holds its row (Store.share).
func (s *Store) changeUser(ctx context.Context, doing, userID string, reason grants.Reason, change func(*gorm.DB) *gorm.DB) (ended int64, err error) {
	found := false
	err = s.transaction(ctx, doing, func(tx *gorm.DB) error {
		result := change(tx)
		if found = result.RowsAffected > 0; result.Error != nil || !found || reason == "" {
			return result.Error
		}
		ended, _, err = s.end(tx, all(userID, reason, s.now()))
		return err
	})
	if err == nil && !found {
		return 0, fmt.Errorf("%w: %s", users.ErrNotFound, userID)
	}
	return ended, err
}
