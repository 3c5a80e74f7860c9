//! Tells when files have changed, by looking at them again and again.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::clock;

/// Between two looks. A change counts once two looks found the same, so that no half-written file
/// is read.
const FILE_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Files that are read together.
#[derive(Debug)]
pub struct FileWatch {
    paths: Vec<PathBuf>,
    seen: Option<Vec<Stamp>>,
    read: Option<Vec<Stamp>>,
}

/// What tells one state of a file from another: time of change, size and inode; or why it cannot
/// be looked at.
type Stamp = Result<(SystemTime, u64, u64), io::ErrorKind>;

impl FileWatch {
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            seen: None,
            read: None,
        }
    }

    /// Returns when the files are to be read: once they are settled for the first time, and each time
    /// that they have changed since.
    pub async fn changed(&mut self) {
        loop {
            let stamps = look(self.paths.clone()).await;
            if self.is_to_be_read(stamps) {
                return;
            }
            clock::pause(FILE_POLL_INTERVAL).await;
        }
    }

    fn is_to_be_read(&mut self, stamps: Vec<Stamp>) -> bool {
        let is_settled = self.seen.as_ref() == Some(&stamps);
        self.seen = Some(stamps);
        if !is_settled || self.read == self.seen {
            return false;
        }
        self.read.clone_from(&self.seen);
        true
    }
}

async fn look(paths: Vec<PathBuf>) -> Vec<Stamp> {
    let looking =
        tokio::task::spawn_blocking(move || paths.iter().map(|path| stamp(path)).collect());
    looking.await.unwrap_or_default()
}

fn stamp(path: &Path) -> Stamp {
    let stamp = std::fs::metadata(path).and_then(|metadata| {
        let inode = inode(&metadata);
        Ok((metadata.modified()?, metadata.len(), inode))
    });
    stamp.map_err(|why| why.kind())
}

#[cfg(unix)]
fn inode(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_it_is_settled_and_again_only_when_it_changed() {
        let stamp = |length| Ok((SystemTime::UNIX_EPOCH, length, 1));
        let missing = Err(io::ErrorKind::NotFound);
        let mut watched = FileWatch::new(Vec::new());
        for (seen, expected) in [
            (stamp(1), false),
            (stamp(1), true),
            (stamp(1), false),
            (stamp(2), false),
            (stamp(3), false),
            (stamp(3), true),
            (missing, false),
            (missing, true),
            (missing, false),
            (stamp(3), false),
            (stamp(3), true),
        ] {
            assert_eq!(watched.is_to_be_read(vec![seen]), expected, "{seen:?}");
        }
    }
}
