-- Moves up to $1 changes of the ledger into its table, and returns how many.
WITH moved AS (
    DELETE FROM ledger_change
    WHERE id IN (
        -- SKIP LOCKED: another node folds those rows right now.
        SELECT id FROM ledger_change ORDER BY id LIMIT $1::bigint FOR UPDATE SKIP LOCKED
    )
    RETURNING quarter, account, class, cause, calls
),
folded AS (
    INSERT INTO ledger_folded (quarter, account, class, cause, calls)
    SELECT quarter, account, class, cause, sum(calls)
    FROM moved
    GROUP BY quarter, account, class, cause
    HAVING sum(calls) <> 0
    -- In one order, so that two nodes never wait for each other in a circle.
    ORDER BY quarter, account, class, cause
    ON CONFLICT (quarter, account, class, cause) DO UPDATE
    SET calls = ledger_folded.calls + excluded.calls
)
SELECT count(*) FROM moved;
