//! What the comparison with Twilio's own records needs of a store: legs, and notes that it keeps.

use std::collections::HashSet;

use async_trait::async_trait;

use super::{Store, StoreError, StoredCallback};
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
#[must_use]
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

/// Notes, which all nodes of a database share.
#[async_trait]
pub trait Records: Sync {
    /// All notes with keys that start with `prefix`, by key.
    async fn notes(&self, prefix: String) -> Result<Vec<Note>, StoreError>;

    async fn write_notes(&self, changes: Vec<NoteChange>) -> Result<(), StoreError>;

    /// The notes in a file of this node, which a restore of the database does not set back; only a spool
    /// has them.
    fn own_notes(&self) -> Option<&dyn Records> {
        None
    }

    /// Writes or removes a note if its text is `before` (`None`: there is none); whether it was.
    async fn replace_note(
        &self,
        change: NoteChange,
        before: Option<String>,
    ) -> Result<bool, StoreError>;
}

/// The first key behind all that start with `prefix`.
pub(super) fn behind(prefix: &str) -> String {
    format!("{prefix}{}", char::MAX)
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
