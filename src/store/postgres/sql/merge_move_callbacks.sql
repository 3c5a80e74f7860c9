-- Moves the callbacks of a leg's call to the parent's call.
--
-- $1 bigint  id of the leg's call
-- $2 bigint  id of the parent's call
UPDATE callback
SET call = $2::bigint, number = moved.number
FROM (
    -- New numbers put them behind the callbacks of the parent's call, since planned_callbacks counts
    -- from the first one.
    SELECT key, variant, nextval(pg_get_serial_sequence('callback', 'number')) AS number
    FROM (SELECT key, variant FROM callback WHERE call = $1::bigint ORDER BY number) AS ordered
) AS moved
WHERE callback.call = $1::bigint
    AND callback.key = moved.key
    AND callback.variant = moved.variant;
