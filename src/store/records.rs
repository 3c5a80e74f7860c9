//! What the comparison with Twilio's own records needs of a store: legs, and notes that it keeps.

use std::collections::HashSet;

use super::sql::Sql;
use super::{Store, StoreError, StoredCallback, Urgency, read, write};
use crate::clock::Millis;
use crate::twilio::CallSid;

/// What is stored of one leg.
#[derive(Clone, Debug, Default)]
pub struct StoredLeg {
    /// Those of the leg itself, in the order of arrival.
    pub callbacks: Vec<StoredCallback>,
    /// Whether a call with this SID was removed.
    pub is_removed: bool,
}

/// A note of a background task: a key and its text.
pub type Note = (String, String);

/// A note to write, or to remove if it has no text.
pub type NoteChange = (String, Option<String>);

/// The start of the made-up SIDs of canaries. A SID with it is a canary's only if it has a note.
pub const CANARY_PREFIX: &str = "CAcafe0000";

/// The key of the result of the last canary.
pub const CANARY_RESULT: &str = "canary-result";

/// The key of the note of a canary; `None` for other SIDs.
pub fn canary_key(sid: &CallSid) -> Option<String> {
    let is_one = sid.as_str().starts_with(CANARY_PREFIX);
    is_one.then(|| format!("canary/{sid}"))
}

/// Whether this SID is a canary's. Its callback is then not recorded: its note says that it came.
pub async fn ends_canary(store: &dyn Store, sid: &CallSid) -> Result<bool, StoreError> {
    let Some(key) = canary_key(sid) else {
        return Ok(false);
    };
    let notes = store.notes(key.clone()).await?;
    let Some((_, text)) = notes.first() else {
        return Ok(false);
    };
    let at = text.split(' ').next().unwrap_or_default();
    let change = (key, Some(format!("{at} came")));
    store.write_notes(vec![change]).await?;
    Ok(true)
}

const NOTES: &str = "SELECT key, text FROM note WHERE key >= $1 AND key < $2 ORDER BY key";
const WRITE: &str = "INSERT INTO note (key, text) VALUES ($1, $2) \
    ON CONFLICT (key) DO UPDATE SET text = excluded.text";
const REMOVE: &str = "DELETE FROM note WHERE key = $1";
const INSERT_NEW: &str = "INSERT INTO note (key, text) VALUES ($1, $2) ON CONFLICT DO NOTHING";
const REPLACE: &str = "UPDATE note SET text = $1 WHERE key = $2 AND text = $3";
const REMOVE_SAME: &str = "DELETE FROM note WHERE key = $1 AND text = $2";

/// Notes, which all nodes of a database share.
impl dyn Store + '_ {
    /// All notes with keys that start with `prefix`, by key.
    pub async fn notes(&self, prefix: String) -> Result<Vec<Note>, StoreError> {
        read(self, async move |reads| notes(reads.sql(), &prefix).await).await
    }

    pub async fn write_notes(&self, changes: Vec<NoteChange>) -> Result<(), StoreError> {
        write(self, Urgency::Now, async move |tx| {
            for (key, text) in &changes {
                match text {
                    Some(text) => tx.sql().execute(WRITE, &[key, text]).await?,
                    None => tx.sql().execute(REMOVE, &[key]).await?,
                };
            }
            Ok(())
        })
        .await
    }

    /// Writes or removes a note if its text is `before` (`None`: there is none); whether it was.
    pub async fn replace_note(
        &self,
        change: NoteChange,
        before: Option<String>,
    ) -> Result<bool, StoreError> {
        write(self, Urgency::Now, async move |tx| {
            let (sql, key) = (tx.sql(), &change.0);
            let changed = match (&before, &change.1) {
                (None, None) => return Ok(notes(sql, key).await?.is_empty()),
                (None, Some(text)) => sql.execute(INSERT_NEW, &[key, text]).await?,
                (Some(before), Some(text)) => sql.execute(REPLACE, &[text, key, before]).await?,
                (Some(before), None) => sql.execute(REMOVE_SAME, &[key, before]).await?,
            };
            Ok(changed > 0)
        })
        .await
    }
}

pub(super) async fn notes(sql: Sql<'_>, prefix: &str) -> Result<Vec<Note>, StoreError> {
    let behind = format!("{prefix}{}", char::MAX);
    sql.query(NOTES, &[&prefix, &behind], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
    .await
}

/// When the first callback of the oldest call arrived that was not removed.
pub(super) async fn oldest_call(sql: Sql<'_>) -> Result<Option<Millis>, StoreError> {
    let oldest = "SELECT received FROM call ORDER BY id LIMIT 1";
    sql.first(oldest, &[], |row| row.millis(0)).await
}

/// Adds to each leg its callbacks, each with the position of its leg from 1, and marks removed ones.
pub(super) fn legs_of(
    count: usize,
    callbacks: impl IntoIterator<Item = (i64, StoredCallback)>,
    removed: &HashSet<i64>,
) -> Vec<StoredLeg> {
    let mut legs = vec![StoredLeg::default(); count];
    let at = |place: i64| usize::try_from(place - 1).ok();
    for (place, callback) in callbacks {
        if let Some(leg) = at(place).and_then(|place| legs.get_mut(place)) {
            leg.callbacks.push(callback);
        }
    }
    for place in removed {
        if let Some(leg) = at(*place).and_then(|place| legs.get_mut(place)) {
            leg.is_removed = true;
        }
    }
    legs
}
