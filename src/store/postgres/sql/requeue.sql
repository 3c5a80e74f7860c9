-- Requeues calls, and returns the states they had.
--
-- $1 bigint[]  calls
-- $2 bigint    current time, ms since 1970
-- $3 bigint    time from which they are due: in the past, so that they wait behind fresh calls
WITH found AS MATERIALIZED (
    SELECT id, state
    FROM call
    -- A call that was merged meanwhile has no callbacks: a claim could not read it.
    WHERE id = ANY ($1::bigint[]) AND callbacks > 0
    ORDER BY id
    FOR UPDATE
)
UPDATE call
SET requeue_count = requeue_count + 1,
    failing_since = NULL,
    state = 'pending',
    reason = NULL,
    cause = NULL,
    class = CASE class
        WHEN 'parked' THEN 'waiting_late'
        WHEN 'dismissed' THEN 'waiting_late'
        WHEN 'skipped' THEN 'waiting'
        ELSE class
    END,
    -- A claimed call stays claimed: `settle` sees the higher requeue_count and makes it due again.
    changed = CASE WHEN claim IS NULL THEN $2::bigint ELSE changed END,
    effective_at = CASE
        WHEN claim IS NOT NULL THEN effective_at
        WHEN call.state = 'pending' THEN least(effective_at, $3::bigint)
        ELSE $3::bigint
    END
FROM found
WHERE call.id = found.id
RETURNING found.state;
