-- Makes calls due now that wait for a retry.
--
-- $1 text[]   account SIDs
-- $2 boolean  false: only the accounts in $1; true: all accounts except those
-- $3 bigint   current time, ms since 1970
-- $4 bigint   limit
UPDATE call
SET effective_at = $3::bigint, changed = $3::bigint
WHERE id IN (
    SELECT id
    FROM call
    WHERE state = 'pending' AND claim IS NULL
        -- A call without attempts waits for callbacks, not for a retry.
        AND attempts > 0
        AND effective_at > $3::bigint
        AND (account = ANY ($1::text[])) <> $2::boolean
    ORDER BY effective_at
    LIMIT $4::bigint
    -- A locked call is being changed by another node; the next run finds it if it still waits.
    FOR UPDATE SKIP LOCKED
);
