-- +goose Up

-- PostgreSQL's alone: both count the same versions.
SELECT 1;

-- +goose Down
SELECT 1;
