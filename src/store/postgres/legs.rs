//! Legs, for the comparison with Twilio's own records.

use std::collections::HashSet;

use crate::store::records::{StoredLeg, legs_of};
use crate::store::rows::callback;
use crate::store::sql::{PostgresValues as Values, Row, Session};
use crate::store::{StoreError, removed};
use crate::twilio::{AccountSid, CallSid};

const LEGS: &str = "SELECT place, received, url, headers, body \
    FROM unnest($2::text[]) WITH ORDINALITY AS wanted (sid, place) \
    CROSS JOIN LATERAL (SELECT call FROM sid_index \
        WHERE sid_index.sid = wanted.sid AND sid_index.account = $1) AS indexed \
    CROSS JOIN LATERAL (SELECT number, received, url, headers, body FROM callback \
        WHERE callback.call = indexed.call AND callback.leg = wanted.sid) AS found \
    ORDER BY place, number";

const REMOVED: &str = "SELECT place FROM unnest($1::bytea[]) WITH ORDINALITY AS wanted (hash, place) \
    CROSS JOIN LATERAL (SELECT 1 FROM removed_call WHERE removed_call.hash = wanted.hash) AS found";

pub async fn legs(
    session: &Session,
    account: &AccountSid,
    sids: &[CallSid],
) -> Result<Vec<StoredLeg>, StoreError> {
    let names: Vec<&str> = sids.iter().map(CallSid::as_str).collect();
    let hashes = sids
        .iter()
        .map(|sid| removed::sid_hash(account, sid).to_vec());
    let hashes: Vec<Vec<u8>> = hashes.collect();
    let values: Values<'_> = &[&account.as_str(), &names];
    let mut callbacks = Vec::new();
    for row in session.query(LEGS, values).await? {
        callbacks.push((row.try_get(0)?, callback(Row::Postgres(&row), 1)?));
    }
    let mut removed = HashSet::new();
    for row in session.query(REMOVED, &[&hashes]).await? {
        removed.insert(row.try_get(0)?);
    }
    Ok(legs_of(sids.len(), callbacks, &removed))
}
