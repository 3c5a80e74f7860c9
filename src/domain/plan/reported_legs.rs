//! Which legs of a call are reported, each for itself or one for all, and which people they name.
//!
//! The table with a row and a reason for each case stands in `docs/calls.md`.

use std::borrow::Cow;
use std::time::Duration;

use super::call::{Call, KnownRecording, Leg, LegStatus};
use super::call_end::{ended_as, not_ended};
use super::call_shape::{self, CallShape, is_internal};
use super::email::CalleeEmail;
use super::{PlanEntry, PlanItem, Rules, Wait, recording};
use crate::acquire::{self, RequestKind};
use crate::clock::Millis;
use crate::domain::attempt::Attempt;
use crate::domain::directory::Directory;
use crate::twilio::CallSid;

/// The operator's choices about legs (`calls.report`, `calls.settle`, `calls.missed`, `calls.wait`).
#[derive(Clone, Debug)]
pub struct LegRules {
    pub report: ReportMode,
    /// After the last known leg has ended; for one call-end per call.
    pub settle: Duration,
    pub missed: MissedStatus,
    /// For a known leg that does not end, after the last one that did.
    pub wait: Duration,
}

/// How many call-ends a call has (`calls.report`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportMode {
    /// One for each leg whose end was told.
    #[default]
    Legs,
    /// One.
    Call,
}

/// Whose status a call has that nobody took (`calls.missed`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedStatus {
    /// That of the last who was called.
    #[default]
    Children,
    /// The caller's own, which is `completed`.
    Parent,
}

impl Default for LegRules {
    fn default() -> Self {
        Self {
            report: ReportMode::default(),
            settle: Duration::from_secs(5),
            missed: MissedStatus::default(),
            wait: Duration::from_secs(4 * 3600),
        }
    }
}

/// One leg that Acquire hears of.
pub(super) struct Reported<'r, 'a> {
    pub leg: &'r Leg<'a>,
    /// When its end counts from, or why no end is due.
    pub ended: Result<Millis, PlanEntry>,
    /// What counts instead of the leg's own, with the reason.
    pub direction: Option<(acquire::Direction, &'static str)>,
    pub status: Option<(acquire::CallStatus, Cow<'static, str>)>,
    pub email: Option<CalleeEmail>,
    /// What tells of the call before its end.
    pub statuses: Vec<LegStatus<'a>>,
    pub recordings: Vec<&'r KnownRecording<'a>>,
    /// Whether a recording of which nothing is known yet would be this leg's.
    pub expects_recording: bool,
}

/// The reported legs, and a reason for each other one.
pub(super) type Choice<'r, 'a> = (Vec<Reported<'r, 'a>>, Vec<PlanEntry>);

pub(super) fn choose<'r, 'a>(
    call: &'r Call<'a>,
    attempts: &[Attempt],
    rules: &Rules,
    now: Millis,
) -> Choice<'r, 'a> {
    match rules.legs.report {
        ReportMode::Legs => (per_leg(call, rules), Vec::new()),
        ReportMode::Call => per_call(call, attempts, rules, now),
    }
}

fn per_leg<'r, 'a>(call: &'r Call<'a>, rules: &Rules) -> Vec<Reported<'r, 'a>> {
    let legs = call.legs.iter().map(|leg| Reported {
        recordings: recording::of_leg(leg, call, rules),
        expects_recording: recording::is_expected_of(leg, call, rules),
        ..Reported::plain(leg, end_of(leg))
    });
    legs.collect()
}

fn end_of(leg: &Leg<'_>) -> Result<Millis, PlanEntry> {
    leg.ended
        .map(|ended| ended.at)
        .ok_or_else(|| not_ended(leg))
}

impl<'r, 'a> Reported<'r, 'a> {
    fn plain(leg: &'r Leg<'a>, ended: Result<Millis, PlanEntry>) -> Self {
        Self {
            leg,
            ended,
            direction: None,
            status: None,
            email: None,
            statuses: leg.statuses.clone(),
            recordings: Vec::new(),
            expects_recording: true,
        }
    }
}

fn per_call<'r, 'a>(
    call: &'r Call<'a>,
    attempts: &[Attempt],
    rules: &Rules,
    now: Millis,
) -> Choice<'r, 'a> {
    let ended = end_decided_at(call, attempts, rules, now);
    let shape = CallShape::of(call);
    // What was begun as one leg goes on as that leg, whatever comes later.
    let begun = attempts.iter().find_map(|attempt| call.leg(&attempt.leg));
    let leg = begun.or_else(|| match ended {
        Ok(_) => call_shape::ended_leg(shape, call),
        Err(_) => shape?.certain_leg(call),
    });
    let Some(leg) = leg else {
        let undecided = match ended {
            Err(
                undecided @ PlanEntry {
                    item: PlanItem::Undecided(_),
                    ..
                },
            ) => vec![undecided],
            _ => call.legs.iter().map(not_ended).collect(),
        };
        return (Vec::new(), undecided);
    };
    let mut reported = match shape.filter(|shape| shape.is_of(leg)) {
        Some(shape) => report(shape, call, leg, ended, rules),
        None => orphan_leg(leg, ended),
    };
    reported.recordings = call.recordings.iter().collect();
    reported.expects_recording = reported.status.is_none();
    let sid = leg.sid;
    let others = call.legs.iter().filter(|leg| leg.sid != sid);
    let others = others
        .map(|leg| {
            entry(PlanItem::Nothing(format!(
                "leg {} is not reported for itself: leg {sid} is the call (calls.report = \"call\")",
                leg.sid
            )))
        })
        .collect();
    (vec![reported], others)
}

/// When the call's end counts from: all known legs have ended and settled, or were waited for. A leg
/// that others name as their parent is known: by default it tells nothing before its end.
fn end_decided_at(
    call: &Call<'_>,
    attempts: &[Attempt],
    rules: &Rules,
    now: Millis,
) -> Result<Millis, PlanEntry> {
    let ended = call.legs.iter().filter_map(|leg| Some(leg.ended?.at));
    let Some(last) = ended.max() else {
        return Err(call.legs.first().map_or_else(
            || entry(PlanItem::Nothing("no leg has told its status".to_owned())),
            not_ended,
        ));
    };
    if attempts
        .iter()
        .any(|attempt| attempt.kind == RequestKind::CallEnd)
    {
        return Ok(last);
    }
    let open = call.open_legs();
    let (until, why) = if open.is_empty() {
        let why = "all known legs have ended; settles (calls.settle)";
        (last.plus(rules.legs.settle), why.to_owned())
    } else {
        let open: Vec<&str> = open.into_iter().map(CallSid::as_str).collect();
        let why = format!("waits for the end of leg {} (calls.wait)", open.join(", "));
        (last.plus(rules.legs.wait), why)
    };
    if until > now {
        return Err(entry(PlanItem::Undecided(Wait { until, why })));
    }
    Ok(last)
}

/// An entry about the call as a whole.
fn entry(item: PlanItem) -> PlanEntry {
    PlanEntry { item, position: 0 }
}

fn report<'r, 'a>(
    shape: CallShape,
    call: &'r Call<'a>,
    leg: &'r Leg<'a>,
    ended: Result<Millis, PlanEntry>,
    rules: &Rules,
) -> Reported<'r, 'a> {
    let plain = Reported::plain(leg, ended);
    let directory = &rules.directory;
    match shape {
        CallShape::CalledIn => Reported {
            direction: Some((
                acquire::Direction::Incoming,
                "incoming: a telephone called in",
            )),
            status: missed(call, leg, rules.legs.missed),
            email: first_answered(call).and_then(|child| of_callee(child, directory)),
            statuses: told_to_people(call, leg),
            ..plain
        },
        CallShape::DialledOut => Reported {
            direction: Some((
                acquire::Direction::Outgoing,
                "outgoing: an internal address dialled a telephone",
            )),
            email: of_caller(call, leg, directory),
            ..plain
        },
        CallShape::Internal | CallShape::Plain => plain,
    }
}

/// A leg whose parent has told nothing: a person who was called by a telephone, or a call out.
fn orphan_leg<'r, 'a>(leg: &'r Leg<'a>, ended: Result<Millis, PlanEntry>) -> Reported<'r, 'a> {
    let offered = leg.parent.is_some()
        && leg
            .latest()
            .is_some_and(|told| is_internal(&told.to) && !is_internal(&told.from));
    Reported {
        direction: offered.then_some((
            acquire::Direction::Incoming,
            "incoming: a telephone was put through to an internal address",
        )),
        ..Reported::plain(leg, ended)
    }
}

fn first_answered<'r, 'a>(call: &'r Call<'a>) -> Option<&'r Leg<'a>> {
    call.children()
        .into_iter()
        .find(|child| child.is_answered())
}

/// The status of a call that reached nobody: Twilio calls it `completed` all the same.
fn missed(
    call: &Call<'_>,
    root: &Leg<'_>,
    missed: MissedStatus,
) -> Option<(acquire::CallStatus, Cow<'static, str>)> {
    let own = ended_as(root.end?)?;
    let is_missed = own == acquire::CallStatus::Completed && first_answered(call).is_none();
    if !is_missed || missed == MissedStatus::Parent {
        return None;
    }
    let children = call.children();
    let (last, end) = children
        .iter()
        .rev()
        .find_map(|child| Some((child.sid, child.end?)))?;
    let why = format!("status of leg {last}, the last that was called, since none was answered");
    Some((ended_as(end)?, Cow::Owned(why)))
}

/// A person is reached when a child leg is answered; the first leg of a call that a menu took was
/// not answered by anybody.
fn told_to_people<'a>(call: &Call<'a>, root: &Leg<'a>) -> Vec<LegStatus<'a>> {
    let children = call.children();
    let own = root.statuses.iter().copied().filter(|leg| {
        children.is_empty() || leg.status.status != crate::twilio::CallStatus::InProgress
    });
    own.chain(
        children
            .iter()
            .flat_map(|child| child.statuses.iter().copied()),
    )
    .collect()
}

fn of_callee(child: &Leg<'_>, directory: &Directory) -> Option<CalleeEmail> {
    let told = child.latest()?;
    let named = told.email.clone();
    let email = named.or_else(|| directory.email_of(&told.to))?;
    let why = format!("e-mail of the person who took leg {}", child.sid);
    Some((email, Cow::Owned(why)))
}

fn of_caller(call: &Call<'_>, leg: &Leg<'_>, directory: &Directory) -> Option<CalleeEmail> {
    let root = call.root()?.latest()?;
    let person = if is_internal(&root.from) {
        &root.from
    } else {
        &root.to
    };
    let of_leg = leg.latest().and_then(|told| told.email.clone());
    of_leg
        .or_else(|| root.email.clone())
        .or_else(|| directory.email_of(person))
        .map(|email| (email, Cow::Borrowed("e-mail of the person who called")))
}
