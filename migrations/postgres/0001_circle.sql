-- +goose Up

-- Made and changed by administrators, read through a cache that `revisions` keeps honest.
CREATE TABLE clients (
  id           text   PRIMARY KEY,
  name         text   NOT NULL,
  registration text   NOT NULL,            -- JSON, versioned: what nothing queries
  version      bigint NOT NULL,            -- counts changes: updates compare it
  created_at   bigint NOT NULL,            -- every time in this schema is Unix microseconds
  updated_at   bigint NOT NULL,
  disabled_at  bigint
);

-- At most two live ones a client. last_used_at is written in the background.
CREATE TABLE client_secrets (
  id           text   NOT NULL,
  client_id    text   NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
  hash         text   NOT NULL,
  created_at   bigint NOT NULL,
  last_used_at bigint,
  expires_at   bigint,
  PRIMARY KEY (client_id, id)
);

-- Made and changed by administrators and by their owners. Never cached.
CREATE TABLE users (
  id            text   PRIMARY KEY,        -- the subject of tokens
  name          text   NOT NULL,
  name_key      text   NOT NULL UNIQUE,    -- normalised
  email         text   NOT NULL,           -- '' = none
  email_key     text   NOT NULL,
  password_hash text   NOT NULL,           -- '' = none
  profile       text   NOT NULL,           -- JSON, versioned: claims that nothing queries
  created_at    bigint NOT NULL,
  updated_at    bigint NOT NULL,
  disabled_at   bigint
);
CREATE UNIQUE INDEX users_email_key ON users (email_key) WHERE email_key <> '';

-- One login is one row. Inserted by the authorization or password grant, updated in place by
-- redemption and renewal (no index holds a column that these change: HOT), ended by an update,
-- deleted by housekeeping after expires_at. No token, and no hash of one, is ever here.
CREATE TABLE grants (
  id             bytea  PRIMARY KEY,
  client_id      text   NOT NULL,
  user_id        text   NOT NULL,
  scope          text   NOT NULL,
  audience       text   NOT NULL,
  state          text   NOT NULL,
  generation     bigint NOT NULL,
  redirect_uri   text   NOT NULL,          -- '' = none, like the next two
  code_challenge text   NOT NULL,
  dpop_jkt       text   NOT NULL,
  created_at     bigint NOT NULL,
  rotated_at     bigint NOT NULL,
  expires_at     bigint NOT NULL,
  revoked_at     bigint,
  revoked_reason text,
  created_from   text   NOT NULL,
  rotated_from   text   NOT NULL,
  details        text   NOT NULL           -- JSON, versioned
) WITH (fillfactor = 80);
CREATE INDEX grants_user_id ON grants (user_id);
CREATE INDEX grants_client_id ON grants (client_id);
CREATE INDEX grants_expires_at ON grants (expires_at);

-- Access tokens revoked one by one (RFC 7009), until they would have expired.
CREATE TABLE denied_tokens (
  jti        text   PRIMARY KEY,
  expires_at bigint NOT NULL
);
CREATE INDEX denied_tokens_expires_at ON denied_tokens (expires_at);

-- (algorithm, ordinal) makes the first start and each rotation a compare-and-set.
CREATE TABLE signing_keys (
  id          text   PRIMARY KEY,          -- RFC 7638 thumbprint
  algorithm   text   NOT NULL,
  ordinal     bigint NOT NULL,
  sealed      bytea  NOT NULL,             -- PKCS #8 under a server secret
  created_at  bigint NOT NULL,
  activate_at bigint,                      -- NULL: published, not planned
  UNIQUE (algorithm, ordinal)
);

-- Wrong passwords of one account, or of one name that is nobody's, until they are forgotten.
-- A row is there only after a failure; signing in deletes it.
CREATE TABLE throttles (
  account  text   PRIMARY KEY,             -- a user's id, or '?' and a hash of the name
  failures bigint NOT NULL,                -- in a row
  tried_at bigint NOT NULL
);
CREATE INDEX throttles_tried_at ON throttles (tried_at);

-- Which replica does the housekeeping.
CREATE TABLE leases (
  name       text   PRIMARY KEY,
  holder     text   NOT NULL,
  expires_at bigint NOT NULL
);

-- What replicas watch: any writer bumps it, by trigger.
CREATE TABLE revisions (
  noun     text   PRIMARY KEY,
  revision bigint NOT NULL
);
INSERT INTO revisions (noun, revision) VALUES ('clients', 0), ('signing_keys', 0);

-- +goose StatementBegin
CREATE FUNCTION grantor_revise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE revisions SET revision = revision + 1 WHERE noun = TG_ARGV[0];
  PERFORM pg_notify('grantor_revised', TG_ARGV[0]);
  RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER revise_clients AFTER INSERT OR UPDATE OR DELETE ON clients
  FOR EACH STATEMENT EXECUTE FUNCTION grantor_revise('clients');
CREATE TRIGGER revise_client_secrets AFTER INSERT OR UPDATE OF hash, expires_at OR DELETE ON client_secrets
  FOR EACH STATEMENT EXECUTE FUNCTION grantor_revise('clients');
CREATE TRIGGER revise_signing_keys AFTER INSERT OR UPDATE OR DELETE ON signing_keys
  FOR EACH STATEMENT EXECUTE FUNCTION grantor_revise('signing_keys');

-- +goose Down
DROP TABLE revisions, leases, throttles, signing_keys, denied_tokens, grants, users, client_secrets, clients;
DROP FUNCTION grantor_revise();
