-- Shared start of claim.sql, counts.sql and the list of pending calls: the accounts that have
-- unclaimed pending calls, each with the time of its first one.
--
-- $1 text[]   account SIDs
-- $2 boolean  false: only the accounts in $1; true: all accounts except those
WITH RECURSIVE
-- A skip scan: one index lookup per account, however many calls wait. SELECT DISTINCT would read
-- the whole backlog.
pending_accounts (account, oldest) AS (
    (
        SELECT account, effective_at
        FROM call
        WHERE state = 'pending' AND claim IS NULL
        ORDER BY account, effective_at
        LIMIT 1
    )
    UNION ALL
    SELECT next.account, next.effective_at
    FROM pending_accounts
    CROSS JOIN LATERAL (
        SELECT account, effective_at
        FROM call
        WHERE state = 'pending' AND claim IS NULL AND call.account > pending_accounts.account
        ORDER BY account, effective_at
        LIMIT 1
    ) AS next
),
accounts_with_due AS MATERIALIZED (
    SELECT account, oldest
    FROM pending_accounts
    WHERE (account = ANY ($1::text[])) <> $2::boolean
)
