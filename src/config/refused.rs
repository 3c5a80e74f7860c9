//! `[refused]`: how many refused requests are kept for diagnosis, and how long.

use std::time::Duration;

use super::duration::{days, minutes};
use super::reader::SettingsReader;

/// Limits of the refused requests that are kept.
#[derive(Clone, Copy, Debug)]
pub struct RefusedSettings {
    /// Limit of their number.
    pub keep: usize,
    pub retention: Duration,
}

/// Reads the section.
pub(super) fn read(reader: &mut SettingsReader) -> Option<RefusedSettings> {
    let keep = reader.number("refused.keep", 0..=10_000);
    let retention = reader.duration("refused.retention", minutes(1)..=days(365));
    Some(RefusedSettings {
        keep: keep?,
        retention: retention?,
    })
}
