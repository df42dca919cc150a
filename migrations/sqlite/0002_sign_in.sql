-- +goose Up

-- The comments are in postgres/0002_sign_in.sql; the tables are the same.
ALTER TABLE grants ADD COLUMN sid BLOB;

CREATE TABLE browsers (
  id         BLOB    PRIMARY KEY,
  generation INTEGER NOT NULL,
  user_id    TEXT    NOT NULL,
  auth_time  INTEGER NOT NULL,
  amr        TEXT    NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  user_agent TEXT    NOT NULL,
  address    TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX browsers_user_id ON browsers (user_id);
CREATE INDEX browsers_expires_at ON browsers (expires_at);

CREATE TABLE consents (
  user_id    TEXT    NOT NULL,
  client_id  TEXT    NOT NULL,
  scope      TEXT    NOT NULL,
  audience   TEXT    NOT NULL,
  granted_at INTEGER NOT NULL,
  PRIMARY KEY (user_id, client_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX consents_client_id ON consents (client_id);

CREATE TABLE logout_notices (
  id         BLOB    PRIMARY KEY,
  client_id  TEXT    NOT NULL,
  user_id    TEXT    NOT NULL,
  sid        BLOB    NOT NULL,
  attempts   INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  due_at     INTEGER NOT NULL,
  UNIQUE (client_id, user_id, sid)
) STRICT, WITHOUT ROWID;
CREATE INDEX logout_notices_due_at ON logout_notices (due_at);
CREATE INDEX logout_notices_created_at ON logout_notices (created_at);

ALTER TABLE throttles ADD COLUMN failed_at INTEGER NOT NULL DEFAULT 0;
UPDATE throttles SET failed_at = tried_at;

-- +goose Down
ALTER TABLE throttles DROP COLUMN failed_at;
DROP TABLE logout_notices;
DROP TABLE consents;
DROP TABLE browsers;
ALTER TABLE grants DROP COLUMN sid;
