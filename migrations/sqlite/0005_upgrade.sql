-- +goose Up

-- The comments are in postgres/0005_upgrade.sql; the table is the same.
CREATE TABLE compatibility (least INTEGER NOT NULL) STRICT;
INSERT INTO compatibility (least) VALUES (5);

-- +goose Down
DROP TABLE compatibility;
