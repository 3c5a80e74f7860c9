-- Moves the SIDs of a leg's call to the parent's call.
--
-- $1 bigint  id of the leg's call
-- $2 bigint  id of the parent's call
-- $3 text    SID of the leg's call
-- $4 text    account SID
UPDATE sid_index
SET call = $2::bigint
WHERE call = $1::bigint
    -- The primary key is (sid, account): the SIDs are read from the callbacks, because an index on
    -- `call` would slow down each new SID for the rare merge.
    AND (sid, account) IN (
        SELECT leg, $4::text FROM callback WHERE call = $1::bigint
        UNION
        SELECT $3::text, $4::text
    );
