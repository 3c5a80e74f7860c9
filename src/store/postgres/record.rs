//! Keeps the callbacks of all who wait, in one statement.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::batcher::BatchJob;
use super::merge;
use super::session::{PgError, Session, Values};
use crate::clock::Millis;
use crate::store::{NewCallback, Recorded};

/// A callback to keep.
pub(super) struct RecordJob {
    pub callback: NewCallback,
    pub now: Millis,
}

/// Given are calls (`$1` to `$4`), callbacks with the places of their calls among those (`$5` to
/// `$11`), and legs that are not their call's own, likewise (`$12` to `$14`). In the order of its
/// parts: the calls that are known, held until the commit; those that begin; who belongs where; names
/// for what had none; callbacks that are no repeats; and the count. Told is which callbacks were
/// kept, and which legs began a call of their own.
///
/// Locks are taken on calls in the order of their rows, then on names in theirs, so that nodes wait
/// for each other and never in a circle. A name that another adds meanwhile fails the whole, and
/// so does, where `$15` asks for it, a leg that began a call of its own: joining takes further
/// statements.
///
/// The plan is made once, perhaps while the tables are empty, and must not depend on what they then
/// seem to hold: each table is looked into row by row (`LATERAL`, `ANY`), never joined as a whole.
const RECORD: &str = "WITH asked AS MATERIALIZED ( \
        SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) \
            WITH ORDINALITY AS asked (account, sid, at, callbacks, place)), \
    known AS MATERIALIZED ( \
        SELECT place, held.id, held.state FROM ( \
            SELECT place, entry.call FROM asked CROSS JOIN LATERAL (SELECT call FROM sid_index \
                WHERE sid_index.sid = asked.sid AND sid_index.account = asked.account LIMIT 1) AS entry \
            ORDER BY entry.call) AS found \
        CROSS JOIN LATERAL (SELECT id, state FROM call \
            WHERE call.id = found.call AND callbacks > 0 FOR UPDATE) AS held), \
    fresh AS MATERIALIZED ( \
        SELECT *, nextval('call_id_seq') AS id FROM (SELECT * FROM asked \
            WHERE place NOT IN (SELECT place FROM known) ORDER BY place) AS unknown), \
    calls AS MATERIALIZED ( \
        SELECT array_agg(id ORDER BY place) AS ids FROM (SELECT place, id FROM known \
            UNION ALL SELECT place, id FROM fresh) AS whose), \
    placed AS MATERIALIZED ( \
        SELECT *, (SELECT ids FROM calls)[place] AS call, \
            nextval('callback_number_seq') AS number \
        FROM unnest($5::bigint[], $6::text[], $7::bytea[], $8::bigint[], $9::text[], \
            $10::text[], $11::bytea[]) WITH ORDINALITY \
            AS given (place, leg, key, received, url, headers, body, n)), \
    legs AS MATERIALIZED ( \
        SELECT n, leg, given.account, (SELECT ids FROM calls)[place] AS call, entry.call AS known \
        FROM unnest($12::bigint[], $13::text[], $14::text[]) WITH ORDINALITY \
            AS given (place, account, leg, n) \
        LEFT JOIN LATERAL (SELECT call FROM sid_index WHERE sid_index.sid = given.leg \
            AND sid_index.account = given.account LIMIT 1) AS entry ON true), \
    names AS MATERIALIZED ( \
        SELECT DISTINCT ON (sid, account, rival) sid, account, call FROM ( \
            SELECT sid, account, id AS call, 0 AS level, CASE WHEN $15 THEN id END AS rival \
            FROM fresh \
            UNION ALL SELECT leg, account, call, 1, CASE WHEN $15 THEN call END FROM legs \
            WHERE known IS NULL OR $15 AND known <> call) AS unknown \
        ORDER BY sid, account, rival, level, call), \
    named AS ( \
        INSERT INTO sid_index (sid, account, call) \
        SELECT sid, account, call FROM names ORDER BY sid, account), \
    begun AS ( \
        INSERT INTO call (id, sid, account, state, effective_at, changed, received, callbacks, \
            attempts, requeue_count, planned_callbacks) \
        SELECT id, sid, account, 'pending', at, at, at, callbacks, 0, 0, 0 FROM fresh), \
    kept AS ( \
        INSERT INTO callback (call, key, number, leg, received, url, headers, body) \
        SELECT call, key, number, leg, received, url, headers, body FROM placed ORDER BY n \
        ON CONFLICT DO NOTHING RETURNING call, number, received), \
    grown AS MATERIALIZED ( \
        SELECT call, count(*), min(received) AS received FROM kept \
        WHERE call IN (SELECT id FROM known) GROUP BY call), \
    made_due AS ( \
        UPDATE call SET callbacks = callbacks + grown.count, state = 'pending', reason = NULL, \
            effective_at = CASE state WHEN 'pending' THEN least(effective_at, grown.received) \
                ELSE grown.received END, changed = grown.received \
        FROM grown WHERE call.id = grown.call \
            AND call.id = ANY (ARRAY(SELECT call FROM grown))), \
    counted AS ( \
        INSERT INTO counters (seen, purged, pending, delivered, skipped, parked) \
        SELECT seen, 0, seen + delivered + skipped + parked, -delivered, -skipped, -parked \
        FROM (SELECT (SELECT count(*) FROM fresh) AS seen, \
                count(DISTINCT id) FILTER (WHERE state = 'delivered') AS delivered, \
                count(DISTINCT id) FILTER (WHERE state = 'skipped') AS skipped, \
                count(DISTINCT id) FILTER (WHERE state = 'parked') AS parked \
            FROM known WHERE id IN (SELECT call FROM grown)) AS moved \
        WHERE seen + delivered + skipped + parked > 0) \
    SELECT ARRAY(SELECT number IN (SELECT number FROM kept) FROM placed ORDER BY n), \
        ARRAY(SELECT CASE WHEN known IS NULL \
                THEN (leg, account, call) NOT IN (SELECT sid, account, call FROM names) \
                ELSE known <> call END FROM legs ORDER BY n)";

impl BatchJob for RecordJob {
    type Done = Recorded;

    const MAX_BATCH: usize = 256;

    const BATCH_WAIT: Option<Duration> = None;

    async fn at_once(session: &Session, jobs: &[Self]) -> Result<Vec<Recorded>, PgError> {
        let (recorded, _) = Batch::of(jobs)
            .record(session, LegColumns::MustNotJoin)
            .await?;
        Ok(recorded)
    }

    async fn carry_out(session: &Session, jobs: &[Self]) -> Result<Vec<Recorded>, PgError> {
        let batch = Batch::of(jobs);
        session
            .transaction(async |session, tally| {
                let (recorded, to_join) = batch.record(session, LegColumns::MayJoin).await?;
                for RecordJob { callback, now } in to_join {
                    let (leg, call) = (&callback.leg, &callback.call);
                    merge::merge_into_parent(session, tally, &callback.account, (leg, call), *now)
                        .await?;
                }
                Ok(recorded)
            })
            .await
    }
}

/// Whether a leg may have begun a call of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LegColumns {
    MayJoin,
    /// Then all fails as if it had met another's transaction.
    MustNotJoin,
}

/// What is given to [`RECORD`].
struct Batch<'a> {
    calls: Vec<Asked<'a>>,
    /// Each once, with the place of its call.
    callbacks: Vec<(i64, &'a RecordJob)>,
    legs: Vec<(i64, &'a RecordJob)>,
    /// For each job the place of its callback; none if another has the same.
    given: Vec<Option<usize>>,
}

struct Asked<'a> {
    account: &'a str,
    sid: &'a str,
    first_received: i64,
    callbacks: i64,
}

impl<'a> Batch<'a> {
    fn of(jobs: &'a [RecordJob]) -> Self {
        let mut batch = Self {
            calls: Vec::new(),
            callbacks: Vec::with_capacity(jobs.len()),
            legs: Vec::new(),
            given: Vec::with_capacity(jobs.len()),
        };
        let mut places: HashMap<(&str, &str), usize> = HashMap::new();
        let (mut keys, mut legs) = (HashSet::new(), HashSet::new());
        for job in jobs {
            let NewCallback {
                account, call, leg, ..
            } = &job.callback;
            let (account, sid) = (account.as_str(), call.as_str());
            let at = *places.entry((account, sid)).or_insert_with(|| {
                batch.calls.push(Asked {
                    account,
                    sid,
                    first_received: job.now.0,
                    callbacks: 0,
                });
                batch.calls.len() - 1
            });
            // Arrays of the database begin at one.
            let place = i64::try_from(at + 1).unwrap_or(i64::MAX);
            if leg != call && legs.insert((at, leg)) {
                batch.legs.push((place, job));
            }
            if !keys.insert((at, job.callback.key.as_str())) {
                batch.given.push(None);
                continue;
            }
            let asked = &mut batch.calls[at];
            asked.callbacks += 1;
            asked.first_received = asked.first_received.min(job.now.0);
            batch.given.push(Some(batch.callbacks.len()));
            batch.callbacks.push((place, job));
        }
        batch
    }

    /// What came of each job, and those whose leg began a call of its own.
    async fn record(
        &self,
        session: &Session,
        legs: LegColumns,
    ) -> Result<(Vec<Recorded>, Vec<&RecordJob>), PgError> {
        macro_rules! column {
            ($rows:ident, $row:pat => $value:expr) => {
                &self.$rows.iter().map(|$row| $value).collect::<Vec<_>>()
            };
        }
        let values: Values<'_> = &[
            column!(calls, call => call.account),
            column!(calls, call => call.sid),
            column!(calls, call => call.first_received),
            column!(calls, call => call.callbacks),
            column!(callbacks, (place, _) => place),
            column!(callbacks, (_, job) => job.callback.leg.as_str()),
            column!(callbacks, (_, job) => job.callback.key.as_str().as_bytes()),
            column!(callbacks, (_, job) => job.now.0),
            column!(callbacks, (_, job) => &job.callback.request.url),
            column!(callbacks, (_, job) => &job.callback.request.headers),
            column!(callbacks, (_, job) => &job.callback.request.body[..]),
            column!(legs, (place, _) => place),
            column!(legs, (_, job) => job.callback.account.as_str()),
            column!(legs, (_, job) => job.callback.leg.as_str()),
            &(legs == LegColumns::MustNotJoin),
        ];
        let rows = session.query(RECORD, values).await?;
        let (is_new, begun): (Vec<bool>, Vec<bool>) = match rows.first() {
            Some(row) => (row.try_get(0)?, row.try_get(1)?),
            None => Default::default(),
        };
        if (is_new.len(), begun.len()) != (self.callbacks.len(), self.legs.len()) {
            return Err(PgError::Refused("a callback was not placed".to_owned()));
        }
        let recorded = self.given.iter().map(|given| match given {
            Some(at) if is_new[*at] => Recorded::New,
            _ => Recorded::Repeated,
        });
        let to_join = self.legs.iter().zip(begun).filter(|(_, begun)| *begun);
        Ok((
            recorded.collect(),
            to_join.map(|((_, job), _)| *job).collect(),
        ))
    }
}
