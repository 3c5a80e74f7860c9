-- Moves the attempts of a leg's call to the parent's call.
--
-- $1 bigint  id of the leg's call
-- $2 bigint  id of the parent's call
-- $3 bigint  requeue_count of the leg's call
-- $4 bigint  requeue_count of the parent's call
UPDATE attempt
SET call = $2::bigint,
    -- Attempts since the last requeue still count. -1 marks older ones: no requeue_count is so low.
    requeue_count = CASE requeue_count WHEN $3::bigint THEN $4::bigint ELSE -1 END
WHERE call = $1::bigint;
