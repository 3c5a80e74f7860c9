-- Adds what was moved to the parent's call, and makes it due.
--
-- $1 bigint  id of the parent's call
-- $2 bigint  number of moved callbacks
-- $3 bigint  number of moved attempts
-- $4 bigint  current time, ms since 1970
-- $5 bigint  retry_now_at of the leg's call, or NULL
UPDATE call
SET callbacks = callbacks + $2::bigint,
    attempts = attempts + $3::bigint,
    state = 'pending',
    reason = NULL,
    retry_now_at = greatest(retry_now_at, $5::bigint),
    changed = $4::bigint,
    effective_at = CASE state WHEN 'pending' THEN least(effective_at, $4::bigint) ELSE $4::bigint END
WHERE id = $1::bigint;
