-- Removes the SIDs of calls and of their legs from the index, before the calls themselves.
--
-- $1 bigint[]  ids of the calls
DELETE FROM sid_index
USING (
    SELECT callback.leg AS sid, call.account, call.id
    FROM callback
    JOIN call ON call.id = callback.call
    WHERE call.id = ANY ($1::bigint[])
    UNION
    SELECT sid, account, id
    FROM call
    WHERE id = ANY ($1::bigint[])
) AS expired
WHERE sid_index.sid = expired.sid
    AND sid_index.account = expired.account
    -- The SID of a merged leg belongs to the parent's call, which may remain.
    AND sid_index.call = expired.id;
