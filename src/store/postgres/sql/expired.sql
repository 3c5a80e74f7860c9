-- Locks finished calls after the end of their retention, and returns their ids, states and forms.
--
-- $1 bigint  delivered and skipped calls: finished before this time, ms since 1970
-- $2 bigint  parked calls: finished before this time
-- $3 bigint  limit
SELECT id, state, ARRAY(SELECT body FROM callback WHERE callback.call = call.id)
FROM call
WHERE id IN (
    SELECT id
    FROM (
        -- One lookup per state, because the index starts with the state. `state <> 'pending'` is
        -- the condition of the partial index: without it the planner cannot use the index.
        SELECT * FROM (
            SELECT id, effective_at
            FROM call
            WHERE state = 'delivered' AND state <> 'pending' AND effective_at < $1::bigint
            ORDER BY effective_at, id
            LIMIT $3::bigint
        ) AS delivered
        UNION ALL
        SELECT * FROM (
            SELECT id, effective_at
            FROM call
            WHERE state = 'skipped' AND state <> 'pending' AND effective_at < $1::bigint
            ORDER BY effective_at, id
            LIMIT $3::bigint
        ) AS skipped
        UNION ALL
        SELECT * FROM (
            SELECT id, effective_at
            FROM call
            WHERE state = 'parked' AND state <> 'pending' AND effective_at < $2::bigint
            ORDER BY effective_at, id
            LIMIT $3::bigint
        ) AS parked
    ) AS expired
    ORDER BY effective_at, id
    LIMIT $3::bigint
)
    -- Once more after the lock: a callback may have made the call pending meanwhile.
    AND state <> 'pending'
    AND effective_at < CASE state WHEN 'parked' THEN $2::bigint ELSE $1::bigint END
ORDER BY id
-- SKIP LOCKED: another node changes or purges that call right now.
FOR UPDATE SKIP LOCKED;
