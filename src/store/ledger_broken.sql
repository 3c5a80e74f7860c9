-- How many rows of the ledger differ from the calls.
--
-- A removed call keeps its unit in the ledger, so only the classes that no removed call has are equal;
-- of the others the ledger has at least as many.
WITH counted AS (
    SELECT
        received / 900000 AS quarter, account, class,
        CASE WHEN class IN ('skipped', 'parked', 'dismissed') THEN coalesce(cause, '') ELSE '' END AS cause,
        count(*) AS calls
    FROM call
    GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT -1, account, state, coalesce(cause, ''), count(*)
    FROM call
    WHERE state IN ('skipped', 'parked')
    GROUP BY 1, 2, 3, 4
)
SELECT
    (
        SELECT count(*)
        FROM (
            SELECT quarter, account, class, cause, sum(difference) AS difference
            FROM (
                SELECT quarter, account, class, cause, calls AS difference FROM ledger
                UNION ALL
                SELECT quarter, account, class, cause, -calls FROM counted
            ) AS both_sides
            GROUP BY 1, 2, 3, 4
        ) AS compared
        WHERE difference < 0
            OR difference > 0 AND (quarter = -1 OR class IN ('waiting', 'waiting_late', 'parked'))
    ) + (
        SELECT count(*)
        FROM (
            SELECT quarter, account
            FROM ledger
            WHERE quarter <> -1 AND class <> 'reconciled'
            GROUP BY 1, 2
            HAVING sum(CASE class WHEN 'received' THEN calls ELSE -calls END) <> 0
        ) AS unequal
    )
