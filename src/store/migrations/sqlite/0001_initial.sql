-- All times are in milliseconds since 1970-01-01 00:00 UTC unless a column says otherwise.

-- Calls. A claim is in the memory of the process that owns the file: a claimed call is pending here.
CREATE TABLE call (
    id                INTEGER PRIMARY KEY,  -- counts the calls ever seen, so it is never used twice
    sid               TEXT NOT NULL,        -- CallSid of the first leg
    account           TEXT NOT NULL,        -- Twilio's AccountSid
    state             TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'skipped', 'parked')),
    -- Pending: when it is due. Otherwise: since when it is in its state. One column, because one index
    -- serves both.
    effective_at      INTEGER NOT NULL,
    changed           INTEGER NOT NULL,     -- when the state was last written
    received          INTEGER NOT NULL,     -- when the first callback arrived
    callbacks         INTEGER NOT NULL,     -- number of its rows in `callback`
    attempts          INTEGER NOT NULL,     -- number of its rows in `attempt`
    requeue_count     INTEGER NOT NULL,     -- how often an operator requeued it
    planned_callbacks INTEGER NOT NULL,     -- how many callbacks, from the first, the last settled claim had
    reason            TEXT,                 -- why it is skipped or parked
    cause             TEXT,                 -- the code of the reason
    class             TEXT NOT NULL DEFAULT 'waiting',   -- of the ledger: domain::class
    reconciled        INTEGER NOT NULL DEFAULT 0,        -- 1: its first callback was imported
    retry_now_at      INTEGER,              -- a retry of an attempt made before this time is due; NULL: never set
    failing_since     INTEGER,              -- first failure since Acquire last accepted a request of it; NULL: none
    indexed_callbacks INTEGER NOT NULL DEFAULT 0,  -- how many callbacks the search index has, if it was not settled since
    addresses         BLOB                  -- its hashes in `address`, 8 bytes each (big-endian); NULL: none
) STRICT;

-- Serves claims, purge, and lists by state. Both times mostly grow, so that few pages change.
CREATE INDEX call_by_state ON call (state, effective_at);
-- Serves the list of parked calls by cause.
CREATE INDEX call_parked ON call (cause, effective_at) WHERE state = 'parked';
-- Serves retry_now. Only failing calls are in it, so that fresh calls do not pay for it.
CREATE INDEX call_failing ON call (effective_at) WHERE state = 'pending' AND failing_since IS NOT NULL;

-- Verified requests of Twilio. The rows of one call are adjacent and need no index.
CREATE TABLE callback (
    id       INTEGER PRIMARY KEY,  -- call.id * 2^20 + the callback's number in the call, from 1
    key      TEXT NOT NULL,        -- leg, kind and status: a repeated callback has the same key, and is
                                   -- stored only if it has new fields
    leg      TEXT,                 -- CallSid of a child leg; NULL: the call's first leg
    received INTEGER NOT NULL,     -- when it arrived
    url      TEXT NOT NULL,        -- the public URL that Twilio signed
    headers  TEXT NOT NULL,        -- `name: value` a line
    body     BLOB NOT NULL         -- the form as it arrived
) STRICT;

-- Requests to Acquire.
CREATE TABLE attempt (
    id            INTEGER PRIMARY KEY,  -- call.id * 2^20 + the attempt's number in the call, from 1
    requeue_count INTEGER NOT NULL,     -- call.requeue_count of that time; -1: of a merged call, before its last requeue
    leg           TEXT NOT NULL,        -- CallSid of the leg that was sent
    kind          TEXT NOT NULL,        -- which of Acquire's requests
    report_mode   TEXT NOT NULL,        -- calls.report of that time: the first attempt decides for the call
    at            INTEGER NOT NULL,     -- when it was sent
    took_us       INTEGER NOT NULL,     -- microseconds until the response
    sent          TEXT NOT NULL,        -- the JSON that was sent
    status        INTEGER,              -- HTTP status; NULL: no response
    verdict       TEXT NOT NULL,        -- accepted, accepted-as-repeat, again, held or given-up
    again_at      INTEGER,              -- again, held: when it is due again
    reason        TEXT,                 -- given-up: why
    fault         TEXT,                 -- why it failed, if a retry may help
    excerpt       TEXT NOT NULL         -- start of the response, or the network error
) STRICT;

-- SID index, sorted level: finds calls by the SID of their first or a child leg.
CREATE TABLE sid_index (
    hash INTEGER NOT NULL,  -- hash of the SID; two SIDs may share one, so readers compare the SIDs
    call INTEGER NOT NULL,  -- call.id
    PRIMARY KEY (hash, call)
) STRICT, WITHOUT ROWID;

-- SID index, log: entries that are not yet flushed into `sid_index`, in the order of arrival.
CREATE TABLE sid_log (
    id   INTEGER PRIMARY KEY,
    hash INTEGER NOT NULL,  -- as in sid_index
    call INTEGER NOT NULL   -- as in sid_index
) STRICT;

-- The key of the hashes in `address`: one row, made once.
CREATE TABLE address_key (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    key BLOB NOT NULL
) STRICT;
INSERT INTO address_key VALUES (1, randomblob(32));

-- Search index, sorted level: finds calls by number, identity, e-mail, or the last four digits of a number.
CREATE TABLE address (
    hash INTEGER NOT NULL,  -- keyed hash of the term (domain::call_addresses)
    call INTEGER NOT NULL,  -- call.id
    PRIMARY KEY (hash, call)
) STRICT, WITHOUT ROWID;

-- Search index, log: as sid_log.
CREATE TABLE address_log (
    id   INTEGER PRIMARY KEY,
    hash INTEGER NOT NULL,
    call INTEGER NOT NULL
) STRICT;

-- Numbers of calls: one row, written by the transactions that change them.
CREATE TABLE counters (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    seen      INTEGER NOT NULL,  -- ever; the largest call.id
    purged    INTEGER NOT NULL,  -- removed after their retention
    pending   INTEGER NOT NULL,  -- claimed calls included
    delivered INTEGER NOT NULL,
    skipped   INTEGER NOT NULL,
    parked    INTEGER NOT NULL,
    pings     INTEGER NOT NULL   -- health checks, each of which writes to the disk
) STRICT;
INSERT INTO counters VALUES (1, 0, 0, 0, 0, 0, 0, 0);

-- The ledger: how many calls of each quarter of an hour are in each class. It is kept for ever.
CREATE TABLE ledger (
    quarter INTEGER NOT NULL, -- of the first callback, in quarters of an hour since 1970; -1: parked and
                              -- skipped calls of now
    account TEXT NOT NULL,    -- Twilio's AccountSid
    class   TEXT NOT NULL,    -- domain::class, received, or reconciled; of quarter -1: the state
    cause   TEXT NOT NULL,    -- of skipped, parked, dismissed and expired calls; else empty
    calls   INTEGER NOT NULL,
    PRIMARY KEY (quarter, account, class, cause)
) STRICT, WITHOUT ROWID;

-- Calls that were claimed when their parent became known: they are merged into the parent's call when
-- they are settled or, if the process ends first, at the next start.
CREATE TABLE pending_merge (
    child  INTEGER PRIMARY KEY,  -- call.id of the call to merge
    parent INTEGER NOT NULL      -- call.id of the parent's call
) STRICT;

-- Calls that were removed, so that their callbacks are recognised as repeats. One row for each SID.
CREATE TABLE removed_call (
    hash    BLOB PRIMARY KEY, -- first 16 bytes of the SHA-256 of `account/SID`
    account TEXT NOT NULL,    -- Twilio's AccountSid
    day     INTEGER NOT NULL, -- of the removal; days since 1970-01-01
    cause   TEXT NOT NULL,    -- why: retention, expired or erased
    reason  TEXT              -- expired: why it was parked, without personal data
) STRICT, WITHOUT ROWID;

-- Serves the removal of these rows. Those of erased calls stay for ever.
CREATE INDEX removed_by_day ON removed_call (day) WHERE cause <> 'erased';

-- Notes of background tasks: leases, watermarks, and what a pass must remember.
CREATE TABLE note (
    key  TEXT PRIMARY KEY,
    text TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The time of the last purge: at most one row. domain::purge_clock has the rules.
CREATE TABLE purge_clock (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    known     INTEGER NOT NULL,  -- latest time that is known to have passed
    used      INTEGER NOT NULL,  -- time that the purge used
    boot      TEXT NOT NULL,     -- boot of the machine at that time
    uptime_ms INTEGER NOT NULL   -- milliseconds since the boot at that time
) STRICT;

-- Requests that the bridge refused, kept for diagnosis. Nothing in them is verified.
CREATE TABLE refused (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice
    at          INTEGER NOT NULL,  -- when it arrived
    cause       TEXT NOT NULL,     -- the label in metrics and logs
    explanation TEXT NOT NULL,     -- why, and what to do
    status      INTEGER NOT NULL,  -- HTTP status of the response
    peer        TEXT NOT NULL,     -- IP address of the client
    method      TEXT NOT NULL,     -- HTTP method
    target      TEXT NOT NULL,     -- path and query
    url         TEXT NOT NULL,     -- the public URL that the signature was compared with
    headers     TEXT NOT NULL,     -- `name: value` a line
    body        BLOB NOT NULL,     -- the stored part of the body
    body_bytes  INTEGER NOT NULL   -- size of the body that was read, in bytes
) STRICT;

-- Serves the limits, and the numbers by cause.
CREATE INDEX refused_by_cause ON refused (cause, id, at);

-- Who did what. Rows are only appended (domain::audit).
CREATE TABLE audit (
    number INTEGER PRIMARY KEY,  -- from 1, without gaps
    row    TEXT NOT NULL,        -- canonical JSON
    hash   TEXT NOT NULL         -- SHA-256 of the hash before (64 zeros before the first) and `row`, in hex
) STRICT;

-- Bulk operations of operators.
CREATE TABLE operation (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    key   TEXT NOT NULL UNIQUE,  -- one-time id of the form or command that made it
    state TEXT NOT NULL,         -- running, paused, cancelled, done or failed
    row   TEXT NOT NULL          -- JSON of store::Operation
) STRICT;

PRAGMA user_version = 1;
