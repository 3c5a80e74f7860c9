//! Overwrites what removed rows left in the files, and searches the files.
//!
//! Removed rows are overwritten as they are removed (`secure_delete`): what is left is in the log.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::SqliteStore;
use crate::clock::{self, Millis};
use crate::domain::subject::Subject;
use crate::store::erasure::{Compaction, Wiped};
use crate::store::{Store as _, StoreError, StoreWarning};
use crate::twilio::{AccountSid, CallSid};

/// How long an old reader may keep the log, in tries of [`LOG_INTERVAL`].
const LOG_TRIES: u32 = 300;
const LOG_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes of a file that are searched at once, and those that the next part has again: more than the longest
/// spelling of a value.
const PART: usize = 1 << 20;
const OVERLAP: usize = 4 << 10;

impl SqliteStore {
    /// See [`Store::wipe`](crate::store::Store::wipe).
    pub(super) async fn wipe_files(
        &self,
        subject: Option<Subject>,
        compaction: Compaction,
    ) -> Result<Wiped, StoreError> {
        let mut done = "removed rows were overwritten".to_owned();
        if compaction == Compaction::Full {
            self.writer
                .ask(|tx| Ok(tx.connection().execute_batch("VACUUM")?))
                .await?;
            done.push_str(", and the file was rewritten");
        }
        while self.writer.ask(|tx| tx.shrink_more()).await? {}
        let mut found_in = Vec::new();
        let mut tries = 0;
        while !self.writer.ask(super::WriteTx::log_is_emptied).await? {
            tries += 1;
            if tries == LOG_TRIES {
                let why = StoreWarning::LogPinned;
                found_in.push(format!("the write-ahead log: {why}"));
                break;
            }
            clock::pause(LOG_INTERVAL).await;
        }
        match subject {
            Some(subject) => {
                let path = self.health.path().to_owned();
                let searched = tokio::task::spawn_blocking(move || search(&path, &subject)).await;
                let places = searched.map_err(io::Error::other).flatten();
                found_in.extend(places.map_err(|why| StoreError::Disk(why.to_string()))?);
                done.push_str("; the files were searched for every spelling");
            }
            None => {
                done.push_str("; the files were not searched, because the bridge stopped before");
            }
        }
        let backup = self.files().backed_up_at;
        let backup = backup.map_or_else(
            || "backups, if there are any".to_owned(),
            |at| format!("backups, the latest of {at}"),
        );
        Ok(Wiped {
            done,
            found_in,
            not_reached: vec![backup],
        })
    }

    /// The SIDs of the calls in this file, which is a spool, that have the subject.
    pub(in crate::store) async fn sids_with(
        &self,
        subject: &Subject,
    ) -> Result<Vec<(AccountSid, CallSid)>, StoreError> {
        let subject = subject.clone();
        let calls = self.writer.ask(move |tx| tx.waiting_with(&subject)).await?;
        let callbacks = calls.into_iter().flat_map(|call| call.callbacks);
        let sids = callbacks.flat_map(|(callback, _)| {
            [callback.call, callback.leg].map(|sid| (callback.account.clone(), sid))
        });
        Ok(sids.collect())
    }

    /// Removes these calls from this file.
    pub(in crate::store) async fn erase_from_spool(
        &self,
        subject: Subject,
        now: Millis,
    ) -> Result<(u64, Wiped), StoreError> {
        let wanted = subject.clone();
        let erased = self.writer.write(move |tx| tx.erase_waiting(&wanted, now));
        let callbacks = erased.await?;
        let wiped = self.wipe_files(Some(subject), Compaction::Off).await?;
        Ok((callbacks, wiped))
    }
}

/// The files of a store that have the subject, with the place of its first copy.
fn search(path: &Path, subject: &Subject) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for end in ["", "-wal", "-journal"] {
        let mut file = path.as_os_str().to_owned();
        file.push(end);
        let file = PathBuf::from(file);
        match File::open(&file).and_then(|mut open| find(&mut open, subject)) {
            Ok(Some(at)) => found.push(format!("{} at byte {at}", file.display())),
            Ok(None) => {}
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(why),
        }
    }
    Ok(found)
}

/// Where the part of a file starts that has the subject.
fn find(file: &mut File, subject: &Subject) -> io::Result<Option<u64>> {
    let (mut part, mut start) = (Vec::new(), 0);
    loop {
        let room = u64::try_from(PART).unwrap_or(u64::MAX);
        if file.by_ref().take(room).read_to_end(&mut part)? == 0 {
            return Ok(None);
        }
        if subject.is_in_file(&part) {
            return Ok(Some(start));
        }
        let seen = part.len().saturating_sub(OVERLAP);
        part.drain(..seen);
        start += seen as u64;
    }
}
