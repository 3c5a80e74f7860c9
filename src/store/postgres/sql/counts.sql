-- Continues accounts_with_due.sql, which has $1 and $2. Returns the sums of the counters, the number
-- of claimed calls, and the due time of the call that has been due longest.
SELECT
    sums.*,
    claimed.count,
    -- least() ignores NULL: either part may have no call.
    least(claimed.oldest, (SELECT min(oldest) FROM accounts_with_due))
FROM (
    -- A sum of bigint is numeric, and the sum of no rows is NULL.
    SELECT
        coalesce(sum(seen), 0)::bigint,
        coalesce(sum(purged), 0)::bigint,
        coalesce(sum(pending), 0)::bigint,
        coalesce(sum(delivered), 0)::bigint,
        coalesce(sum(skipped), 0)::bigint,
        coalesce(sum(parked), 0)::bigint
    FROM counters
) AS sums
CROSS JOIN (
    SELECT count(*) AS count, min(effective_at) AS oldest
    FROM call
    WHERE claim IS NOT NULL
) AS claimed;
