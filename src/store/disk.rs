//! What a sync really costs on the disk that holds the store: each answer to Twilio waits for one.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// As much as a small commit writes.
const BLOCK: [u8; 4096] = [0; 4096];

const SYNCS: usize = 9;

/// Some half a million calls, or what a migration may need beside the file.
const LITTLE_SPACE: u64 = 1 << 30;

/// A slow disk is measured no longer than this after its first sync, since a start waits for it.
const LONG_ENOUGH: Duration = Duration::from_millis(250);

/// Faster than any disk that has written: flash needs some 20 us, and nothing else is as fast.
const IMPLAUSIBLE: Duration = Duration::from_micros(20);

/// From here on answers are felt to be slow, and a burst may wait for seconds.
const SLOW: Duration = Duration::from_millis(100);

/// Writes and syncs a file in `folder` that has no name and is gone afterwards; the median.
pub fn fsync_latency(folder: &Path) -> io::Result<Duration> {
    let mut file = tempfile::tempfile_in(folder)?;
    let begun = Instant::now();
    let mut took = Vec::with_capacity(SYNCS);
    while took.len() < SYNCS && (took.is_empty() || begun.elapsed() < LONG_ENOUGH) {
        file.write_all(&BLOCK)?;
        let synced = Instant::now();
        file.sync_data()?;
        took.push(synced.elapsed());
    }
    took.sort_unstable();
    Ok(took[took.len() / 2])
}

/// The bytes that a file in `folder` may still take.
pub fn free_space(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// What an operator should know about a disk with so little space.
#[must_use]
pub fn low_space_warning(free: u64) -> Option<&'static str> {
    (free < LITTLE_SPACE).then_some(
        "that is little: a full disk refuses every callback; make room, or shorten \
         store.retention",
    )
}

/// What an operator should know about a disk that syncs so fast or so slowly.
#[must_use]
pub fn latency_warning(sync: Duration) -> Option<&'static str> {
    if sync < IMPLAUSIBLE {
        Some(
            "that is too fast for a disk: if it only pretends to write (a memory file system, a \
             write cache without a battery), a power cut loses calls that were answered",
        )
    } else if sync > SLOW {
        Some("that is slow: each answer to Twilio waits for a sync; look at the disk of store.url")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_disk_does_and_what_twilio_would_feel_is_doubted() {
        for (micros, word) in [
            (0, Some("too fast")),
            (19, Some("too fast")),
            (20, None),
            (300, None),
            (100_000, None),
            (100_001, Some("slow")),
        ] {
            let warning = latency_warning(Duration::from_micros(micros));
            assert_eq!(warning.is_some(), word.is_some(), "{micros}");
            assert!(
                warning
                    .unwrap_or_default()
                    .contains(word.unwrap_or_default())
            );
        }
    }

    #[test]
    fn less_than_a_gibibyte_is_little() {
        assert!(low_space_warning((1 << 30) - 1).is_some());
        assert!(low_space_warning(1 << 30).is_none());
        let folder = tempfile::tempdir().expect("a folder");
        assert!(free_space(folder.path()).expect("a file system") > 0);
    }

    #[test]
    fn a_folder_is_measured_and_left_empty() {
        let folder = tempfile::tempdir().expect("a folder");
        let cost = fsync_latency(folder.path()).expect("it can be written");
        assert!(cost > Duration::ZERO);
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("a folder").count(),
            0
        );
        assert!(fsync_latency(&folder.path().join("absent")).is_err());
    }
}
