-- Locks the call of a leg and the call of its parent, if both exist, and returns them.
--
-- $1 text  account SID
-- $2 text  SID of the leg
-- $3 text  SID of its parent
SELECT
    sid_index.sid, call.id, call.sid, call.state, call.claim IS NOT NULL, call.requeue_count,
    call.attempts, call.retry_now_at
FROM sid_index
-- A call without callbacks was merged into another one.
JOIN call ON call.id = sid_index.call AND call.callbacks > 0
WHERE sid_index.account = $1::text AND sid_index.sid IN ($2::text, $3::text)
-- In the order in which `record` and `settle` lock calls, so that two nodes rarely deadlock.
ORDER BY call.id
FOR UPDATE OF call;
