//! The effect of each callback of a call, for operators.
//!
//! It does not change the plan: pages and commands print it.

use super::call::Call;
use super::evidence::{ReceivedCallback, Selection, Unused};
use super::history::History;
use super::rules::Rules;
use super::status::{is_end, sequence};
use crate::clock::Millis;
use crate::twilio::{CallStatus, CallbackContent, Evidence, RecordingStatus, StatusCallback};

/// The effect of a callback on its leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackEffect {
    BeforeEnd,
    EndsLeg(Evidence),
    /// A repeat of the end; the plan uses the fields that the first one lacks.
    CompletesEnd,
    /// The leg had already ended.
    AfterEnd,
    /// A repeat of the end that came after the call-end was tried.
    AfterAttempt,
    /// Weaker evidence that waits for the status callback.
    WeakerWaits,
    /// Weaker evidence that is not used, because the status callback came.
    WeakerUnused,
    /// Imported, and not used, because the signed callback came in time.
    ImportedUnused,
    UnknownStatus,
    Recording,
}

/// One for each of `callbacks`.
pub fn effects(
    callbacks: &[ReceivedCallback],
    history: History<'_>,
    rules: &Rules,
    now: Millis,
) -> Vec<CallbackEffect> {
    let selection = Selection::of(callbacks, history, rules, now);
    let call = Call::of(&selection, &rules.sip_customers);
    let effect = |(position, received): (usize, &ReceivedCallback)| match &received.callback.kind {
        CallbackContent::Recording(recording) => match recording.status {
            RecordingStatus::Unknown(_) => CallbackEffect::UnknownStatus,
            _ => CallbackEffect::Recording,
        },
        CallbackContent::Status(status) => {
            let by_position = |(other, _): &(usize, Unused)| other.cmp(&position);
            let unused = selection.unused.binary_search_by(by_position).ok();
            match unused.map(|place| selection.unused[place].1) {
                Some(Unused::Waiting) => CallbackEffect::WeakerWaits,
                Some(Unused::HasRealEnd) => CallbackEffect::WeakerUnused,
                Some(Unused::HasSignedEnd) => CallbackEffect::ImportedUnused,
                Some(Unused::AfterAttempt) => CallbackEffect::AfterAttempt,
                None => of_used(position, status, received, callbacks, &call),
            }
        }
    };
    (0..).zip(callbacks).map(effect).collect()
}

fn of_used(
    position: usize,
    status: &StatusCallback,
    received: &ReceivedCallback,
    callbacks: &[ReceivedCallback],
    call: &Call<'_>,
) -> CallbackEffect {
    if matches!(status.status, CallStatus::Unknown(_)) {
        return CallbackEffect::UnknownStatus;
    }
    if !is_end(status) {
        return CallbackEffect::BeforeEnd;
    }
    // The repeats of an end are completed to the same status; the first of them is the end.
    let leg = call.leg(&received.callback.leg);
    let ends = leg.into_iter().flat_map(|leg| {
        let is_end = |own: &&super::call::LegStatus<'_>| Some(own.status) == leg.end;
        leg.statuses
            .iter()
            .filter(is_end)
            .map(|own| own.received.position)
    });
    let ends: Vec<usize> = ends.collect();
    let as_sent = |position: &&usize| match &callbacks[**position].callback.kind {
        CallbackContent::Status(status) => Some(sequence(status)),
        CallbackContent::Recording(_) => None,
    };
    match ends.iter().min_by_key(as_sent) {
        Some(first) if *first == position => CallbackEffect::EndsLeg(status.evidence),
        _ if ends.contains(&position) => CallbackEffect::CompletesEnd,
        _ => CallbackEffect::AfterEnd,
    }
}
