//! Compares Twilio's own records with what the store has: pure rules.
//!
//! A record that is absent from Twilio's list proves nothing: a customer can delete it.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::twilio::listed::{ListedCall, ListedRecording, RequestSource};
use crate::twilio::{
    CallSid, Callback, CallbackContent, Direction, Evidence, RecordingSid, RecordingStatus,
    StatusCallback,
};

/// A row is final once its call has ended this long ago, or once two passes saw the same.
const SETTLED: Duration = Duration::from_secs(3_600);

/// How long the duration of a completed call is waited for: in rare cases a record takes so long to
/// become final (Twilio's error 20009).
pub const DURATION_WAIT: Duration = Duration::from_secs(14 * 86_400);

/// The part of the retention that is never compared: a call may be removed while a pass runs.
const RETENTION_MARGIN: Duration = Duration::from_secs(2 * 86_400);

/// How far back a store with this retention is compared: further back, a removed call would look missing.
pub fn reach(retention: Duration) -> Duration {
    retention.saturating_sub(RETENTION_MARGIN.min(retention / 2))
}

/// Which calls are imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    pub calls: CallScope,
    pub trunks: TrunkScope,
}

words! {
    /// `reconcile.calls`.
    pub enum CallScope {
        /// Legs of a class of which a signed end came.
        Expected = "expected",
        All = "all",
    }
}

words! {
    /// `reconcile.trunks`: calls of SIP trunks have no callbacks.
    pub enum TrunkScope {
        Off = "off",
        On = "on",
    }
}

/// What the store has of one leg.
#[derive(Clone, Debug, Default)]
pub struct KnownLeg {
    pub ends: Vec<StatusCallback>,
    /// Recordings with a final status.
    pub recordings: HashSet<RecordingSid>,
    /// All callbacks.
    pub callbacks: usize,
    /// A signed end of it came.
    pub is_end_reported: bool,
    /// A signed recording callback of it came.
    pub is_recording_reported: bool,
    /// Its call was removed after its retention, or erased.
    pub is_removed: bool,
    /// Why a callback of it was refused, if one is kept.
    pub refused: Option<String>,
}

impl KnownLeg {
    pub fn add(&mut self, callback: Callback, source: RequestSource) {
        self.callbacks += 1;
        match callback.kind {
            CallbackContent::Status(status) => {
                self.recordings.extend(status.recording_sid.clone());
                if crate::domain::plan::is_end(&status) {
                    self.is_end_reported |= status.evidence == Evidence::StatusCallback;
                    self.ends.push(status);
                }
            }
            CallbackContent::Recording(recording) => {
                self.is_recording_reported |= source == RequestSource::Signed;
                let is_final = recording.status != RecordingStatus::InProgress;
                self.recordings.extend(is_final.then_some(recording.sid));
            }
        }
    }
}

/// The times between which a pass compares.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub now: Millis,
    /// Calls that ended earlier are left out: before the first day of the store, or beyond the retention,
    /// where a removed call would look missing.
    pub earliest: Millis,
    /// Calls that ended later are too new: their callback may be in transit.
    pub latest: Millis,
    /// Calls that ended then or later are left out.
    pub until: Option<Millis>,
}

/// What a comparison found of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    Agrees,
    /// Reported, never changed.
    Differs(String),
    /// Never ended here, however old.
    Running,
    TooNew,
    /// Completed, but Twilio does not know its duration yet.
    AwaitsDuration,
    /// It ended before [`Limits::earliest`], or after [`Limits::until`].
    Outside,
    Missing(MissingCause),
}

/// Why the store lacks a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissingCause {
    NeverCame,
    /// The bridge refused the callback, for this reason.
    RefusedHere(String),
    EndMissing,
    RecordingMissing,
}

impl MissingCause {
    /// The values of the label `cause`.
    pub const ALL: [&'static str; 4] = [
        "never-came",
        "refused-here",
        "end-missing",
        "recording-missing",
    ];

    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NeverCame => "never-came",
            Self::RefusedHere(_) => "refused-here",
            Self::EndMissing => "end-missing",
            Self::RecordingMissing => "recording-missing",
        }
    }
}

/// When a listed call ended.
pub fn ended(row: &ListedCall) -> Option<Millis> {
    row.ended.map(|ended| Millis(ended.as_millisecond()))
}

/// What a pass notes about a row, to recognise in the next pass that it has not changed.
pub fn sighting(row: &ListedCall) -> String {
    let ended = ended(row).unwrap_or_default();
    let duration = row.duration.as_deref().unwrap_or("-");
    format!("{} {duration} {ended}", row.status)
}

/// Compares one row. `seen` is what an earlier pass noted about it.
pub fn compare(row: &ListedCall, known: &KnownLeg, limits: Limits, seen: Option<&str>) -> Finding {
    let (true, Some(ended)) = (row.is_final(), ended(row)) else {
        return Finding::Running;
    };
    if limits.until.is_some_and(|until| ended >= until) {
        return Finding::Outside;
    }
    if known.is_removed {
        return Finding::Agrees;
    }
    if let Some(end) = known.ends.first() {
        let same = known.ends.iter().find(|end| end.status == row.status);
        return difference(row, same.unwrap_or(end)).map_or(Finding::Agrees, Finding::Differs);
    }
    if ended < limits.earliest {
        return Finding::Outside;
    }
    let age = limits.now.since(ended);
    if ended > limits.latest || (age < SETTLED && seen != Some(&sighting(row))) {
        return Finding::TooNew;
    }
    if row.call_duration().is_none() && age < DURATION_WAIT {
        return Finding::AwaitsDuration;
    }
    Finding::Missing(match &known.refused {
        Some(why) => MissingCause::RefusedHere(why.clone()),
        None if known.callbacks > 0 => MissingCause::EndMissing,
        None => MissingCause::NeverCame,
    })
}

/// How the end that the store has differs from the row; null in the row differs from nothing.
fn difference(row: &ListedCall, end: &StatusCallback) -> Option<String> {
    if row.status != end.status {
        return Some(format!("status {} here, {} listed", end.status, row.status));
    }
    let (here, listed) = (end.call_duration.as_ref()?, row.duration.as_ref()?);
    (here != listed).then(|| format!("duration {here} here, {listed} listed"))
}

/// Whether a listed recording is missing, of a leg that the store has or that is imported with it.
pub fn is_recording_missing(row: &ListedRecording, known: &KnownLeg) -> bool {
    row.is_final() && !known.is_removed && !known.recordings.contains(&row.sid)
}

/// The kind of a leg: direction, position in its call, kinds of both addresses, and our number. Twilio
/// reports all legs of one class to the bridge, or none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LegClass(String);

impl LegClass {
    /// The class of recordings.
    pub fn recording() -> Self {
        Self("recording".to_owned())
    }

    pub fn of_row(row: &ListedCall) -> Self {
        Self::of(
            row.direction.as_ref(),
            row.parent.as_ref(),
            &row.from,
            &row.to,
        )
    }

    /// The class of a signed end; `None` for other callbacks.
    pub fn of_callback(callback: &Callback) -> Option<Self> {
        match &callback.kind {
            CallbackContent::Status(status)
                if status.evidence == Evidence::StatusCallback
                    && crate::domain::plan::is_end(status) =>
            {
                Some(Self::of(
                    status.direction.as_ref(),
                    callback.parent.as_ref(),
                    &status.from,
                    &status.to,
                ))
            }
            CallbackContent::Status(_) => None,
            CallbackContent::Recording(_) => Some(Self::recording()),
        }
    }

    fn of(direction: Option<&Direction>, parent: Option<&CallSid>, from: &str, to: &str) -> Self {
        let place = if parent.is_some() { "child" } else { "first" };
        let number = match direction {
            Some(Direction::Inbound) => to,
            Some(Direction::OutboundApi) => from,
            // The caller ID of a dialled leg may be that of any caller.
            _ => "",
        };
        let number = if kind(number) == "phone" { number } else { "" };
        let direction = direction.map_or("", Direction::as_str);
        Self(format!(
            "{direction} {place} {} {} {number}",
            kind(from),
            kind(to)
        ))
    }
}

fn kind(address: &str) -> &'static str {
    if address.is_empty() {
        "none"
    } else if address.starts_with("client:") {
        "client"
    } else if address.contains('@') || address.starts_with("sip") {
        "sip"
    } else {
        "phone"
    }
}

impl Scope {
    /// Whether Twilio was to report a missing call to the bridge; `is_reported` knows the classes that it
    /// reports.
    pub fn has(
        self,
        row: &ListedCall,
        cause: &MissingCause,
        is_reported: impl Fn(&LegClass) -> bool,
    ) -> bool {
        let is_trunk = matches!(
            row.direction,
            Some(Direction::TrunkingOriginating | Direction::TrunkingTerminating)
        );
        if is_trunk {
            return self.trunks == TrunkScope::On;
        }
        // Other callbacks of it came, or one was refused here: Twilio does report it to this bridge.
        self.calls == CallScope::All
            || *cause != MissingCause::NeverCame
            || is_reported(&LegClass::of_row(row))
    }
}

/// Our number in a row, of which an operator can check the `StatusCallback`.
pub fn our_number(row: &ListedCall) -> &str {
    match row.direction {
        Some(Direction::Inbound) => &row.to,
        _ => &row.from,
    }
}

#[cfg(test)]
mod tests;
