//! The class of a call in the ledger: what became of it, whatever state it is in now.
//!
//! Each call is in one class, so that the classes of a period add up to the calls that were received.

/// What became of a call. A requeue does not undo it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Acquire accepted each of its requests at least once, within `report.late` of its due time.
    InTime,
    /// The same, and one of these acceptances came later, or the call had been parked before.
    Late,
    /// It is pending, and Acquire has not accepted a request of it.
    Waiting,
    /// The same, and it will be late.
    WaitingLate,
    /// There is nothing to send.
    Skipped,
    /// It needs a decision.
    Parked,
    /// An operator decided not to send it.
    Dismissed,
    /// It was removed parked, after `store.parked_retention`.
    Expired,
    /// It was erased while it was waiting or parked.
    Erased,
}

impl Class {
    pub const ALL: [Self; 9] = [
        Self::InTime,
        Self::Late,
        Self::Waiting,
        Self::WaitingLate,
        Self::Skipped,
        Self::Parked,
        Self::Dismissed,
        Self::Expired,
        Self::Erased,
    ];

    /// The word in the database and in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InTime => "in_time",
            Self::Late => "late",
            Self::Waiting => "waiting",
            Self::WaitingLate => "waiting_late",
            Self::Skipped => "skipped",
            Self::Parked => "parked",
            Self::Dismissed => "dismissed",
            Self::Expired => "expired",
            Self::Erased => "erased",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == text)
    }

    /// Whether Acquire accepted each request of the call.
    #[must_use]
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::InTime | Self::Late)
    }

    /// Whether the ledger has a cause for the calls of this class.
    #[must_use]
    pub fn has_cause(self) -> bool {
        matches!(
            self,
            Self::Skipped | Self::Parked | Self::Dismissed | Self::Expired
        )
    }

    /// The class once a new callback has made the call pending.
    #[must_use]
    pub fn reopened(self) -> Self {
        match self {
            Self::InTime | Self::Late | Self::Waiting | Self::WaitingLate => self,
            _ => Self::Waiting,
        }
    }

    /// The class once an operator has dismissed the call, which is parked.
    #[must_use]
    pub fn dismissed(self) -> Self {
        match self {
            Self::Parked => Self::Dismissed,
            _ => self,
        }
    }

    /// The class once an operator has requeued the call.
    #[must_use]
    pub fn requeued(self) -> Self {
        match self {
            Self::Parked | Self::Dismissed => Self::WaitingLate,
            _ => self.reopened(),
        }
    }
}
