-- Leaves a merged call skipped and empty. Its row stays, because the counters have it as seen.
--
-- $1 bigint  id of the leg's call
-- $2 bigint  current time, ms since 1970
-- $3 text    reason for the operator
UPDATE call
SET callbacks = 0,
    attempts = 0,
    planned_callbacks = 0,
    state = 'skipped',
    effective_at = $2::bigint,
    changed = $2::bigint,
    reason = $3::text,
    cause = 'part-of-another',
    class = 'skipped',
    merge_parent = NULL,
    addresses = NULL
WHERE id = $1::bigint;
