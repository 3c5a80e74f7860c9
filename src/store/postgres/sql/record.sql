-- Records a batch of callbacks: inserts new calls, SIDs and callbacks, and makes their calls due.
-- Returns, for each callback, whether it is new, and for each leg, whether it has a call of its own
-- that must be merged into its parent's call.
--
-- Arrays with one element per call of the batch:
-- $1  text[]    account SID
-- $2  text[]    call SID, as the callbacks name it: for a child leg, its parent's SID
-- $3  bigint[]  when its first callback of the batch was received, ms since 1970
-- $4  bigint[]  how many callbacks of the batch it has
-- One element per callback, in the order of arrival:
-- $5  bigint[]  place of its call in $1, from 1
-- $6  text[]    SID of its leg
-- $7  bytea[]   key: the same for a repeated callback
-- $8  bigint[]  when it was received, ms since 1970
-- $9  text[]    signed URL
-- $10 text[]    headers
-- $11 bytea[]   body
-- One element per child leg:
-- $12 bigint[]  place of its call in $1, from 1
-- $13 text[]    account SID
-- $14 text[]    SID of the leg
-- For all:
-- $15 boolean   fail with a unique violation if a leg has a call of its own: a merge needs more
--               statements, and so a transaction
-- One element per call of the batch:
-- $16 bytea[]   hash of account and SID, as in removed_call
-- $17 boolean[] whether its first callback of the batch was imported
--
-- Calls are locked in the order of their ids, then SIDs in theirs, so that nodes wait for each other
-- but never in a circle. A SID that another node inserts at the same time fails the statement.
--
-- Each table is read row by row (LATERAL, ANY), never joined as a whole: the plan is made once per
-- connection, perhaps while the tables are empty, and must not depend on their size then.
WITH given_calls AS MATERIALIZED (
    SELECT *
    FROM unnest(
        $1::text[], $2::text[], $3::bigint[], $4::bigint[], $16::bytea[], $17::boolean[]
    ) WITH ORDINALITY AS given (account, sid, first_received, callbacks, hash, reconciled, place)
),
-- Calls that exist, locked until the commit. A SID may be that of a leg: its call is found too.
known_calls AS MATERIALIZED (
    SELECT place, locked.id, locked.state
    FROM (
        SELECT place, indexed.call
        FROM given_calls
        CROSS JOIN LATERAL (
            SELECT call
            FROM sid_index
            WHERE sid_index.sid = given_calls.sid AND sid_index.account = given_calls.account
            LIMIT 1
        ) AS indexed
        ORDER BY indexed.call
    ) AS found
    CROSS JOIN LATERAL (
        SELECT id, state
        FROM call
        -- A call without callbacks was merged into another one while this statement waited.
        WHERE call.id = found.call AND callbacks > 0
        FOR UPDATE
    ) AS locked
),
-- Calls that were removed: their callbacks are repeats.
removed_calls AS MATERIALIZED (
    SELECT place
    FROM given_calls
    CROSS JOIN LATERAL (
        SELECT 1
        FROM removed_call
        WHERE removed_call.hash = given_calls.hash
        LIMIT 1
    ) AS removed
    WHERE place NOT IN (SELECT place FROM known_calls)
),
-- Ids are drawn here, because SIDs and callbacks need them before the calls are inserted.
new_calls AS MATERIALIZED (
    SELECT *, nextval('call_id_seq') AS id
    FROM (
        SELECT *
        FROM given_calls
        WHERE place NOT IN (SELECT place FROM known_calls)
            AND place NOT IN (SELECT place FROM removed_calls)
        ORDER BY place
    ) AS unknown
),
-- The id of each call of the batch: ids[place]. NULL: it was removed.
call_ids AS MATERIALIZED (
    SELECT array_agg(id ORDER BY place) AS ids
    FROM (
        SELECT place, id FROM known_calls
        UNION ALL
        SELECT place, id FROM new_calls
        UNION ALL
        SELECT place, NULL FROM removed_calls
    ) AS calls
),
given_callbacks AS MATERIALIZED (
    SELECT
        *,
        (SELECT ids FROM call_ids)[place] AS call,
        nextval('callback_number_seq') AS number
    FROM unnest(
        $5::bigint[], $6::text[], $7::bytea[], $8::bigint[], $9::text[], $10::text[], $11::bytea[]
    ) WITH ORDINALITY AS given (place, leg, key, received, url, headers, body, n)
),
-- Child legs with the call they belong to, and the call that the index has for their SID.
given_legs AS MATERIALIZED (
    SELECT
        n,
        leg,
        given.account,
        (SELECT ids FROM call_ids)[place] AS call,
        indexed.call AS indexed_call
    FROM unnest($12::bigint[], $13::text[], $14::text[])
        WITH ORDINALITY AS given (place, account, leg, n)
    LEFT JOIN LATERAL (
        SELECT call
        FROM sid_index
        WHERE sid_index.sid = given.leg AND sid_index.account = given.account
        LIMIT 1
    ) AS indexed ON true
),
-- SIDs to insert. A leg in the batch may have the SID of a new call of the batch (level 0), or
-- belong to two calls: the first by level and id wins. With $15 both are inserted instead, which
-- violates the primary key and so fails the statement, as does a leg that has another call.
new_sids AS MATERIALIZED (
    SELECT DISTINCT ON (sid, account, rival) sid, account, call
    FROM (
        SELECT sid, account, id AS call, 0 AS level, CASE WHEN $15::boolean THEN id END AS rival
        FROM new_calls
        UNION ALL
        SELECT leg, account, call, 1, CASE WHEN $15::boolean THEN call END
        FROM given_legs
        WHERE call IS NOT NULL AND (indexed_call IS NULL OR $15::boolean AND indexed_call <> call)
    ) AS unknown
    ORDER BY sid, account, rival, level, call
),
inserted_sids AS (
    INSERT INTO sid_index (sid, account, call)
    SELECT sid, account, call
    FROM new_sids
    ORDER BY sid, account
),
inserted_calls AS (
    INSERT INTO call (
        id, sid, account, state, effective_at, changed, received, callbacks, attempts,
        requeue_count, planned_callbacks, reconciled
    )
    SELECT
        id, sid, account, 'pending', first_received, first_received, first_received, callbacks, 0,
        0, 0, reconciled
    FROM new_calls
),
-- A conflict on (call, key, variant) is a repeat. New calls have no repeats: $4 counts each key once.
inserted_callbacks AS (
    INSERT INTO callback (call, key, number, leg, received, url, headers, body)
    SELECT call, key, number, leg, received, url, headers, body
    FROM given_callbacks
    WHERE call IS NOT NULL
    ORDER BY n
    ON CONFLICT DO NOTHING
    RETURNING call, number, received
),
-- Known calls that have new callbacks.
grown_calls AS MATERIALIZED (
    SELECT call, count(*), min(received) AS received
    FROM inserted_callbacks
    WHERE call IN (SELECT id FROM known_calls)
    GROUP BY call
),
-- A claimed call stays claimed: `settle` sees the higher number of callbacks and makes it due again.
updated_calls AS (
    UPDATE call
    SET callbacks = callbacks + grown_calls.count,
        state = 'pending',
        reason = NULL,
        cause = NULL,
        class = CASE WHEN class IN ('skipped', 'parked', 'dismissed') THEN 'waiting' ELSE class END,
        effective_at = CASE state
            WHEN 'pending' THEN least(effective_at, grown_calls.received)
            ELSE grown_calls.received
        END,
        changed = grown_calls.received
    FROM grown_calls
    WHERE call.id = grown_calls.call
        -- Makes the planner look up each id in the primary key instead of joining the table.
        AND call.id = ANY (ARRAY(SELECT call FROM grown_calls))
),
inserted_counters AS (
    INSERT INTO counters (seen, purged, pending, delivered, skipped, parked)
    SELECT seen, 0, seen + delivered + skipped + parked, -delivered, -skipped, -parked
    FROM (
        SELECT
            (SELECT count(*) FROM new_calls) AS seen,
            -- DISTINCT: two SIDs of the batch may name one call.
            count(DISTINCT id) FILTER (WHERE state = 'delivered') AS delivered,
            count(DISTINCT id) FILTER (WHERE state = 'skipped') AS skipped,
            count(DISTINCT id) FILTER (WHERE state = 'parked') AS parked
        FROM known_calls
        WHERE id IN (SELECT call FROM grown_calls)
    ) AS changes
    WHERE seen + delivered + skipped + parked > 0
)
SELECT
    ARRAY(
        SELECT number IN (SELECT number FROM inserted_callbacks)
        FROM given_callbacks
        ORDER BY n
    ) AS is_new,
    ARRAY(
        SELECT CASE
            WHEN call IS NULL THEN false
            WHEN indexed_call IS NULL
                THEN (leg, account, call) NOT IN (SELECT sid, account, call FROM new_sids)
            ELSE indexed_call <> call
        END
        FROM given_legs
        ORDER BY n
    ) AS needs_merge;
