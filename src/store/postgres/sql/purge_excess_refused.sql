-- Removes refused requests above a limit, first those of the causes that have the most.
--
-- $1 bigint  how many requests remain
DELETE FROM refused
WHERE id IN (
    SELECT id
    FROM refused
    WHERE id IN (
        -- Rank 1 is the latest request of each cause. The highest ranks go first, so that a flood of
        -- one cause does not displace the few requests of another.
        SELECT id
        FROM (
            SELECT id, row_number() OVER (PARTITION BY cause ORDER BY id DESC) AS rank
            FROM refused
        ) AS ranked
        ORDER BY rank DESC, id
        LIMIT greatest(0, (SELECT count(*) FROM refused) - $1::bigint)
    )
    ORDER BY id
    -- SKIP LOCKED: another node removes that row right now.
    FOR UPDATE SKIP LOCKED
);
