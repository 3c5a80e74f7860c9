//! `[report]`: what counts as late, and the days of reports.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::duration::{days, seconds};
use super::reader::SettingsReader;
use super::setting::restart;

/// How reports count.
#[derive(Clone, Debug)]
pub struct ReportSettings {
    /// A request that Acquire accepted this long after it was due was late.
    pub late: Duration,
    pub time_zone: TimeZone,
}

/// Reads the section.
pub(super) fn read(reader: &mut SettingsReader) -> Option<ReportSettings> {
    let late = reader.duration(restart("report.late"), seconds(1)..=days(30));
    let time_zone = reader.text(restart("report.time_zone"), |name| {
        let why = |_| "must be an IANA name, such as UTC or Europe/Berlin".to_owned();
        TimeZone::get(name).map_err(why)
    });
    Some(ReportSettings {
        late: late?,
        time_zone: time_zone?,
    })
}
