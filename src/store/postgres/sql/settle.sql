-- Settles a batch of claims: stores the attempts, sets the new states and counts them. Returns one
-- row per settled claim; a claim that is no longer held has none.
--
-- Arrays with one element per claim:
-- $1  bigint[]  id of the call
-- $2  bigint[]  claim
-- $3  bigint[]  how many callbacks the call had when it was claimed
-- $4  bigint[]  requeue_count of the call when it was claimed
-- $5  bigint[]  retry_now_at of the call when it was claimed, or NULL
-- $6  text[]    new state
-- $7  bigint[]  new effective_at, ms since 1970
-- $8  text[]    reason for the new state, or NULL
-- $9  bigint[]  current time, ms since 1970
-- and its attempt, all NULL if there was none:
-- $10 text[]    leg
-- $11 text[]    kind of the request
-- $12 bigint[]  start, ms since 1970
-- $13 bigint[]  duration in microseconds
-- $14 text[]    body that was sent
-- $15 int[]     HTTP status, or NULL
-- $16 text[]    verdict
-- $17 bigint[]  when to retry, or NULL
-- $18 text[]    why it was given up, or NULL
-- $19 text[]    fault, or NULL
-- $20 text[]    excerpt of the response
-- $21 text[]    calls.report
-- and for each:
-- $22 bigint[]  failing_since, or NULL
-- $24 text[]    cause of the new state, or NULL
-- $25 text[]    new class
-- $26 text[]    hashes to add to the search index, as an array's text, or NULL
-- For all:
-- $23 boolean   also settle calls that must then be merged into their parent's call
--
-- Each table is read row by row (LATERAL, ANY): the plan is made once per connection, perhaps while
-- the tables are empty.
WITH given AS MATERIALIZED (
    SELECT *
    FROM unnest(
        $1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],
        $6::text[], $7::bigint[], $8::text[], $9::bigint[],
        $10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::text[], $15::int[],
        $16::text[], $17::bigint[], $18::text[], $19::text[], $20::text[], $21::text[],
        $22::bigint[], $24::text[], $25::text[], $26::text[]
    ) WITH ORDINALITY AS given (
        call, claim, callbacks, requeue_count, retry_now_at,
        state, effective_at, reason, now,
        leg, kind, tried_at, took_us, sent, status,
        verdict, again_at, given_up_reason, fault, excerpt, report_mode,
        failing_since, cause, class, hashes,
        n
    )
),
-- The calls that are still claimed, locked in the order of their ids, so that two nodes never
-- wait for each other in a circle.
locked AS MATERIALIZED (
    SELECT
        given.*,
        current.merge_parent,
        -- A callback was recorded or a requeue requested since the claim: the call is due at once.
        current.callbacks > given.callbacks OR current.requeue_count > given.requeue_count
            AS is_outdated,
        current.requeue_count > given.requeue_count AS is_requeued,
        -- The plan did not know that its retries are due now.
        current.retry_now_at IS DISTINCT FROM given.retry_now_at AS is_retried_now
    FROM (SELECT * FROM given ORDER BY call) AS given
    CROSS JOIN LATERAL (
        SELECT callbacks, requeue_count, retry_now_at, merge_parent
        FROM call
        WHERE call.id = given.call
            -- With `=` the planner would read all of the index of claimed calls instead of one row.
            AND call.claim IS NOT DISTINCT FROM given.claim
            AND (call.merge_parent IS NULL OR $23::boolean)
        FOR UPDATE
    ) AS current
),
inserted_attempts AS (
    INSERT INTO attempt (
        call, requeue_count, leg, kind, at, took_us, sent, status, verdict, again_at, reason, fault,
        excerpt, report_mode
    )
    SELECT
        call, requeue_count, leg, kind, tried_at, took_us, sent, status, verdict, again_at,
        given_up_reason, fault, excerpt, report_mode
    FROM locked
    WHERE leg IS NOT NULL
),
inserted_addresses AS (
    INSERT INTO address (hash, call)
    SELECT hash, locked.call
    FROM locked
    CROSS JOIN LATERAL unnest(locked.hashes::bigint[]) AS hash
    ON CONFLICT DO NOTHING
),
settled AS (
    UPDATE call
    SET state = CASE WHEN is_outdated THEN 'pending' ELSE locked.state END,
        effective_at = CASE
            WHEN is_outdated THEN locked.now
            WHEN is_retried_now AND locked.state = 'pending'
                THEN least(locked.effective_at, locked.now)
            ELSE locked.effective_at
        END,
        reason = CASE WHEN is_outdated THEN NULL ELSE locked.reason END,
        cause = CASE WHEN is_outdated THEN NULL ELSE locked.cause END,
        class = CASE
            WHEN is_outdated AND locked.class IN ('skipped', 'parked', 'dismissed') THEN 'waiting'
            ELSE locked.class
        END,
        changed = locked.now,
        planned_callbacks = locked.callbacks,
        failing_since = CASE WHEN is_requeued THEN NULL ELSE locked.failing_since END,
        claim = NULL,
        node = NULL,
        lease_end = NULL,
        merge_parent = NULL,
        addresses = CASE
            WHEN locked.hashes IS NULL THEN addresses
            ELSE ARRAY(SELECT DISTINCT unnest(addresses || locked.hashes::bigint[]))
        END,
        attempts = attempts + (locked.leg IS NOT NULL)::int
    FROM locked
    WHERE call.id = locked.call
        -- Makes the planner look up each id in the primary key instead of joining the table.
        AND call.id = ANY (ARRAY(SELECT call FROM locked))
    RETURNING
        locked.n, call.state, call.effective_at, call.account, call.sid, locked.merge_parent
),
-- Claimed calls count as pending, so only finished calls change the counters.
inserted_counters AS (
    INSERT INTO counters (seen, purged, pending, delivered, skipped, parked)
    SELECT 0, 0, -(delivered + skipped + parked), delivered, skipped, parked
    FROM (
        SELECT
            count(*) FILTER (WHERE state = 'delivered') AS delivered,
            count(*) FILTER (WHERE state = 'skipped') AS skipped,
            count(*) FILTER (WHERE state = 'parked') AS parked
        FROM settled
    ) AS finished
    WHERE delivered + skipped + parked > 0
)
SELECT n, state, effective_at, account, sid, merge_parent
FROM settled
ORDER BY n;
