//! Selects the callbacks that a plan uses: weaker evidence only where the status callback did not come,
//! and the fields of repeated ends together.
//!
//! It decides for each leg on its own, whatever the order of the callbacks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use super::history::History;
use super::item::{Awaited, PlanEntry, PlanItem, Wait};
use super::rules::{ReportMode, Rules};
use super::status::{duration, is_end, sequence};
use crate::acquire::RequestKind;
use crate::clock::Millis;
use crate::twilio::{CallSid, Callback, CallbackContent, Evidence, StatusCallback};

/// How long weaker evidence waits for the status callback. Twilio sends that one within seconds of the
/// hang-up, as it does the other requests for an ended call.
pub(super) const WEAKER_WAIT: Duration = Duration::from_secs(60);

/// A callback and the time of its arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedCallback {
    pub at: Millis,
    pub callback: Callback,
}

/// A callback that the plan uses.
#[derive(Clone, Debug)]
pub(super) struct UsedCallback<'a> {
    /// Among all callbacks of the call.
    pub position: usize,
    /// When it arrived; for weaker evidence, when the wait for the status callback was over.
    pub at: Millis,
    /// With the fields of its repeats.
    pub callback: Cow<'a, Callback>,
}

/// Why a callback is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unused {
    /// Weaker evidence that still waits for the status callback.
    Waiting,
    /// Weaker evidence of a leg that has a real end.
    HasRealEnd,
    /// Imported from Twilio's own records, and the signed end came before anything was sent.
    HasSignedEnd,
    /// A repeat that came after its call-end was tried.
    AfterAttempt,
}

/// The callbacks of a call by their use.
pub(super) struct Selection<'a> {
    pub used: Vec<UsedCallback<'a>>,
    pub unused: Vec<(usize, Unused)>,
    /// An item for each leg with weaker evidence that still waits.
    pub waits: Vec<PlanEntry>,
}

impl<'a> Selection<'a> {
    pub fn of(
        callbacks: &'a [ReceivedCallback],
        history: History<'_>,
        rules: &Rules,
        now: Millis,
    ) -> Self {
        let (mut used, mut unused) = (Vec::with_capacity(callbacks.len()), Vec::new());
        // By leg, so that the order of arrival does not matter.
        let mut waits: BTreeMap<&CallSid, (Millis, usize)> = BTreeMap::new();
        let known = KnownLegs::of(callbacks, history, rules);
        for (position, received) in (0..).zip(callbacks) {
            let at = known_at(received);
            match known.reason_not_to_use(received, now) {
                Some(why) => {
                    unused.push((position, why));
                    if why == Unused::Waiting {
                        let wait = waits.entry(&received.callback.leg);
                        let (until, first) = wait.or_insert((at, position));
                        (*until, *first) = (at.min(*until), position.min(*first));
                    }
                }
                None => used.push(UsedCallback {
                    position,
                    at,
                    callback: Cow::Borrowed(&received.callback),
                }),
            }
        }
        complete_ends(&mut used);
        Self {
            used,
            unused,
            waits: waits.into_iter().map(wait).collect(),
        }
    }
}

fn wait((leg, (until, position)): (&CallSid, (Millis, usize))) -> PlanEntry {
    let why = format!("leg {leg} has only weaker evidence; waits for its status callback");
    PlanEntry {
        item: PlanItem::Undecided(Wait {
            until,
            what: Awaited::StatusCallback,
            why,
        }),
        position,
    }
}

fn known_at(received: &ReceivedCallback) -> Millis {
    if received.callback.evidence().is_of_callback() {
        received.at
    } else {
        received.at.plus(WEAKER_WAIT)
    }
}

/// What decides whether the callbacks of each leg are used.
struct KnownLegs<'a> {
    /// With the times of their arrival.
    ends: BTreeMap<&'a CallSid, Vec<(Millis, &'a StatusCallback)>>,
    report: ReportMode,
    /// When a call-end was first tried: of each leg, or of the call (`None`).
    first_attempts: BTreeMap<Option<&'a CallSid>, Millis>,
}

impl<'a> KnownLegs<'a> {
    fn of(callbacks: &'a [ReceivedCallback], history: History<'a>, rules: &Rules) -> Self {
        let mut ends: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for received in callbacks {
            if let CallbackContent::Status(status) = &received.callback.kind
                && is_end(status)
            {
                let of_leg = ends.entry(&received.callback.leg).or_default();
                of_leg.push((received.at, status));
            }
        }
        let report = history.mode(rules);
        let mut first_attempts = BTreeMap::new();
        for attempt in history.current() {
            if attempt.kind == RequestKind::CallEnd {
                let reported = (report == ReportMode::Legs).then_some(&attempt.leg);
                let first = first_attempts.entry(reported).or_insert(attempt.at);
                *first = attempt.at.min(*first);
            }
        }
        Self {
            ends,
            report,
            first_attempts,
        }
    }

    fn reason_not_to_use(&self, received: &ReceivedCallback, now: Millis) -> Option<Unused> {
        let CallbackContent::Status(status) = &received.callback.kind else {
            return None;
        };
        let leg = &received.callback.leg;
        let ends = || self.ends.get(leg).into_iter().flatten();
        if status.evidence == Evidence::Weaker {
            if ends().any(|(_, other)| other.evidence.is_of_callback()) {
                return Some(Unused::HasRealEnd);
            }
            if known_at(received) > now {
                return Some(Unused::Waiting);
            }
        }
        let reported = (self.report == ReportMode::Legs).then_some(leg);
        let first_attempt = self.first_attempts.get(&reported);
        if matches!(status.evidence, Evidence::Listed | Evidence::Alerted) {
            let came = |(at, other): &(Millis, &StatusCallback)| {
                let is_signed = other.evidence == Evidence::StatusCallback;
                is_signed && first_attempt.is_none_or(|first| at <= first)
            };
            if ends().any(came) {
                return Some(Unused::HasSignedEnd);
            }
        }
        let first_attempt = first_attempt?;
        let was_known = ends().any(|(at, other)| is_repeat(other, status) && at <= first_attempt);
        (is_end(status) && received.at > *first_attempt && was_known)
            .then_some(Unused::AfterAttempt)
    }
}

fn is_repeat(one: &StatusCallback, other: &StatusCallback) -> bool {
    let kind = |of: &StatusCallback| of.evidence.is_of_callback();
    (&one.status, kind(one)) == (&other.status, kind(other))
}

/// Gives each end the fields that it lacks and a repeat of it has. All repeats become the same, so that
/// it does not matter which of them the plan chooses.
fn complete_ends(used: &mut [UsedCallback<'_>]) {
    // By leg: each end with its repeats, of which a leg has few that differ.
    let mut ends: BTreeMap<&CallSid, Vec<Vec<(usize, &StatusCallback)>>> = BTreeMap::new();
    for (place, one) in used.iter().enumerate() {
        let Some(status) = end(one) else { continue };
        let of_leg = ends.entry(&one.callback.leg).or_default();
        let same = of_leg.iter_mut().find(|same| is_repeat(same[0].1, status));
        match same {
            Some(same) => same.push((place, status)),
            None => of_leg.push(vec![(place, status)]),
        }
    }
    let repeated = ends.into_values().flatten().filter(|same| same.len() > 1);
    let completed: Vec<(Vec<usize>, StatusCallback)> = repeated
        .map(|same| {
            let (places, mut repeats): (Vec<usize>, Vec<&StatusCallback>) =
                same.into_iter().unzip();
            repeats.sort_by_key(|status| sequence(status));
            (places, completed(&repeats))
        })
        .collect();
    for (places, completed) in completed {
        for place in places {
            let kind = CallbackContent::Status(completed.clone());
            used[place].callback.to_mut().kind = kind;
        }
    }
}

/// The first of these with the fields of all.
fn completed(repeats: &[&StatusCallback]) -> StatusCallback {
    let mut completed = repeats[0].clone();
    for repeat in &repeats[1..] {
        complete(&mut completed, repeat);
    }
    completed
}

fn end<'u>(used: &'u UsedCallback<'_>) -> Option<&'u StatusCallback> {
    match &used.callback.kind {
        CallbackContent::Status(status) if is_end(status) => Some(status),
        _ => None,
    }
}

/// Adds the fields of `repeat` that `status` lacks.
fn complete(status: &mut StatusCallback, repeat: &StatusCallback) {
    fn fill<T: Clone>(field: &mut Option<T>, other: Option<&T>) {
        if field.is_none() {
            *field = other.cloned();
        }
    }
    for (field, other) in [
        (&mut status.from, &repeat.from),
        (&mut status.to, &repeat.to),
    ] {
        if field.is_empty() {
            field.clone_from(other);
        }
    }
    fill(&mut status.direction, repeat.direction.as_ref());
    if duration(status).is_err() && duration(repeat).is_ok() {
        status.call_duration.clone_from(&repeat.call_duration);
    }
    fill(&mut status.email, repeat.email.as_ref());
    fill(&mut status.sequence_number, repeat.sequence_number.as_ref());
    fill(&mut status.timestamp, repeat.timestamp.as_ref());
    // URL and duration are those of one recording.
    if status.recording_sid.is_none() || status.recording_sid == repeat.recording_sid {
        fill(&mut status.recording_url, repeat.recording_url.as_ref());
        fill(
            &mut status.recording_duration,
            repeat.recording_duration.as_ref(),
        );
        fill(&mut status.recording_sid, repeat.recording_sid.as_ref());
    }
}
