//! Keeps the callbacks of all who wait, in one statement.

use std::collections::{HashMap, HashSet};

use super::join;
use super::lane::Job;
use super::rows::word;
use super::session::{Session, Trouble};
use super::tally::Tally;
use crate::clock::Millis;
use crate::store::{NewCallback, Recorded, State};

/// A callback to keep.
pub(super) struct Recording {
    pub callback: NewCallback,
    pub now: Millis,
}

/// In the order of its parts: what is given; the calls that are known, held until the commit; those
/// that begin; who belongs where; names for what had none; and callbacks that are no repeats.
///
/// Locks are taken on calls in the order of their rows, then on names in theirs, so that nodes wait
/// for each other and never in a circle.
const RECORD: &str = "WITH given AS MATERIALIZED ( \
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bigint[], \
            $6::text[], $7::text[], $8::bytea[]) WITH ORDINALITY \
            AS given (account, call, leg, key, received, url, headers, body, n)), \
    known AS MATERIALIZED ( \
        SELECT asked.account, asked.call, call.id, call.sid, call.state \
        FROM (SELECT DISTINCT account, call FROM given) AS asked \
        JOIN name ON name.sid = asked.call AND name.account = asked.account \
        JOIN call ON call.id = name.call AND call.callbacks > 0 \
        ORDER BY call.id FOR UPDATE OF call), \
    fresh AS MATERIALIZED ( \
        SELECT account, call, at, callbacks, nextval(pg_get_serial_sequence('call', 'id')) AS id \
        FROM (SELECT given.account, given.call, min(received) AS at, \
                count(DISTINCT key) AS callbacks FROM given \
            LEFT JOIN known ON known.call = given.call AND known.account = given.account \
            WHERE known.id IS NULL GROUP BY given.account, given.call \
            ORDER BY min(n)) AS unknown), \
    placed AS MATERIALIZED ( \
        SELECT given.*, whose.id, whose.state, given.leg <> whose.sid AS is_child FROM given \
        JOIN (SELECT account, call, id, sid, state FROM known \
            UNION ALL SELECT account, call, id, call, NULL FROM fresh) AS whose \
            ON whose.call = given.call AND whose.account = given.account), \
    named AS ( \
        INSERT INTO name (sid, account, call) \
        SELECT DISTINCT ON (sid, account) sid, account, id FROM ( \
            SELECT call AS sid, account, id, 0 AS level FROM fresh \
            UNION ALL SELECT leg, account, id, 1 FROM placed WHERE is_child) AS names \
        ORDER BY sid, account, level, id ON CONFLICT DO NOTHING RETURNING sid, account, call), \
    begun AS ( \
        INSERT INTO call (id, sid, account, state, at, changed, received, callbacks, attempts, \
            round, planned) \
        SELECT id, call, account, 'pending', at, at, at, callbacks, 0, 0, 0 FROM fresh), \
    kept AS ( \
        INSERT INTO callback (call, key, leg, received, url, headers, body) \
        SELECT id, key, leg, received, url, headers, body FROM placed ORDER BY n \
        ON CONFLICT DO NOTHING RETURNING call, key, received), \
    made_due AS ( \
        UPDATE call SET callbacks = callbacks + grown.count, state = 'pending', reason = NULL, \
            at = CASE state WHEN 'pending' THEN least(at, grown.received) \
                ELSE grown.received END, changed = grown.received \
        FROM (SELECT call, count(*), min(received) AS received FROM kept GROUP BY call) AS grown \
        WHERE call.id = grown.call) \
    SELECT placed.n, placed.id, placed.state, kept.call IS NOT NULL, \
        placed.state IS NULL AND call_named.call IS NULL, \
        is_child AND leg_named.call IS NULL AND leg_known.call IS DISTINCT FROM placed.id \
    FROM placed LEFT JOIN kept ON kept.call = placed.id AND kept.key = placed.key \
    LEFT JOIN named AS call_named ON call_named.sid = placed.call \
        AND call_named.account = placed.account AND call_named.call = placed.id \
    LEFT JOIN named AS leg_named ON leg_named.sid = placed.leg \
        AND leg_named.account = placed.account AND leg_named.call = placed.id \
    LEFT JOIN name AS leg_known ON leg_known.sid = placed.leg \
        AND leg_known.account = placed.account \
    ORDER BY placed.n";

impl Job for Recording {
    type Done = Recorded;

    const MOST: usize = 256;

    async fn carry_out(session: &Session, jobs: &[Self]) -> Result<Vec<Recorded>, Trouble> {
        session
            .transaction(async |session, tally| record(session, tally, jobs).await)
            .await
    }
}

async fn record(
    session: &Session,
    tally: &mut Tally,
    jobs: &[Recording],
) -> Result<Vec<Recorded>, Trouble> {
    let rows = {
        let of = |text: fn(&NewCallback) -> &str| -> Vec<&str> {
            jobs.iter().map(|job| text(&job.callback)).collect()
        };
        let keys: Vec<&[u8]> = jobs
            .iter()
            .map(|job| job.callback.key.as_str().as_bytes())
            .collect();
        let received: Vec<i64> = jobs.iter().map(|job| job.now.0).collect();
        let bodies: Vec<&[u8]> = jobs
            .iter()
            .map(|job| &job.callback.request.body[..])
            .collect();
        session
            .query(
                RECORD,
                &[
                    &of(|callback| callback.account.as_str()),
                    &of(|callback| callback.call.as_str()),
                    &of(|callback| callback.leg.as_str()),
                    &keys,
                    &received,
                    &of(|callback| &callback.request.url),
                    &of(|callback| &callback.request.headers),
                    &bodies,
                ],
            )
            .await?
    };
    if rows.len() != jobs.len() {
        return Err(Trouble::Refused("a callback was not placed".to_owned()));
    }
    let mut recorded = Vec::with_capacity(jobs.len());
    let mut to_join = Vec::new();
    let mut changed = HashMap::new();
    let mut kept = HashSet::new();
    for (row, job) in rows.iter().zip(jobs) {
        let (call, is_new): (i64, bool) = (row.try_get(1)?, row.try_get(3)?);
        let state = match row.try_get::<_, Option<&str>>(2)? {
            Some(_) => Some(word(row, 2, State::parse)?),
            None => None,
        };
        let (is_begun_elsewhere, is_begun_by_leg): (bool, bool) =
            (row.try_get(4)?, row.try_get(5)?);
        if is_begun_elsewhere {
            return Err(Trouble::Raced);
        }
        // The same callback may be given several times at once.
        let is_new = is_new && kept.insert((call, job.callback.key.as_str()));
        if is_new || state.is_none() {
            changed.insert(call, state);
        }
        if is_begun_by_leg {
            to_join.push(job);
        }
        recorded.push(if is_new {
            Recorded::New
        } else {
            Recorded::Repeated
        });
    }
    for state in changed.into_values() {
        if let Some(state) = state {
            tally.moves(state, State::Pending);
        } else {
            tally.seen += 1;
            tally.pending += 1;
        }
    }
    for job in to_join {
        let NewCallback {
            account, call, leg, ..
        } = &job.callback;
        join::join(session, tally, account, (leg, call), job.now).await?;
    }
    Ok(recorded)
}
