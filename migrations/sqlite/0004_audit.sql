-- +goose Up

-- The comments are in postgres/0004_audit.sql; the tables and the events are the same. Here the
-- actor is written by a temporary trigger of the program that is connected (storage/audit.go),
-- because SQLite does not know who that is: '' is a program that has none.
CREATE TABLE audit_events (
  number    INTEGER PRIMARY KEY AUTOINCREMENT,
  at        INTEGER NOT NULL,
  event     TEXT    NOT NULL,
  actor     TEXT    NOT NULL,
  client_id TEXT    NOT NULL,
  user_id   TEXT    NOT NULL,
  session   BLOB    NOT NULL,
  address   TEXT    NOT NULL,
  detail    TEXT    NOT NULL
) STRICT;

CREATE TABLE audit_seals (
  number   INTEGER PRIMARY KEY,
  at       INTEGER NOT NULL,
  reached  INTEGER NOT NULL,
  events   TEXT    NOT NULL,
  waiting  TEXT    NOT NULL,
  digests  BLOB    NOT NULL,
  previous BLOB    NOT NULL,
  hash     BLOB    NOT NULL,
  key_id   TEXT    NOT NULL,
  mac      BLOB    NOT NULL
) STRICT;

ALTER TABLE grants ADD COLUMN revoked_from TEXT;
ALTER TABLE throttles ADD COLUMN failed_from TEXT NOT NULL DEFAULT '';
ALTER TABLE denied_tokens ADD COLUMN client_id TEXT NOT NULL DEFAULT '';

-- +goose StatementBegin
CREATE TRIGGER audit_login AFTER INSERT ON grants WHEN NEW.generation > 0 BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'session.begun', '', NEW.client_id, NEW.user_id, NEW.id, NEW.rotated_from, 'password: ' || NEW.scope);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_redemption AFTER UPDATE OF expires_at ON grants WHEN OLD.generation = 0 AND NEW.generation > 0 BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'session.begun', '', NEW.client_id, NEW.user_id, NEW.id, NEW.rotated_from, 'code: ' || NEW.scope);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_ended AFTER UPDATE OF revoked_at ON grants WHEN OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL AND NEW.generation > 0 AND NEW.revoked_reason IS NOT 'client_deleted' BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'session.ended', '', NEW.client_id, NEW.user_id, NEW.id, COALESCE(NEW.revoked_from, ''), COALESCE(NEW.revoked_reason, ''));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_revived AFTER UPDATE OF revoked_at ON grants WHEN OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS NULL BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'session.begun', '', NEW.client_id, NEW.user_id, NEW.id, NEW.rotated_from, 'revived: ' || NEW.scope);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_denied AFTER INSERT ON denied_tokens BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'access_token.revoked', '', NEW.client_id, '', x'', '', NEW.jti);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_browser_begun AFTER INSERT ON browsers BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'sign_in.begun', '', '', NEW.user_id, NEW.id, NEW.address, NEW.amr);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_browser_renewed AFTER UPDATE OF generation ON browsers BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'sign_in.renewed', '', '', NEW.user_id, NEW.id, NEW.address, NEW.amr);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_browser_ended AFTER DELETE ON browsers WHEN OLD.expires_at > CAST(unixepoch('subsec') * 1000000 AS INTEGER) BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'sign_in.ended', '', '', OLD.user_id, OLD.id, '', '');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_failed_first AFTER INSERT ON throttles WHEN substr(NEW.account, 1, 1) <> '@' BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), CASE WHEN NEW.failures < 10 THEN 'sign_in.failed' ELSE 'sign_in.throttled' END, '', '', CASE WHEN instr(NEW.account, '/') > 0 THEN substr(NEW.account, 1, instr(NEW.account, '/') - 1) ELSE NEW.account END, x'', NEW.failed_from, CAST(NEW.failures AS TEXT));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_failed_next AFTER UPDATE OF failures ON throttles WHEN substr(NEW.account, 1, 1) <> '@' BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), CASE WHEN NEW.failures < 10 THEN 'sign_in.failed' ELSE 'sign_in.throttled' END, '', '', CASE WHEN instr(NEW.account, '/') > 0 THEN substr(NEW.account, 1, instr(NEW.account, '/') - 1) ELSE NEW.account END, x'', NEW.failed_from, CAST(NEW.failures AS TEXT));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_address AFTER UPDATE OF failures ON throttles WHEN substr(NEW.account, 1, 1) = '@' AND NEW.failures = 100 BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'address.throttled', '', '', '', x'', substr(NEW.account, 2), CAST(NEW.failures AS TEXT));
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_consent_given AFTER INSERT ON consents BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'consent.given', '', NEW.client_id, NEW.user_id, x'', '', NEW.scope);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_consent_again AFTER UPDATE ON consents BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'consent.given', '', NEW.client_id, NEW.user_id, x'', '', NEW.scope);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_consent_withdrawn AFTER DELETE ON consents WHEN EXISTS (SELECT 1 FROM clients WHERE id = OLD.client_id) BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'consent.withdrawn', '', OLD.client_id, OLD.user_id, x'', '', OLD.scope);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_client_created AFTER INSERT ON clients BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'client.created', '', NEW.id, '', x'', '', NEW.registration);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_client_changed AFTER UPDATE ON clients BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'client.changed', '', NEW.id, '', x'', '', NEW.registration WHERE OLD.name <> NEW.name OR OLD.registration <> NEW.registration;
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER), CASE WHEN NEW.disabled_at IS NULL THEN 'client.enabled' ELSE 'client.disabled' END, '', NEW.id, '', x'', '', '' WHERE (OLD.disabled_at IS NULL) <> (NEW.disabled_at IS NULL);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_client_deleted AFTER DELETE ON clients BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'client.deleted', '', OLD.id, '', x'', '', OLD.name);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_secret_added AFTER INSERT ON client_secrets BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'client.secret_added', '', NEW.client_id, '', x'', '', NEW.id);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_secret_changed AFTER UPDATE OF hash, expires_at ON client_secrets WHEN OLD.hash <> NEW.hash OR OLD.expires_at IS NOT NEW.expires_at BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'client.secret_changed', '', NEW.client_id, '', x'', '', NEW.id);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_secret_removed AFTER DELETE ON client_secrets BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'client.secret_removed', '', OLD.client_id, '', x'', '', OLD.id);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_user_created AFTER INSERT ON users BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'user.created', '', '', NEW.id, x'', '', NEW.name);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_user_changed AFTER UPDATE ON users BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER), CASE WHEN OLD.updated_at = NEW.updated_at THEN 'user.password_rehashed' ELSE 'user.password_changed' END, '', '', NEW.id, x'', '', '' WHERE OLD.password_hash <> NEW.password_hash;
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'user.changed', '', '', NEW.id, x'', '', trim(CASE WHEN OLD.name <> NEW.name THEN 'name' ELSE '' END || CASE WHEN OLD.email <> NEW.email THEN ' email' ELSE '' END || CASE WHEN OLD.profile <> NEW.profile THEN ' profile' ELSE '' END) WHERE OLD.name <> NEW.name OR OLD.email <> NEW.email OR OLD.profile <> NEW.profile;
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER), CASE WHEN NEW.disabled_at IS NULL THEN 'user.enabled' ELSE 'user.disabled' END, '', '', NEW.id, x'', '', '' WHERE (OLD.disabled_at IS NULL) <> (NEW.disabled_at IS NULL);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_user_deleted AFTER DELETE ON users BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'user.deleted', '', '', OLD.id, x'', '', OLD.name);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_key_created AFTER INSERT ON signing_keys BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'key.created', '', '', '', x'', '', NEW.algorithm || ' ' || NEW.id);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_key_changed AFTER UPDATE ON signing_keys BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), CASE WHEN OLD.sealed <> NEW.sealed THEN 'key.sealed' ELSE 'key.planned' END, '', '', '', x'', '', NEW.algorithm || ' ' || NEW.id);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_key_deleted AFTER DELETE ON signing_keys BEGIN
  INSERT INTO audit_events (at, event, actor, client_id, user_id, session, address, detail)
  VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'key.deleted', '', '', '', x'', '', OLD.algorithm || ' ' || OLD.id);
END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER audit_login;
DROP TRIGGER audit_redemption;
DROP TRIGGER audit_ended;
DROP TRIGGER audit_revived;
DROP TRIGGER audit_denied;
DROP TRIGGER audit_browser_begun;
DROP TRIGGER audit_browser_renewed;
DROP TRIGGER audit_browser_ended;
DROP TRIGGER audit_failed_first;
DROP TRIGGER audit_failed_next;
DROP TRIGGER audit_address;
DROP TRIGGER audit_consent_given;
DROP TRIGGER audit_consent_again;
DROP TRIGGER audit_consent_withdrawn;
DROP TRIGGER audit_client_created;
DROP TRIGGER audit_client_changed;
DROP TRIGGER audit_client_deleted;
DROP TRIGGER audit_secret_added;
DROP TRIGGER audit_secret_changed;
DROP TRIGGER audit_secret_removed;
DROP TRIGGER audit_user_created;
DROP TRIGGER audit_user_changed;
DROP TRIGGER audit_user_deleted;
DROP TRIGGER audit_key_created;
DROP TRIGGER audit_key_changed;
DROP TRIGGER audit_key_deleted;
ALTER TABLE denied_tokens DROP COLUMN client_id;
ALTER TABLE throttles DROP COLUMN failed_from;
ALTER TABLE grants DROP COLUMN revoked_from;
DROP TABLE audit_seals;
DROP TABLE audit_events;
