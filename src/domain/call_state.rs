//! The states of a call.

/// The state of a call. The database, metrics, console and logs use the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// A request to Acquire is due at a time. `claim` ends it.
    Pending,
    /// A worker has it until its lease ends. `settle` ends it, or any `claim` after the lease.
    Claimed,
    /// Acquire accepted all requests so far. A new callback or a requeue ends it, and a purge after
    /// `store.retention`.
    Delivered,
    /// No request to send so far, with the reason. Ends as `Delivered` does.
    Skipped,
    /// The bridge gave a request up, with the reason, and no other is due: an operator decides. A new
    /// callback or a requeue ends it, and a purge after `store.parked_retention`.
    Parked,
}

impl State {
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Claimed,
        Self::Delivered,
        Self::Skipped,
        Self::Parked,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Claimed => "claimed",
            Self::Delivered => "delivered",
            Self::Skipped => "skipped",
            Self::Parked => "parked",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
