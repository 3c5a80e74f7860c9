//! The shape of a call: who called whom, and which of its legs can be the call.
//!
//! It does not choose the legs that are reported (`reported_legs`).

use super::call::{Call, Leg};
use super::parties::{Party, SipCustomers, SipHost};
use super::rules::Rules;
use crate::twilio::Direction;

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
        let first = call.root()?;
        let children = call.children();
        let dials_a_phone = children.iter().any(|child| child.callee == Party::Phone);
        Some(match (is_inbound(first), children.is_empty()) {
            (true, _) if first.caller == Party::Phone => Self::CalledIn,
            (true, false) if dials_a_phone => Self::DialledOut,
            (true, false) => Self::Internal,
            (false, false) if first.callee == Party::Phone => Self::CalledOut,
            (false, false) if dials_a_phone => Self::DialledOut,
            (_, true) | (false, false) => Self::Plain,
        })
    }

    /// Whether `leg` can be the call.
    pub fn is_of(self, leg: &Leg<'_>) -> bool {
        match self {
            Self::CalledIn | Self::CalledOut | Self::Plain => leg.parent.is_none(),
            Self::DialledOut => leg.parent.is_some() && leg.callee == Party::Phone,
            Self::Internal => leg.parent.is_some() && leg.callee == Party::Internal,
        }
    }
}

/// Whether an internal address called, or was called first.
pub(super) fn starts_internally(root: &Leg<'_>) -> bool {
    let first = if is_inbound(root) {
        root.caller
    } else {
        root.callee
    };
    first == Party::Internal
}

/// Whether a phone was connected to an internal address.
pub(super) fn is_put_through(leg: &Leg<'_>) -> bool {
    leg.parent.is_some() && leg.caller == Party::Phone && leg.callee == Party::Internal
}

/// The SIP host of an inbound call that was connected to an internal address, if its caller is an agent
/// only because `calls.sip_customers` is not set.
pub(super) fn unnamed_sip_host(call: &Call<'_>, rules: &Rules) -> Option<SipHost> {
    if rules.sip_customers != SipCustomers::Unset {
        return None;
    }
    let children = call.children();
    let mut children = children.into_iter();
    let connected = children.find(|child| child.callee == Party::Internal)?;
    let first = call.root().unwrap_or(connected);
    let is_call_in = first.parent.is_some() || is_inbound(first);
    SipHost::of(&first.latest()?.from).filter(|_| is_call_in)
}

pub(super) fn is_inbound(leg: &Leg<'_>) -> bool {
    let direction = leg.latest().and_then(|status| status.direction.as_ref());
    matches!(
        direction,
        Some(Direction::Inbound | Direction::TrunkingOriginating)
    )
}
