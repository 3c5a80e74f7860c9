//! The class of a call in the ledger: what became of it, whatever state it is in now.
//!
//! Each call is in one class, so that the classes of a period add up to the calls that were received.

words! {
    /// What became of a call. A requeue does not undo it.
    #[derive(Hash, PartialOrd, Ord)]
    pub enum Class {
        /// Acquire accepted each of its requests at least once, within `report.late` of its due time.
        InTime = "in_time",
        /// The same, and one of these acceptances came later, or the call had been parked before.
        Late = "late",
        /// It is pending, and Acquire has not accepted a request of it.
        Waiting = "waiting",
        /// The same, and it will be late.
        WaitingLate = "waiting_late",
        /// There is nothing to send.
        Skipped = "skipped",
        /// It needs a decision.
        Parked = "parked",
        /// An operator decided not to send it.
        Dismissed = "dismissed",
        /// It was removed parked, after `store.parked_retention`.
        Expired = "expired",
        /// It was erased while it was waiting or parked.
        Erased = "erased",
    }
}

impl Class {
    /// Whether Acquire accepted each request of the call.
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::InTime | Self::Late)
    }

    /// Whether the ledger has a cause for the calls of this class.
    pub fn has_cause(self) -> bool {
        matches!(
            self,
            Self::Skipped | Self::Parked | Self::Dismissed | Self::Expired
        )
    }

    /// The class once a new callback has made the call pending.
    pub fn reopened(self) -> Self {
        match self {
            Self::InTime | Self::Late | Self::Waiting | Self::WaitingLate => self,
            _ => Self::Waiting,
        }
    }

    /// The class once an operator has dismissed the call, which is parked.
    pub fn dismissed(self) -> Self {
        match self {
            Self::Parked => Self::Dismissed,
            _ => self,
        }
    }

    /// The class once an operator has requeued the call.
    pub fn requeued(self) -> Self {
        match self {
            Self::Parked | Self::Dismissed => Self::WaitingLate,
            _ => self.reopened(),
        }
    }
}
