//! Reads `directory.file` again when it changes, and gives the rules with it to whoever plans.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock;
use crate::config::DirectoryFile;
use crate::directory::Directory;
use crate::plan::Rules;

/// Between two looks. A change counts once two looks found the same, so that no half-written file
/// is read.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The mistakes of one file that are logged.
const SHOWN_MISTAKES: usize = 10;

/// Follows the file until `stop`. One that cannot be used changes nothing and is logged once.
pub async fn follow(
    file: DirectoryFile,
    rules: watch::Sender<Arc<Rules>>,
    stop: CancellationToken,
) {
    let file = Arc::new(file);
    let mut watching = Watching::default();
    while !stop.is_cancelled() {
        let seen = look(&file.path).await;
        if watching.is_to_be_read(seen) {
            match read(Arc::clone(&file)).await {
                Ok(directory) => take(directory, &rules),
                Err(why) => warn!(
                    file = %file.path.display(),
                    "the directory stays as it was: {why}"
                ),
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = clock::pause(LOOK_AGAIN) => {}
        }
    }
}

/// What tells one state of a file from another: time of change, size and inode; or why it cannot
/// be looked at.
type Stamp = Result<(SystemTime, u64, u64), io::ErrorKind>;

/// What was seen last, and what was read last.
#[derive(Default)]
struct Watching {
    seen: Option<Stamp>,
    read: Option<Stamp>,
}

impl Watching {
    fn is_to_be_read(&mut self, stamp: Stamp) -> bool {
        let is_settled = self.seen == Some(stamp);
        self.seen = Some(stamp);
        if !is_settled || self.read == Some(stamp) {
            return false;
        }
        self.read = Some(stamp);
        true
    }
}

async fn look(path: &Path) -> Stamp {
    let path = path.to_owned();
    let looking = tokio::task::spawn_blocking(move || {
        let metadata = std::fs::metadata(path)?;
        Ok((metadata.modified()?, metadata.len(), inode(&metadata)))
    });
    match looking.await {
        Ok(stamp) => stamp.map_err(|why: io::Error| why.kind()),
        Err(_) => Err(io::ErrorKind::Other),
    }
}

#[cfg(unix)]
fn inode(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}

async fn read(file: Arc<DirectoryFile>) -> Result<Directory, String> {
    let reading = tokio::task::spawn_blocking(move || {
        let path = file.path.display().to_string();
        let bytes =
            std::fs::read(&file.path).map_err(|why| format!("{path} cannot be read: {why}"))?;
        let mut listing = file.beside.clone();
        match listing.add_csv(&path, &bytes) {
            Ok(()) => Ok(listing.directory()),
            Err(mistakes) => Err(in_short(&mistakes)),
        }
    });
    reading
        .await
        .unwrap_or_else(|why| Err(format!("reading it failed: {why}")))
}

fn in_short(mistakes: &[String]) -> String {
    let shown = mistakes[..mistakes.len().min(SHOWN_MISTAKES)].join("; ");
    match mistakes.len().saturating_sub(SHOWN_MISTAKES) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

fn take(directory: Directory, rules: &watch::Sender<Arc<Rules>>) {
    rules.send_if_modified(|rules| {
        let is_new = rules.directory != directory;
        if is_new {
            let entries = directory.entries.len();
            info!(entries, "the directory changed: it has {entries} entries");
            *rules = Arc::new(Rules {
                directory,
                ..Rules::clone(rules)
            });
        }
        is_new
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_it_is_settled_and_again_only_when_it_changed() {
        let stamp = |length| Ok((SystemTime::UNIX_EPOCH, length, 1));
        let missing = Err(io::ErrorKind::NotFound);
        let mut watching = Watching::default();
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
            assert_eq!(watching.is_to_be_read(seen), expected, "{seen:?}");
        }
    }

    #[test]
    fn many_mistakes_are_told_in_short() {
        let mistakes: Vec<String> = (1..=12).map(|line| format!("d.csv:{line}: no")).collect();
        let told = in_short(&mistakes);
        assert!(told.ends_with("d.csv:10: no; and 2 more"), "{told}");
        assert_eq!(in_short(&mistakes[..1]), "d.csv:1: no");
    }
}
