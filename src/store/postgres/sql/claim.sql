-- Continues accounts_with_due.sql, which has $1 and $2. Claims up to $5 calls and returns them with
-- their callbacks, one row per callback.
--
-- $3 bigint   if a call has been due since before this time, the calls that became due last come first
-- $4 boolean  true: calls that have not failed come first, of these the ones that became due last
-- $5 bigint   limit
-- $6 bigint   current time of the node: calls due at or before it are claimed
-- $7 bigint   current time for leases; NULL: the clock of the database
-- $8 bigint   node
-- $9 bigint   length of the lease, ms
--
-- All times are in ms since 1970. Each table is read row by row (LATERAL, ANY): the plan is made
-- once per connection, perhaps while the tables are empty.
,
this_claim AS MATERIALIZED (
    SELECT
        nextval('claim_number') AS number,
        -- One clock for all nodes: a node with a wrong clock must not end the leases of others.
        coalesce($7::bigint, (extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now,
        coalesce((SELECT min(oldest) FROM accounts_with_due) < $3::bigint, false) AS is_backlog
),
-- Calls that a claimed call will be merged into: until then their plan lacks a leg that may have been
-- sent.
awaiting_merge AS MATERIALIZED (
    SELECT array_agg(parent.call) AS calls
    FROM call AS child
    CROSS JOIN LATERAL (
        SELECT call
        FROM sid_index
        WHERE sid_index.sid = child.merge_parent AND sid_index.account = child.account
        LIMIT 1
    ) AS parent
    WHERE child.merge_parent IS NOT NULL AND child.claim IS NOT NULL
),
-- Claims of crashed nodes come first. SKIP LOCKED: another node is claiming that call right now.
expired AS (
    SELECT id, lease_end
    FROM call
    WHERE claim IS NOT NULL
        AND lease_end <= (SELECT now FROM this_claim)
        AND (account = ANY ($1::text[])) <> $2::boolean
    ORDER BY lease_end, id
    LIMIT $5::bigint
    FOR UPDATE SKIP LOCKED
),
-- `longest_due` and `freshest` exclude each other, by the whole claim or, with $4, by call. They are two
-- CTEs because an index is read in one direction only.
longest_due AS (
    SELECT due.id, due.effective_at
    FROM accounts_with_due
    CROSS JOIN LATERAL (
        SELECT id, effective_at
        FROM call
        WHERE call.account = accounts_with_due.account
            AND state = 'pending' AND claim IS NULL
            AND effective_at <= $6::bigint
            AND NOT (SELECT is_backlog FROM this_claim)
            AND (failing_since IS NOT NULL OR NOT $4::boolean)
            AND id <> ALL (coalesce((SELECT calls FROM awaiting_merge), '{}'))
        ORDER BY effective_at, id
        LIMIT $5::bigint
        FOR UPDATE SKIP LOCKED
    ) AS due
),
freshest AS (
    SELECT due.id, due.effective_at
    FROM accounts_with_due
    CROSS JOIN LATERAL (
        SELECT id, effective_at
        FROM call
        WHERE call.account = accounts_with_due.account
            AND state = 'pending' AND claim IS NULL
            AND effective_at <= $6::bigint
            AND ((SELECT is_backlog FROM this_claim) OR $4::boolean AND failing_since IS NULL)
            AND id <> ALL (coalesce((SELECT calls FROM awaiting_merge), '{}'))
        ORDER BY effective_at DESC, id DESC
        LIMIT $5::bigint
        FOR UPDATE SKIP LOCKED
    ) AS due
),
-- Each account offered up to $5 calls: keep the first $5 of all.
chosen AS (
    SELECT id, row_number() OVER (ORDER BY part, rank, tie) AS place
    FROM (
        SELECT 0 AS part, lease_end AS rank, id AS tie, id FROM expired
        UNION ALL
        SELECT 1, -effective_at, -id, id FROM freshest
        UNION ALL
        SELECT 2, effective_at, id, id FROM longest_due
    ) AS candidates
    ORDER BY place
    LIMIT $5::bigint
),
claimed AS (
    UPDATE call
    SET claim = this_claim.number,
        node = $8::bigint,
        lease_end = this_claim.now + $9::bigint
    FROM chosen
    CROSS JOIN this_claim
    WHERE call.id = chosen.id
        -- Makes the planner look up each id in the primary key instead of joining the table.
        AND call.id = ANY (ARRAY(SELECT id FROM chosen))
    RETURNING
        chosen.place, call.id, call.claim, call.sid, call.account, call.requeue_count,
        call.planned_callbacks, call.attempts, call.retry_now_at, call.failing_since,
        call.class
)
-- The row of `next` is always there, so a claim that finds no call still returns when the next one
-- becomes due.
SELECT
    next.effective_at, claimed.id, claim, sid, account, requeue_count, planned_callbacks, attempts,
    retry_now_at, failing_since, class, callback.received, url, headers, body
FROM (
    SELECT min(due.effective_at) AS effective_at
    FROM accounts_with_due
    CROSS JOIN LATERAL (
        SELECT effective_at
        FROM call
        WHERE call.account = accounts_with_due.account
            AND state = 'pending' AND claim IS NULL
            AND effective_at > $6::bigint
            AND id <> ALL (coalesce((SELECT calls FROM awaiting_merge), '{}'))
        ORDER BY effective_at
        LIMIT 1
    ) AS due
) AS next
LEFT JOIN claimed ON true
-- The callbacks of the moment this statement started. A callback that was committed while the claim
-- waited for a lock is missing here, and `settle` sees that the call has more of them.
LEFT JOIN LATERAL (
    SELECT number, received, url, headers, body
    FROM callback
    WHERE callback.call = claimed.id
    -- Keeps the planner from turning the lookups into a join of the whole table.
    OFFSET 0
) AS callback ON true
ORDER BY place, callback.number;
