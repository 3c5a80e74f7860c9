//! Which leg of a human call is the call, by what the first leg began.

use super::call::{Call, Leg};
use crate::twilio::{Direction, StatusCallback};

/// What kind of human call the first leg began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallShape {
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

impl CallShape {
    /// None while the first leg has told nothing.
    pub fn of(call: &Call<'_>) -> Option<Self> {
        let first = call.root()?.latest()?;
        let children = call.children();
        let dials_a_telephone = children.iter().any(|child| !dials_internally(child));
        Some(match (is_inbound(first), children.is_empty()) {
            (true, _) if !is_internal(&first.from) => Self::CalledIn,
            (true, false) if dials_a_telephone => Self::DialledOut,
            (true, false) => Self::Internal,
            (false, false) if is_internal(&first.to) && dials_a_telephone => Self::DialledOut,
            (_, true) | (false, false) => Self::Plain,
        })
    }

    /// The leg that will be the call whatever its legs still tell: events can be sent of it.
    pub fn certain_leg<'r, 'a>(self, call: &'r Call<'a>) -> Option<&'r Leg<'a>> {
        match self {
            Self::CalledIn => call.root(),
            // A telephone may yet be dialled for an internal address.
            Self::Plain => call.root().filter(|root| !begins_internally(root)),
            // If the one that was dialled does not answer, another may be dialled.
            Self::DialledOut | Self::Internal => {
                pick(call, |child| child.is_answered() && self.is_of(child))
            }
        }
    }

    /// Whether `leg` can be the call.
    pub fn is_of(self, leg: &Leg<'_>) -> bool {
        match self {
            Self::CalledIn | Self::Plain => leg.parent.is_none(),
            Self::DialledOut => leg.parent.is_some() && !dials_internally(leg),
            Self::Internal => leg.parent.is_some() && dials_internally(leg),
        }
    }
}

/// The leg that is the call, now that its legs have ended or were waited for; one has ended.
pub(super) fn ended_leg<'r, 'a>(
    shape: Option<CallShape>,
    call: &'r Call<'a>,
) -> Option<&'r Leg<'a>> {
    let has_ended = |leg: &Leg<'a>| leg.end.is_some();
    let dialled = match shape {
        Some(shape @ (CallShape::DialledOut | CallShape::Internal)) => {
            pick(call, |child| has_ended(child) && shape.is_of(child))
        }
        Some(CallShape::CalledIn | CallShape::Plain) | None => None,
    };
    dialled
        .or_else(|| call.root().filter(|root| has_ended(root)))
        .or_else(|| pick(call, has_ended))
}

/// Of the wanted children the first that was answered, else the last one.
fn pick<'r, 'a>(call: &'r Call<'a>, wanted: impl Fn(&Leg<'a>) -> bool) -> Option<&'r Leg<'a>> {
    let mut children = call.children();
    children.retain(|child| wanted(child));
    let answered = children.iter().find(|child| child.is_answered());
    answered.or(children.last()).copied()
}

/// Whether an internal address called, or was called first.
fn begins_internally(root: &Leg<'_>) -> bool {
    root.latest().is_some_and(|told| {
        let person = if is_inbound(told) {
            &told.from
        } else {
            &told.to
        };
        is_internal(person)
    })
}

fn is_inbound(told: &StatusCallback) -> bool {
    matches!(
        told.direction,
        Some(Direction::Inbound | Direction::TrunkingOriginating)
    )
}

fn dials_internally(leg: &Leg<'_>) -> bool {
    leg.latest().is_some_and(|told| is_internal(&told.to))
}

/// A softphone or a SIP telephone, not a number of the telephone network.
pub(super) fn is_internal(address: &str) -> bool {
    ["client:", "sip:", "sips:"]
        .iter()
        .any(|scheme| address.starts_with(scheme))
}
