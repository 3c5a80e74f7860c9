//! `[calls]`: which call-ends a call has, and what they contain.

use super::duration::{days, millis, minutes};
use super::reader::SettingsReader;
use crate::domain::plan::{ClientParents, LegRules, MissedStatus, ReportMode};

pub(super) const CLIENT: [(&str, ClientParents); 2] = [
    ("incoming", ClientParents::Incoming),
    ("outgoing", ClientParents::Outgoing),
];

pub(super) const REPORT: [(&str, ReportMode); 2] =
    [("legs", ReportMode::Legs), ("call", ReportMode::Call)];

pub(super) const MISSED: [(&str, MissedStatus); 2] = [
    ("children", MissedStatus::Children),
    ("parent", MissedStatus::Parent),
];

pub(super) fn empty_from(reader: &mut SettingsReader) -> Option<String> {
    replacement(reader, "calls.empty_from")
}

pub(super) fn empty_to(reader: &mut SettingsReader) -> Option<String> {
    replacement(reader, "calls.empty_to")
}

/// The text that is sent instead of an empty address.
fn replacement(reader: &mut SettingsReader, key: &'static str) -> Option<String> {
    reader.text(key, |text| match text.trim() {
        "" => Err("must not be empty".to_owned()),
        text => Ok(text.to_owned()),
    })
}

pub(super) fn client(reader: &mut SettingsReader) -> Option<ClientParents> {
    reader.choice("calls.client", &CLIENT)
}

pub(super) fn legs(reader: &mut SettingsReader) -> Option<LegRules> {
    let report = reader.choice("calls.report", &REPORT);
    let settle = reader.duration("calls.settle", millis(0)..=minutes(10));
    let missed = reader.choice("calls.missed", &MISSED);
    let wait = reader.duration("calls.wait", minutes(1)..=days(7));
    Some(LegRules {
        report: report?,
        settle: settle?,
        missed: missed?,
        wait: wait?,
    })
}
