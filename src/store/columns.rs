//! How a call's next state and the verdict of an attempt are written in columns, the same in either
//! database. It knows no SQL.

use super::{NextState, State};
use crate::clock::Millis;
use crate::domain::attempt::Verdict;
use crate::domain::cause::Cause;

/// The columns `state`, `effective_at`, `reason` and `cause` of a call.
pub(super) struct StateColumns<'a> {
    pub state: State,
    pub effective_at: Millis,
    pub reason: Option<&'a str>,
    pub cause: Option<Cause>,
}

impl NextState {
    /// The columns of a call that reaches this state at `now`.
    pub(super) fn columns(&self, now: Millis) -> StateColumns<'_> {
        let (state, effective_at, why) = match self {
            Self::PendingAt(due) => (State::Pending, *due, None),
            Self::Delivered => (State::Delivered, now, None),
            Self::Skipped(cause, why) => (State::Skipped, now, Some((cause, why))),
            Self::Parked(cause, why) => (State::Parked, now, Some((cause, why))),
        };
        StateColumns {
            state,
            effective_at,
            reason: why.map(|(_, words)| words.as_str()),
            cause: why.map(|(cause, _)| *cause),
        }
    }
}

/// The columns `verdict`, `again_at` (in milliseconds since 1970) and `reason` of an attempt.
pub(super) struct VerdictColumns<'a> {
    pub verdict: &'a str,
    pub again_at: Option<i64>,
    pub reason: Option<&'a str>,
}

impl Verdict {
    pub(super) fn to_columns(&self) -> VerdictColumns<'_> {
        let (again_at, reason) = match self {
            Self::Again(at) | Self::Held(at) => (Some(at.0), None),
            Self::GivenUp(why) => (None, Some(why.as_str())),
            Self::Accepted | Self::AcceptedAsRepeat => (None, None),
        };
        VerdictColumns {
            verdict: self.as_str(),
            again_at,
            reason,
        }
    }

    /// None if no version writes such columns.
    pub(super) fn from_columns(columns: &VerdictColumns<'_>) -> Option<Self> {
        match columns.verdict {
            "accepted" => Some(Self::Accepted),
            "accepted-as-repeat" => Some(Self::AcceptedAsRepeat),
            "again" => columns.again_at.map(|at| Self::Again(Millis(at))),
            "held" => columns.again_at.map(|at| Self::Held(Millis(at))),
            "given-up" => columns.reason.map(|why| Self::GivenUp(why.to_owned())),
            _ => None,
        }
    }
}
