-- Makes the retries of all attempts before $3 due, and returns how many unclaimed calls changed.
--
-- $1 text[]   account SIDs
-- $2 boolean  false: only the accounts in $1; true: all accounts except those
-- $3 bigint   current time, ms since 1970
-- $4 bigint   limit of the unclaimed calls
--
-- Calls that are claimed now. The locks wait for a `settle` that runs at the same time: the call is
-- then unclaimed, and made due like the others. In the order of the ids, like all statements that
-- wait, so that two nodes never wait for each other in a circle.
WITH claimed AS MATERIALIZED (
    SELECT id
    FROM call
    WHERE state = 'pending'
        AND id = ANY (ARRAY(
            SELECT id
            FROM call
            WHERE claim IS NOT NULL
                AND (retry_now_at IS NULL OR retry_now_at < $3::bigint)
                AND (account = ANY ($1::text[])) <> $2::boolean
        ))
    ORDER BY id
    FOR UPDATE
),
-- Unclaimed failing calls to which this statement was not applied since their first failure. A call
-- that is due is one of them: a new callback may have made it due while a retry is later.
retried AS MATERIALIZED (
    SELECT id
    FROM call
    WHERE state = 'pending' AND claim IS NULL AND failing_since IS NOT NULL
        AND (retry_now_at IS NULL OR retry_now_at < failing_since)
        AND (account = ANY ($1::text[])) <> $2::boolean
    -- The latest come first, because those that are made due leave this end of the index.
    ORDER BY effective_at DESC
    LIMIT $4::bigint
    -- A locked call is being changed by another node; the next run finds it if it still waits.
    FOR UPDATE SKIP LOCKED
),
changed AS (
    UPDATE call
    SET retry_now_at = greatest(retry_now_at, $3::bigint),
        -- `settle` sees that the retry_now_at of a claimed call has changed.
        effective_at = CASE WHEN claim IS NULL THEN least(effective_at, $3::bigint) ELSE effective_at END,
        changed = CASE WHEN claim IS NULL THEN $3::bigint ELSE changed END
    WHERE id = ANY (ARRAY(
        -- In this order: a wait for a claimed call must not hold the lock of another.
        SELECT id FROM claimed
        UNION ALL
        SELECT id FROM retried
    ))
)
SELECT count(*) FROM retried;
