//! Where a [`Watch`] is kept, so that a restart repeats no message.

use std::sync::Arc;

use crate::domain::watch::Watch;
use crate::store::Store;

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
    is_loaded: bool,
}

impl Journal {
    /// Without `records`, in memory.
    pub fn new(place: Place, records: Option<Arc<dyn Store>>) -> Self {
        Self {
            place,
            records,
            watch: Watch::default(),
            stored: None,
            is_loaded: false,
        }
    }

    /// As it was at the last change.
    pub fn last(&self) -> &Watch {
        &self.watch
    }

    /// Changes the watch. `None` if it cannot be changed now: the database is down, or another node changed
    /// it at the same time.
    pub async fn change<T>(&mut self, change: impl FnOnce(&mut Watch) -> T) -> Option<T> {
        if self.place == Place::Database || !self.is_loaded {
            self.load().await?;
        }
        let mut watch = self.watch.clone();
        let result = change(&mut watch);
        let text = serde_json::to_string(&watch).ok()?;
        if self.stored.as_ref() != Some(&text) {
            let is_written = self.write(text.clone()).await;
            if is_written {
                self.stored = Some(text);
            } else if self.place == Place::Database {
                return None;
            }
            // Else it is written at the next change, at the latest after some seconds.
        }
        self.watch = watch;
        Some(result)
    }

    async fn write(&self, text: String) -> bool {
        let Some(records) = self.records() else {
            return false;
        };
        let note = (KEY.to_owned(), Some(text));
        match self.place {
            Place::Node => records.write_notes(vec![note]).await.is_ok(),
            Place::Database => {
                let written = records.replace_note(note, self.stored.clone()).await;
                written.unwrap_or(false)
            }
        }
    }

    async fn load(&mut self) -> Option<()> {
        let read = match self.records() {
            Some(records) => records.notes(KEY.to_owned()).await,
            None => Ok(Vec::new()),
        };
        let read = match self.place {
            Place::Node => read.unwrap_or_default(),
            Place::Database => read.ok()?,
        };
        self.stored = read.into_iter().next().map(|(_, text)| text);
        // That of another version starts anew.
        let watch = self.stored.as_ref().map(|text| serde_json::from_str(text));
        self.watch = watch.and_then(Result::ok).unwrap_or_default();
        self.is_loaded = true;
        Some(())
    }

    fn records(&self) -> Option<&dyn Store> {
        let store: &Arc<dyn Store> = self.records.as_ref()?;
        let own = store.spool().filter(|_| self.place == Place::Node);
        Some(own.unwrap_or(&**store))
    }
}
