//! Legs and notes, for the comparison with Twilio's own records.

use std::collections::HashSet;

use async_trait::async_trait;

use super::PostgresStore;
use super::rows;
use super::session::{PgError, Session, Values};
use crate::clock::Millis;
use crate::store::records::{Note, NoteChange, Records, StoredLeg, behind, legs_of};
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

const OLDEST: &str = "SELECT received FROM call ORDER BY id LIMIT 1";

const NOTES: &str = "SELECT key, text FROM note WHERE key >= $1 AND key < $2 ORDER BY key";
const WRITE: &str = "INSERT INTO note (key, text) VALUES ($1, $2) \
    ON CONFLICT (key) DO UPDATE SET text = $2";
const REMOVE: &str = "DELETE FROM note WHERE key = $1";
const INSERT_NEW: &str = "INSERT INTO note (key, text) VALUES ($1, $2) ON CONFLICT DO NOTHING";
const REPLACE: &str = "UPDATE note SET text = $2 WHERE key = $1 AND text = $3";
const REMOVE_SAME: &str = "DELETE FROM note WHERE key = $1 AND text = $2";

#[async_trait]
impl Records for PostgresStore {
    async fn notes(&self, prefix: String) -> Result<Vec<Note>, StoreError> {
        self.query(async move |session| notes(session, &prefix).await)
            .await
    }

    async fn write_notes(&self, changes: Vec<NoteChange>) -> Result<(), StoreError> {
        self.query(async move |session| {
            for (key, text) in &changes {
                match text {
                    Some(text) => session.execute(WRITE, &[key, text]).await?,
                    None => session.execute(REMOVE, &[key]).await?,
                };
            }
            Ok(())
        })
        .await
    }

    async fn replace_note(
        &self,
        change: NoteChange,
        before: Option<String>,
    ) -> Result<bool, StoreError> {
        self.query(async move |session| {
            let key = &change.0;
            let changed = match (&before, &change.1) {
                (None, None) => return Ok(notes(session, key).await?.is_empty()),
                (None, Some(text)) => session.execute(INSERT_NEW, &[key, text]).await?,
                (Some(before), Some(text)) => {
                    session.execute(REPLACE, &[key, text, before]).await?
                }
                (Some(before), None) => session.execute(REMOVE_SAME, &[key, before]).await?,
            };
            Ok(changed > 0)
        })
        .await
    }
}

pub(super) async fn legs(
    session: &Session,
    account: &AccountSid,
    sids: &[CallSid],
) -> Result<Vec<StoredLeg>, PgError> {
    let names: Vec<&str> = sids.iter().map(CallSid::as_str).collect();
    let hashes = sids
        .iter()
        .map(|sid| removed::sid_hash(account, sid).to_vec());
    let hashes: Vec<Vec<u8>> = hashes.collect();
    let values: Values<'_> = &[&account.as_str(), &names];
    let mut callbacks = Vec::new();
    for row in session.query(LEGS, values).await? {
        callbacks.push((row.try_get(0)?, rows::callback(&row, 1)?));
    }
    let mut removed = HashSet::new();
    for row in session.query(REMOVED, &[&hashes]).await? {
        removed.insert(row.try_get(0)?);
    }
    Ok(legs_of(sids.len(), callbacks, &removed))
}

pub(super) async fn oldest_call(session: &Session) -> Result<Option<Millis>, PgError> {
    let rows = session.query(OLDEST, &[]).await?;
    let oldest = rows.first().map(|row| row.try_get(0)).transpose()?;
    Ok(oldest.map(Millis))
}

pub(super) async fn notes(session: &Session, prefix: &str) -> Result<Vec<Note>, PgError> {
    let rows = session.query(NOTES, &[&prefix, &behind(prefix)]).await?;
    let note = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
    rows.iter().map(note).collect()
}
