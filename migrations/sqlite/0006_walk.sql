-- +goose Up

-- Housekeeping walks along the primary key, in which order the rows are.
DROP INDEX grants_expires_at;

-- +goose Down
CREATE INDEX grants_expires_at ON grants (expires_at);
