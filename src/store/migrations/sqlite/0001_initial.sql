-- A call. `id` counts the calls ever seen, so it is never used twice.
CREATE TABLE call (
    id        INTEGER PRIMARY KEY,
    sid       TEXT NOT NULL,
    account   TEXT NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'skipped', 'parked')),
    -- Pending: when it is due. Otherwise: when it came to rest.
    at        INTEGER NOT NULL,
    changed   INTEGER NOT NULL,
    received  INTEGER NOT NULL,
    -- How many callbacks and attempts it has, and how often it was requeued.
    callbacks INTEGER NOT NULL,
    attempts  INTEGER NOT NULL,
    round     INTEGER NOT NULL,
    reason    TEXT
) STRICT;

-- Serves claims, purge, and lists by state. Both times mostly grow, so that few pages are touched.
CREATE INDEX call_by_state ON call (state, at);

-- `id` is the call's id * 2^20 + the number of the callback within the call: the callbacks of a
-- call stand together and need no index.
CREATE TABLE callback (
    id       INTEGER PRIMARY KEY,
    key      TEXT NOT NULL,
    -- Absent for the call's own, first leg.
    leg      TEXT,
    received INTEGER NOT NULL,
    url      TEXT NOT NULL,
    headers  TEXT NOT NULL,
    body     BLOB NOT NULL
) STRICT;

-- `id` as in callback.
CREATE TABLE attempt (
    id       INTEGER PRIMARY KEY,
    round    INTEGER NOT NULL,
    leg      TEXT NOT NULL,
    kind     TEXT NOT NULL,
    at       INTEGER NOT NULL,
    took_us  INTEGER NOT NULL,
    sent     TEXT NOT NULL,
    status   INTEGER,
    verdict  TEXT NOT NULL,
    again_at INTEGER,
    reason   TEXT,
    fault    TEXT,
    excerpt  TEXT NOT NULL
) STRICT;

-- Finds calls by the hash of their SID or of a child leg's. The texts decide.
CREATE TABLE name (
    hash INTEGER NOT NULL,
    call INTEGER NOT NULL,
    PRIMARY KEY (hash, call)
) STRICT, WITHOUT ROWID;

-- Names that are not yet sorted into `name`, in the order of arrival.
CREATE TABLE fresh_name (
    id   INTEGER PRIMARY KEY,
    hash INTEGER NOT NULL,
    call INTEGER NOT NULL
) STRICT;

-- How many calls there are, kept in the transactions that change it.
CREATE TABLE tally (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    seen      INTEGER NOT NULL,
    purged    INTEGER NOT NULL,
    pending   INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    skipped   INTEGER NOT NULL,
    parked    INTEGER NOT NULL,
    pings     INTEGER NOT NULL
) STRICT;
INSERT INTO tally VALUES (1, 0, 0, 0, 0, 0, 0, 0);

PRAGMA user_version = 1;
