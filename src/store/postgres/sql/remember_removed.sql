-- Remembers the SIDs of calls and of their legs, before the calls are removed.
--
-- $1 bigint[]  ids of the calls
-- $2 bigint    today, days since 1970
-- $3 text      why they are removed; NULL: by age
INSERT INTO removed_call (hash, account, day, cause, reason)
SELECT
    substring(sha256(convert_to(account || '/' || sid, 'UTF8')) FROM 1 FOR 16), account, $2::bigint,
    coalesce($3::text, CASE state WHEN 'parked' THEN 'expired' ELSE 'retention' END),
    -- Without the words that may be a number or an address.
    CASE WHEN state = 'parked' AND $3::text IS NULL THEN regexp_replace(reason, '\S*(@|\d{4})\S*', '***', 'g') END
FROM (
    SELECT callback.leg AS sid, call.account, call.state, call.reason
    FROM callback
    JOIN call ON call.id = callback.call
    WHERE call.id = ANY ($1::bigint[])
    UNION
    -- A call without callbacks was merged: its SID belongs to its parent's call.
    SELECT sid, account, state, reason
    FROM call
    WHERE id = ANY ($1::bigint[]) AND callbacks > 0
) AS removed
-- In one order, so that two nodes never wait for each other in a circle.
ORDER BY 1
ON CONFLICT (hash) DO UPDATE
SET day = excluded.day, cause = excluded.cause, reason = excluded.reason;
