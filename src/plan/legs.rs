//! Which legs of a call are reported, each for itself or one for all, and which people they name.
//!
//! The table with a row and a reason for each case stands in `docs/calls.md`.

use std::borrow::Cow;
use std::time::Duration;

use super::call::{Call, Leg, Recording};
use super::end::{ended_as, not_ended};
use super::people::Email;
use super::{Owed, Rules, Wait, recording};
use crate::acquire::{self, Kind};
use crate::attempt::Attempt;
use crate::clock::Millis;
use crate::directory::Directory;
use crate::twilio::{Direction, Status};

/// The operator's choices about legs (`calls.report`, `calls.settle`, `calls.missed`, `calls.wait`).
#[derive(Clone, Debug)]
pub struct Legs {
    pub report: Report,
    /// After the last known leg has ended; for one call-end per call.
    pub settle: Duration,
    pub missed: Missed,
    /// For a known leg that does not end, after the last one that did.
    pub wait: Duration,
}

/// How many call-ends a call has (`calls.report`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Report {
    /// One for each leg whose end was told.
    #[default]
    Legs,
    /// One.
    Call,
}

/// Whose status a call has that nobody took (`calls.missed`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missed {
    /// That of the last who was called.
    #[default]
    Children,
    /// The caller's own, which is `completed`.
    Parent,
}

impl Default for Legs {
    fn default() -> Self {
        Self {
            report: Report::default(),
            settle: Duration::from_secs(5),
            missed: Missed::default(),
            wait: Duration::from_secs(4 * 3600),
        }
    }
}

/// One leg that Acquire hears of.
pub(super) struct Reported<'r, 'a> {
    pub leg: &'r Leg<'a>,
    /// When its end counts from, or why no end is due.
    pub ended: Result<Millis, Owed>,
    /// What counts instead of the leg's own, with the reason.
    pub direction: Option<(acquire::Direction, &'static str)>,
    pub status: Option<(acquire::CallStatus, Cow<'static, str>)>,
    pub email: Option<Email>,
    /// What tells of the call before its end.
    pub told: Vec<&'a Status>,
    pub recordings: Vec<&'r Recording<'a>>,
    /// Whether a recording of which nothing is known yet would be this leg's.
    pub expects_recording: bool,
}

/// The reported legs, and a reason for each other one.
pub(super) type Choice<'r, 'a> = (Vec<Reported<'r, 'a>>, Vec<Owed>);

pub(super) fn choose<'r, 'a>(
    call: &'r Call<'a>,
    attempts: &[Attempt],
    rules: &Rules,
    now: Millis,
) -> Choice<'r, 'a> {
    match rules.legs.report {
        Report::Legs => (each(call, rules), Vec::new()),
        Report::Call => one(call, attempts, rules, now),
    }
}

fn each<'r, 'a>(call: &'r Call<'a>, rules: &Rules) -> Vec<Reported<'r, 'a>> {
    let legs = call.legs.iter().map(|leg| Reported {
        told: leg.told.clone(),
        recordings: recording::of_leg(leg, call, rules),
        expects_recording: recording::is_expected_of(leg, call, rules),
        ..Reported::plain(leg, leg.ended.ok_or_else(|| not_ended(leg)))
    });
    legs.collect()
}

impl<'r, 'a> Reported<'r, 'a> {
    fn plain(leg: &'r Leg<'a>, ended: Result<Millis, Owed>) -> Self {
        Self {
            leg,
            ended,
            direction: None,
            status: None,
            email: None,
            told: Vec::new(),
            recordings: Vec::new(),
            expects_recording: true,
        }
    }
}

fn one<'r, 'a>(
    call: &'r Call<'a>,
    attempts: &[Attempt],
    rules: &Rules,
    now: Millis,
) -> Choice<'r, 'a> {
    // What was begun as one leg goes on as that leg, whatever comes later.
    let begun = attempts.iter().find_map(|attempt| call.leg(&attempt.leg));
    let ended = decided(call, attempts, rules, now);
    if begun.is_none() && matches!(ended, Err(Owed::Nothing(_) | Owed::Unmappable(_))) {
        let certain = shape(call).and_then(|shape| shape.leg(call, Only::Known));
        if certain.is_none() {
            return (Vec::new(), call.legs.iter().map(not_ended).collect());
        }
    }
    let only = if ended.is_ok() {
        Only::Ended
    } else {
        Only::Known
    };
    let chosen = shape(call).and_then(|shape| Some((shape, shape.leg(call, only)?)));
    let mut reported = match (begun, chosen) {
        (Some(begun), Some((_, leg))) if begun.sid != leg.sid => alone(begun, ended),
        (_, Some((shape, leg))) => shape.report(call, leg, ended, rules),
        (Some(begun), None) => alone(begun, ended),
        (None, None) => match pick(call, only, |_| true) {
            Some(leg) => alone(leg, ended),
            None => return (Vec::new(), ended.err().into_iter().collect()),
        },
    };
    reported.recordings = call.recordings.iter().collect();
    reported.expects_recording = reported.status.is_none();
    let sid = reported.leg.sid;
    let others = call.legs.iter().filter(|leg| leg.sid != sid);
    let others = others
        .map(|leg| {
            Owed::Nothing(format!(
                "leg {} is not reported for itself: leg {sid} is the call (calls.report = \"call\")",
                leg.sid
            ))
        })
        .collect();
    (vec![reported], others)
}

/// When the call's end counts from: all known legs have ended and settled, or were waited for.
fn decided(
    call: &Call<'_>,
    attempts: &[Attempt],
    rules: &Rules,
    now: Millis,
) -> Result<Millis, Owed> {
    let Some(last) = call.legs.iter().filter_map(|leg| leg.ended).max() else {
        return Err(call.legs.first().map_or_else(
            || Owed::Nothing("no leg has told its status".to_owned()),
            not_ended,
        ));
    };
    if attempts.iter().any(|attempt| attempt.kind == Kind::CallEnd) {
        return Ok(last);
    }
    let open: Vec<String> = call
        .legs
        .iter()
        .filter(|leg| leg.ended.is_none())
        .map(|leg| leg.sid.to_string())
        .collect();
    let (until, why) = if open.is_empty() {
        let why = "all known legs have ended; settles (calls.settle)";
        (last.plus(rules.legs.settle), why.to_owned())
    } else {
        let why = format!("waits for the end of leg {} (calls.wait)", open.join(", "));
        (last.plus(rules.legs.wait), why)
    };
    if until > now {
        return Err(Owed::Undecided(Wait { until, why }));
    }
    Ok(last)
}

/// Which legs can be chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Only {
    Known,
    Ended,
}

impl Only {
    fn takes(self, leg: &Leg<'_>) -> bool {
        self == Self::Known || leg.end.is_some()
    }
}

/// What kind of human call the first leg began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A telephone called in: the first leg is the call.
    CalledIn,
    /// An internal address called, or was called first, and a telephone was dialled for it: the
    /// dialled leg is the call.
    DialledOut,
    /// An internal address called another: the dialled leg is the call, since it alone names both.
    Internal,
    /// The first leg is the call, as Twilio tells it.
    Plain,
}

/// None while the first leg has told nothing.
fn shape(call: &Call<'_>) -> Option<Shape> {
    let first = call.root()?.latest()?;
    let children = call.children();
    let dials_a_telephone = children.iter().any(|child| !dials_internally(child));
    let is_inbound = matches!(
        first.direction,
        Some(Direction::Inbound | Direction::TrunkingOriginating)
    );
    Some(match (is_inbound, children.is_empty()) {
        (true, _) if !is_internal(&first.from) => Shape::CalledIn,
        (true, false) if dials_a_telephone => Shape::DialledOut,
        (true, false) => Shape::Internal,
        (false, false) if is_internal(&first.to) && dials_a_telephone => Shape::DialledOut,
        (_, true) | (false, false) => Shape::Plain,
    })
}

impl Shape {
    fn leg<'r, 'a>(self, call: &'r Call<'a>, only: Only) -> Option<&'r Leg<'a>> {
        let root = call.root().filter(|root| only.takes(root));
        match self {
            Self::CalledIn | Self::Plain => root,
            Self::DialledOut => pick(call, only, |child| !dials_internally(child)).or(root),
            Self::Internal => pick(call, only, dials_internally).or(root),
        }
    }

    fn report<'r, 'a>(
        self,
        call: &'r Call<'a>,
        leg: &'r Leg<'a>,
        ended: Result<Millis, Owed>,
        rules: &Rules,
    ) -> Reported<'r, 'a> {
        let plain = Reported {
            told: leg.told.clone(),
            ..Reported::plain(leg, ended)
        };
        let directory = &rules.directory;
        match self {
            Self::CalledIn => Reported {
                direction: Some((
                    acquire::Direction::Incoming,
                    "incoming: a telephone called in",
                )),
                status: missed(call, leg, rules.legs.missed),
                email: first_answered(call).and_then(|child| of_callee(child, directory)),
                told: told_to_people(call, leg),
                ..plain
            },
            Self::DialledOut if leg.parent.is_some() => Reported {
                direction: Some((
                    acquire::Direction::Outgoing,
                    "outgoing: an internal address dialled a telephone",
                )),
                email: of_caller(call, leg, directory),
                ..plain
            },
            Self::DialledOut | Self::Internal | Self::Plain => plain,
        }
    }
}

/// A leg whose parent has told nothing: a person who was called by a telephone, or a call out.
fn alone<'r, 'a>(leg: &'r Leg<'a>, ended: Result<Millis, Owed>) -> Reported<'r, 'a> {
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

/// The first child that was answered, else the last one.
fn pick<'r, 'a>(
    call: &'r Call<'a>,
    only: Only,
    wanted: impl Fn(&Leg<'a>) -> bool,
) -> Option<&'r Leg<'a>> {
    let mut children = call.children();
    children.retain(|child| only.takes(child) && wanted(child));
    let answered = children.iter().find(|child| child.is_answered());
    answered.or(children.last()).copied()
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
    missed: Missed,
) -> Option<(acquire::CallStatus, Cow<'static, str>)> {
    let own = ended_as(root.end?)?;
    let is_missed = own == acquire::CallStatus::Completed && first_answered(call).is_none();
    if !is_missed || missed == Missed::Parent {
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
fn told_to_people<'a>(call: &Call<'a>, root: &Leg<'a>) -> Vec<&'a Status> {
    let children = call.children();
    let own = root.told.iter().copied().filter(|status| {
        children.is_empty() || status.status != crate::twilio::CallStatus::InProgress
    });
    own.chain(children.iter().flat_map(|child| child.told.iter().copied()))
        .collect()
}

fn of_callee(child: &Leg<'_>, directory: &Directory) -> Option<Email> {
    let told = child.latest()?;
    let named = told.email.clone();
    let email = named.or_else(|| directory.email_of(&told.to))?;
    let why = format!("e-mail of the person who took leg {}", child.sid);
    Some((email, Cow::Owned(why)))
}

fn of_caller(call: &Call<'_>, leg: &Leg<'_>, directory: &Directory) -> Option<Email> {
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

fn dials_internally(leg: &Leg<'_>) -> bool {
    leg.latest().is_some_and(|told| is_internal(&told.to))
}

/// A softphone or a SIP telephone, not a number of the telephone network.
fn is_internal(address: &str) -> bool {
    ["client:", "sip:", "sips:"]
        .iter()
        .any(|scheme| address.starts_with(scheme))
}
