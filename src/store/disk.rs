//! Measures the disk of the store: fsync latency, because each answer to Twilio waits for an fsync, and
//! free space.
//!
//! It only measures and words the warnings: it prints and stops nothing.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// The size of a small commit.
const BLOCK: [u8; 4096] = [0; 4096];

const SYNC_COUNT: usize = 9;

/// Bytes: about half a million calls, or the temporary space of a migration.
const LOW_SPACE_BYTES: u64 = 1 << 30;

/// The limit for the measurement after its first sync, because the start of the bridge waits for it.
const MEASURE_TIME: Duration = Duration::from_millis(250);

/// Faster than any disk that really writes: flash, the fastest, needs about 20 us.
const IMPLAUSIBLE_LATENCY: Duration = Duration::from_micros(20);

/// Above this, callers notice the wait, and a burst of callbacks may wait for seconds.
const SLOW_LATENCY: Duration = Duration::from_millis(100);

/// The median time to write and sync a block. The file in `folder` has no name and is removed.
pub fn fsync_latency(folder: &Path) -> io::Result<Duration> {
    let mut file = tempfile::tempfile_in(folder)?;
    let started = Instant::now();
    let mut took = Vec::with_capacity(SYNC_COUNT);
    // At least once, however slow the disk is.
    while took.len() < SYNC_COUNT && (took.is_empty() || started.elapsed() < MEASURE_TIME) {
        file.write_all(&BLOCK)?;
        let synced = Instant::now();
        file.sync_data()?;
        took.push(synced.elapsed());
    }
    // The median, so that one stall does not decide.
    took.sort_unstable();
    Ok(took[took.len() / 2])
}

/// Free bytes for files in `folder`.
pub fn free_space(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The warning for an operator about low disk space.
pub fn low_space_warning(free: u64) -> Option<&'static str> {
    (free < LOW_SPACE_BYTES).then_some(
        "that is little: a full disk refuses every callback; make room, or shorten \
         store.retention",
    )
}

/// The warning for an operator about an implausible or slow fsync.
pub fn latency_warning(sync: Duration) -> Option<&'static str> {
    if sync < IMPLAUSIBLE_LATENCY {
        Some(
            "that is too fast for a disk: if it only pretends to write (a memory file system, a \
             write cache without a battery), a power cut loses calls that were answered",
        )
    } else if sync > SLOW_LATENCY {
        Some("that is slow: each answer to Twilio waits for a sync; check the disk of store.url")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn implausible_and_slow_syncs_are_warned_about() {
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
