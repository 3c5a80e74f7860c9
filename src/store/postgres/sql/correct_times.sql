-- Continues accounts_with_due.sql, which has $1 and $2. Corrects calls that are due later than $4, and
-- returns how many.
--
-- $3 bigint  current time, ms since 1970
-- $4 bigint  latest time that a right clock could have written
-- $5 bigint  limit
,
too_late AS (
    SELECT due.id
    FROM accounts_with_due
    CROSS JOIN LATERAL (
        SELECT id
        FROM call
        WHERE call.account = accounts_with_due.account
            AND state = 'pending' AND claim IS NULL
            AND effective_at > $4::bigint
        LIMIT $5::bigint
    ) AS due
),
locked AS MATERIALIZED (
    SELECT id
    FROM call
    WHERE id = ANY (ARRAY(SELECT id FROM too_late LIMIT $5::bigint))
        AND state = 'pending' AND claim IS NULL AND effective_at > $4::bigint
    ORDER BY id
    -- SKIP LOCKED: another node changes that call right now.
    FOR UPDATE SKIP LOCKED
),
callbacks AS (
    UPDATE callback
    SET received = $3::bigint
    WHERE call = ANY (ARRAY(SELECT id FROM locked)) AND received > $3::bigint
),
attempts AS (
    UPDATE attempt
    SET at = least(at, $3::bigint),
        again_at = CASE WHEN again_at > $4::bigint THEN $3::bigint ELSE again_at END
    WHERE call = ANY (ARRAY(SELECT id FROM locked)) AND (at > $3::bigint OR again_at > $4::bigint)
),
changed AS (
    UPDATE call
    SET effective_at = $3::bigint,
        changed = $3::bigint,
        received = least(received, $3::bigint),
        retry_now_at = CASE WHEN retry_now_at > $3::bigint THEN $3::bigint ELSE retry_now_at END,
        failing_since = CASE WHEN failing_since > $3::bigint THEN $3::bigint ELSE failing_since END
    WHERE id = ANY (ARRAY(SELECT id FROM locked))
)
SELECT count(*) FROM locked;
