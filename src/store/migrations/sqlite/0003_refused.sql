-- Requests that were refused: evidence, nothing of which is verified. A number is never used twice.
CREATE TABLE refused (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    cause      TEXT NOT NULL,
    told       TEXT NOT NULL,
    status     INTEGER NOT NULL,
    peer       TEXT NOT NULL,
    method     TEXT NOT NULL,
    target     TEXT NOT NULL,
    url        TEXT NOT NULL,
    headers    TEXT NOT NULL,
    body       BLOB NOT NULL,
    body_bytes INTEGER NOT NULL
) STRICT;

-- Serves the bounds, and the counts by cause.
CREATE INDEX refused_by_cause ON refused (cause, id, at);

PRAGMA user_version = 3;
