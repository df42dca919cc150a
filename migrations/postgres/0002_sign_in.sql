-- +goose Up

-- The sign-in that a grant began from; NULL: none. It is written once. Redemption sets
-- expires_at, which an index holds: that one update, once a login, is not HOT.
ALTER TABLE grants ADD COLUMN sid bytea;

-- Who is signed in at one browser. Its cookie is a MAC over (id, generation), so that
-- nothing here lets anybody in. Inserted by the login page; signing in again as the same
-- user counts the generation up; deleted by signing out, by whatever ends all of a user's
-- sessions, and by housekeeping after expires_at.
CREATE TABLE browsers (
  id         bytea  PRIMARY KEY,           -- sid in ID tokens and logout tokens
  generation bigint NOT NULL,
  user_id    text   NOT NULL,
  auth_time  bigint NOT NULL,
  amr        text   NOT NULL,              -- RFC 8176, parted by blanks
  created_at bigint NOT NULL,
  expires_at bigint NOT NULL,
  user_agent text   NOT NULL,
  address    text   NOT NULL
);
CREATE INDEX browsers_user_id ON browsers (user_id);
CREATE INDEX browsers_expires_at ON browsers (expires_at);

-- What a user allowed a client, so that it is not asked again. Replaced by the next
-- consent, deleted by its user, and with either of the two.
CREATE TABLE consents (
  user_id    text   NOT NULL,
  client_id  text   NOT NULL,
  scope      text   NOT NULL,
  audience   text   NOT NULL,
  granted_at bigint NOT NULL,
  PRIMARY KEY (user_id, client_id)
);
CREATE INDEX consents_client_id ON consents (client_id);

-- Clients that are still to be told of a sign-out (OpenID Back-Channel Logout). Filed in
-- the transaction that ends the sign-in, claimed by one replica at a time, deleted when
-- told, or by housekeeping when it is too late.
CREATE TABLE logout_notices (
  id         bytea  PRIMARY KEY,
  client_id  text   NOT NULL,
  user_id    text   NOT NULL,
  sid        bytea  NOT NULL,
  attempts   bigint NOT NULL,
  created_at bigint NOT NULL,
  due_at     bigint NOT NULL,              -- not before; a claim pushes it
  UNIQUE (client_id, user_id, sid)
);
CREATE INDEX logout_notices_due_at ON logout_notices (due_at);
CREATE INDEX logout_notices_created_at ON logout_notices (created_at);

-- When an account or address last failed: what forgetting counts from. tried_at is when
-- the last turn was taken, by an attempt that may have succeeded.
ALTER TABLE throttles ADD COLUMN failed_at bigint NOT NULL DEFAULT 0;
UPDATE throttles SET failed_at = tried_at;

-- +goose Down
ALTER TABLE throttles DROP COLUMN failed_at;
DROP TABLE logout_notices, consents, browsers;
ALTER TABLE grants DROP COLUMN sid;
