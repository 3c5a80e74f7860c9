//! Files that settings name: readable, complete as a pair, changed since they were last read.
//!
//! Their content is read elsewhere.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::reader::SettingsReader;
use crate::clock;
use crate::net::tls::CertificatePair;

/// A change is reported when two checks in a row found the same, so that no half-written file is
/// read.
const FILE_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Files that are read together.
#[derive(Debug)]
pub struct FileWatch {
    paths: Vec<PathBuf>,
    seen: Option<Vec<Stamp>>,
    read: Option<Vec<Stamp>>,
}

/// Distinguishes two states of a file: time of modification, size and inode, or why they cannot be
/// read.
type Stamp = Result<(SystemTime, u64, u64), io::ErrorKind>;

impl FileWatch {
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            seen: None,
            read: None,
        }
    }

    /// Returns when the files should be read: at the start, as soon as they are stable, and after each
    /// change.
    pub async fn changed(&mut self) {
        loop {
            let stamps = stamps(self.paths.clone()).await;
            if self.should_read(stamps) {
                return;
            }
            clock::pause(FILE_POLL_INTERVAL).await;
        }
    }

    fn should_read(&mut self, stamps: Vec<Stamp>) -> bool {
        let is_stable = self.seen.as_ref() == Some(&stamps);
        self.seen = Some(stamps);
        if !is_stable || self.read == self.seen {
            return false;
        }
        self.read.clone_from(&self.seen);
        true
    }
}

async fn stamps(paths: Vec<PathBuf>) -> Vec<Stamp> {
    let reading =
        tokio::task::spawn_blocking(move || paths.iter().map(|path| stamp(path)).collect());
    reading.await.unwrap_or_default()
}

fn stamp(path: &Path) -> Stamp {
    let stamp = std::fs::metadata(path).and_then(|metadata| {
        let inode = inode(&metadata);
        Ok((metadata.modified()?, metadata.len(), inode))
    });
    stamp.map_err(|why| why.kind())
}

fn inode(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

/// A certificate and its key, both or neither; `purpose` says in a mistake what needs them.
pub(super) fn pair(
    reader: &mut SettingsReader,
    keys: [&str; 2],
    purpose: &str,
) -> Option<CertificatePair> {
    let files = keys.map(|key| reader.text(key, readable_file));
    for (key, other) in [(keys[0], keys[1]), (keys[1], keys[0])] {
        if reader.is_set(key) && !reader.is_set(other) {
            let name = reader.name(key);
            reader.mistake(format!(
                "{name} is set without {other}: {purpose} needs both"
            ));
        }
    }
    let [cert_file, key_file] = files;
    Some(CertificatePair {
        cert_file: cert_file?,
        key_file: key_file?,
    })
}

pub(super) fn readable_file(text: &str) -> Result<PathBuf, String> {
    match std::fs::File::open(text) {
        Ok(_) => Ok(PathBuf::from(text)),
        Err(why) => Err(format!("cannot be read: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_it_is_stable_and_again_only_when_it_changed() {
        let stamp = |length| Ok((SystemTime::UNIX_EPOCH, length, 1));
        let missing = Err(io::ErrorKind::NotFound);
        let mut watch = FileWatch::new(Vec::new());
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
            assert_eq!(watch.should_read(vec![seen]), expected, "{seen:?}");
        }
    }
}
