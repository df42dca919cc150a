-- +goose Up

-- The comments are in postgres/0001_circle.sql; the tables are the same.
CREATE TABLE clients (
  id           TEXT    PRIMARY KEY,
  name         TEXT    NOT NULL,
  registration TEXT    NOT NULL,
  version      INTEGER NOT NULL,
  created_at   INTEGER NOT NULL,
  updated_at   INTEGER NOT NULL,
  disabled_at  INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE client_secrets (
  id           TEXT    NOT NULL,
  client_id    TEXT    NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
  hash         TEXT    NOT NULL,
  created_at   INTEGER NOT NULL,
  last_used_at INTEGER,
  expires_at   INTEGER,
  PRIMARY KEY (client_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
  id            TEXT    PRIMARY KEY,
  name          TEXT    NOT NULL,
  name_key      TEXT    NOT NULL UNIQUE,
  email         TEXT    NOT NULL,
  email_key     TEXT    NOT NULL,
  password_hash TEXT    NOT NULL,
  profile       TEXT    NOT NULL,
  created_at    INTEGER NOT NULL,
  updated_at    INTEGER NOT NULL,
  disabled_at   INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX users_email_key ON users (email_key) WHERE email_key <> '';

CREATE TABLE grants (
  id             BLOB    PRIMARY KEY,
  client_id      TEXT    NOT NULL,
  user_id        TEXT    NOT NULL,
  scope          TEXT    NOT NULL,
  audience       TEXT    NOT NULL,
  state          TEXT    NOT NULL,
  generation     INTEGER NOT NULL,
  redirect_uri   TEXT    NOT NULL,
  code_challenge TEXT    NOT NULL,
  dpop_jkt       TEXT    NOT NULL,
  created_at     INTEGER NOT NULL,
  rotated_at     INTEGER NOT NULL,
  expires_at     INTEGER NOT NULL,
  revoked_at     INTEGER,
  revoked_reason TEXT,
  created_from   TEXT    NOT NULL,
  rotated_from   TEXT    NOT NULL,
  details        TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX grants_user_id ON grants (user_id);
CREATE INDEX grants_client_id ON grants (client_id);
CREATE INDEX grants_expires_at ON grants (expires_at);

CREATE TABLE denied_tokens (
  jti        TEXT    PRIMARY KEY,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX denied_tokens_expires_at ON denied_tokens (expires_at);

CREATE TABLE signing_keys (
  id          TEXT    PRIMARY KEY,
  algorithm   TEXT    NOT NULL,
  ordinal     INTEGER NOT NULL,
  sealed      BLOB    NOT NULL,
  created_at  INTEGER NOT NULL,
  activate_at INTEGER,
  UNIQUE (algorithm, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE throttles (
  account  TEXT    PRIMARY KEY,
  failures INTEGER NOT NULL,
  tried_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX throttles_tried_at ON throttles (tried_at);

CREATE TABLE leases (
  name       TEXT    PRIMARY KEY,
  holder     TEXT    NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE revisions (
  noun     TEXT    PRIMARY KEY,
  revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO revisions (noun, revision) VALUES ('clients', 0), ('signing_keys', 0);

-- +goose StatementBegin
CREATE TRIGGER revise_clients_insert AFTER INSERT ON clients BEGIN
  UPDATE revisions SET revision = revision + 1 WHERE noun = 'clients'; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER revise_clients_update AFTER UPDATE ON clients BEGIN
  UPDATE revisions SET revision = revision + 1 WHERE noun = 'clients'; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER revise_clients_delete AFTER DELETE ON clients BEGIN
  UPDATE revisions SET revision = revision + 1 WHERE noun = 'clients'; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER revise_client_secrets_insert AFTER INSERT ON client_secrets BEGIN
  UPDATE revisions SET revision = revision + 1 WHERE noun = 'clients'; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER revise_client_secrets_update AFTER UPDATE OF hash, expires_at ON client_secrets BEGIN
  UPDATE revisions SET revision = revision + 1 WHERE noun = 'clients'; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER revise_client_secrets_delete AFTER DELETE ON client_secrets BEGIN
  UPDATE revisions SET revision = revision + 1 WHERE noun = 'clients'; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER revise_signing_keys_insert AFTER INSERT ON signing_keys BEGIN
  UPDATE revisions SET revision = revision + 1 WHERE noun = 'signing_keys'; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER revise_signing_keys_update AFTER UPDATE ON signing_keys BEGIN
  UPDATE revisions SET revision = revision + 1 WHERE noun = 'signing_keys'; END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER revise_signing_keys_delete AFTER DELETE ON signing_keys BEGIN
  UPDATE revisions SET revision = revision + 1 WHERE noun = 'signing_keys'; END;
-- +goose StatementEnd

-- +goose Down
DROP TABLE revisions;
DROP TABLE leases;
DROP TABLE throttles;
DROP TABLE signing_keys;
DROP TABLE denied_tokens;
DROP TABLE grants;
DROP TABLE users;
DROP TABLE client_secrets;
DROP TABLE clients;
