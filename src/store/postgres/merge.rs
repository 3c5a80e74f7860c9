//! Joins what turns out to be one call, as the embedded store does: a leg names its parent alone, so
//! one that came before its parent began a call of its own.
//!
//! What is left of a call that was taken over is skipped, and has no callbacks and no names.

use tokio_postgres::Row;

use super::counters::Counters;
use super::rows::word;
use super::session::{PgError, Session, Values};
use crate::clock::Millis;
use crate::store::State;
use crate::twilio::{AccountSid, CallSid};

const BOTH: &str = "SELECT sid_index.sid, call.id, call.sid, call.state, call.claim IS NOT NULL, \
    call.requeue_count, call.attempts \
    FROM sid_index JOIN call ON call.id = sid_index.call AND call.callbacks > 0 \
    WHERE sid_index.account = $1 AND sid_index.sid IN ($2, $3) ORDER BY call.id FOR UPDATE OF call";

const STILL: &str = "SELECT count(*) FROM sid_index WHERE account = $1 \
    AND (sid = $2 AND call = $3 OR sid = $4 AND call = $5)";

const LATER: &str = "UPDATE call SET merge_parent = $2 WHERE id = $1";

const NAMES: &str = "UPDATE sid_index SET call = $2 WHERE call = $1 AND (sid, account) IN ( \
    SELECT leg, $4 FROM callback WHERE call = $1 UNION SELECT $3, $4)";

const REPEATS: &str = "DELETE FROM callback WHERE call = $1 AND key IN \
    (SELECT key FROM callback WHERE call = $2)";

/// Behind those that are there: what was planned of them stays the first of them.
const CALLBACKS: &str = "UPDATE callback SET call = $2, number = moved.number FROM ( \
    SELECT key, nextval(pg_get_serial_sequence('callback', 'number')) AS number FROM \
        (SELECT key FROM callback WHERE call = $1 ORDER BY number) AS ordered) AS moved \
    WHERE callback.call = $1 AND callback.key = moved.key";

/// Attempts before the last requeue of the call that they were made for stay such.
const ATTEMPTS: &str = "UPDATE attempt SET call = $2, \
    requeue_count = CASE requeue_count WHEN $3::bigint THEN $4::bigint ELSE -1 END WHERE call = $1";

const EMPTY: &str = "UPDATE call SET callbacks = 0, attempts = 0, planned_callbacks = 0, \
    state = 'skipped', effective_at = $2, changed = $2, reason = $3, merge_parent = NULL WHERE id = $1";

const GROW: &str = "UPDATE call SET callbacks = callbacks + $2, attempts = attempts + $3, \
    state = 'pending', reason = NULL, changed = $4, \
    effective_at = CASE state WHEN 'pending' THEN least(effective_at, $4) ELSE $4 END WHERE id = $1";

/// A call as it is held.
struct Held {
    id: i64,
    sid: String,
    state: State,
    is_claimed: bool,
    requeue_count: i64,
    attempts: i64,
}

impl Held {
    fn read(row: &Row) -> Result<Self, PgError> {
        Ok(Self {
            id: row.try_get(1)?,
            sid: row.try_get(2)?,
            state: word(row, 3, State::parse)?,
            is_claimed: row.try_get(4)?,
            requeue_count: row.try_get(5)?,
            attempts: row.try_get(6)?,
        })
    }
}

/// Makes the call that `leg` began a part of its parent's, at once or, if it is being sent, when
/// that is settled. Returns whether it was made so at once.
pub(super) async fn merge_into_parent(
    session: &Session,
    tally: &mut Counters,
    account: &AccountSid,
    (leg, parent): (&CallSid, &CallSid),
    now: Millis,
) -> Result<bool, PgError> {
    let (account, leg, parent) = (account.as_str(), leg.as_str(), parent.as_str());
    let rows = session.query(BOTH, &[&account, &leg, &parent]).await?;
    let (mut begun, mut call) = (None, None);
    for row in &rows {
        match row.try_get::<_, &str>(0)? {
            sid if sid == leg => begun = Some(Held::read(row)?),
            _ => call = Some(Held::read(row)?),
        }
    }
    let (Some(begun), Some(call)) = (begun, call) else {
        return Ok(false);
    };
    if begun.id == call.id || begun.sid != leg {
        return Ok(false);
    }
    // While the calls were waited for, another may have joined one of them elsewhere.
    let values: Values<'_> = &[&account, &leg, &begun.id, &parent, &call.id];
    let still = session.query(STILL, values).await?;
    if still
        .first()
        .map(|row| row.try_get::<_, i64>(0))
        .transpose()?
        != Some(2)
    {
        return Err(PgError::Conflict);
    }
    if begun.is_claimed {
        // What is being sent for it must be kept first.
        session.execute(LATER, &[&begun.id, &parent]).await?;
        return Ok(false);
    }
    take_over(session, account, &begun, &call, now).await?;
    tally.moves(begun.state, State::Skipped);
    tally.moves(call.state, State::Pending);
    Ok(true)
}

async fn take_over(
    session: &Session,
    account: &str,
    begun: &Held,
    call: &Held,
    now: Millis,
) -> Result<(), PgError> {
    let (from, to) = (&begun.id, &call.id);
    session
        .execute(NAMES, &[from, to, &begun.sid, &account])
        .await?;
    session.execute(REPEATS, &[from, to]).await?;
    let moved = session.execute(CALLBACKS, &[from, to]).await?;
    session
        .execute(
            ATTEMPTS,
            &[from, to, &begun.requeue_count, &call.requeue_count],
        )
        .await?;
    let why = format!("it is a part of call {}, which has its callbacks", call.sid);
    session.execute(EMPTY, &[from, &now.0, &why]).await?;
    let moved = i64::try_from(moved).unwrap_or(i64::MAX);
    session
        .execute(GROW, &[to, &moved, &begun.attempts, &now.0])
        .await?;
    Ok(())
}
