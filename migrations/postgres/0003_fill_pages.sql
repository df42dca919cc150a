-- +goose Up

-- A tenth of each page is two versions of a row, and a renewal needs one: the one before it
-- is cleared when the page is next looked at. More than that was room that nobody used.
ALTER TABLE grants SET (fillfactor = 90);

-- +goose Down
ALTER TABLE grants SET (fillfactor = 80);
