package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/grantorhq/grantor/clients"
	"github.com/grantorhq/grantor/grants"
)

type clientRow struct {
	ID           string `gorm:"primaryKey"`
	Name         string
	Registration string
	Version      int64
	CreatedAt    int64 `gorm:"autoCreateTime:false"`
	UpdatedAt    int64 `gorm:"autoUpdateTime:false"`
	DisabledAt   *int64
}

func (clientRow) TableName() string { return "clients" }

type secretRow struct {
	ID         string `gorm:"primaryKey"`
	ClientID   string `gorm:"primaryKey"`
	Hash       string
	CreatedAt  int64 `gorm:"autoCreateTime:false"`
	LastUsedAt *int64
	ExpiresAt  *int64
}

func (secretRow) TableName() string { return "client_secrets" }

// registration is what of a client nothing queries. Its version is 1; a golden file
// pins the layout, because rows outlive programs.
type registration struct {
	Version        int                `json:"v"`
	Public         bool               `json:"public,omitempty"`
	AuthMethod     clients.AuthMethod `json:"auth_method,omitempty"`
	Grants         []string           `json:"grants,omitempty"`
	RedirectURIs   []string           `json:"redirect_uris,omitempty"`
	Scope          []string           `json:"scope,omitempty"`
	Audience       []string           `json:"audience,omitempty"`
	FirstParty     bool               `json:"first_party,omitempty"`
	ResourceServer bool               `json:"resource_server,omitempty"`
	PKCE           clients.PKCE       `json:"pkce"`
	AccessToken    clients.Format     `json:"access_token"`
	AccessSeconds  int64              `json:"access_token_lifetime,omitempty"`
	RefreshSeconds int64              `json:"refresh_token_lifetime,omitempty"`
	SessionSeconds int64              `json:"session_lifetime,omitempty"`
	RefreshToken   clients.Delivery   `json:"refresh_token"`
	AllowedOrigins []string           `json:"allowed_origins,omitempty"`

	PostLogoutRedirectURIs []string `json:"post_logout_redirect_uris,omitempty"`
	BackchannelLogoutURI   string   `json:"backchannel_logout_uri,omitempty"`
	IDTokenAlg             string   `json:"id_token_signed_response_alg,omitempty"`
	UserinfoAlg            string   `json:"userinfo_signed_response_alg,omitempty"`
	ClientURI              string   `json:"client_uri,omitempty"`
	PolicyURI              string   `json:"policy_uri,omitempty"`
	TOSURI                 string   `json:"tos_uri,omitempty"`
}

const registrationVersion = 1

func toClientRow(c clients.Client) (clientRow, error) {
	text, err := json.Marshal(registration{
		Version: registrationVersion, Public: c.Public, AuthMethod: c.AuthMethod, Grants: c.Grants, RedirectURIs: c.RedirectURIs,
		Scope: c.Scope, Audience: c.Audience, FirstParty: c.FirstParty, ResourceServer: c.ResourceServer, PKCE: c.PKCE,
		AccessToken: c.AccessToken, AccessSeconds: int64(c.AccessTokenLifetime / time.Second),
		RefreshSeconds: int64(c.RefreshTokenLifetime / time.Second), SessionSeconds: int64(c.SessionLifetime / time.Second),
		RefreshToken: c.RefreshToken, AllowedOrigins: c.AllowedOrigins,
		PostLogoutRedirectURIs: c.PostLogoutRedirectURIs, BackchannelLogoutURI: c.BackchannelLogoutURI, IDTokenAlg: c.IDTokenAlg, UserinfoAlg: c.UserinfoAlg,
		ClientURI: c.ClientURI, PolicyURI: c.PolicyURI, TOSURI: c.TOSURI,
	})
	if err != nil {
		return clientRow{}, fmt.Errorf("encode registration: %w", err)
	}
	return clientRow{
		ID: c.ID, Name: c.Name, Registration: string(text), Version: c.Version,
		CreatedAt: micros(c.CreatedAt), UpdatedAt: micros(c.UpdatedAt), DisabledAt: optional(c.DisabledAt),
	}, nil
}

func (row clientRow) client(secrets []secretRow) (clients.Client, error) {
	var r registration
	if err := json.Unmarshal([]byte(row.Registration), &r); err != nil || r.Version != registrationVersion {
		return clients.Client{}, fmt.Errorf("%w: registration of client %q can not be read (layout %d): %w", ErrUnavailable, row.ID, r.Version, errors.Join(err))
	}
	c := clients.Client{
		ID: row.ID, Name: row.Name, Public: r.Public, AuthMethod: r.AuthMethod, Grants: r.Grants, RedirectURIs: r.RedirectURIs,
		Scope: r.Scope, Audience: r.Audience, FirstParty: r.FirstParty, ResourceServer: r.ResourceServer, PKCE: r.PKCE,
		AccessToken: r.AccessToken, AccessTokenLifetime: time.Duration(r.AccessSeconds) * time.Second,
		RefreshTokenLifetime: time.Duration(r.RefreshSeconds) * time.Second, SessionLifetime: time.Duration(r.SessionSeconds) * time.Second,
		RefreshToken: r.RefreshToken, AllowedOrigins: r.AllowedOrigins,
		PostLogoutRedirectURIs: r.PostLogoutRedirectURIs, BackchannelLogoutURI: r.BackchannelLogoutURI, IDTokenAlg: r.IDTokenAlg, UserinfoAlg: r.UserinfoAlg,
		ClientURI: r.ClientURI, PolicyURI: r.PolicyURI, TOSURI: r.TOSURI,
		CreatedAt: fromMicros(row.CreatedAt), UpdatedAt: fromMicros(row.UpdatedAt), DisabledAt: fromOptional(row.DisabledAt), Version: row.Version,
	}
	for _, s := range secrets {
		c.Secrets = append(c.Secrets, clients.Secret{
			ID: s.ID, Hash: s.Hash, CreatedAt: fromMicros(s.CreatedAt),
			LastUsedAt: fromOptional(s.LastUsedAt), ExpiresAt: fromOptional(s.ExpiresAt),
		})
	}
	return c, nil
}

func toSecretRows(id string, secrets []clients.Secret) []secretRow {
	rows := make([]secretRow, len(secrets))
	for i, s := range secrets {
		rows[i] = secretRow{
			ID: s.ID, ClientID: id, Hash: s.Hash, CreatedAt: micros(s.CreatedAt),
			LastUsedAt: optional(s.LastUsedAt), ExpiresAt: optional(s.ExpiresAt),
		}
	}
	return rows
}

// CreateClient registers a client that passed Check, with its secrets. It answers
// clients.ErrExists when the id is taken, by a client or by a user: the client's own
// tokens have it as their subject (RFC 9068 section 5).
func (s *Store) CreateClient(ctx context.Context, c clients.Client) error {
	defer s.clients.forget()
	c.CreatedAt = s.now()
	c.UpdatedAt, c.Version = c.CreatedAt, 1
	row, err := toClientRow(c)
	if err != nil {
		return err
	}
	users := int64(0)
	err = s.transaction(ctx, "create client", func(tx *gorm.DB) error {
		if err := tx.Raw(`SELECT count(*) FROM users WHERE id = ?`, c.ID).Scan(&users).Error; err != nil || users > 0 {
			return err
		}
		if err := tx.Create(&row).Error; err != nil {
			return err
		}
		if err := createSecrets(tx, c.ID, c.Secrets); err != nil {
			return err
		}
		// A login in the moment of DeleteClient may have left a session.
		return tx.Exec(endClientSessions, micros(c.CreatedAt), string(grants.ReasonClientDeleted), c.ID).Error
	})
	if err == nil && users > 0 {
		return fmt.Errorf("%w: a user has the id %s", clients.ErrExists, c.ID)
	}
	if errors.Is(err, errDuplicate) {
		return fmt.Errorf("%w: %s", clients.ErrExists, c.ID)
	}
	return err
}

func createSecrets(tx *gorm.DB, id string, secrets []clients.Secret) error {
	if len(secrets) == 0 {
		return nil
	}
	rows := toSecretRows(id, secrets)
	return tx.Create(&rows).Error
}

// Client reads one client from the database, not from the cache. It answers clients.ErrNotFound.
func (s *Store) Client(ctx context.Context, id string) (*clients.Client, error) {
	if !storable(id) {
		return nil, fmt.Errorf("%w: %q", clients.ErrNotFound, id)
	}
	var row clientRow
	var secrets []secretRow
	err := s.unit(ctx, "read client", func(ctx context.Context) error {
		db := s.read.WithContext(ctx)
		row, secrets = clientRow{}, nil
		if err := db.Where("id = ?", id).Limit(1).Find(&row).Error; err != nil || row.ID == "" {
			return err
		}
		return db.Where("client_id = ?", id).Order("created_at, id").Find(&secrets).Error
	})
	if err != nil {
		return nil, err
	}
	if row.ID == "" {
		return nil, fmt.Errorf("%w: %s", clients.ErrNotFound, id)
	}
	c, err := row.client(secrets)
	return &c, err
}

// Clients lists all, by id.
func (s *Store) Clients(ctx context.Context) ([]clients.Client, error) {
	var rows []clientRow
	var secrets []secretRow
	err := s.unit(ctx, "list clients", func(ctx context.Context) error {
		db := s.read.WithContext(ctx)
		rows, secrets = nil, nil
		if err := db.Order("id").Find(&rows).Error; err != nil {
			return err
		}
		return db.Order("client_id, created_at, id").Find(&secrets).Error
	})
	if err != nil {
		return nil, err
	}
	of := make(map[string][]secretRow, len(rows))
	for _, secret := range secrets {
		of[secret.ClientID] = append(of[secret.ClientID], secret)
	}
	list := make([]clients.Client, 0, len(rows))
	for _, row := range rows {
		c, err := row.client(of[row.ID])
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// UpdateClient writes the registration (not the secrets) over the version that was
// read. It answers clients.ErrConflict when somebody else was faster, and
// clients.ErrNotFound.
func (s *Store) UpdateClient(ctx context.Context, c clients.Client) error {
	c.UpdatedAt = s.now()
	row, err := toClientRow(c)
	if err != nil {
		return err
	}
	return s.changeClient(ctx, "update client", c.ID, c.Version, nil, map[string]any{
		"name": row.Name, "registration": row.Registration, "updated_at": row.UpdatedAt,
	})
}

// ReplaceSecrets writes the list of secrets over the version that was read. It
// answers clients.ErrConflict and clients.ErrNotFound.
func (s *Store) ReplaceSecrets(ctx context.Context, id string, version int64, secrets []clients.Secret) error {
	replace := func(tx *gorm.DB) error {
		// Those that stay are not written again: the audit log tells what was added and removed.
		kept := []string{""} // NOT IN () is no SQL
		for _, secret := range secrets {
			kept = append(kept, secret.ID)
		}
		if err := tx.Where("client_id = ? AND id NOT IN ?", id, kept).Delete(&secretRow{}).Error; err != nil {
			return err
		}
		return createSecrets(tx.Clauses(clause.OnConflict{
			Columns: []clause.Column{{Name: "client_id"}, {Name: "id"}}, DoUpdates: clause.AssignmentColumns([]string{"hash", "expires_at"}),
		}), id, secrets)
	}
	return s.changeClient(ctx, "replace secrets", id, version, replace, map[string]any{"updated_at": micros(s.now())})
}

// changeClient is the compare-and-set that every change of a client goes through.
func (s *Store) changeClient(ctx context.Context, doing, id string, version int64, also func(*gorm.DB) error, set map[string]any) error {
	defer s.clients.forget()
	set["version"] = gorm.Expr("version + 1")
	changed := int64(0)
	err := s.transaction(ctx, doing, func(tx *gorm.DB) error {
		result := tx.Model(&clientRow{}).Where("id = ? AND version = ?", id, version).Updates(set)
		if changed = result.RowsAffected; result.Error != nil || changed == 0 || also == nil {
			return result.Error
		}
		return also(tx)
	})
	if err != nil || changed == 1 {
		return err
	}
	if _, err := s.Client(ctx, id); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", clients.ErrConflict, id)
}

// DisableClient ends all that the client can do and all its tokens, until EnableClient.
func (s *Store) DisableClient(ctx context.Context, id string) error {
	now := s.now()
	return s.setClientDisabled(ctx, id, &now)
}

// EnableClient takes DisableClient back. It answers clients.ErrNotFound.
func (s *Store) EnableClient(ctx context.Context, id string) error {
	return s.setClientDisabled(ctx, id, nil)
}

func (s *Store) setClientDisabled(ctx context.Context, id string, at *time.Time) error {
	defer s.clients.forget()
	var disabled *int64
	if at != nil {
		disabled = optional(*at)
	}
	const sql = `UPDATE clients SET disabled_at = CASE WHEN CAST($2 AS bigint) IS NULL THEN NULL ELSE COALESCE(disabled_at, $2) END,
	version = version + 1, updated_at = $3 WHERE id = $1`
	changed, err := s.exec(ctx, "switch client", sql, id, disabled, micros(s.now()))
	if err == nil && changed == 0 {
		return fmt.Errorf("%w: %s", clients.ErrNotFound, id)
	}
	return err
}

const endClientSessions = `UPDATE grants SET revoked_at = ?, revoked_reason = ? WHERE client_id = ? AND revoked_at IS NULL`

// DeleteClient ends the client's sessions and forgets it. The sessions stay as
// ended rows, so that a client made later with the same id inherits none.
func (s *Store) DeleteClient(ctx context.Context, id string) (sessions int64, err error) {
	defer s.clients.forget()
	deleted := int64(0)
	err = s.transaction(ctx, "delete client", func(tx *gorm.DB) error {
		// The client goes first: a login that commits later finds no client to insert for.
		result := tx.Where("id = ?", id).Delete(&clientRow{})
		if deleted = result.RowsAffected; result.Error != nil || deleted == 0 {
			return result.Error
		}
		ended := tx.Exec(endClientSessions, micros(s.now()), string(grants.ReasonClientDeleted), id)
		if sessions = ended.RowsAffected; ended.Error != nil {
			return ended.Error
		}
		for _, table := range []string{"consents", "logout_notices"} {
			if err := tx.Exec("DELETE FROM "+table+" WHERE client_id = ?", id).Error; err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && deleted == 0 {
		return 0, fmt.Errorf("%w: %s", clients.ErrNotFound, id)
	}
	return sessions, err
}
