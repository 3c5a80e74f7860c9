//! The shape of a call: who called whom, and which of its legs can be the call.

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
    /// The API called a phone number, and agents were dialled for it: the first leg is the call.
    CalledOut,
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
            (false, false) if !is_internal(&first.to) => Self::CalledOut,
            (_, true) | (false, false) => Self::Plain,
        })
    }

    /// Whether `leg` can be the call.
    pub fn is_of(self, leg: &Leg<'_>) -> bool {
        match self {
            Self::CalledIn | Self::CalledOut | Self::Plain => leg.parent.is_none(),
            Self::DialledOut => leg.parent.is_some() && !dials_internally(leg),
            Self::Internal => leg.parent.is_some() && dials_internally(leg),
        }
    }
}

/// Whether an internal address called, or was called first.
pub(super) fn starts_internally(root: &Leg<'_>) -> bool {
    root.latest().is_some_and(|status| {
        let first = if is_inbound(status) {
            &status.from
        } else {
            &status.to
        };
        is_internal(first)
    })
}

/// Whether a phone number was connected to an internal address.
pub(super) fn is_put_through(leg: &Leg<'_>) -> bool {
    let is_put_through =
        |status: &StatusCallback| is_internal(&status.to) && !is_internal(&status.from);
    leg.parent.is_some() && leg.latest().is_some_and(is_put_through)
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
