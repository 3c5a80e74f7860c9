//! Chooses the leg that represents the whole call, by the shape of the call.

use super::call::{Call, Leg};
use crate::twilio::{Direction, StatusCallback};

/// The kind of call that the first leg started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallShape {
    /// A phone number called in: the first leg is the call.
    CalledIn,
    /// An internal address called, or was called first, and a phone number was dialled for it: the
    /// dialled leg is the call.
    DialledOut,
    /// An internal address called another: the dialled leg is the call, because only it names both.
    Internal,
    /// The first leg is the call, as Twilio reports it.
    Plain,
}

impl CallShape {
    /// `None` while the first leg has no status.
    pub fn of(call: &Call<'_>) -> Option<Self> {
        let first = call.root()?.latest()?;
        let children = call.children();
        let dials_a_number = children.iter().any(|child| !dials_internally(child));
        Some(match (is_inbound(first), children.is_empty()) {
            (true, _) if !is_internal(&first.from) => Self::CalledIn,
            (true, false) if dials_a_number => Self::DialledOut,
            (true, false) => Self::Internal,
            (false, false) if is_internal(&first.to) && dials_a_number => Self::DialledOut,
            (_, true) | (false, false) => Self::Plain,
        })
    }

    /// The leg that will be the call whatever callbacks follow, so that its events can be sent. An
    /// event of another leg would show Acquire a call that never ends.
    pub fn certain_leg<'r, 'a>(self, call: &'r Call<'a>) -> Option<&'r Leg<'a>> {
        match self {
            Self::CalledIn => call.root(),
            // A phone number may yet be dialled for an internal address.
            Self::Plain => call.root().filter(|root| !starts_internally(root)),
            // If the dialled leg is not answered, another may be dialled.
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

/// The leg that is the call once its legs have ended or the wait is over; at least one has ended.
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

/// The first wanted child that was answered, else the last wanted one.
fn pick<'r, 'a>(call: &'r Call<'a>, wanted: impl Fn(&Leg<'a>) -> bool) -> Option<&'r Leg<'a>> {
    let mut children = call.children();
    children.retain(|child| wanted(child));
    let answered = children.iter().find(|child| child.is_answered());
    answered.or(children.last()).copied()
}

/// Whether an internal address called, or was called first.
fn starts_internally(root: &Leg<'_>) -> bool {
    root.latest().is_some_and(|status| {
        let first = if is_inbound(status) {
            &status.from
        } else {
            &status.to
        };
        is_internal(first)
    })
}

fn is_inbound(status: &StatusCallback) -> bool {
    matches!(
        status.direction,
        Some(Direction::Inbound | Direction::TrunkingOriginating)
    )
}

fn dials_internally(leg: &Leg<'_>) -> bool {
    leg.latest().is_some_and(|status| is_internal(&status.to))
}

/// Whether an address is a softphone or a SIP phone, not a number of the phone network.
pub(super) fn is_internal(address: &str) -> bool {
    ["client:", "sip:", "sips:"]
        .iter()
        .any(|scheme| address.starts_with(scheme))
}
