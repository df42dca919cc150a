-- +goose Up

-- Whoever reads grants for long must not hold up all renewals behind this: it fails, and is
-- tried again.
SET LOCAL lock_timeout = '3s';

-- Housekeeping walks along the primary key (docs/decisions/0026). Without this index
-- redemption is a HOT update, too.
DROP INDEX grants_expires_at;

-- Room for one more version of a long row in each page, and for two of most.
ALTER TABLE grants SET (fillfactor = 93);

-- +goose Down
SET LOCAL lock_timeout = '3s';
ALTER TABLE grants SET (fillfactor = 90);
CREATE INDEX grants_expires_at ON grants (expires_at);
