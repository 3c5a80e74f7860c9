-- Skips those of the calls that are parked, and returns the states that all of them had.
--
-- $1 bigint[]  calls
-- $2 bigint    current time, ms since 1970
-- $3 text      reason
WITH found AS MATERIALIZED (
    SELECT id, state FROM call WHERE id = ANY ($1::bigint[]) ORDER BY id FOR UPDATE
), dismissed AS (
    UPDATE call
    SET state = 'skipped', reason = $3::text, cause = 'dismissed',
        -- A call that Acquire accepted before stays counted as accepted.
        class = CASE class WHEN 'parked' THEN 'dismissed' ELSE class END,
        changed = $2::bigint, effective_at = $2::bigint
    FROM found
    WHERE call.id = found.id AND found.state = 'parked'
)
SELECT state FROM found ORDER BY id;
