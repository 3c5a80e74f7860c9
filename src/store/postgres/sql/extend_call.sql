-- Counts what was added to a call, and makes it due. A claimed call stays claimed: `settle` sees the
-- higher number of callbacks and makes it due again.
--
-- $1 bigint  id of the call
-- $2 bigint  number of added callbacks
-- $3 bigint  number of added attempts
-- $4 bigint  current time, ms since 1970
-- $5 bigint  retry_now_at of the call that was merged into it, or NULL
UPDATE call
SET callbacks = callbacks + $2::bigint,
    attempts = attempts + $3::bigint,
    state = 'pending',
    reason = NULL,
    cause = NULL,
    class = CASE WHEN class IN ('skipped', 'parked', 'dismissed') THEN 'waiting' ELSE class END,
    retry_now_at = greatest(retry_now_at, $5::bigint),
    changed = $4::bigint,
    effective_at = CASE state WHEN 'pending' THEN least(effective_at, $4::bigint) ELSE $4::bigint END
WHERE id = $1::bigint;
