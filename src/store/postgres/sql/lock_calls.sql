-- Locks the calls with these SIDs and accounts, and returns their rows, states and last changes.
--
-- $1 text[]  SIDs of the calls
-- $2 text[]  their accounts
SELECT call.id, CASE WHEN call.claim IS NULL THEN call.state ELSE 'claimed' END, call.changed
FROM unnest($1::text[], $2::text[]) AS wanted (sid, account)
JOIN sid_index ON sid_index.sid = wanted.sid AND sid_index.account = wanted.account
-- A call without callbacks was merged into another one.
JOIN call ON call.id = sid_index.call AND call.sid = wanted.sid AND call.callbacks > 0
ORDER BY call.id
FOR UPDATE OF call;
