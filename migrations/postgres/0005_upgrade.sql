-- +goose Up

-- The least version of the schema that a program must have been made for to run on this
-- one. A migration that the previous version of the program can not live with raises it;
-- until then replicas of both versions serve side by side.
CREATE TABLE compatibility (least bigint NOT NULL);
INSERT INTO compatibility (least) VALUES (5);

-- +goose Down
DROP TABLE compatibility;
