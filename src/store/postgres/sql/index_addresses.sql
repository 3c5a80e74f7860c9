-- Adds a call to the search index, unless it was removed or merged.
--
-- $1 bigint    id of the call
-- $2 bigint    how many callbacks the index then has
-- $3 bigint[]  hashes
WITH updated AS (
    UPDATE call
    SET addresses = ARRAY(SELECT DISTINCT unnest(addresses || $3::bigint[])),
        indexed_callbacks = greatest(indexed_callbacks, $2::bigint)
    WHERE id = $1::bigint AND callbacks >= $2::bigint
    RETURNING id
)
INSERT INTO address (hash, call)
SELECT hash, updated.id
FROM updated
CROSS JOIN LATERAL unnest($3::bigint[]) AS hash
ON CONFLICT DO NOTHING;
