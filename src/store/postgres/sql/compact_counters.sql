-- Replaces up to 2,000 rows of the counters by one with their sum.
WITH removed AS (
    DELETE FROM counters
    WHERE id IN (
        -- SKIP LOCKED: another node compacts those rows right now.
        SELECT id FROM counters ORDER BY id LIMIT 2000 FOR UPDATE SKIP LOCKED
    )
    RETURNING *
)
INSERT INTO counters (seen, purged, pending, delivered, skipped, parked)
SELECT sum(seen), sum(purged), sum(pending), sum(delivered), sum(skipped), sum(parked)
FROM removed
-- The sums of no rows are NULL, which the table refuses.
HAVING count(*) > 0;
