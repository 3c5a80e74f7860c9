//! What a comparison found, as commands print it and the API returns it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Result;
use super::missing::{Missing, Record};
use crate::clock::Millis;
use crate::domain::plural::counted;
use crate::domain::reconcile::{MissingCause, ended};
use crate::twilio::listed::ListedCall;

/// The most records that a report names; all are counted.
const MAX_RECORDS: usize = 1_000;

/// The result for one account.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AccountReport {
    pub account_sid: String,
    /// Calls that ended between these times were compared.
    pub from: Millis,
    pub until: Millis,
    /// Requests to Twilio.
    pub requests: u64,
    /// Rows of Twilio's lists.
    pub compared: u64,
    pub never_came: u64,
    /// By reason.
    pub refused_here: BTreeMap<String, u64>,
    pub end_missing: u64,
    pub recording_missing: u64,
    pub differs: u64,
    /// Missing, but a bridge had answered 204: the store may have been set back.
    pub held: u64,
    /// Calls that no callback was to report, by our number.
    pub never_told: BTreeMap<String, u64>,
    pub running: u64,
    pub too_new: u64,
    pub awaits_duration: u64,
    pub unreadable: u64,
    pub agree: u64,
    /// By evidence.
    pub imported: BTreeMap<String, u64>,
    /// Missing, held and different records, of many the first.
    pub records: Vec<RecordLine>,
    /// Sentences for the operator.
    pub notes: Vec<String>,
}

/// The results of a comparison of several accounts: the failure of one leaves the others.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reports {
    pub accounts: Vec<AccountReport>,
    /// Why the first of the others failed.
    pub failed: Option<String>,
}

impl Reports {
    pub fn of(results: Vec<Result<AccountReport>>) -> Self {
        let mut reports = Self::default();
        for result in results {
            match result {
                Ok(report) => reports.accounts.push(report),
                Err(why) => drop(reports.failed.get_or_insert(why.to_string())),
            }
        }
        reports
    }
}

/// One record that is not as it should be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordLine {
    pub call_sid: String,
    pub finding: String,
    pub detail: String,
    pub call_status: String,
    pub ended: Option<String>,
    /// `listed` or `alerted`, if it was imported.
    pub imported: Option<String>,
}

impl RecordLine {
    pub(super) fn of(call: &ListedCall, finding: &str, detail: &str) -> Self {
        Self {
            call_sid: call.sid.to_string(),
            finding: finding.to_owned(),
            detail: detail.to_owned(),
            call_status: call.status.to_string(),
            ended: ended(call).map(|at| at.to_string()),
            imported: None,
        }
    }

    pub(super) fn of_missing(of: &Missing) -> Self {
        let finding = of.cause.as_str();
        match &of.record {
            Record::Call(call) => {
                let detail = match &of.cause {
                    MissingCause::RefusedHere(why) => why.as_str(),
                    _ => "",
                };
                Self::of(call, finding, detail)
            }
            Record::Recording(recording) => Self {
                call_sid: of.leg.to_string(),
                finding: finding.to_owned(),
                detail: recording.sid.to_string(),
                call_status: recording.status.to_string(),
                ended: None,
                imported: None,
            },
        }
    }
}

impl AccountReport {
    /// Missing records that are not held.
    pub fn missing(&self) -> u64 {
        let refused: u64 = self.refused_here.values().sum();
        self.never_came + refused + self.end_missing + self.recording_missing
    }

    pub fn imported(&self) -> u64 {
        self.imported.values().sum()
    }

    /// Whether a record is missing and was not imported, or is held.
    pub fn is_incomplete(&self) -> bool {
        self.held > 0 || self.missing() > self.imported()
    }

    pub(super) fn add(&mut self, line: RecordLine) {
        if self.records.len() < MAX_RECORDS {
            self.records.push(line);
        } else {
            self.note(format!("Only the first {MAX_RECORDS} records are named."));
        }
    }

    pub(super) fn note(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        if !self.notes.contains(&sentence) {
            self.notes.push(sentence);
        }
    }

    pub(super) fn count_missing(&mut self, cause: &MissingCause) {
        match cause {
            MissingCause::NeverCame => self.never_came += 1,
            MissingCause::RefusedHere(why) => {
                *self.refused_here.entry(why.clone()).or_default() += 1;
            }
            MissingCause::EndMissing => self.end_missing += 1,
            MissingCause::RecordingMissing => self.recording_missing += 1,
        }
    }

    pub(super) fn count_import(&mut self, evidence: &str) {
        *self.imported.entry(evidence.to_owned()).or_default() += 1;
    }
}

/// The names of a table with their counts: `3 (wrong-signature 2, no-signature 1)`.
fn with_parts(parts: &BTreeMap<String, u64>) -> String {
    let sum: u64 = parts.values().sum();
    let named = parts.iter().map(|(name, count)| format!("{name} {count}"));
    match parts.len() {
        0 => "0".to_owned(),
        1 => format!("{sum} ({})", parts.keys().next().map_or("", String::as_str)),
        _ => format!("{sum} ({})", named.collect::<Vec<_>>().join(", ")),
    }
}

/// The summary, two lines, and the notes.
impl fmt::Display for AccountReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "account {}: calls that ended from {} to {} ({}, {})",
            self.account_sid,
            self.from,
            self.until,
            counted(usize::try_from(self.compared).unwrap_or(usize::MAX), "row"),
            counted(
                usize::try_from(self.requests).unwrap_or(usize::MAX),
                "request"
            ),
        )?;
        writeln!(
            f,
            "never came {} · refused here {} · end missing {} · recording missing {} · differs {}",
            self.never_came,
            with_parts(&self.refused_here),
            self.end_missing,
            self.recording_missing,
            self.differs
        )?;
        write!(
            f,
            "held: was answered 204 {} · never told {} · running {} · too new {} · agree {}",
            self.held,
            with_parts(&self.never_told),
            self.running,
            self.too_new,
            self.agree
        )?;
        if self.awaits_duration > 0 {
            write!(f, " · duration awaited {}", self.awaits_duration)?;
        }
        if self.unreadable > 0 {
            write!(f, " · unreadable {}", self.unreadable)?;
        }
        if !self.imported.is_empty() {
            write!(f, "\nimported {}", with_parts(&self.imported))?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "\n{note}"))
    }
}
