//! Where a [`Watch`] is kept, so that a restart repeats no message.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::watch::Watch;
use crate::store::{Store, StoreError};
use crate::twilio::CallSid;

/// The key of the note that has it.
const KEY: &str = "notify/watch";

/// Where a watch is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the file of this node: that of its calls, or the spool; else only in memory. While the file cannot
    /// be written, memory has the watch too, so that a full disk is reported.
    Node,
    /// In the database that several nodes share.
    Database,
}

/// A watch and the note that has it.
pub(super) struct Journal {
    place: Place,
    records: Option<Arc<dyn Store>>,
    watch: Watch,
    /// The text of the note; `None` without one.
    stored: Option<String>,
    /// Whether only memory has the last change.
    is_ahead: bool,
}

/// Removes the calls that the store does not have any more from the messages that wait in it. An erasure calls
/// this after it removed its calls. Messages of one node name no call.
pub async fn forget_removed_calls(store: &dyn Store) -> Result<(), StoreError> {
    loop {
        let Some((_, text)) = store.notes(KEY.to_owned()).await?.into_iter().next() else {
            return Ok(());
        };
        let mut watch = parse(&text);
        let mut removed = BTreeSet::new();
        for example in watch.examples() {
            let sid = CallSid::parse(&example).ok();
            let is_known = match &sid {
                Some(sid) => !store.get_all(sid).await?.is_empty(),
                None => false,
            };
            if !is_known {
                removed.insert(example);
            }
        }
        if removed.is_empty() {
            return Ok(());
        }
        watch.forget_examples(&removed);
        let changed = serde_json::to_string(&watch).ok();
        // The notifier may change it at the same time.
        if store
            .replace_note((KEY.to_owned(), changed), Some(text))
            .await?
        {
            return Ok(());
        }
    }
}

/// That of another version starts anew.
fn parse(text: &str) -> Watch {
    serde_json::from_str(text).unwrap_or_default()
}

impl Journal {
    /// Without `records`, in memory.
    pub fn new(place: Place, records: Option<Arc<dyn Store>>) -> Self {
        Self {
            place,
            records,
            watch: Watch::default(),
            stored: None,
            is_ahead: false,
        }
    }

    /// As it was at the last change.
    pub fn last(&self) -> &Watch {
        &self.watch
    }

    /// Changes the watch. `None` if it cannot be changed now: the database is down, or another node or an
    /// erasure changed it at the same time.
    pub async fn change<T>(&mut self, change: impl FnOnce(&mut Watch) -> T) -> Option<T> {
        if !self.is_ahead {
            self.load().await?;
        }
        let mut watch = self.watch.clone();
        let result = change(&mut watch);
        let text = serde_json::to_string(&watch).ok()?;
        if self.stored.as_ref() != Some(&text) {
            self.write(text).await?;
        }
        self.watch = watch;
        Some(result)
    }

    async fn write(&mut self, text: String) -> Option<()> {
        let Some(records) = self.records() else {
            self.is_ahead = true;
            return Some(());
        };
        let note = (KEY.to_owned(), Some(text.clone()));
        let written = records.replace_note(note, self.stored.clone()).await;
        // A change that memory alone has is written with the next one, at the latest after some seconds.
        self.is_ahead = written.is_err() && self.place == Place::Node;
        match written {
            Ok(true) => self.stored = Some(text),
            Ok(false) => return None,
            Err(_) if self.place == Place::Database => return None,
            Err(_) => {}
        }
        Some(())
    }

    async fn load(&mut self) -> Option<()> {
        let read = match self.records() {
            Some(records) => records.notes(KEY.to_owned()).await,
            None => return Some(()),
        };
        match read {
            Ok(notes) => self.stored = notes.into_iter().next().map(|(_, text)| text),
            Err(_) if self.place == Place::Database => return None,
            // Memory has what the file had last.
            Err(_) => return Some(()),
        }
        self.watch = self.stored.as_deref().map(parse).unwrap_or_default();
        Some(())
    }

    fn records(&self) -> Option<&dyn Store> {
        let store: &Arc<dyn Store> = self.records.as_ref()?;
        let own = store.spool().filter(|_| self.place == Place::Node);
        Some(own.unwrap_or(&**store))
    }
}
